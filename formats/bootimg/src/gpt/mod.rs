//! GUID partition table (UEFI 2.10, chapter 5.3) on a disk with sectors of 512 bytes.
//!
//! ```
//! use bootimg::gpt::{Gpt, Guid, PartitionSpec};
//!
//! let spec = PartitionSpec {
//!     name: "misc".into(),
//!     type_guid: Guid::LINUX_DATA,
//!     unique_guid: Guid::from_bytes([7; 16]),
//!     size_bytes: 4096,
//! };
//! let gpt = Gpt::layout(Guid::from_bytes([1; 16]), &[spec])?;
//! let encoded = gpt.encode();
//! let parsed = Gpt::parse(&encoded.head, &encoded.tail, gpt.disk_bytes())?;
//! assert_eq!(parsed.gpt.partition("misc").unwrap().offset_bytes(), 20480);
//! assert!(parsed.damaged.is_none());
//! # Ok::<(), bootimg::gpt::GptError>(())
//! ```

mod decode;
mod encode;
mod guid;

pub use decode::{Damaged, ParsedGpt};
pub use encode::EncodedGpt;
pub use guid::Guid;

use std::ops::Range;

/// Bytes of a sector.
pub const SECTOR_BYTES: u64 = 512;
/// Partitions start and end at multiples of as many bytes.
pub const ALIGNMENT_BYTES: u64 = 4096;
/// Bytes at the start of the disk that [`Gpt::parse`] needs: MBR, header, entries.
pub const HEAD_BYTES: usize = 34 * 512;
/// Bytes at the end of the disk that [`Gpt::parse`] needs: entries, backup header.
pub const TAIL_BYTES: usize = 33 * 512;

const ENTRIES: usize = 128;
const ENTRY_BYTES: usize = 128;
const HEADER_BYTES: usize = 92;
const NAME_UNITS: usize = 36;
const ALIGNMENT_SECTORS: u64 = ALIGNMENT_BYTES / SECTOR_BYTES;
const FIRST_USABLE: u64 = 34;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its name: up to 36 UTF-16 units.
    pub name: String,
    /// What it is for.
    pub type_guid: Guid,
    /// Which one it is.
    pub unique_guid: Guid,
    /// Its first sector.
    pub first_lba: u64,
    /// Its last sector, which belongs to it.
    pub last_lba: u64,
    /// Attribute bits.
    pub attributes: u64,
}

impl Partition {
    /// Where it starts on the disk, in bytes.
    #[must_use]
    pub const fn offset_bytes(&self) -> u64 {
        self.first_lba * SECTOR_BYTES
    }

    /// How long it is, in bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        (self.last_lba - self.first_lba + 1) * SECTOR_BYTES
    }

    /// Where it is on the disk, in bytes.
    #[must_use]
    pub const fn range_bytes(&self) -> Range<u64> {
        self.offset_bytes()..self.offset_bytes() + self.size_bytes()
    }
}

/// A partition that [`Gpt::layout`] shall find a place for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub type_guid: Guid,
    /// Which one it is.
    pub unique_guid: Guid,
    /// Its size, a multiple of [`ALIGNMENT_BYTES`].
    pub size_bytes: u64,
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpt {
    disk_guid: Guid,
    disk_sectors: u64,
    /// First and last usable sector.
    usable: (u64, u64),
    partitions: Vec<Partition>,
}

impl Gpt {
    /// Places the partitions one behind the other on a disk that is as large as it has to be.
    pub fn layout(disk_guid: Guid, specs: &[PartitionSpec]) -> Result<Self, GptError> {
        let mut next = FIRST_USABLE.next_multiple_of(ALIGNMENT_SECTORS);
        let mut partitions = Vec::with_capacity(specs.len());
        for spec in specs {
            if spec.size_bytes == 0 || spec.size_bytes % ALIGNMENT_BYTES != 0 {
                return Err(GptError::PartitionSize(spec.name.clone(), spec.size_bytes));
            }
            let end = next
                .checked_add(spec.size_bytes / SECTOR_BYTES)
                .filter(|&end| end < MAX_SECTORS)
                .ok_or_else(|| GptError::PartitionSize(spec.name.clone(), spec.size_bytes))?;
            partitions.push(Partition {
                name: spec.name.clone(),
                type_guid: spec.type_guid,
                unique_guid: spec.unique_guid,
                first_lba: next,
                last_lba: end - 1,
                attributes: 0,
            });
            next = end;
        }
        let sectors = next + TAIL_BYTES as u64 / SECTOR_BYTES;
        let disk_sectors = sectors.next_multiple_of(ALIGNMENT_SECTORS);
        Self::new(disk_guid, disk_sectors, (FIRST_USABLE, disk_sectors - 34), partitions)
    }

