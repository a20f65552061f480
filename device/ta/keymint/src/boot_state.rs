//! What holds until power-off: that early boot ended, that the device was locked, how often keys
//! were used, the modules' hash.
//!
//! It is stored in RPMB under the name of this boot: a process that ends and starts anew changes
//! nothing of it.

use crate::failure::Outcome;
use keymint::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use tee_sdk::{Context, TeeError};

const OBJECT: &str = "this-boot";
/// The most keys whose uses are counted at the same time.
const MAX_COUNTED_KEYS: usize = 64;

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BootState {
    #[serde(with = "serde_bytes")]
    boot: [u8; 16],
    /// Keys of early boot work no more.
    pub(crate) early_boot_ended: bool,
    /// Since when the device is locked; it is from power-on, until a password was verified.
    pub(crate) locked: Option<Locked>,
    /// Uses of keys that have a limit for each boot.
    uses: BTreeMap<ByteBuf, u32>,
    /// SHA-256 over the system's modules.
    pub(crate) module_hash: Option<ByteBuf>,
}

/// A lock of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Locked {
    /// Milliseconds since power-on.
    pub(crate) at_ms: u64,
    /// No fingerprint unlocks it.
    pub(crate) password_only: bool,
}

impl BootState {
    /// As it is stored, where that is of this boot.
    pub(crate) fn load(context: &mut Context<'_>) -> Result<Self, TeeError> {
        let boot = context.boot_id()?;
        let stored: Option<Self> = context.record_get(OBJECT)?;
        let of_this_boot = stored.filter(|stored| stored.boot == boot);
        Ok(of_this_boot.unwrap_or_else(|| Self::at_power_on(boot)))
    }

    const fn at_power_on(boot: [u8; 16]) -> Self {
        Self {
            boot,
            early_boot_ended: false,
            locked: Some(Locked { at_ms: 0, password_only: true }),
            uses: BTreeMap::new(),
            module_hash: None,
        }
    }

    /// Changes it, durably.
    pub(crate) fn change(
        &mut self,
        context: &mut Context<'_>,
        change: impl FnOnce(&mut Self),
    ) -> Result<(), TeeError> {
        let mut next = self.clone();
        change(&mut next);
        if next != *self {
            context.record_put(OBJECT, &next)?;
            *self = next;
        }
        Ok(())
    }

    /// Counts a use of the key `id`, which has `most` in one boot.
    pub(crate) fn count_use(
        &mut self,
        context: &mut Context<'_>,
        id: [u8; 16],
        most: u32,
    ) -> Outcome<()> {
        let id = ByteBuf::from(id);
        let uses = self.uses.get(&id).copied().unwrap_or_default();
        if uses >= most {
            return Err(ErrorCode::KeyMaxOpsExceeded.into());
        }
        if uses == 0 && self.uses.len() >= MAX_COUNTED_KEYS {
            return Err(ErrorCode::TooManyOperations.into());
        }
        self.change(context, |state| {
            state.uses.insert(id, uses + 1);
        })?;
        Ok(())
    }
}
