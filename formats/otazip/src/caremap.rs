//! care_map.pb (care_map.proto): the blocks that update_verifier reads through dm-verity before a
//! new slot counts as good.

use payload::DecodeError;
use payload::wire::{Reader, Writer};
use std::ops::Range;

/// The entry's name in an OTA file.
pub const NAME: &str = "care_map.pb";

/// One partition's blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Blocks as `2,0,100`: a count of numbers, then starts and ends (exclusive).
    pub ranges: String,
    /// The property that names its build, as `ro.system.build.fingerprint`.
    pub id: String,
    /// That property's value.
    pub fingerprint: String,
}

/// Why a care map is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CareMapError {
    /// Malformed protobuf.
    #[error("malformed care map: {0}")]
    Protobuf(#[from] DecodeError),
    /// Ranges that are no ranges.
    #[error("the care map's ranges {0:?} are not a count and that many rising block numbers")]
    Ranges(String),
}

impl Partition {
    /// All blocks from the first on.
    #[must_use]
    pub fn whole(name: &str, blocks: u64) -> Self {
        Self { name: name.to_owned(), ranges: format!("2,0,{blocks}"), ..Self::default() }
    }

    /// The blocks.
    pub fn blocks(&self) -> Result<Vec<Range<u64>>, CareMapError> {
        let malformed = || CareMapError::Ranges(self.ranges.clone());
        let numbers: Option<Vec<u64>> =
            self.ranges.split(',').map(|number| number.parse().ok()).collect();
        let numbers = numbers.ok_or_else(malformed)?;
        let (count, ends) = numbers.split_first().ok_or_else(malformed)?;
        let rising = ends.windows(2).all(|pair| pair[0] < pair[1]);
        if *count != ends.len() as u64 || ends.is_empty() || ends.len() % 2 != 0 || !rising {
            return Err(malformed());
        }
        Ok(ends.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect())
    }
}

/// Reads a care map; every partition's ranges hold.
pub fn decode(bytes: &[u8]) -> Result<Vec<Partition>, CareMapError> {
    let mut partitions = Vec::new();
    let mut fields = Reader::new("CareMap", bytes);
    while let Some(field) = fields.next_field()? {
        if field.number == 1 {
            let partition = decode_one(field.bytes("CareMap")?)?;
            partition.blocks()?;
            partitions.push(partition);
        }
    }
    Ok(partitions)
}

fn decode_one(bytes: &[u8]) -> Result<Partition, DecodeError> {
    const MESSAGE: &str = "CareMap.PartitionInfo";
    let mut it = Partition::default();
    let mut fields = Reader::new(MESSAGE, bytes);
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => it.name = field.text(MESSAGE)?,
            2 => it.ranges = field.text(MESSAGE)?,
            3 => it.id = field.text(MESSAGE)?,
            4 => it.fingerprint = field.text(MESSAGE)?,
            _ => {}
        }
    }
    Ok(it)
}

/// Writes a care map.
#[must_use]
pub fn encode(partitions: &[Partition]) -> Vec<u8> {
    let mut out = Writer::new();
    for partition in partitions {
        let mut one = Writer::new();
        for (field, text) in [
            (1, &partition.name),
            (2, &partition.ranges),
            (3, &partition.id),
            (4, &partition.fingerprint),
        ] {
            one.bytes(field, text.as_bytes());
        }
        out.bytes(1, &one.finish());
    }
    out.finish()
}
