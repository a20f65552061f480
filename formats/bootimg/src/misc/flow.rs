//! Which slot boots (AOSP `libavb_ab`, `avb_ab_flow`): every bootable slot is verified, what fails
//! becomes unbootable, the highest priority wins, a try is counted.
//!
//! Verifying is the caller's; so is writing the metadata, whatever comes out, before anything
//! boots. The rollback indexes that come out are the largest that every bootable slot still
//! fulfils. libavb stores them as they are; a boot loader that never lowers an index only raises.

use super::{Slot, SlotMetadata};
use std::array;

/// How many rollback index locations there are.
pub const ROLLBACK_LOCATIONS: usize = 32;

/// A rollback index for each location; 0 where an image has none.
pub type RollbackIndexes = [u64; ROLLBACK_LOCATIONS];

/// What verifying a slot gave. What is neither (no memory, storage that does not answer, a wrong
/// argument) is an error of the caller's, and ends the flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotVerdict {
    /// It holds.
    Verified(RollbackIndexes),
    /// Its signature, its digest, its key or its rollback index is wrong; an unlocked device may
    /// boot it even so. libavb's `ERROR_VERIFICATION`, `ERROR_PUBLIC_KEY_REJECTED`,
    /// `ERROR_ROLLBACK_INDEX`.
    Unverified(RollbackIndexes),
    /// Its metadata is malformed, or of a version that is not known: no device boots it.
    /// libavb's `ERROR_INVALID_METADATA`, `ERROR_UNSUPPORTED_VERSION`.
    Malformed,
}

/// The slot that boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Which one.
    pub slot: Slot,
    /// A slot was not verified, and that was allowed (libavb's `OK_WITH_VERIFICATION_ERROR`).
    pub with_verification_error: bool,
    /// What is to be stored; 0 where nothing is.
    pub rollback_indexes: RollbackIndexes,
}

/// Chooses a slot, or none: then no slot is bootable. `metadata` is to be written whatever comes
/// out, an error too.
pub fn choose_slot<E>(
    metadata: &mut SlotMetadata,
    allow_verification_error: bool,
    mut verify: impl FnMut(Slot) -> Result<SlotVerdict, E>,
) -> Result<Option<Chosen>, E> {
    metadata.normalize();
    let mut indexes: Vec<RollbackIndexes> = Vec::new();
    let mut with_verification_error = false;
    for slot in Slot::ALL {
        if !metadata.get(slot).is_bootable() {
            continue;
        }
        match verify(slot)? {
            SlotVerdict::Verified(found) => indexes.push(found),
            SlotVerdict::Unverified(found) if allow_verification_error => {
                with_verification_error = true;
                indexes.push(found);
            }
            SlotVerdict::Unverified(_) | SlotVerdict::Malformed => metadata.mark_unbootable(slot),
        }
    }
    let Some(slot) = metadata.choose() else { return Ok(None) };
    metadata.count_try(slot);
    let lowest = |at: usize| indexes.iter().map(|slot| slot[at]).min().unwrap_or_default();
    let rollback_indexes = array::from_fn(lowest);
    Ok(Some(Chosen { slot, with_verification_error, rollback_indexes }))
}
