//! Repairing an image: forward error correction proposes, the hash tree decides.

use crate::{Error, FecLayout, Geometry, Params, RootDigest, correct_fec};
use std::collections::{BTreeMap, BTreeSet};

/// Where the blocks are that parity covers, and the parity: the caller's files or devices.
///
/// Covered blocks are numbered as in [`FecLayout`]: those of the data, then those of the tree.
pub trait Media {
    /// What can go wrong with reading and writing.
    type Error;

    /// Reads the covered block `block`.
    fn read_block(&mut self, block: u64, out: &mut [u8]) -> Result<(), Self::Error>;

    /// Reads parity from byte `offset` of it on.
    fn read_parity(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Self::Error>;

    /// Replaces the covered block `block` with what its hash asks for.
    fn write_block(&mut self, block: u64, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Tries to restore one covered block to the one with the digest `expected`. `wrong` are covered
/// blocks known to be damaged; those that share no codeword with this one don't matter.
///
/// Nothing is written. Gives nothing where the parity can't bring the block back.
pub fn restore_block<M: Media>(
    params: &Params,
    layout: &FecLayout,
    block: u64,
    expected: &[u8],
    wrong: &[u64],
    media: &mut M,
) -> Result<Option<Vec<u8>>, M::Error> {
    restore_with(params, layout, block, expected, &[wrong.to_vec()], media)
}

/// Restores a block with several ideas of what else is wrong.
fn restore_with<M: Media>(
    params: &Params,
    layout: &FecLayout,
    block: u64,
    expected: &[u8],
    wrong: &[Vec<u64>],
    media: &mut M,
) -> Result<Option<Vec<u8>>, M::Error> {
    let width = layout.block_bytes() as usize;
    let (column, parity) = read_column(layout, block, media)?;
    let row = layout.row_of(block);
    let at = row as usize * width;
    let mut digest = vec![0; params.algorithm().digest_bytes()];
    for erased in guesses(layout, block, wrong) {
        let mut column = column.clone();
        if correct_fec(layout, &mut column, &parity, &erased).is_err() {
            continue;
        }
        let restored = &column[at..at + width];
        params.hash_block(restored, width, &mut digest);
        if digest == expected {
            return Ok(Some(restored.to_vec()));
        }
    }
    Ok(None)
}

/// The rows to give up, the most promising first: all that are said to be wrong; only this one,
/// the others may be wrong in a few bytes; none, this one may be.
fn guesses(layout: &FecLayout, block: u64, wrong: &[Vec<u64>]) -> Vec<Vec<u64>> {
    let own = layout.row_of(block);
    let same = |other: &&u64| **other % layout.rounds() == block % layout.rounds();
    let rows = |wrong: &Vec<u64>| {
        let others = wrong.iter().filter(same).map(|&at| layout.row_of(at));
        let rows: BTreeSet<u64> = others.chain([own]).collect();
        rows.into_iter().collect::<Vec<u64>>()
    };
    let mut guesses: Vec<Vec<u64>> = wrong.iter().map(rows).chain([vec![own], vec![]]).collect();
    guesses.dedup();
    guesses.retain(|rows| rows.len() <= layout.roots());
    guesses
}

/// The covered blocks that share codewords with `block`, and their parity.
fn read_column<M: Media>(
    layout: &FecLayout,
    block: u64,
    media: &mut M,
) -> Result<(Vec<u8>, Vec<u8>), M::Error> {
    let width = layout.block_bytes() as usize;
    let blocks: Vec<u64> = layout.column_of(block).collect();
    let mut column = vec![0; blocks.len() * width];
    for (&block, bytes) in blocks.iter().zip(column.chunks_exact_mut(width)) {
        media.read_block(block, bytes)?;
    }
    let range = layout.parity_range(&layout.codewords_of(block));
    let mut parity = vec![0; width * layout.roots()];
    media.read_parity(range.start, &mut parity)?;
    Ok((column, parity))
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepairReport {
    /// Covered blocks that were wrong and are right again.
    pub repaired: BTreeSet<u64>,
    /// Covered blocks that are still wrong.
    pub lost: BTreeSet<u64>,
}

/// Repairs data and tree. Tell it every covered block that is not the one its parent names
/// ([`Repair::suspect`]; see [`Params::check_family`]), then [`Repair::run`].
pub struct Repair<'r> {
    params: &'r Params,
    geometry: &'r Geometry,
    layout: &'r FecLayout,
    root: &'r RootDigest,
    wrong: BTreeSet<u64>,
}

impl<'r> Repair<'r> {
    /// For one image. Forward error correction needs data and hash blocks of one size.
    pub fn new(
        params: &'r Params,
        geometry: &'r Geometry,
        layout: &'r FecLayout,
        root: &'r RootDigest,
    ) -> Result<Self, Error> {
        let block = layout.block_bytes();
        if params.data_block_bytes() as u64 != block || params.hash_block_bytes() as u64 != block {
            return Err(Error::FecBlockSizes);
        }
        let need = geometry.data_blocks() + geometry.tree_blocks();
        if layout.blocks() < need {
            let have = layout.covered_bytes();
            return Err(Error::FecCovered { need: need.saturating_mul(block), have });
        }
        let need = params.algorithm().digest_bytes();
        if root.as_bytes().len() != need {
            return Err(Error::DigestSize { need, have: root.as_bytes().len() });
        }
        Ok(Self { params, geometry, layout, root, wrong: BTreeSet::new() })
    }

    /// Marks a block of data or tree that is not the one its parent, or the root digest, names.
    /// Others have no parent and are not repaired.
    pub fn suspect(&mut self, block: u64) {
        if block < self.geometry.data_blocks() + self.geometry.tree_blocks() {
            self.wrong.insert(block);
        }
    }

    /// Repairs what can be, from the root down: a block is written only when it has the digest
    /// that a parent names whose own digest leads up to the root.
    pub fn run<M: Media>(mut self, media: &mut M) -> Result<RepairReport, M::Error> {
        let mut repaired = BTreeSet::new();
        // What was known to be wrong beside a block when it was last tried in vain.
        let mut tried: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        loop {
            let before = repaired.len();
            for block in self.in_order() {
                if !self.wrong.contains(&block) || !self.is_rooted(block) {
                    continue;
                }
                let beside = self.beside(block);
                if tried.get(&block) == Some(&beside) {
                    continue;
                }
                if self.restore(block, &beside, media)? {
                    repaired.insert(block);
                } else {
                    tried.insert(block, beside);
                }
            }
            if repaired.len() == before {
                return Ok(RepairReport { repaired, lost: self.wrong });
            }
        }
    }

    /// Wrong blocks: those of the tree first, which has the root's level first.
    fn in_order(&self) -> Vec<u64> {
        let tree = self.wrong.range(self.geometry.data_blocks()..);
        tree.chain(self.wrong.range(..self.geometry.data_blocks())).copied().collect()
    }

    /// Wrong blocks that share codewords with this one.
    fn beside(&self, block: u64) -> Vec<u64> {
        self.layout.column_of(block).filter(|at| self.wrong.contains(at)).collect()
    }

    fn restore<M: Media>(
        &mut self,
        block: u64,
        beside: &[u64],
        media: &mut M,
    ) -> Result<bool, M::Error> {
        let expected = self.expected(block, media)?;
        let ideas = self.ideas(block, beside);
        let restored = restore_with(self.params, self.layout, block, &expected, &ideas, media)?;
        let Some(bytes) = restored else { return Ok(false) };
        media.write_block(block, &bytes)?;
        self.wrong.remove(&block);
        self.judge_children(block, &bytes, media)?;
        Ok(true)
    }

    /// What may be wrong beside a block. A child of a wrong parent may be right: what such a
    /// parent says of it counts for little.
    fn ideas(&self, block: u64, beside: &[u64]) -> Vec<Vec<u64>> {
        let named = |at: &u64| self.parent(*at).is_none_or(|(it, _)| !self.wrong.contains(&it));
        let likely: Vec<u64> = beside.iter().copied().filter(named).collect();
        let mut ideas = vec![likely.clone(), beside.to_vec()];
        // Without the upper blocks of the tree nobody says which others are wrong: try each.
        if self.place(block).is_some() && beside.len() > self.layout.roots() {
            let doubtful = beside.iter().filter(|at| !likely.contains(at));
            ideas.extend(doubtful.map(|&at| [&likely[..], &[at]].concat()));
        }
        ideas
    }

    /// A parent was restored: which of its children are wrong is known only now.
    fn judge_children<M: Media>(
        &mut self,
        block: u64,
        parent: &[u8],
        media: &mut M,
    ) -> Result<(), M::Error> {
        let Some((level, index)) = self.place(block) else { return Ok(()) };
        let family = self.geometry.family(self.params, level, index).expect("a block of the tree");
        let width = self.layout.block_bytes();
        let first = match level {
            0 => family.first,
            _ => self.geometry.data_blocks() + family.children.start / width,
        };
        let count = (family.children.end - family.children.start).div_ceil(width);
        let mut children = vec![0; (count * width) as usize];
        for (at, bytes) in (first..).zip(children.chunks_exact_mut(width as usize)) {
            media.read_block(at, bytes)?;
            self.wrong.remove(&at);
        }
        let wrong = self.params.check_family(level, 0, &children, parent);
        self.wrong.extend(wrong.into_iter().map(|at| first + at as u64));
        Ok(())
    }

    /// The digest that a block must have: its parent's word, or the root digest.
    fn expected<M: Media>(&self, block: u64, media: &mut M) -> Result<Vec<u8>, M::Error> {
        let Some((parent, slot)) = self.parent(block) else {
            return Ok(self.root.as_bytes().to_vec());
        };
        let mut bytes = vec![0; self.params.hash_block_bytes()];
        media.read_block(parent, &mut bytes)?;
        let at = slot * self.params.slot_bytes();
        Ok(bytes[at..at + self.params.algorithm().digest_bytes()].to_vec())
    }

    /// Whether every hash block above is right.
    fn is_rooted(&self, block: u64) -> bool {
        let above = std::iter::successors(self.parent(block), |&(parent, _)| self.parent(parent));
        above.into_iter().all(|(parent, _)| !self.wrong.contains(&parent))
    }

    /// The parent as a covered block, and the slot in it.
    fn parent(&self, block: u64) -> Option<(u64, usize)> {
        let (level, index) = match self.place(block) {
            None => (0, block),
            Some((level, index)) => (level + 1, index),
        };
        let above = self.geometry.levels().get(level)?;
        let per_block = self.params.digests_per_block() as u64;
        let start = above.offset as u64 / self.layout.block_bytes();
        let parent = self.geometry.data_blocks() + start + index / per_block;
        Some((parent, (index % per_block) as usize))
    }

    /// Level and number of a block of the tree.
    fn place(&self, block: u64) -> Option<(usize, u64)> {
        let at = block.checked_sub(self.geometry.data_blocks())?;
        self.geometry.levels().iter().enumerate().find_map(|(number, level)| {
            let start = level.offset as u64 / self.layout.block_bytes();
            let index = at.checked_sub(start)?;
            (index < level.blocks).then_some((number, index))
        })
    }
}
