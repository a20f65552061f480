//! The flash image as the stages read it: partitions by name, the slots' metadata.

use crate::report::Slot;
use bootimg::gpt::{Gpt, GptError, Guid, HEAD_BYTES, Partition, TAIL_BYTES};
use bootimg::misc::{
    self, BootloaderMessage, MESSAGE_BYTES, METADATA_OFFSET, MiscError, SlotMetadata,
};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The partition with the slots' metadata.
const MISC: &str = "misc";
/// The largest partition that is read as a whole.
const MAX_WHOLE_BYTES: u64 = 256 * 1024 * 1024;

/// Why the flash was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlashError {
    /// The storage did not answer.
    #[error("the flash does not answer: {0}")]
    Io(#[from] io::Error),
    /// There is no good partition table.
    #[error("the flash has no good partition table: {0}")]
    Table(#[from] GptError),
    /// The partition is not there.
    #[error("the flash has no partition {0}")]
    NoPartition(String),
    /// Bytes outside the partition were asked for, or more than fit the memory.
    #[error("partition {0} does not have these bytes")]
    Outside(String),
    /// The misc partition holds something else than the slots' metadata.
    #[error("the slots' metadata in misc is not good: {0}")]
    Misc(#[from] MiscError),
}

/// A flash image with its partition table.
#[derive(Debug)]
pub struct Flash {
    file: File,
    gpt: Gpt,
}

impl Flash {
    /// Reads the partition table. One bad copy of it is made up for by the other.
    pub fn open(file: File) -> Result<Self, FlashError> {
        // A clone shares the length, whatever the descriptor is.
        let size = rustix::fs::fstat(&file).map_err(io::Error::from)?.st_size;
        let size = u64::try_from(size).unwrap_or_default();
        let (mut head, mut tail) = (vec![0; HEAD_BYTES], vec![0; TAIL_BYTES]);
        file.read_exact_at(&mut head, 0)?;
        file.read_exact_at(&mut tail, size.saturating_sub(TAIL_BYTES as u64))?;
        let gpt = Gpt::parse(&head, &tail, size)?.gpt;
        Ok(Self { file, gpt })
    }

    /// The descriptor, to give it to the next stage.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// The partition `name`.
    pub fn partition(&self, name: &str) -> Result<&Partition, FlashError> {
        self.gpt.partition(name).ok_or_else(|| FlashError::NoPartition(name.to_owned()))
    }

    /// The partition with this GUID.
    #[must_use]
    pub fn partition_by_guid(&self, guid: Guid) -> Option<&Partition> {
        self.gpt.partitions().iter().find(|partition| partition.unique_guid == guid)
    }

    /// The whole partition `name`.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, FlashError> {
        let size = self.partition(name)?.size_bytes();
        if size > MAX_WHOLE_BYTES {
            return Err(FlashError::Outside(name.to_owned()));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.read_at(name, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `buffer` from `offset` of the partition `name` on.
    pub fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), FlashError> {
        let start = self.place(name, offset, buffer.len())?;
        Ok(self.file.read_exact_at(buffer, start)?)
    }

    /// Writes `bytes` at `offset` of the partition `name`; they are durable when it returns.
    pub fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), FlashError> {
        self.write_later(name, offset, bytes)?;
        Ok(self.file.sync_data()?)
    }

    /// Writes `bytes` at `offset` of the partition `name`; they are durable after [`Self::sync`].
    pub fn write_later(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), FlashError> {
        let start = self.place(name, offset, bytes.len())?;
        Ok(self.file.write_all_at(bytes, start)?)
    }

    /// Makes all that was written durable. What is read after it comes from the storage, not from
    /// memory, where the host can do that.
    pub fn sync(&self) -> Result<(), FlashError> {
        self.file.sync_data()?;
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(())
    }

    /// All partitions.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        self.gpt.partitions()
    }

    /// The slots' metadata. Anything else in misc is refused.
    pub fn slots(&self) -> Result<SlotMetadata, FlashError> {
        Ok(SlotMetadata::parse_partition(&self.read(MISC)?)?)
    }

    /// Stores the slots' metadata: 32 bytes inside one sector.
    pub fn put_slots(&self, slots: &SlotMetadata) -> Result<(), FlashError> {
        self.write_at(MISC, METADATA_OFFSET as u64, &slots.encode())
    }

    /// What the system asks of the next boot. Malformed messages are refused.
    pub fn message(&self) -> Result<BootloaderMessage, FlashError> {
        let mut bytes = [0; MESSAGE_BYTES];
        self.read_at(MISC, 0, &mut bytes)?;
        Ok(BootloaderMessage::decode(&bytes)?)
    }

    /// Stores what the next boot shall do: one sector.
    pub fn put_message(&self, message: &BootloaderMessage) -> Result<(), FlashError> {
        self.write_at(MISC, 0, &message.encode()?)
    }

    fn place(&self, name: &str, offset: u64, length: usize) -> Result<u64, FlashError> {
        let partition = self.partition(name)?;
        let end = offset.checked_add(length as u64);
        match end.filter(|end| *end <= partition.size_bytes()) {
            Some(_) => Ok(partition.offset_bytes() + offset),
            None => Err(FlashError::Outside(name.to_owned())),
        }
    }
}

impl From<misc::Slot> for Slot {
    fn from(slot: misc::Slot) -> Self {
        match slot {
            misc::Slot::A => Self::A,
            misc::Slot::B => Self::B,
        }
    }
}

impl From<Slot> for misc::Slot {
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::A => Self::A,
            Slot::B => Self::B,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bootimg::gpt::PartitionSpec;

    fn flash() -> Flash {
        let spec = |name: &str, id| PartitionSpec {
            name: name.into(),
            type_guid: Guid::LINUX_DATA,
            unique_guid: Guid::from_bytes([id; 16]),
            size_bytes: 8192,
        };
        let gpt = Gpt::layout(Guid::from_bytes([9; 16]), &[spec("misc", 1), spec("x", 2)]).unwrap();
        let file = tempfile::tempfile().unwrap();
        let encoded = gpt.encode();
        file.write_all_at(&encoded.head, 0).unwrap();
        file.write_all_at(&encoded.tail, encoded.tail_offset).unwrap();
        Flash::open(file).unwrap()
    }

    #[test]
    fn reads_and_writes_inside_partitions_only() {
        let flash = flash();
        flash.write_at("x", 8190, b"ab").unwrap();
        assert_eq!(flash.read("x").unwrap()[8190..], *b"ab");
        assert!(matches!(flash.write_at("misc", 8191, b"ab"), Err(FlashError::Outside(_))));
        assert!(matches!(flash.read_at("x", u64::MAX, &mut [0]), Err(FlashError::Outside(_))));
        assert!(matches!(flash.read("y"), Err(FlashError::NoPartition(_))));
        assert_eq!(flash.partition_by_guid(Guid::from_bytes([2; 16])).unwrap().name, "x");
    }

    #[test]
    fn keeps_the_slots_and_refuses_anything_else_in_misc() {
        let flash = flash();
        assert!(matches!(flash.slots(), Err(FlashError::Misc(_))));
        flash.put_slots(&SlotMetadata::first_boot()).unwrap();
        assert_eq!(flash.slots().unwrap(), SlotMetadata::first_boot());
        flash.write_at("misc", 0, &[1]).unwrap();
        assert!(matches!(flash.slots(), Err(FlashError::Misc(_))));
    }

    #[test]
    fn a_message_for_the_next_boot_leaves_the_slots_as_they_are() {
        let flash = flash();
        flash.put_slots(&SlotMetadata::first_boot()).unwrap();
        let message = BootloaderMessage::install("/data/update/ota.zip");
        flash.put_message(&message).unwrap();
        assert_eq!(flash.message().unwrap(), message);
        assert_eq!(flash.slots().unwrap(), SlotMetadata::first_boot());
        flash.put_message(&BootloaderMessage::default()).unwrap();
        assert_eq!(flash.read("misc").unwrap()[..2048], [0; 2048]);
    }
}
