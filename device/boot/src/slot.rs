//! Android Verified Boot of a slot: as level 2 does it before it starts the kernel, and as
//! whoever wants to lock the bootloader asks beforehand.

use crate::{system, verity_table::VerityTable};
use avb::policy::{BootPolicy, BootState, VerifiedSlot, verify_boot};
use avb::{HashtreeErrorMode, IoError, Ops};
use board::flash::{Flash, FlashError};
use board::power::ResetReason;
use board::report;
use board::verdict::Refusal;
use board::verity::ErrorMode;
use std::cell::Cell;
use tee_api::boot::Trust;

/// Partitions that vbmeta vouches for with a hash.
const HASHED: [&str; 2] = ["baseband", "boot"];

/// libavb's name of the value that remembers which system is corrupt.
const CORRUPT_SYSTEM: &str = "avb.managed_verity_mode";

/// A slot of a flash image, under verification.
pub struct Slot<'a> {
    flash: &'a Flash,
    trust: &'a Trust,
    suffix: &'static str,
    unlocked: bool,
    /// The key that signed vbmeta is the user's: its own rollback indexes count.
    by_user: Cell<bool>,
    errors: HashtreeErrorMode,
    /// The device restarted because a block of the system was corrupt.
    restarted: bool,
    /// See [`Self::corrupt`].
    corrupt: Cell<Option<[u8; 32]>>,
}

impl<'a> Slot<'a> {
    /// As the lock state has it.
    #[must_use]
    pub const fn new(flash: &'a Flash, slot: report::Slot, trust: &'a Trust) -> Self {
        Self {
            flash,
            trust,
            suffix: slot.suffix(),
            unlocked: trust.lock.unlocked,
            by_user: Cell::new(false),
            errors: HashtreeErrorMode::Restart,
            restarted: false,
            corrupt: Cell::new(trust.corrupt_system),
        }
    }

    /// With what the maker wants to happen when a block of the system is corrupt; `reset` tells
    /// whether that has just happened.
    #[must_use]
    pub fn with_errors(self, mode: ErrorMode, reset: ResetReason) -> Self {
        let restarted = mode == ErrorMode::Managed && reset == ResetReason::Verity;
        Self { errors: mode.into(), restarted, ..self }
    }

    /// The system that is known to be corrupt, by its vbmeta digest: what the TEE remembers, or
    /// shall remember after the verification (`avb.managed_verity_mode`).
    #[must_use]
    pub const fn corrupt(&self) -> Option<[u8; 32]> {
        self.corrupt.get()
    }

    /// As it will be once the bootloader is locked.
    #[must_use]
    pub const fn once_locked(flash: &'a Flash, slot: report::Slot, trust: &'a Trust) -> Self {
        Self { unlocked: false, ..Self::new(flash, slot, trust) }
    }

    /// What partitions of this slot end with.
    #[must_use]
    pub const fn suffix(&self) -> &'static str {
        self.suffix
    }

    /// Verifies vbmeta and the hashed `partitions` (names without suffix).
    pub fn verify(&self, partitions: &[&str]) -> Result<VerifiedSlot, Refusal> {
        let policy = BootPolicy {
            partitions,
            hashtrees: &["system"],
            suffix: self.suffix,
            maker_key_digest: self.trust.maker_keys.first().copied().unwrap_or_default(),
            hashtree_error_mode: self.errors,
            restart_caused_by_hashtree_corruption: self.restarted,
        };
        let mut verified = verify_boot(self, &policy)?;
        let by_maker = self.trust.maker_keys.contains(&verified.public_key_digest);
        if verified.state != BootState::Orange {
            verified.state = if by_maker { BootState::Green } else { BootState::Yellow };
        }
        Ok(verified)
    }

    /// Verifies everything that vbmeta vouches for, the whole system included. Gives the colour
    /// that the boot would have.
    pub fn verify_all(&self) -> Result<BootState, Refusal> {
        let verified = self.verify(&HASHED)?;
        let table = VerityTable::find(&verified.data.cmdline)
            .map_err(|error| Refusal::new("ERROR_INVALID_METADATA", error.to_string()))?;
        system::read_verified(self.flash, &table)?;
        Ok(verified.state)
    }
}

impl Ops for Slot<'_> {
    fn read_from_partition(
        &self,
        partition: &str,
        offset: i64,
        buffer: &mut [u8],
    ) -> Result<usize, IoError> {
        let size = self.partition_size(partition)?;
        let from_end = |back: i64| size.checked_sub(back.unsigned_abs());
        let start = if offset < 0 { from_end(offset) } else { Some(offset.unsigned_abs()) };
        let start = start.filter(|at| *at <= size).ok_or(IoError::RangeOutsidePartition)?;
        let length = buffer.len().min(usize::try_from(size - start).unwrap_or(usize::MAX));
        self.flash.read_at(partition, start, &mut buffer[..length]).map_err(io_error)?;
        Ok(length)
    }

    fn partition_size(&self, partition: &str) -> Result<u64, IoError> {
        self.flash.partition(partition).map(|found| found.size_bytes()).map_err(io_error)
    }

    fn validate_vbmeta_public_key(
        &self,
        public_key: &[u8],
        _metadata: Option<&[u8]>,
    ) -> Result<bool, IoError> {
        let digest = crypto::digest::sha256(public_key);
        let by_maker = self.trust.maker_keys.contains(&digest);
        self.by_user.set(!by_maker && self.trust.lock.custom_key == Some(digest));
        Ok(by_maker || self.by_user.get())
    }

    fn read_rollback_index(&self, location: u32) -> Result<u64, IoError> {
        let at = usize::try_from(location).map_err(|_| IoError::Io)?;
        let maker = self.trust.rollback_indexes.get(at).copied().ok_or(IoError::Io)?;
        let own = self.trust.lock.custom_rollback_indexes.get(at).copied().unwrap_or_default();
        Ok(if self.by_user.get() { own } else { maker })
    }

    fn is_device_unlocked(&self) -> Result<bool, IoError> {
        Ok(self.unlocked)
    }

    fn unique_guid(&self, partition: &str) -> Result<String, IoError> {
        let found = self.flash.partition(partition).map_err(io_error)?;
        Ok(found.unique_guid.to_string())
    }

    fn read_persistent_value(&self, name: &str) -> Result<Vec<u8>, IoError> {
        match (name, self.corrupt.get()) {
            (CORRUPT_SYSTEM, Some(digest)) => Ok(digest.to_vec()),
            _ => Err(IoError::NoSuchValue),
        }
    }

    fn write_persistent_value(&self, name: &str, value: &[u8]) -> Result<(), IoError> {
        let digest = match (name, value) {
            (CORRUPT_SYSTEM, []) => None,
            (CORRUPT_SYSTEM, digest) => {
                Some(digest.try_into().map_err(|_| IoError::InvalidValueSize)?)
            }
            _ => return Err(IoError::NoSuchValue),
        };
        self.corrupt.set(digest);
        Ok(())
    }
}

fn io_error(error: FlashError) -> IoError {
    match error {
        FlashError::NoPartition(_) => IoError::NoSuchPartition,
        FlashError::Outside(_) => IoError::RangeOutsidePartition,
        _ => IoError::Io,
    }
}
