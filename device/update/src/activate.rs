//! Making the slot that was installed the next one to boot.

use crate::storage::SlotStorage;
use avb::policy::BootState;
use board::flash::FlashError;
use board::verdict::Refusal;
use bootimg::misc::Slot;
use tee_api::boot::Trust;

/// Why the slot was not made the next one to boot. It stays unbootable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActivateError {
    /// It would not boot.
    #[error("the new system would not boot ({0})")]
    Refused(#[from] Refusal),
    /// The storage did not answer.
    #[error(transparent)]
    Storage(#[from] FlashError),
}

/// Verifies `target` as its boot will, then makes it the next slot to boot: highest priority, all
/// tries, not successful. One write of one sector.
pub fn activate(
    storage: &dyn SlotStorage,
    target: Slot,
    trust: &Trust,
) -> Result<BootState, ActivateError> {
    let state = storage.verify(target, trust)?;
    let mut slots = storage.slots()?;
    slots.mark_active(target);
    storage.put_slots(&slots)?;
    Ok(state)
}
