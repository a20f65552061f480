//! Checking data against a trusted root digest.

use crate::{Error, Geometry, Params, RootDigest, build::check_range};

/// A tree whose every hash block was checked against the root digest.
pub struct Tree<'t> {
    params: &'t Params,
    geometry: Geometry,
    leaves: Vec<u8>,
}

impl<'t> Tree<'t> {
    /// Checks the whole tree over `data_bytes` of data: each block against its parent, the first
    /// against `root`, all padding zero. `tree` has no superblock.
    pub fn open(
        params: &'t Params,
        data_bytes: u64,
        tree: &[u8],
        root: &RootDigest,
    ) -> Result<Self, Error> {
        let geometry = Geometry::new(params, data_bytes)?;
        let need = params.algorithm().digest_bytes();
        if root.as_bytes().len() != need {
            return Err(Error::DigestSize { need, have: root.as_bytes().len() });
        }
        if tree.len() != geometry.tree_bytes() {
            let (need, have) = (geometry.tree_bytes() as u64, tree.len() as u64);
            return Err(Error::TreeSize { need, have });
        }
        let mut parents = root.as_bytes().to_vec();
        for (number, level) in geometry.levels().iter().enumerate().rev() {
            let bytes = level_bytes(params, level.blocks);
            let blocks = &tree[level.offset..level.offset + bytes];
            check_level(params, number, blocks, &parents)?;
            parents = digests_of(params, number, blocks, level.digests)?;
        }
        Ok(Self { params, geometry, leaves: parents })
    }

    /// The shape of the tree.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The digest that a data block must have.
    #[must_use]
    pub fn digest_of(&self, block: u64) -> Option<&[u8]> {
        let size = self.params.algorithm().digest_bytes();
        let start = usize::try_from(block).ok()?.checked_mul(size)?;
        self.leaves.get(start..start.checked_add(size)?)
    }

    /// Checks the data blocks from `first` on. `data` holds whole blocks, but for the last one of
    /// the image. Ranges may be checked in any order, on any core.
    pub fn verify_blocks(&self, first: u64, data: &[u8]) -> Result<(), Error> {
        check_range(self.params, &self.geometry, first, data)?;
        let size = self.params.algorithm().digest_bytes();
        let block_bytes = self.params.data_block_bytes();
        let start = usize::try_from(first).expect("the range was checked") * size;
        let expected = self.leaves[start..].chunks_exact(size);
        let mut digest = [0; 64];
        for ((number, block), expected) in (first..).zip(data.chunks(block_bytes)).zip(expected) {
            self.params.hash_block(block, block_bytes, &mut digest[..size]);
            if digest[..size] != *expected {
                return Err(Error::CorruptData(number));
            }
        }
        Ok(())
    }
}

fn level_bytes(params: &Params, blocks: u64) -> usize {
    usize::try_from(blocks).expect("the tree is in memory") * params.hash_block_bytes()
}

/// The digests in the blocks of a level, the padding of which must be zero.
fn digests_of(params: &Params, level: usize, blocks: &[u8], count: u64) -> Result<Vec<u8>, Error> {
    let mut left = usize::try_from(count).expect("the tree is in memory");
    let mut digests = Vec::with_capacity(left * params.algorithm().digest_bytes());
    for block in blocks.chunks_exact(params.hash_block_bytes()) {
        let here = left.min(params.digests_per_block());
        if !params.padding_is_zero(block, here) {
            return Err(Error::TreePadding { level });
        }
        params.unpack(block, here, &mut digests);
        left -= here;
    }
    Ok(digests)
}

/// Checks the blocks of a level against their digests in the level above.
fn check_level(params: &Params, level: usize, blocks: &[u8], parents: &[u8]) -> Result<(), Error> {
    let size = params.algorithm().digest_bytes();
    let block_bytes = params.hash_block_bytes();
    let mut digest = [0; 64];
    let pairs = blocks.chunks_exact(block_bytes).zip(parents.chunks_exact(size));
    for (block, (bytes, expected)) in (0..).zip(pairs) {
        params.hash_block(bytes, block_bytes, &mut digest[..size]);
        if digest[..size] != *expected {
            return Err(match block {
                0 if parents.len() == size => Error::RootMismatch,
                block => Error::CorruptTree { level, block },
            });
        }
    }
    Ok(())
}
