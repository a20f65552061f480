//! The slots as an installation sees them: a trait, so that a test can take the power away at any
//! write; and the flash, which is what a device has.

use avb::policy::BootState;
use board::flash::{Flash, FlashError};
use board::verdict::{Refusal, verify_under};
use bootimg::misc::{BootloaderMessage, Slot, SlotMetadata};
use std::collections::BTreeMap;
use tee_api::boot::Trust;

/// AVB's location of the level-2 bootloader's rollback index.
const BL2_LOCATION: usize = 1;

/// Partitions of both slots, and the misc partition.
pub trait SlotStorage: Sync {
    /// Bytes of every partition, by its whole name (`boot_a`).
    fn partitions(&self) -> BTreeMap<String, u64>;

    /// Fills `buffer` from `offset` of a partition on.
    fn read_at(&self, partition: &str, offset: u64, buffer: &mut [u8]) -> Result<(), FlashError>;

    /// Writes to a partition; durable after [`Self::sync`], and in any order until then.
    fn write_later(&self, partition: &str, offset: u64, bytes: &[u8]) -> Result<(), FlashError>;

    /// Makes durable what was written.
    fn sync(&self) -> Result<(), FlashError>;

    /// The slots' metadata.
    fn slots(&self) -> Result<SlotMetadata, FlashError>;

    /// Stores them: in one sector, durable when it returns.
    fn put_slots(&self, slots: &SlotMetadata) -> Result<(), FlashError>;

    /// What the next boot shall do.
    fn message(&self) -> Result<BootloaderMessage, FlashError>;

    /// Stores that: in one sector, durable when it returns.
    fn put_message(&self, message: &BootloaderMessage) -> Result<(), FlashError>;

    /// Verifies all of a slot as its boot will: every stage, every byte of the system, and rollback
    /// indexes. The fuses' counters for bl1 and the TEE are the ROM's alone.
    fn verify(&self, slot: Slot, trust: &Trust) -> Result<BootState, Refusal>;
}

impl SlotStorage for Flash {
    fn partitions(&self) -> BTreeMap<String, u64> {
        Self::partitions(self).iter().map(|it| (it.name.clone(), it.size_bytes())).collect()
    }

    fn read_at(&self, partition: &str, offset: u64, buffer: &mut [u8]) -> Result<(), FlashError> {
        Self::read_at(self, partition, offset, buffer)
    }

    fn write_later(&self, partition: &str, offset: u64, bytes: &[u8]) -> Result<(), FlashError> {
        Self::write_later(self, partition, offset, bytes)
    }

    fn sync(&self) -> Result<(), FlashError> {
        Self::sync(self)
    }

    fn slots(&self) -> Result<SlotMetadata, FlashError> {
        Self::slots(self)
    }

    fn put_slots(&self, slots: &SlotMetadata) -> Result<(), FlashError> {
        Self::put_slots(self, slots)
    }

    fn message(&self) -> Result<BootloaderMessage, FlashError> {
        Self::message(self)
    }

    fn put_message(&self, message: &BootloaderMessage) -> Result<(), FlashError> {
        Self::put_message(self, message)
    }

    fn verify(&self, slot: Slot, trust: &Trust) -> Result<BootState, Refusal> {
        let bl2 = trust.rollback_indexes.get(BL2_LOCATION).copied();
        let bl2 = bl2.ok_or_else(|| Refusal::policy("the TEE named no rollback index for bl2"))?;
        for (name, lowest) in [("bl1", 0), ("tee", 0), ("bl2", bl2)] {
            let partition = self.read(&format!("{name}{}", slot.suffix()))?;
            verify_under(&trust.maker_keys, &partition, name, lowest).map_err(|refusal| {
                let refusal = Refusal::from(refusal);
                Refusal { reason: format!("{name}: {}", refusal.reason), ..refusal }
            })?;
        }
        boot::slot::Slot::new(self, slot.into(), trust).verify_all()
    }
}
