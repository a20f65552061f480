//! The content of a file on the disk: sealed blocks of 64 KiB, and the map of its holes.
//!
//! Block `i` lies at [`HEADER_BYTES`] + `i` · 65564: nonce (12), ciphertext, tag (16). Its
//! additional data is `"block"`, the index, and whether it is the last. A file always has a last
//! block: that of an empty file is empty. A full block of zeros is a hole: nothing is written,
//! and the map behind the last block says so: pairs of first block and count, sealed.

use crate::header::HEADER_BYTES;
use crypto::aead::{Key, NONCE_BYTES, OVERHEAD_BYTES};
use std::ops::Range;

/// The most plaintext in a block.
pub const BLOCK_BYTES: usize = 64 << 10;
/// Bytes of a full block on the disk.
pub(crate) const SEALED_BYTES: usize = BLOCK_BYTES + OVERHEAD_BYTES;
const HOLES: &[u8] = b"holes";

/// How many blocks a file has.
pub(crate) fn block_count(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES as u64).max(1)
}

/// Bytes of plaintext in block `index`.
pub(crate) fn plain_len(size: u64, index: u64) -> usize {
    size.saturating_sub(index * BLOCK_BYTES as u64).min(BLOCK_BYTES as u64) as usize
}

/// Where block `index` begins on the disk.
pub(crate) const fn offset(index: u64) -> u64 {
    HEADER_BYTES as u64 + index * SEALED_BYTES as u64
}

/// Where the blocks of a file of `size` bytes end on the disk.
pub(crate) fn end_offset(size: u64) -> u64 {
    HEADER_BYTES as u64 + size + block_count(size) * OVERHEAD_BYTES as u64
}

fn aad(index: u64, last: bool) -> [u8; 14] {
    let mut aad = *b"block\0\0\0\0\0\0\0\0\0";
    aad[5..13].copy_from_slice(&index.to_be_bytes());
    aad[13] = u8::from(last);
    aad
}

/// Whether `plain` is kept as a hole.
pub(crate) fn is_hole(plain: &[u8]) -> bool {
    plain.len() == BLOCK_BYTES && snapshot::block::is_zero(plain)
}

/// Appends the sealed block to `out`.
pub(crate) fn seal_block(key: &Key, index: u64, last: bool, plain: &[u8], out: &mut Vec<u8>) {
    let nonce: [u8; NONCE_BYTES] = crypto::random_array();
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plain);
    let tag = key.seal_in_place(nonce, &aad(index, last), &mut out[start..]);
    out.extend_from_slice(&tag);
}

/// Opens a sealed block where it lies.
pub(crate) fn open_block<'b>(
    key: &Key,
    index: u64,
    last: bool,
    sealed: &'b mut [u8],
) -> Option<&'b [u8]> {
    let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_BYTES>()?;
    key.open_in_place(*nonce, &aad(index, last), rest).ok().map(|plain| &*plain)
}

/// The holes of a file: sorted stretches of block indexes that do not touch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Holes(Vec<Range<u64>>);

impl Holes {
    /// Sorts and joins.
    pub(crate) fn new(mut holes: Vec<Range<u64>>) -> Self {
        holes.sort_unstable_by_key(|hole| hole.start);
        let mut joined: Vec<Range<u64>> = Vec::with_capacity(holes.len());
        for hole in holes {
            match joined.last_mut() {
                Some(before) if before.end == hole.start => before.end = hole.end,
                _ => joined.push(hole),
            }
        }
        Self(joined)
    }

    pub(crate) fn stretches(&self) -> &[Range<u64>] {
        &self.0
    }

    /// The hole that `block` lies in.
    pub(crate) fn around(&self, block: u64) -> Option<&Range<u64>> {
        let at = self.0.partition_point(|hole| hole.end <= block);
        self.0.get(at).filter(|hole| hole.contains(&block))
    }

    /// Where the next hole at or after `block` begins.
    pub(crate) fn next_from(&self, block: u64) -> Option<u64> {
        self.0.get(self.0.partition_point(|hole| hole.start < block)).map(|hole| hole.start)
    }

    /// The sealed map; empty where there is no hole.
    pub(crate) fn seal(&self, key: &Key) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let numbers = self.0.iter().flat_map(|hole| [hole.start, hole.end - hole.start]);
        key.seal(HOLES, &numbers.flat_map(u64::to_be_bytes).collect::<Vec<_>>())
    }

    /// Opens a sealed map; `None` where it was altered.
    pub(crate) fn open(key: &Key, sealed: &[u8]) -> Option<Self> {
        let plain = key.open(HOLES, sealed).ok()?;
        let (pairs, rest) = plain.as_chunks::<16>();
        let half = |half: &[u8]| half.try_into().map(u64::from_be_bytes).ok();
        let hole = |pair: &[u8; 16]| {
            let start = half(&pair[..8])?;
            Some(start..start.checked_add(half(&pair[8..])?)?)
        };
        let holes = pairs.iter().map(hole).collect::<Option<Vec<_>>>()?;
        rest.is_empty().then_some(Self(holes))
    }
}
