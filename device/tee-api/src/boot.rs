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
    /// Whose signature counts, and how old an image may be.
    Trust,
    /// A seed for where the kernel lies in memory: another one each time.
    KaslrSeed,
    /// The TEE remembers that dm-verity found corruption in a system: the value
    /// `avb.managed_verity_mode` of Android Verified Boot. Before [`Self::SetBootInfo`] only:
    /// what runs can't change it. The TEE forgets it once another system proved itself; until
    /// then the device may fall back to this one.
    SetCorruptSystem {
        /// That system's vbmeta digest.
        vbmeta_digest: [u8; 32],
    },
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
    /// Whose signature counts, and how old an image may be.
    Trust(Trust),
    /// A fresh seed.
    KaslrSeed(KaslrSeed),
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

/// 64 fresh bits, from which the kernel's addresses follow (SPEC S2.3). Never printed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KaslrSeed(u64);

impl KaslrSeed {
    /// A seed of these bits.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its bits.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.0
    }
}

impl std::fmt::Debug for KaslrSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KaslrSeed(..)")
    }
}

/// What the verification of a slot stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// SHA-256 of each root key of the maker that counts (AVB public-key blob), from the fuses.
    pub maker_keys: Vec<[u8; 32]>,
    /// The rollback indexes of what the maker signs, by AVB location 0 to 31; from RPMB.
    pub rollback_indexes: Vec<u64>,
    /// Lock state, and the user's own key.
    pub lock: BootLock,
    /// The vbmeta digest of the system in which dm-verity found corruption, from RPMB: there
    /// each block is checked when it is read, and a bad one is an I/O error.
    #[serde(default)]
    pub corrupt_system: Option<[u8; 32]>,
}

/// How the bootloader is locked, from RPMB. A change counts from the next power-on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootLock {
    /// Anything boots.
    pub unlocked: bool,
    /// SHA-256 of the AVB public-key blob that the user trusts beside the maker
    /// (`avb_custom_key`).
    pub custom_key: Option<[u8; 32]>,
    /// Rollback indexes of what that key signs, by location: its owner counts apart from the
    /// maker. Locations behind the end stand at 0.
    pub custom_rollback_indexes: Vec<u64>,
}

/// A key's digest as a person compares it: its first 64 bits in groups, `0a1b 2c3d 4e5f 6071`.
#[must_use]
pub fn fingerprint(digest: &[u8; 32]) -> String {
    let group = |pair: &[u8]| pair.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digest[..8].chunks(2).map(group).collect::<Vec<_>>().join(" ")
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
