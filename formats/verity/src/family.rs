//! A hash block and the blocks under it: the smallest piece of work, for files of any size.

use crate::{Error, Geometry, Params, RootDigest};
use std::ops::Range;

/// A hash block and the blocks whose digests it holds.
///
/// Whoever can't hold a tree in memory builds it family by family, level 0 first, and checks it
/// so in any order: each family on its own says whether the children are those that the parent
/// names. A tree holds where every family does and [`check_top`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The level of the parent; 0 lies above the data.
    pub level: usize,
    /// Where the parent is in the tree, in bytes.
    pub parent: Range<u64>,
    /// Where the children are, in bytes: of the data for level 0, else of the tree. The last data
    /// block may be short.
    pub children: Range<u64>,
    /// The first child, in blocks of the level below.
    pub first: u64,
}

impl Geometry {
    /// The family of hash block `index` in `level`.
    #[must_use]
    pub fn family(&self, params: &Params, level: usize, index: u64) -> Option<Family> {
        let here = self.levels().get(level).filter(|here| index < here.blocks)?;
        let block = params.hash_block_bytes() as u64;
        let at = here.offset as u64 + index * block;
        let first = index * params.digests_per_block() as u64;
        let behind = (first + params.digests_per_block() as u64).min(here.digests);
        let children = match level.checked_sub(1) {
            None => self.byte_range(params, first..behind),
            Some(below) => {
                let start = self.levels()[below].offset as u64;
                start + first * block..start + behind * block
            }
        };
        Some(Family { level, parent: at..at + block, children, first })
    }

    /// Blocks of the tree.
    #[must_use]
    pub fn tree_blocks(&self) -> u64 {
        self.levels().iter().map(|level| level.blocks).sum()
    }
}

impl Params {
    /// Puts the digests of `children` into the hash block `parent` of `level`, from slot `at` on:
    /// a family may come in pieces. The block was zero before.
    ///
    /// # Panics
    /// Where the sizes are not those of a family.
    pub fn hash_family(&self, level: usize, at: usize, children: &[u8], parent: &mut [u8]) {
        self.assert_family(level, at, children, parent);
        let (size, child) = (self.algorithm().digest_bytes(), self.child_bytes(level));
        let slots = parent.chunks_mut(self.slot_bytes()).skip(at);
        for (block, slot) in children.chunks(child).zip(slots) {
            self.hash_block(block, child, &mut slot[..size]);
        }
    }

    /// Gives the slots from `at` on in the hash block `parent` of `level` that name something else
    /// than these `children`: a family may come in pieces.
    ///
    /// # Panics
    /// Where the sizes are not those of a family.
    #[must_use]
    pub fn check_family(
        &self,
        level: usize,
        at: usize,
        children: &[u8],
        parent: &[u8],
    ) -> Vec<usize> {
        self.assert_family(level, at, children, parent);
        let (size, child) = (self.algorithm().digest_bytes(), self.child_bytes(level));
        let slots = parent.chunks(self.slot_bytes()).enumerate().skip(at);
        let mut digest = [0; 64];
        let mut wrong = Vec::new();
        for (block, (number, slot)) in children.chunks(child).zip(slots) {
            self.hash_block(block, child, &mut digest[..size]);
            if digest[..size] != slot[..size] {
                wrong.push(number);
            }
        }
        wrong
    }

    /// Whether all bytes of a hash block that are no digest are zero, where it has `digests`.
    #[must_use]
    pub fn padding_is_zero(&self, parent: &[u8], digests: usize) -> bool {
        let used = digests * self.slot_bytes();
        let size = self.algorithm().digest_bytes();
        let gaps = parent[..used].chunks_exact(self.slot_bytes()).flat_map(|slot| &slot[size..]);
        parent[used..].iter().chain(gaps).all(|&byte| byte == 0)
    }

    /// The digests of a hash block that has `digests`, one behind the other.
    pub(crate) fn unpack(&self, parent: &[u8], digests: usize, out: &mut Vec<u8>) {
        let size = self.algorithm().digest_bytes();
        for slot in parent.chunks(self.slot_bytes()).take(digests) {
            out.extend_from_slice(&slot[..size]);
        }
    }

    /// The hash block with these digests.
    pub(crate) fn pack(&self, digests: &[u8], parent: &mut [u8]) {
        let size = self.algorithm().digest_bytes();
        let slots = parent.chunks_mut(self.slot_bytes());
        for (digest, slot) in digests.chunks_exact(size).zip(slots) {
            slot[..size].copy_from_slice(digest);
        }
    }

    fn assert_family(&self, level: usize, at: usize, children: &[u8], parent: &[u8]) {
        assert_eq!(parent.len(), self.hash_block_bytes(), "a parent is one hash block");
        let count = children.len().div_ceil(self.child_bytes(level));
        assert!(at + count <= self.digests_per_block(), "a hash block has only so many digests");
    }
}

/// The root digest over the tree's first hash block, or over the only data block.
pub fn root_of(params: &Params, geometry: &Geometry, top: &[u8]) -> Result<RootDigest, Error> {
    let block = params.child_bytes(geometry.levels().len());
    let have = top.len() as u64;
    let need = if geometry.levels().is_empty() { geometry.data_bytes() } else { block as u64 };
    if have != need {
        return Err(Error::TreeSize { need, have });
    }
    let mut digest = vec![0; params.algorithm().digest_bytes()];
    params.hash_block(top, block, &mut digest);
    RootDigest::new(params.algorithm(), &digest)
}

/// Checks the tree's first hash block, or the only data block, against the root digest.
pub fn check_top(
    params: &Params,
    geometry: &Geometry,
    top: &[u8],
    root: &RootDigest,
) -> Result<(), Error> {
    let need = params.algorithm().digest_bytes();
    if root.as_bytes().len() != need {
        return Err(Error::DigestSize { need, have: root.as_bytes().len() });
    }
    match root_of(params, geometry, top)? == *root {
        true => Ok(()),
        false if geometry.levels().is_empty() => Err(Error::CorruptData(0)),
        false => Err(Error::RootMismatch),
    }
}
