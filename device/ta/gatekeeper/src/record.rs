//! What is kept of a space's lock: its synthetic password, sealed once for each way to it.
//!
//! The synthetic password is random and stays the same when the PIN changes, so that nothing is
//! encrypted anew. Records lie in RPMB alone, as a weaver's slots do: what a right guess releases
//! is in no copy of the flash, and a record that was overwritten is gone.

use crate::sealing::Knower;
use crate::subkey::subkey;
use crypto::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tee_api::gatekeeper::{LockKind, Space};
use tee_sdk::{Batch, Context, TeeError};

/// What a space's keys derive from.
pub(crate) struct SyntheticPassword(Secret<32>);

impl SyntheticPassword {
    fn fresh(context: &mut Context<'_>) -> Result<Self, TeeError> {
        Ok(Self(Secret::new(context.random()?)))
    }

    /// The subkey for `label`.
    pub(crate) fn key(&self, label: &[u8]) -> Secret<32> {
        subkey(&self.0, label)
    }
}

/// A way to the synthetic password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The PIN, password or pattern.
    Pin,
    /// The key that the person wrote down.
    Recovery,
    /// The organisation's secret.
    Escrow,
}

/// The organisation that can open the lock too.
#[derive(Clone, Serialize, Deserialize)]
struct Escrow {
    organisation: String,
    sealed: ByteBuf,
}

/// A lock that is set.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What is typed.
    pub(crate) kind: LockKind,
    /// The secure id: another one after each enrolment that was not trusted.
    pub(crate) sid: u64,
    by_pin: ByteBuf,
    by_recovery: Option<ByteBuf>,
    escrow: Option<Escrow>,
}

/// Where a space's record is kept.
pub(crate) const fn object(space: Space) -> &'static str {
    match space.0 {
        0 => "screen-lock",
        _ => "screen-lock-second",
    }
}

/// The lock of a space, where one is set.
pub(crate) fn load(context: &mut Context<'_>, space: Space) -> Result<Option<Record>, TeeError> {
    context.record_get(object(space))
}

/// All locks that are set.
pub(crate) fn load_all(context: &mut Context<'_>) -> Result<Vec<(Space, Record)>, TeeError> {
    let mut all = Vec::new();
    for space in Space::ALL {
        all.extend(load(context, space)?.map(|record| (space, record)));
    }
    Ok(all)
}

impl Record {
    /// A new lock with a new synthetic password, for whoever knows the PIN.
    pub(crate) fn fresh(
        context: &mut Context<'_>,
        kind: LockKind,
        knower: &Knower,
    ) -> Result<(Self, SyntheticPassword), TeeError> {
        let password = SyntheticPassword::fresh(context)?;
        let sid = u64::from_le_bytes(context.random()?);
        let mut record =
            Self { kind, sid, by_pin: ByteBuf::new(), by_recovery: None, escrow: None };
        record.set_pin(context, kind, knower, &password)?;
        Ok((record, password))
    }

    /// Another PIN, password or pattern; the synthetic password stays.
    pub(crate) fn set_pin(
        &mut self,
        context: &mut Context<'_>,
        kind: LockKind,
        knower: &Knower,
        password: &SyntheticPassword,
    ) -> Result<(), TeeError> {
        self.kind = kind;
        self.by_pin = self.seal(context, Way::Pin, knower, password)?;
        Ok(())
    }

    /// Another recovery key.
    pub(crate) fn set_recovery(
        &mut self,
        context: &mut Context<'_>,
        knower: &Knower,
        password: &SyntheticPassword,
    ) -> Result<(), TeeError> {
        self.by_recovery = Some(self.seal(context, Way::Recovery, knower, password)?);
        Ok(())
    }

    /// An organisation that can open the lock too.
    pub(crate) fn set_escrow(
        &mut self,
        context: &mut Context<'_>,
        organisation: String,
        knower: &Knower,
        password: &SyntheticPassword,
    ) -> Result<(), TeeError> {
        let sealed = self.seal(context, Way::Escrow, knower, password)?;
        self.escrow = Some(Escrow { organisation, sealed });
        Ok(())
    }

    /// No organisation can open it any more.
    pub(crate) fn end_escrow(&mut self) {
        self.escrow = None;
    }

    /// Whether there is such a way.
    pub(crate) fn has(&self, way: Way) -> bool {
        self.sealed(way).is_some()
    }

    /// The organisation that can open it too.
    pub(crate) fn organisation(&self) -> Option<&str> {
        self.escrow.as_ref().map(|escrow| &escrow.organisation[..])
    }

    /// The synthetic password, if `knower` knows that way.
    pub(crate) fn open(
        &self,
        context: &mut Context<'_>,
        way: Way,
        knower: &Knower,
    ) -> Result<Option<SyntheticPassword>, TeeError> {
        let Some(sealed) = self.sealed(way) else { return Ok(None) };
        Ok(knower.open(context, &self.purpose(way), sealed)?.map(SyntheticPassword))
    }

    /// Puts it into a change.
    pub(crate) fn put(&self, batch: Batch, space: Space) -> Result<Batch, TeeError> {
        batch.put_record(object(space), self)
    }

    fn sealed(&self, way: Way) -> Option<&ByteBuf> {
        match way {
            Way::Pin => Some(&self.by_pin),
            Way::Recovery => self.by_recovery.as_ref(),
            Way::Escrow => self.escrow.as_ref().map(|escrow| &escrow.sealed),
        }
    }

    fn seal(
        &self,
        context: &mut Context<'_>,
        way: Way,
        knower: &Knower,
        password: &SyntheticPassword,
    ) -> Result<ByteBuf, TeeError> {
        knower.seal(context, &self.purpose(way), password.0.expose())
    }

    /// What is sealed for one way of one lock opens no other.
    fn purpose(&self, way: Way) -> [u8; 9] {
        let mut purpose = [way as u8; 9];
        purpose[..8].copy_from_slice(&self.sid.to_le_bytes());
        purpose
    }
}
