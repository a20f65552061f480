//! The bootloaders and the TEE, before the system runs (SPEC S2.2, steps 3 to 6).

use crate::TeeError;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// From `bl1` or `bl2`, on the boot channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Step 4: the TEE checks the level-2 bootloader. Beside it travels a sealed memfd with the
    /// whole partition.
    VerifyBl2 {
        /// As `bl2_a`.
        partition: String,
    },
    /// The stored rollback indexes (AVB locations 0 to 31).
    RollbackIndexes,
    /// What was booted; once per power-on, then latched.
    SetBootInfo(BootInfo),
    /// The slot proved itself: stored rollback indexes rise to these. Only from `bl2` or from
    /// the system through gatekeeper's `boot_successful`.
    RaiseRollbackIndexes {
        /// `(location, index)`.
        indexes: Vec<(u32, u64)>,
    },
}

/// From the TEE.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The TEE is up. Sent once, unasked, first of all.
    Up,
    /// The bootloader may run: beside it travels a sealed memfd with exactly its executable.
    Verified {
        /// The release string of its vbmeta.
        version: String,
        /// SHA-256 of the executable.
        digest: [u8; 32],
    },
    /// It may not.
    Rejected {
        /// See `board::report::Verdict::Refused`.
        code: String,
        /// For a person.
        reason: String,
    },
    /// 32 stored rollback indexes.
    RollbackIndexes(Vec<u64>),
    /// Done.
    Done,
    /// Refused.
    Refused(TeeError),
}

/// The root of trust and versions of what was booted (Android `SetBootInfo`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootInfo {
    /// The AVB public-key blob that vbmeta was verified with; SHA-256 of it.
    pub verified_boot_key: [u8; 32],
    /// Whether the bootloader is locked.
    pub device_locked: bool,
    /// Green, yellow, orange, red.
    pub boot_state: BootState,
    /// The vbmeta digest (`ro.boot.vbmeta.digest`).
    pub verified_boot_hash: ByteBuf,
    /// `YYYYMM`, from vbmeta property `com.android.build.system.os_version` / security patch.
    pub os_version: u32,
    /// `YYYYMM`.
    pub os_patch_level: u32,
    /// `YYYYMMDD`.
    pub boot_patch_level: u32,
    /// Rollback indexes of what was booted: `(location, index)`.
    pub rollback_indexes: Vec<(u32, u64)>,
}

/// Boot states as Android defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootState {
    /// Locked, maker's key.
    Green,
    /// Locked, the user's key.
    Yellow,
    /// Unlocked.
    Orange,
    /// Nothing valid.
    Red,
}
