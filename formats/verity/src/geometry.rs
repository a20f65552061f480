//! Where things are in a tree.

use crate::{Error, Params};
use std::ops::Range;

/// One level of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Where it starts in the tree, in bytes.
    pub offset: usize,
    /// How many digests it holds: one for each block of the level below.
    pub digests: u64,
    /// How many hash blocks it has.
    pub blocks: u64,
}

/// The shape of the tree over `data_bytes` of data.
///
/// Level 0 lies above the data, the last level has one block. Data of a single block has no
/// level: its root digest is that of the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    data_bytes: u64,
    data_blocks: u64,
    tree_bytes: usize,
    levels: Vec<Level>,
}

impl Geometry {
    /// The tree over `data_bytes`, the last block of which may be short: it counts as padded
    /// with zeros.
    pub fn new(params: &Params, data_bytes: u64) -> Result<Self, Error> {
        if data_bytes == 0 {
            return Err(Error::Empty);
        }
        let data_blocks = data_bytes.div_ceil(params.data_block_bytes() as u64);
        let per_block = params.digests_per_block() as u64;
        let mut levels = Vec::new();
        let mut below = data_blocks;
        while below > 1 {
            let blocks = below.div_ceil(per_block);
            levels.push(Level { offset: 0, digests: below, blocks });
            below = blocks;
        }
        let tree_bytes = place(&mut levels, params).ok_or(Error::TooLarge(data_bytes))?;
        Ok(Self { data_bytes, data_blocks, tree_bytes, levels })
    }

    /// Bytes of the data.
    #[must_use]
    pub const fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Blocks of the data.
    #[must_use]
    pub const fn data_blocks(&self) -> u64 {
        self.data_blocks
    }

    /// Bytes of the tree: a multiple of the hash block size; 0 for a single data block.
    #[must_use]
    pub const fn tree_bytes(&self) -> usize {
        self.tree_bytes
    }

    /// The levels, from the one above the data to the one under the root digest.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Where a range of data blocks is in the data, in bytes. The last block may be short.
    #[must_use]
    pub fn byte_range(&self, params: &Params, blocks: Range<u64>) -> Range<u64> {
        let at = |block: u64| {
            block.saturating_mul(params.data_block_bytes() as u64).min(self.data_bytes)
        };
        at(blocks.start)..at(blocks.end)
    }

    /// Splits the data blocks into at most `parts` ranges of about the same size.
    pub fn split(&self, parts: usize) -> impl Iterator<Item = Range<u64>> + use<> {
        let blocks = self.data_blocks;
        let step = blocks.div_ceil(parts.max(1) as u64);
        (0..blocks)
            .step_by(usize::try_from(step).unwrap_or(usize::MAX))
            .map(move |first| first..first.saturating_add(step).min(blocks))
    }
}

/// Puts the levels one behind the other, the last one first. Gives the size of the tree.
fn place(levels: &mut [Level], params: &Params) -> Option<usize> {
    let mut end = 0_usize;
    for level in levels.iter_mut().rev() {
        level.offset = end;
        let blocks = usize::try_from(level.blocks).ok()?;
        end = end.checked_add(blocks.checked_mul(params.hash_block_bytes())?)?;
    }
    Some(end)
}
