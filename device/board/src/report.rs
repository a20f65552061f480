//! What the stages tell while they boot: one JSON object a line on [`crate::fds::LOG`].

use crate::power::ResetReason;
use crate::verity::VerityMode;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A slot of the flash image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// Slot `_a`.
    A,
    /// Slot `_b`.
    B,
}

impl Slot {
    /// The suffix of this slot's partitions: `_a` or `_b`.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::A => "_a",
            Self::B => "_b",
        }
    }
}

/// What the boot ROM tells the first stage, and each stage the next: CBOR, as hexadecimal in the
/// first argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootArgs {
    /// The slot that the ROM chose.
    pub slot: Slot,
    /// How often this board was powered on, this time included; the first is 0 (factory).
    pub boot_no: u64,
    /// Why the device has power: level 2 and the kernel act on it.
    #[serde(default)]
    pub reset: ResetReason,
    /// The host folder that becomes `/data` of the system.
    pub data_dir: PathBuf,
    /// The host folder that becomes `/run` of the system (its sockets).
    pub run_dir: PathBuf,
    /// The rollback index of the level-1 bootloader that the ROM verified.
    pub bl1_index: u64,
    /// The rollback index of the TEE that level 1 verified; 0 before that.
    pub tee_index: u64,
}

/// One line of the boot log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A stage was checked.
    Stage(Stage),
    /// A trusted application's image was checked.
    TrustedApplication(TrustedApplication),
    /// A process of the device runs; `pid` as the host sees it, 0 where the stage can't know it.
    Process {
        /// `bl1`, `tee-os`, `ta-keymint`, `init`, `system` …
        name: String,
        /// The process as the host sees it.
        pid: i32,
    },
    /// What this kernel lacks for the isolation that the design asks for.
    Weakness {
        /// Which process or boundary.
        what: String,
        /// What is missing, and how to get it.
        mend: String,
    },
    /// A process of the device ended that should not have; who started it starts it anew.
    Ended {
        /// As in [`Self::Process`].
        name: String,
        /// Its exit code or the signal that ended it, for a person.
        how: String,
    },
    /// Recovery works on an update.
    Recovery {
        /// What it does now, for a person.
        step: String,
        /// How much of it is done: 0 to 100.
        percent: u8,
    },
    /// How the system is read. Before it runs.
    Verity(Verity),
    /// A block was wrong; parity made it right before anybody saw it.
    Repaired {
        /// With its slot's suffix.
        partition: String,
        /// Blocks of 4096 bytes before it.
        block: u64,
    },
    /// A block was wrong and is lost: whoever read it got an I/O error.
    Corrupt {
        /// With its slot's suffix.
        partition: String,
        /// Blocks of 4096 bytes before it.
        block: u64,
    },
    /// The trusted OS refused something. Counts only in its own log, which the normal world can't
    /// write ([`crate::fds::TEE_LOG`]).
    Refused(Refusal),
    /// The system daemon answers on its socket.
    Ready,
}

/// How the system is read while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verity {
    /// What a bad block leads to.
    pub mode: VerityMode,
    /// Whether every read is checked against the flash, as dm-verity does it. Otherwise files
    /// are a copy in memory that was checked once.
    pub each_read: bool,
    /// Whether the system on the flash is known to be corrupt: people are warned.
    pub corrupt: bool,
}

/// A stage, checked before it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// `bl1`, `tee`, `bl2`, `baseband`, `kernel` or `system`.
    pub stage: String,
    /// The partition with its slot suffix, as `boot_a`.
    pub partition: String,
    /// The release string in the stage's signed metadata.
    pub version: String,
    /// SHA-256 of the image, or the root digest of its hash tree; hexadecimal.
    pub digest: String,
    /// What it came to.
    pub verdict: Verdict,
    /// Milliseconds that loading and checking took, with three decimals' worth of precision.
    pub micros: u64,
}

/// A trusted application, checked before its program can run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedApplication {
    /// The name that its image is signed as, as `ta-keymint`.
    pub name: String,
    /// Its UUID; empty where it was refused.
    pub uuid: String,
    /// `maker`, or SHA-256 of the key that signed it, hexadecimal; empty where it was refused.
    pub signer: String,
    /// Its rollback index.
    pub version: u64,
    /// SHA-256 of its signed metadata, hexadecimal; empty where it was refused.
    pub digest: String,
    /// What it came to.
    pub verdict: Verdict,
}

/// Something that the trusted OS refused to a program of the normal world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Of which kind.
    pub kind: RefusalKind,
    /// The program's user, as the kernel tells the trusted OS.
    pub uid: u32,
    /// How many of this kind there were since power-on, this one included: what a full pipe
    /// swallowed is in the next one's count.
    pub count: u64,
}

/// Why something was refused: a kind of [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefusalKind {
    /// One connection too many.
    Connection,
    /// What came is no request.
    Message,
    /// There is no such application, session or object.
    NotFound,
    /// This caller, or this state of the device, may not.
    Denied,
    /// The command is malformed or out of range.
    Parameters,
    /// Not now.
    State,
    /// Something was altered, rolled back, replayed or signed by somebody else.
    Security,
    /// A quota.
    Resources,
    /// The application died over it.
    Died,
    /// The trusted OS's own failure.
    Failure,
}

/// Whether a stage may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may.
    Verified,
    /// It may not; boot stops here.
    Refused {
        /// libavb's name where it is one of its verdicts (`ERROR_VERIFICATION`,
        /// `ERROR_ROLLBACK_INDEX`, `ERROR_PUBLIC_KEY_REJECTED`, `ERROR_INVALID_METADATA` …),
        /// else `POLICY`.
        code: String,
        /// What happened and what to do, for a person.
        reason: String,
    },
}
