//! A store in memory.

use crate::frame::{Block, MAC_BYTES};
use crate::{BLOCK_BYTES, Store};
use std::convert::Infallible;

/// Blocks, counter and key in memory. `Clone` is the copy that an attacker with the chip in
/// hand would take.
#[derive(Clone)]
pub struct MemoryStore {
    blocks: Vec<Block>,
    counter: u32,
    key: Option<[u8; MAC_BYTES]>,
    secure_wp_mode_enable: bool,
}

impl MemoryStore {
    /// A factory-fresh chip of `blocks` blocks (at most 65,536), all zero.
    #[must_use]
    pub fn new(blocks: u32) -> Self {
        Self::with_counter(blocks, 0)
    }

    /// A chip whose write counter already stands at `counter`.
    #[must_use]
    pub fn with_counter(blocks: u32, counter: u32) -> Self {
        Self {
            blocks: vec![[0; BLOCK_BYTES]; blocks.min(65_536) as usize],
            counter,
            key: None,
            secure_wp_mode_enable: false,
        }
    }

    /// The blocks, past every check: for tests that alter them as no protocol can.
    pub fn blocks_mut(&mut self) -> &mut [Block] {
        &mut self.blocks
    }

    /// The blocks, past every check.
    #[must_use]
    pub fn raw_blocks(&self) -> &[Block] {
        &self.blocks
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("counter", &self.counter).finish_non_exhaustive()
    }
}

impl Store for MemoryStore {
    type Error = Infallible;

    fn blocks(&self) -> u32 {
        self.blocks.len() as u32
    }

    fn key(&self) -> Option<[u8; MAC_BYTES]> {
        self.key
    }

    fn counter(&self) -> u32 {
        self.counter
    }

    fn secure_wp_mode_enable(&self) -> bool {
        self.secure_wp_mode_enable
    }

    fn program_key(&mut self, key: &[u8; MAC_BYTES]) -> Result<(), Infallible> {
        self.key = Some(*key);
        Ok(())
    }

    fn read(&self, first: u16, count: u16) -> Result<Vec<Block>, Infallible> {
        let first = usize::from(first);
        Ok(self.blocks[first..first + usize::from(count)].to_vec())
    }

    fn write(&mut self, first: u16, blocks: &[Block], counter: u32) -> Result<(), Infallible> {
        let first = usize::from(first);
        self.blocks[first..first + blocks.len()].copy_from_slice(blocks);
        self.counter = counter;
        Ok(())
    }

    fn configure(&mut self, secure_wp_mode_enable: bool, counter: u32) -> Result<(), Infallible> {
        self.secure_wp_mode_enable = secure_wp_mode_enable;
        self.counter = counter;
        Ok(())
    }
}
