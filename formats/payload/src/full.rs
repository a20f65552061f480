//! Operations that make an image out of nothing.

use crate::compress::{Compression, compress};
use crate::error::MakeError;
use crate::manifest::{BLOCK_BYTES, Extent, Operation, OperationKind};

/// One operation and its blob. Where the blob lies is [`crate::make::Builder`]'s business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The operation, without `data_offset`.
    pub operation: Operation,
    /// Its blob; empty where it has none.
    pub blob: Vec<u8>,
}

/// Zeros that are worth an operation of their own: 256 KiB.
const ZERO_BLOCKS: u64 = 64;

pub(crate) const BLOCK: usize = BLOCK_BYTES as usize;

/// The steps that write `data` to the blocks from `first_block` on: the blob as `compression`
/// makes it, plain where that is not smaller; long runs of zeros as `ZERO`.
///
/// Stretches are independent: a caller gives each of its cores another one. Longer ones compress
/// better; the device holds one stretch's blob in memory.
pub fn full(
    first_block: u64,
    data: &[u8],
    compression: Compression,
) -> Result<Vec<Step>, MakeError> {
    require_blocks(data.len() as u64)?;
    let mut zeros = Vec::new();
    let mut others = Vec::new();
    for (extent, is_zero) in zero_runs(first_block, data) {
        let list =
            if is_zero && extent.num_blocks >= ZERO_BLOCKS { &mut zeros } else { &mut others };
        push_extent(list, extent);
    }
    let mut steps = Vec::new();
    if !zeros.is_empty() {
        steps.push(zero(zeros));
    }
    if !others.is_empty() {
        let bytes = gather(first_block, data, &others);
        steps.push(replace(others, &bytes, compression)?);
    }
    Ok(steps)
}

pub(crate) const fn require_blocks(size: u64) -> Result<(), MakeError> {
    if size == 0 || !size.is_multiple_of(BLOCK_BYTES) { Err(MakeError::Size(size)) } else { Ok(()) }
}

/// `ZERO` over these extents.
pub(crate) fn zero(extents: Vec<Extent>) -> Step {
    let operation =
        Operation { kind: OperationKind::Zero, dst_extents: extents, ..Operation::default() };
    Step { operation, blob: Vec::new() }
}

/// `REPLACE*` of `bytes` over these extents.
pub(crate) fn replace(
    extents: Vec<Extent>,
    bytes: &[u8],
    compression: Compression,
) -> Result<Step, MakeError> {
    let kind = match compression {
        Compression::Xz(_) => OperationKind::ReplaceXz,
        Compression::Bzip2 => OperationKind::ReplaceBz,
        Compression::Zstd(_) => OperationKind::ReplaceZstd,
        Compression::None | Compression::Brotli { .. } => OperationKind::Replace,
    };
    if kind != OperationKind::Replace {
        let packed = compress(bytes, compression).map_err(MakeError::Compress)?;
        if packed.len() < bytes.len() {
            return Ok(with_blob(kind, extents, packed));
        }
    }
    Ok(with_blob(OperationKind::Replace, extents, bytes.to_vec()))
}

/// An operation around its blob.
pub(crate) fn with_blob(kind: OperationKind, dst_extents: Vec<Extent>, blob: Vec<u8>) -> Step {
    let operation = Operation {
        kind,
        dst_extents,
        data_length: Some(blob.len() as u64),
        data_sha256_hash: Some(crypto::digest::sha256(&blob).to_vec()),
        ..Operation::default()
    };
    Step { operation, blob }
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// The blocks in runs of zeros and of others.
fn zero_runs(first_block: u64, data: &[u8]) -> Vec<(Extent, bool)> {
    let mut runs: Vec<(Extent, bool)> = Vec::new();
    for (number, block) in (first_block..).zip(data.chunks(BLOCK)) {
        let zero = is_zero(block);
        match runs.last_mut() {
            Some((extent, same)) if *same == zero => extent.num_blocks += 1,
            _ => runs.push((Extent::new(number, 1), zero)),
        }
    }
    runs
}

/// Appends an extent, to the last one where it continues it.
pub(crate) fn push_extent(extents: &mut Vec<Extent>, next: Extent) {
    match extents.last_mut() {
        Some(last) if last.end() == Some(next.start_block) => last.num_blocks += next.num_blocks,
        _ => extents.push(next),
    }
}

/// The bytes of `extents`, all of which lie inside `data`, which begins at `first_block`.
pub(crate) fn gather(first_block: u64, data: &[u8], extents: &[Extent]) -> Vec<u8> {
    let mut out = Vec::new();
    for extent in extents {
        let start = offset(extent.start_block - first_block);
        out.extend(&data[start..start + offset(extent.num_blocks)]);
    }
    out
}

/// Bytes of so many blocks that lie in memory.
pub(crate) fn offset(blocks: u64) -> usize {
    usize::try_from(blocks * BLOCK_BYTES).expect("the blocks are in memory")
}
