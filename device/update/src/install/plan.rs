//! What an installation will do, and everything that can refuse it before it writes.

use super::{InstallError, cores, partition};
use crate::storage::SlotStorage;
use bootimg::misc::Slot;
use payload::bytes_in;
use payload::manifest::{Manifest, PartitionUpdate};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Where a partition's content comes from.
pub(super) enum Content<'m> {
    /// From the package.
    Update(&'m PartitionUpdate),
    /// From the slot that runs: the package does not have it.
    Copy,
}

/// One partition of the target slot.
pub(super) struct Part<'m> {
    /// Without suffix.
    pub(super) name: String,
    /// The partition that is read, of the slot that runs.
    pub(super) source: String,
    /// The partition that is written.
    pub(super) target: String,
    /// Bytes of each of the two.
    pub(super) size: u64,
    pub(super) content: Content<'m>,
}

/// All partitions of the target slot.
pub(super) struct Plan<'m> {
    pub(super) parts: Vec<Part<'m>>,
}

impl<'m> Plan<'m> {
    /// Lays out what is to be done; refuses what this device can't hold.
    pub(super) fn new(
        manifest: &'m Manifest,
        storage: &dyn SlotStorage,
        target: Slot,
    ) -> Result<Self, InstallError> {
        let mut slotted = slotted(&storage.partitions());
        let part = |name: &str, size, content| Part {
            name: name.to_owned(),
            source: format!("{name}{}", target.other().suffix()),
            target: format!("{name}{}", target.suffix()),
            size,
            content,
        };
        let mut parts = Vec::new();
        for update in &manifest.partitions {
            let name = &update.partition_name;
            let have =
                slotted.remove(name).ok_or_else(|| InstallError::NoPartition(name.clone()))?;
            check(update, have)?;
            parts.push(part(name, have, Content::Update(update)));
        }
        parts.extend(slotted.iter().map(|(name, size)| part(name, *size, Content::Copy)));
        Ok(Self { parts })
    }

    /// Reads what is there: which parts hold the right bytes already. Refuses a delta whose old
    /// partition is another one.
    pub(super) fn look(&self, storage: &dyn SlotStorage) -> Result<Vec<bool>, InstallError> {
        let complete = Mutex::new(vec![false; self.parts.len()]);
        let numbers: Vec<usize> = (0..self.parts.len()).collect();
        cores::each(&numbers, |&number| {
            let part = &self.parts[number];
            let found = part.is_complete(storage)?;
            if !found {
                part.check_source(storage)?;
            }
            complete.lock().unwrap_or_else(PoisonError::into_inner)[number] = found;
            Ok::<(), InstallError>(())
        })?;
        Ok(complete.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Part<'_> {
    fn is_complete(&self, storage: &dyn SlotStorage) -> Result<bool, InstallError> {
        let have = partition::sha256(storage, &self.target, self.size)?;
        match self.content {
            Content::Update(update) => Ok(new_hash(update) == have),
            Content::Copy => Ok(partition::sha256(storage, &self.source, self.size)? == have),
        }
    }

    fn check_source(&self, storage: &dyn SlotStorage) -> Result<(), InstallError> {
        let Content::Update(update) = self.content else { return Ok(()) };
        let Some(old) = &update.old_partition_info else { return Ok(()) };
        let is_old = old.size == self.size
            && partition::sha256(storage, &self.source, self.size)? == *old.hash;
        if is_old { Ok(()) } else { Err(InstallError::OtherSource(self.name.clone())) }
    }
}

/// Names and sizes of partitions that both slots have, in the same size.
fn slotted(partitions: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let both = partitions.iter().filter_map(|(name, size)| {
        let name = name.strip_suffix(Slot::A.suffix())?;
        let other = partitions.get(&format!("{name}{}", Slot::B.suffix()))?;
        (other == size).then(|| (name.to_owned(), *size))
    });
    both.collect()
}

fn check(update: &PartitionUpdate, have: u64) -> Result<(), InstallError> {
    let name = || update.partition_name.clone();
    let image = update.new_partition_info.as_ref().map_or(0, |info| info.size);
    if image != have {
        return Err(InstallError::Size { name: name(), have, image });
    }
    // No block is written twice, nor by an operation and by the device: the payload's own check. So
    // the sum says whether all are written.
    let mut written: u64 = update.operations.iter().map(|it| bytes_in(&it.dst_extents)).sum();
    let computed = [update.verity.hash_tree_extent, update.verity.fec_extent];
    written += bytes_in(&computed.into_iter().flatten().collect::<Vec<_>>());
    if written == have { Ok(()) } else { Err(InstallError::Uncovered(name())) }
}

/// What a partition shall hold; a payload without it was refused.
pub(super) fn new_hash(update: &PartitionUpdate) -> &[u8] {
    update.new_partition_info.as_ref().map_or(&[], |info| &info.hash)
}