    /// A table with given places. `usable` lies between the table's copies; some writers keep
    /// more free than these need.
    fn new(
        disk_guid: Guid,
        disk_sectors: u64,
        usable: (u64, u64),
        partitions: Vec<Partition>,
    ) -> Result<Self, GptError> {
        if partitions.len() > ENTRIES {
            return Err(GptError::TooManyPartitions(partitions.len()));
        }
        let gpt = Self { disk_guid, disk_sectors, usable, partitions };
        gpt.check()?;
        Ok(gpt)
    }

    /// The rules that hold between entries.
    fn check(&self) -> Result<(), GptError> {
        for (nth, partition) in self.partitions.iter().enumerate() {
            let units = partition.name.encode_utf16().count();
            if !(1..=NAME_UNITS).contains(&units) || partition.name.contains('\0') {
                return Err(GptError::PartitionName(partition.name.clone()));
            }
            let inside = self.usable.0 <= partition.first_lba
                && partition.first_lba <= partition.last_lba
                && partition.last_lba <= self.usable.1;
            if !inside {
                return Err(GptError::Outside(partition.name.clone()));
            }
            if partition.type_guid.is_zero() || partition.unique_guid.is_zero() {
                return Err(GptError::ZeroGuid(partition.name.clone()));
            }
            for other in &self.partitions[..nth] {
                check_pair(partition, other)?;
            }
        }
        Ok(())
    }

    /// The disk's GUID.
    #[must_use]
    pub const fn disk_guid(&self) -> Guid {
        self.disk_guid
    }

    /// Bytes of the disk.
    #[must_use]
    pub const fn disk_bytes(&self) -> u64 {
        self.disk_sectors * SECTOR_BYTES
    }

    /// The partitions, in the order of their entries.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The partition with this name.
    #[must_use]
    pub fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }
}

/// More sectors than this do not have an offset in bytes.
const MAX_SECTORS: u64 = i64::MAX as u64 / SECTOR_BYTES;

fn check_pair(a: &Partition, b: &Partition) -> Result<(), GptError> {
    if a.name == b.name || a.unique_guid == b.unique_guid {
        return Err(GptError::Duplicate(a.name.clone()));
    }
    if a.first_lba <= b.last_lba && b.first_lba <= a.last_lba {
        return Err(GptError::Overlap(a.name.clone(), b.name.clone()));
    }
    Ok(())
}

/// What is wrong with a partition table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GptError {
    /// More partitions than the 128 entries hold.
    #[error("{0} partitions are too many: 128 are allowed")]
    TooManyPartitions(usize),
    /// A size is zero, too large, or not aligned.
    #[error("partition {0}: a size of {1} bytes is not a multiple of 4096 that fits")]
    PartitionSize(String, u64),
    /// A name is empty or too long.
    #[error("partition {0:?}: the name is not of 1 to 36 UTF-16 units")]
    PartitionName(String),
    /// A name or a GUID occurs twice.
    #[error("partition {0}: its name or GUID occurs twice")]
    Duplicate(String),
    /// A GUID is zero.
    #[error("partition {0}: a GUID is zero")]
    ZeroGuid(String),
    /// Two partitions share sectors.
    #[error("partitions {0} and {1} overlap")]
    Overlap(String, String),
    /// A partition is not inside the usable sectors.
    #[error("partition {0} is not inside the disk")]
    Outside(String),
    /// The disk is too small, or not of whole sectors, or the parts given of it are too short.
    #[error("a disk of {0} bytes, or the parts of it, have a size that cannot be")]
    DiskSize(u64),
    /// The protective MBR is malformed.
    #[error("the protective MBR is malformed: {0}")]
    Mbr(&'static str),
    /// A header is malformed.
    #[error("the header is malformed: {0}")]
    Header(&'static str),
    /// An entry is malformed.
    #[error("entry {0} is malformed: {1}")]
    Entry(usize, &'static str),
    /// Neither copy is good.
    #[error("both copies are bad; primary: {primary}; backup: {backup}")]
    BothBad {
        /// What is wrong with the primary copy.
        primary: Box<Self>,
        /// What is wrong with the backup.
        backup: Box<Self>,
    },
    /// Both copies are good, but say different things.
    #[error("the two copies differ: nobody knows which one counts")]
    CopiesDiffer,
}
