//! The index: which objects there are, whose they are, and where they lie.
//!
//! Plain form, little-endian: `u32` entries, then for each `owner[32] | name length u8 | name |
//! version u64 | first block u16 | length u32`; `u16` extents to overwrite, each `first u16 |
//! count u16`. Sealed with AES-256-GCM before it is stored.

use super::{DATA_FIRST, MAX_NAME_BYTES, Owner, TOTAL_BLOCKS, blocks_for};
use std::collections::BTreeMap;

/// An object's owner and name.
pub(crate) type ObjectId = (Owner, String);

/// Blocks behind each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Extent {
    /// The first block.
    pub(crate) first: u16,
    /// How many.
    pub(crate) count: u16,
}

/// Where an object lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Bound into the object's seal: no older content of the same name opens.
    pub(crate) version: u64,
    /// The first block.
    pub(crate) first: u16,
    /// Bytes of the sealed object.
    pub(crate) sealed_bytes: u32,
}

impl Entry {
    /// The blocks that it takes.
    pub(crate) const fn extent(&self) -> Extent {
        Extent { first: self.first, count: blocks_for(self.sealed_bytes as usize) }
    }
}

/// All objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// The objects.
    pub(crate) entries: BTreeMap<ObjectId, Entry>,
    /// Blocks that this version of the index freed: to be overwritten before they are used.
    pub(crate) scrub: Vec<Extent>,
}

impl Index {
    /// The first gap of `count` blocks, with `also` taken too.
    pub(crate) fn allocate(&self, count: u16, also: &[Extent]) -> Option<u16> {
        let mut taken: Vec<Extent> =
            self.entries.values().map(Entry::extent).chain(also.iter().copied()).collect();
        taken.sort_unstable();
        let mut at = DATA_FIRST;
        for extent in taken {
            if extent.first.saturating_sub(at) >= count {
                return Some(at);
            }
            at = at.max(extent.first + extent.count);
        }
        (TOTAL_BLOCKS.saturating_sub(at) >= count).then_some(at)
    }

    /// The plain form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.entries.len() * 64);
        out.extend((self.entries.len() as u32).to_le_bytes());
        for ((owner, name), entry) in &self.entries {
            out.extend(owner);
            out.push(name.len() as u8);
            out.extend(name.as_bytes());
            out.extend(entry.version.to_le_bytes());
            out.extend(entry.first.to_le_bytes());
            out.extend(entry.sealed_bytes.to_le_bytes());
        }
        out.extend((self.scrub.len() as u16).to_le_bytes());
        for extent in &self.scrub {
            out.extend(extent.first.to_le_bytes());
            out.extend(extent.count.to_le_bytes());
        }
        out
    }

    /// From the plain form; `None` where it is not one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let mut index = Self::default();
        for _ in 0..u32::from_le_bytes(reader.array()?) {
            let owner = reader.array()?;
            let [length] = reader.array()?;
            let name = std::str::from_utf8(reader.take(length.into())?).ok()?.to_owned();
            let entry = Entry {
                version: u64::from_le_bytes(reader.array()?),
                first: u16::from_le_bytes(reader.array()?),
                sealed_bytes: u32::from_le_bytes(reader.array()?),
            };
            let valid = name.len() <= MAX_NAME_BYTES && is_data(entry.extent());
            if !valid || index.entries.insert((owner, name), entry).is_some() {
                return None;
            }
        }
        for _ in 0..u16::from_le_bytes(reader.array()?) {
            let first = u16::from_le_bytes(reader.array()?);
            let count = u16::from_le_bytes(reader.array()?);
            index.scrub.push(Extent { first, count });
        }
        let valid = reader.0.is_empty() && index.scrub.iter().copied().all(is_data);
        valid.then_some(index)
    }
}

fn is_data(extent: Extent) -> bool {
    let end = u32::from(extent.first) + u32::from(extent.count);
    extent.first >= DATA_FIRST && end <= u32::from(TOTAL_BLOCKS)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
            let first = DATA_FIRST + 10 * at as u16;
            let entry = Entry { version: at as u64, first, sealed_bytes: 300 };
            index.entries.insert(([at as u8; 32], name.to_owned()), entry);
        }
        index.scrub.push(Extent { first: DATA_FIRST + 100, count: 3 });
        index
    }

    #[test]
    fn survives_a_round_trip_and_refuses_every_truncation() {
        let bytes = index().encode();
        assert_eq!(Index::decode(&bytes), Some(index()));
        for length in 0..bytes.len() {
            assert_eq!(Index::decode(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(Index::decode(&[bytes, vec![0]].concat()), None);
    }

    #[test]
    fn refuses_objects_outside_the_data_blocks() {
        let mut index = index();
        index.entries.values_mut().for_each(|entry| entry.first = 0);
        assert_eq!(Index::decode(&index.encode()), None);
    }

    #[test]
    fn allocates_the_first_gap_that_is_large_enough() {
        let index = index();
        assert_eq!(index.allocate(8, &[]), Some(DATA_FIRST + 2));
        assert_eq!(index.allocate(9, &[]), Some(DATA_FIRST + 22));
        let taken = Extent { first: DATA_FIRST + 2, count: 1 };
        assert_eq!(index.allocate(7, &[taken]), Some(DATA_FIRST + 3));
        assert_eq!(index.allocate(TOTAL_BLOCKS, &[]), None);
    }

    proptest::proptest! {
        #[test]
        fn takes_any_bytes_without_panic_and_only_its_own_form(
            mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            entries in 0_u8..4,
        ) {
            if let Some(count) = bytes.first_chunk_mut::<4>() {
                *count = u32::from(entries).to_le_bytes();
            }
            if let Some(index) = Index::decode(&bytes) {
                proptest::prop_assert_eq!(index.encode().len(), bytes.len());
            }
        }
    }
}
