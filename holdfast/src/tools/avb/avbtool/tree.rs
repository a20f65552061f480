//! Hash trees over images, on all cores.

use super::image::{CHUNK_BYTES, Image};
use anyhow::{Result, anyhow};
use std::ops::Range;
use std::thread;
use verity::{Geometry, HashAlgorithm, Params, TreeBuilder};

/// The data of a tree: the first `end` bytes of an image, and zeros behind them.
#[derive(Clone, Copy)]
pub(super) struct Data<'a> {
    pub(super) image: &'a Image,
    pub(super) end: u64,
}

impl Data<'_> {
    /// Fills `buffer` from `offset` on.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (data, zeros) = buffer.split_at_mut(left.min(buffer.len()));
        let have = self.image.read_at(offset, data)?;
        data[have..].fill(0);
        zeros.fill(0);
        Ok(())
    }
}

/// The hash function with avbtool's name.
pub(super) fn algorithm(name: &str) -> Result<HashAlgorithm> {
    HashAlgorithm::from_name(&name.to_ascii_lowercase())
        .ok_or_else(|| anyhow!("unsupported hash type {name}"))
}

/// The tree over `size` bytes of `data`, and its root digest.
pub(super) fn build(params: &Params, data: Data<'_>, size: u64) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut builder = TreeBuilder::new(params, size)?;
    let geometry = builder.geometry().clone();
    let leaves = builder.leaves();
    let stride = leaves.len() / usize::try_from(geometry.data_blocks())?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let mut rest = leaves;
        let mut workers = Vec::new();
        for blocks in geometry.split(cores) {
            let count = usize::try_from(blocks.end - blocks.start)?;
            let (part, after) = std::mem::take(&mut rest).split_at_mut(count * stride);
            rest = after;
            let geometry = &geometry;
            workers.push(scope.spawn(move || hash(params, geometry, data, blocks, part)));
        }
        workers.into_iter().try_for_each(|worker| worker.join().expect("hashing does not panic"))
    })?;
    let (tree, root) = builder.finish();
    Ok((tree, root.as_bytes().to_vec()))
}

/// Hashes a range of blocks into their digests, piece by piece.
fn hash(
    params: &Params,
    geometry: &Geometry,
    data: Data<'_>,
    blocks: Range<u64>,
    mut digests: &mut [u8],
) -> Result<()> {
    let stride = digests.len() / usize::try_from(blocks.end - blocks.start)?;
    let at_a_time = CHUNK_BYTES / params.data_block_bytes();
    let mut buffer = vec![0; CHUNK_BYTES];
    for first in blocks.clone().step_by(at_a_time) {
        let last = blocks.end.min(first + at_a_time as u64);
        let bytes = geometry.byte_range(params, first..last);
        let piece = &mut buffer[..usize::try_from(bytes.end - bytes.start)?];
        data.read(bytes.start, piece)?;
        let count = usize::try_from(last - first)? * stride;
        let (part, after) = std::mem::take(&mut digests).split_at_mut(count);
        digests = after;
        TreeBuilder::hash_blocks(params, geometry, first, piece, part)?;
    }
    Ok(())
}
