//! Android Verified Boot of a slot: as level 2 does it before it starts the kernel, and as
//! whoever wants to lock the bootloader asks beforehand.

use crate::{system, verity_table::VerityTable};
use avb::policy::{BootPolicy, BootState, VerifiedSlot, verify_boot};
use avb::{HashtreeErrorMode, IoError, Ops};
use board::flash::{Flash, FlashError};
use board::report;
use board::verdict::Refusal;
use std::cell::Cell;
use tee_api::boot::Trust;

/// Partitions that vbmeta vouches for with a hash.
const HASHED: [&str; 2] = ["baseband", "boot"];

/// A slot of a flash image, under verification.
pub struct Slot<'a> {
    flash: &'a Flash,
    trust: &'a Trust,
    suffix: &'static str,
    unlocked: bool,
    /// The key that signed vbmeta is the user's: its own rollback indexes count.
    by_user: Cell<bool>,
}

impl<'a> Slot<'a> {
    /// As the lock state has it.
    #[must_use]
    pub const fn new(flash: &'a Flash, slot: report::Slot, trust: &'a Trust) -> Self {
        let unlocked = trust.lock.unlocked;
        Self { flash, trust, suffix: slot.suffix(), unlocked, by_user: Cell::new(false) }
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
            hashtree_error_mode: HashtreeErrorMode::Restart,
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

    fn read_persistent_value(&self, _name: &str) -> Result<Vec<u8>, IoError> {
        Err(IoError::NoSuchValue)
    }

    fn write_persistent_value(&self, _name: &str, _value: &[u8]) -> Result<(), IoError> {
        Err(IoError::NoSuchValue)
    }
}

fn io_error(error: FlashError) -> IoError {
    match error {
        FlashError::NoPartition(_) => IoError::NoSuchPartition,
        FlashError::Outside(_) => IoError::RangeOutsidePartition,
        _ => IoError::Io,
    }
}
