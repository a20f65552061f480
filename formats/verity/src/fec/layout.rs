//! Where the parity of a block is, and which blocks share it.

use crate::Error;
use std::ops::Range;

/// Bytes of a codeword, data and parity.
pub(super) const CODEWORD_BYTES: u64 = 255;

/// How forward error correction is laid over an image.
///
/// Covered are blocks: those of the data, then those of the tree without its superblock. They
/// are put into rows of [`rounds`](Self::rounds) blocks, 255 − roots rows, the last of which may
/// be short or missing and count as zeros. Each column of bytes is a codeword with `roots` bytes
/// of parity; the parities of all columns lie one behind the other. Blocks that share a column
/// are therefore far apart, and a burst damages each codeword once.
///
/// `veritysetup`, the kernel and AVB's `fec` lay it out in this same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FecLayout {
    block_bytes: u64,
    roots: usize,
    blocks: u64,
    rounds: u64,
}

impl FecLayout {
    /// For `blocks` covered blocks of `block_bytes`, with 2 to 24 `roots`: so many bytes of
    /// parity has each codeword.
    pub fn new(block_bytes: u32, blocks: u64, roots: u32) -> Result<Self, Error> {
        if !(2..=24).contains(&roots) {
            return Err(Error::FecRoots(roots));
        }
        crate::params::block_size(block_bytes)?;
        if blocks == 0 {
            return Err(Error::Empty);
        }
        let block_bytes = u64::from(block_bytes);
        let rounds = blocks.div_ceil(CODEWORD_BYTES - u64::from(roots));
        // With these products every other one is in range too: a row times 255.
        let row = rounds.checked_mul(block_bytes).ok_or(Error::TooLarge(u64::MAX))?;
        row.checked_mul(CODEWORD_BYTES).ok_or(Error::TooLarge(u64::MAX))?;
        Ok(Self { block_bytes, roots: roots as usize, blocks, rounds })
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    /// Bytes of parity in a codeword.
    #[must_use]
    pub const fn roots(&self) -> usize {
        self.roots
    }

    /// Covered blocks: `fec_blocks` of the dm-verity table.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Covered bytes.
    #[must_use]
    pub const fn covered_bytes(&self) -> u64 {
        self.blocks * self.block_bytes
    }

    /// Blocks in a row.
    #[must_use]
    pub const fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Rows: bytes of data in a codeword.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        CODEWORD_BYTES - self.roots as u64
    }

    /// How many codewords there are: bytes in a row.
    #[must_use]
    pub const fn codewords(&self) -> u64 {
        self.rounds * self.block_bytes
    }

    /// Bytes of parity.
    #[must_use]
    pub const fn parity_bytes(&self) -> u64 {
        self.codewords() * self.roots as u64
    }

    /// Which covered bytes are row `row` of the codewords in `codewords`. The range ends early,
    /// or is empty, where nothing is covered: zeros count there.
    #[must_use]
    pub fn row_bytes(&self, row: u64, codewords: Range<u64>) -> Range<u64> {
        let at = |codeword: u64| {
            (row * self.codewords()).saturating_add(codeword).min(self.covered_bytes())
        };
        at(codewords.start)..at(codewords.end)
    }

    /// Which bytes of the parity belong to `codewords`.
    #[must_use]
    pub const fn parity_range(&self, codewords: &Range<u64>) -> Range<u64> {
        let roots = self.roots as u64;
        codewords.start * roots..codewords.end * roots
    }

    /// Splits the codewords into ranges of at most `step`: work for several cores.
    pub fn split(&self, step: u64) -> impl Iterator<Item = Range<u64>> + use<> {
        let (codewords, step) = (self.codewords(), step.max(1));
        let parts = codewords.div_ceil(step);
        (0..parts).map(move |part| part * step..((part + 1) * step).min(codewords))
    }

    /// The codewords that cover `block`.
    #[must_use]
    pub const fn codewords_of(&self, block: u64) -> Range<u64> {
        let first = block % self.rounds * self.block_bytes;
        first..first + self.block_bytes
    }

    /// The row of `block` in its codewords.
    #[must_use]
    pub const fn row_of(&self, block: u64) -> u64 {
        block / self.rounds
    }

    /// The covered blocks that share codewords with `block`, itself among them, row by row.
    pub fn column_of(&self, block: u64) -> impl Iterator<Item = u64> + use<> {
        let (column, rounds, blocks) = (block % self.rounds, self.rounds, self.blocks);
        (0..self.rows()).map(move |row| row * rounds + column).take_while(move |&at| at < blocks)
    }
}
