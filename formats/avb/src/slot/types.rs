//! What slot verification takes and gives: libavb's results, flags and data.

use crate::{Hash, ROLLBACK_LOCATIONS, Refusal, RefusalCode, VbmetaVerdict};
use std::fmt;

/// What `avb_slot_verify` says (`AvbSlotVerifyResult`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotVerifyResult {
    /// All that was looked at is as signed.
    Ok,
    /// Not enough memory, or too many partitions.
    ErrorOom,
    /// The device did not answer.
    ErrorIo,
    /// A signature or a digest is wrong.
    ErrorVerification,
    /// A rollback index is below the stored one.
    ErrorRollbackIndex,
    /// A key is not trusted.
    ErrorPublicKeyRejected,
    /// Metadata is malformed.
    ErrorInvalidMetadata,
    /// Metadata is made for another version of libavb.
    ErrorUnsupportedVersion,
    /// The caller asked for something impossible.
    ErrorInvalidArgument,
}

impl SlotVerifyResult {
    /// libavb's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::ErrorOom => "ERROR_OOM",
            Self::ErrorIo => "ERROR_IO",
            Self::ErrorVerification => "ERROR_VERIFICATION",
            Self::ErrorRollbackIndex => "ERROR_ROLLBACK_INDEX",
            Self::ErrorPublicKeyRejected => "ERROR_PUBLIC_KEY_REJECTED",
            Self::ErrorInvalidMetadata => "ERROR_INVALID_METADATA",
            Self::ErrorUnsupportedVersion => "ERROR_UNSUPPORTED_VERSION",
            Self::ErrorInvalidArgument => "ERROR_INVALID_ARGUMENT",
        }
    }

    /// The refusal that it stands for, unless something more exact is known.
    pub(super) const fn code(self) -> RefusalCode {
        match self {
            Self::Ok | Self::ErrorOom | Self::ErrorIo => RefusalCode::Io,
            Self::ErrorVerification => RefusalCode::SignatureInvalid,
            Self::ErrorRollbackIndex => RefusalCode::Rollback,
            Self::ErrorPublicKeyRejected => RefusalCode::KeyRejected,
            Self::ErrorInvalidMetadata | Self::ErrorUnsupportedVersion => {
                RefusalCode::VbmetaMalformed
            }
            Self::ErrorInvalidArgument => RefusalCode::InvalidArgument,
        }
    }

    /// Whether an unlocked device may go on after it.
    pub(super) const fn may_continue(self) -> bool {
        matches!(
            self,
            Self::Ok
                | Self::ErrorVerification
                | Self::ErrorRollbackIndex
                | Self::ErrorPublicKeyRejected
        )
    }
}

impl fmt::Display for SlotVerifyResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How slot verification is done (`AvbSlotVerifyFlags`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlotVerifyFlags {
    /// For unlocked devices: wrong signatures, digests, keys and rollback indexes are the result,
    /// but the data comes with it.
    pub allow_verification_error: bool,
    /// The device restarts because dm-verity found corruption.
    pub restart_caused_by_hashtree_corruption: bool,
    /// There is no vbmeta partition: each requested partition has a vbmeta image of its own.
    pub no_vbmeta_partition: bool,
}

impl SlotVerifyFlags {
    /// From libavb's number. Unknown bits are ignored, as libavb does.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        Self {
            allow_verification_error: number & 1 != 0,
            restart_caused_by_hashtree_corruption: number & 2 != 0,
            no_vbmeta_partition: number & 4 != 0,
        }
    }
}

/// What the system does when dm-verity finds corruption (`AvbHashtreeErrorMode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum HashtreeErrorMode {
    /// Restart, and the slot is invalid.
    #[default]
    RestartAndInvalidate = 0,
    /// Restart.
    Restart = 1,
    /// The read fails.
    Eio = 2,
    /// It is logged only. For unlocked devices.
    Logging = 3,
    /// Restart; after a restart that corruption caused, reads fail until the system changes.
    ManagedRestartAndEio = 4,
    /// The kernel panics.
    Panic = 5,
}

impl HashtreeErrorMode {
    /// The mode with libavb's number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        const ALL: [HashtreeErrorMode; 6] = [
            HashtreeErrorMode::RestartAndInvalidate,
            HashtreeErrorMode::Restart,
            HashtreeErrorMode::Eio,
            HashtreeErrorMode::Logging,
            HashtreeErrorMode::ManagedRestartAndEio,
            HashtreeErrorMode::Panic,
        ];
        ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// A vbmeta image that slot verification read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VbmetaData {
    /// The partition, without the slot's suffix.
    pub partition: String,
    /// The partition, with the slot's suffix where it has slots.
    pub full_name: String,
    /// Exactly the image.
    pub image: Vec<u8>,
    /// Whether it is signed.
    pub verdict: VbmetaVerdict,
}

/// A requested partition that slot verification loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedPartition {
    /// The partition, without the slot's suffix.
    pub partition: String,
    /// The bytes that the descriptor covers; the whole partition where errors are allowed.
    pub data: Vec<u8>,
    /// Whether it is as signed.
    pub verdict: SlotVerifyResult,
    /// The digest of what was read. None where verification is disabled.
    pub digest: Option<(Hash, Vec<u8>)>,
}

/// What slot verification found (`AvbSlotVerifyData`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotData {
    /// The slot's suffix.
    pub suffix: String,
    /// The vbmeta images: the top-level one first, then chained ones.
    pub vbmeta_images: Vec<VbmetaData>,
    /// The partitions that were requested and that a descriptor covers.
    pub loaded_partitions: Vec<LoadedPartition>,
    /// The kernel command line.
    pub cmdline: String,
    /// The rollback index that the images have, by location. To be stored once the slot was
    /// marked successful.
    pub rollback_indexes: [u64; ROLLBACK_LOCATIONS],
    /// The mode that the command line asks for, with a managed one resolved.
    pub hashtree_error_mode: HashtreeErrorMode,
}

impl SlotData {
    /// The digest of all vbmeta images: `ro.boot.vbmeta.digest`, and the verified boot hash of
    /// key attestation.
    #[must_use]
    pub fn vbmeta_digest(&self, hash: Hash) -> Vec<u8> {
        let images: Vec<&[u8]> = self.vbmeta_images.iter().map(|v| v.image.as_slice()).collect();
        hash.digest(&images)
    }

    /// A loaded partition by its name without suffix.
    #[must_use]
    pub fn loaded(&self, partition: &str) -> Option<&LoadedPartition> {
        self.loaded_partitions.iter().find(|loaded| loaded.partition == partition)
    }
}

/// The result, and what was found on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotOutcome {
    /// libavb's result.
    pub result: SlotVerifyResult,
    /// What went wrong last. None where the result is OK.
    pub refusal: Option<Refusal>,
    /// All that went wrong, in this order. Not empty where the result is OK and libavb forgot an
    /// error on its way there.
    pub findings: Vec<Refusal>,
    /// Present where the result is OK, or where errors are allowed and it is one of them.
    pub data: Option<SlotData>,
}
