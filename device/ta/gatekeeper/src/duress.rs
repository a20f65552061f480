//! A PIN for a person who is forced to type one: it destroys the keys of all spaces in silence and
//! opens an empty first one.
//!
//! Nothing that is shown or answered tells it from a right PIN: the same work is done, the same
//! answer is given, and the new lock opens with what was typed.

use crate::record::{Record, SyntheticPassword};
use crate::sealing::Knower;
use crate::{App, DEVICE_SEED, delete_all_keys, record, throttle, userdata};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tee_api::gatekeeper::{LockKind, Space};
use tee_sdk::{Batch, Context, TeeError};

/// Where it is kept.
pub(crate) const OBJECT: &str = "duress";
const PURPOSE: &[u8] = b"duress";

#[derive(Serialize, Deserialize)]
struct Duress {
    kind: LockKind,
    sealed: ByteBuf,
}

/// Puts it into a change.
pub(crate) fn put(
    context: &mut Context<'_>,
    batch: Batch,
    kind: LockKind,
    knower: &Knower,
) -> Result<Batch, TeeError> {
    let sealed = knower.seal(context, PURPOSE, &[0; 32])?;
    batch.put_record(OBJECT, &Duress { kind, sealed })
}

/// What kind it is, if this is who knows it.
pub(crate) fn known(
    context: &mut Context<'_>,
    knower: &Knower,
) -> Result<Option<LockKind>, TeeError> {
    let Some(duress) = context.record_get::<Duress>(OBJECT)? else { return Ok(None) };
    Ok(knower.open(context, PURPOSE, &duress.sealed)?.map(|_| duress.kind))
}

impl App {
    /// Destroys every key; what is left is a first space that the same PIN opens. An activation
    /// lock stays as it is: one that wanted an account now would give the person away.
    pub(crate) fn begin_anew(
        &mut self,
        context: &mut Context<'_>,
        kind: LockKind,
        knower: &Knower,
    ) -> Result<(Record, SyntheticPassword), TeeError> {
        delete_all_keys(context)?;
        context.erase_all_storage()?;
        let (fresh, password) = Record::fresh(context, kind, knower)?;
        let batch = [record::object(Space::SECOND), throttle::OBJECT, DEVICE_SEED, OBJECT]
            .into_iter()
            .fold(Batch::default(), Batch::delete);
        let batch = userdata::forget(context, fresh.put(batch, Space::MAIN)?)?;
        context.storage_commit(batch)?;
        self.unlocked.clear();
        Ok((fresh, password))
    }
}
