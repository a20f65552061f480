//! What must hold of a manifest before anything of it is believed.

use crate::computed::Computed;
use crate::error::{OperationFault, PartitionFault, Refusal};
use crate::manifest::{
    BLOCK_BYTES, Extent, Manifest, Operation, OperationKind, PartitionInfo, PartitionUpdate,
};
use std::collections::BTreeSet;

/// Checks a manifest in front of `blob_bytes` bytes of blobs and signatures.
pub(crate) fn manifest(manifest: &Manifest, blob_bytes: u64) -> Result<(), Refusal> {
    match manifest.block_size {
        None | Some(4096) => {}
        Some(other) => return Err(Refusal::BlockSize(other)),
    }
    let minor = manifest.minor_version();
    if minor != 0 && !(2..=10).contains(&minor) {
        return Err(Refusal::MinorVersion(minor));
    }
    let blobs = blobs_end(manifest, blob_bytes)?;
    let mut names = BTreeSet::new();
    for update in &manifest.partitions {
        let refused = |fault| Refusal::Partition {
            partition: update.partition_name.escape_default().to_string(),
            fault,
        };
        if !names.insert(&update.partition_name) {
            return Err(refused(PartitionFault::Twice));
        }
        partition(update, minor).map_err(refused)?;
        operations(update, minor, blobs)?;
        overlaps(update).map_err(refused)?;
    }
    Ok(())
}

/// Where the blobs end and the signatures begin.
fn blobs_end(manifest: &Manifest, blob_bytes: u64) -> Result<u64, Refusal> {
    let Some(offset) = manifest.signatures_offset else {
        return if manifest.signatures_size.unwrap_or(0) == 0 {
            Ok(blob_bytes)
        } else {
            Err(Refusal::SignaturesPlace)
        };
    };
    let size = manifest.signatures_size.unwrap_or(0);
    if offset.checked_add(size) == Some(blob_bytes) {
        Ok(offset)
    } else {
        Err(Refusal::SignaturesPlace)
    }
}

fn partition(update: &PartitionUpdate, minor: u32) -> Result<(), PartitionFault> {
    let name = &update.partition_name;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) || name.starts_with('.') {
        return Err(PartitionFault::Name);
    }
    let new = update.new_partition_info.as_ref().ok_or(PartitionFault::NoNewInfo)?;
    info(new)?;
    if let Some(old) = &update.old_partition_info {
        info(old)?;
        if minor == 0 {
            return Err(PartitionFault::OldInfoInFull);
        }
    }
    Computed::of(update)?;
    Ok(())
}

fn info(info: &PartitionInfo) -> Result<(), PartitionFault> {
    if info.hash.len() != 32 {
        return Err(PartitionFault::Hash);
    }
    if info.size == 0 || !info.size.is_multiple_of(BLOCK_BYTES) {
        return Err(PartitionFault::Size);
    }
    Ok(())
}

fn operations(update: &PartitionUpdate, minor: u32, blobs: u64) -> Result<(), Refusal> {
    let blocks = |info: &Option<PartitionInfo>| info.as_ref().map(|it| it.size / BLOCK_BYTES);
    let new = blocks(&update.new_partition_info).unwrap_or(0);
    let old = blocks(&update.old_partition_info);
    for (index, it) in update.operations.iter().enumerate() {
        operation(it, minor, blobs, old, new).map_err(|fault| Refusal::Operation {
            partition: update.partition_name.clone(),
            index,
            kind: it.kind.name(),
            fault,
        })?;
    }
    Ok(())
}

fn operation(
    it: &Operation,
    minor: u32,
    blobs: u64,
    old: Option<u64>,
    new: u64,
) -> Result<(), OperationFault> {
    if !is_supported(it.kind) {
        return Err(OperationFault::Unsupported);
    }
    // zstd belongs to full updates too, whose minor version is 0.
    let due = it.kind.since_minor_version().ok_or(OperationFault::Unsupported)?;
    if minor < due && !(minor == 0 && it.kind == OperationKind::ReplaceZstd) {
        return Err(OperationFault::MinorVersion);
    }
    let written = extents(&it.dst_extents, new)?;
    if it.kind.reads_source() {
        let read = extents(&it.src_extents, old.ok_or(OperationFault::NoOldInfo)?)?;
        if it.kind == OperationKind::SourceCopy && read != written {
            return Err(OperationFault::Lengths);
        }
        // The hash of what is read came with minor version 3.
        hash(it.src_sha256_hash.as_deref(), minor >= 3)?;
    } else if !it.src_extents.is_empty() {
        return Err(OperationFault::Extent);
    }
    blob(it, blobs)
}

/// What [`crate::apply`] knows. puffin, zucchini and LZ4 patches have no well-kept library.
const fn is_supported(kind: OperationKind) -> bool {
    matches!(
        kind,
        OperationKind::Replace
            | OperationKind::ReplaceBz
            | OperationKind::ReplaceXz
            | OperationKind::ReplaceZstd
            | OperationKind::SourceCopy
            | OperationKind::SourceBsdiff
            | OperationKind::BrotliBsdiff
            | OperationKind::Zero
            | OperationKind::Discard
    )
}

/// The number of blocks, all of them inside a partition of `blocks` blocks.
fn extents(extents: &[Extent], blocks: u64) -> Result<u64, OperationFault> {
    if extents.is_empty() || extents.iter().any(|extent| extent.num_blocks == 0) {
        return Err(OperationFault::NoExtents);
    }
    if extents.iter().any(|extent| extent.end().is_none_or(|end| end > blocks)) {
        return Err(OperationFault::Extent);
    }
    // No more than the partition has: what is read is held in memory.
    let total = extents.iter().try_fold(0_u64, |sum, extent| sum.checked_add(extent.num_blocks));
    total.filter(|&total| total <= blocks).ok_or(OperationFault::Extent)
}

fn blob(it: &Operation, blobs: u64) -> Result<(), OperationFault> {
    let length = it.data_length.unwrap_or(0);
    if !it.kind.has_blob() {
        return if length == 0 { Ok(()) } else { Err(OperationFault::Blob) };
    }
    let end = it.data_offset.unwrap_or(0).checked_add(length);
    if length == 0 || end.is_none_or(|end| end > blobs) {
        return Err(OperationFault::Blob);
    }
    hash(it.data_sha256_hash.as_deref(), true)
}

const fn hash(hash: Option<&[u8]>, required: bool) -> Result<(), OperationFault> {
    match hash {
        Some(hash) if hash.len() == 32 => Ok(()),
        None if !required => Ok(()),
        _ => Err(OperationFault::Hash),
    }
}

/// No block is written twice: so operations may run in any order, on any number of cores, and what
/// the device computes comes from nowhere else.
fn overlaps(update: &PartitionUpdate) -> Result<(), PartitionFault> {
    let written = update.operations.iter().flat_map(|it| it.dst_extents.iter().copied());
    let computed = [update.verity.hash_tree_extent, update.verity.fec_extent];
    let mut all: Vec<Extent> = written.chain(computed.into_iter().flatten()).collect();
    all.sort_unstable_by_key(|extent| extent.start_block);
    for pair in all.windows(2) {
        if pair[0].end().is_none_or(|end| end > pair[1].start_block) {
            return Err(PartitionFault::Overlap(pair[1].start_block));
        }
    }
    Ok(())
}
