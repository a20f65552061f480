//! What key blobs hang on besides the HUK, so that keys can be made useless for good.
//!
//! | object | where | content |
//! |---|---|---|
//! | `factory-reset` | RPMB | one secret for all keys; [`Secrets::reset`] replaces it |
//! | `deletion NAME` | the system's files | the secret of one key that can be deleted |
//!
//! Without its secrets the key that opens a blob does not exist, so no copy of the blob is worth
//! anything; and secure storage notices whoever brings an older state back.

use crate::failure::Outcome;
use keymint::ErrorCode;
use tee_sdk::{Batch, Context, Placement, TeeError, Zeroizing};

const FACTORY_RESET: &str = "factory-reset";
const DELETION: &str = "deletion ";
const SECRET_BYTES: usize = 32;

/// The secret of all keys, once it was read.
#[derive(Default)]
pub(crate) struct Secrets {
    factory_reset: Option<Zeroizing<Vec<u8>>>,
}

/// Names the secret of one key.
pub(crate) type Slot = [u8; 16];

impl Secrets {
    /// The secret of all keys; made when it is needed first.
    pub(crate) fn factory_reset(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, TeeError> {
        if self.factory_reset.is_none() {
            let stored = context.storage_get(FACTORY_RESET)?;
            self.factory_reset = Some(match stored {
                Some(secret) => secret,
                None => replace(context)?,
            });
        }
        Ok(self.factory_reset.clone().expect("it was read or made above"))
    }

    /// Makes all keys useless for good. The secrets of single keys go as far as the system's
    /// files are there and are what they were: without the other one they open nothing.
    pub(crate) fn reset(&mut self, context: &mut Context<'_>) -> Result<(), TeeError> {
        self.factory_reset = None;
        self.factory_reset = Some(replace(context)?);
        match forget_slots(context) {
            Err(TeeError::Communication(_) | TeeError::Security(_)) => Ok(()),
            other => other,
        }
    }
}

fn replace(context: &mut Context<'_>) -> Result<Zeroizing<Vec<u8>>, TeeError> {
    let secret: [u8; SECRET_BYTES] = context.random()?;
    let secret = Zeroizing::new(secret.to_vec());
    context.storage_put(FACTORY_RESET, &secret)?;
    Ok(secret)
}

fn forget_slots(context: &mut Context<'_>) -> Result<(), TeeError> {
    let mut storage = context.storage(Placement::Ree);
    loop {
        let names = storage.list(Some(DELETION))?;
        let slots = names.iter().take_while(|name| name.starts_with(DELETION));
        let batch = slots.fold(Batch::default(), |batch, name| batch.delete(name));
        if names.first().is_none_or(|name| !name.starts_with(DELETION)) {
            return Ok(());
        }
        storage.commit(batch)?;
    }
}

/// Where a slot's secret is kept.
fn object(slot: &Slot) -> String {
    let digits: String = slot.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{DELETION}{digits}")
}

/// Makes the secret of a new key that can be deleted.
pub(crate) fn fill_slot(context: &mut Context<'_>) -> Outcome<Slot> {
    let (slot, secret): (Slot, [u8; SECRET_BYTES]) = (context.random()?, context.random()?);
    match context.storage(Placement::Ree).put(&object(&slot), &secret) {
        Err(TeeError::Resources(_)) => Err(ErrorCode::RollbackResistanceUnavailable.into()),
        other => Ok(other.map(|()| slot)?),
    }
}

/// The secret of a key; `None` where it was deleted.
pub(crate) fn of_slot(
    context: &mut Context<'_>,
    slot: &Slot,
) -> Result<Option<Zeroizing<Vec<u8>>>, TeeError> {
    context.storage(Placement::Ree).get(&object(slot))
}

/// Deletes the key's secret for good. An empty slot is no error.
pub(crate) fn empty_slot(context: &mut Context<'_>, slot: &Slot) -> Result<(), TeeError> {
    context.storage(Placement::Ree).delete(&object(slot))
}
