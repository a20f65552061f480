//! The RPMB chip as its owner sees it: authenticated blocks, and a counter that keeps pace.

use super::StorageError;
use board::Silicon;
use rpmb::{Block, MAX_WRITE_FRAMES, OperationResult, Refused, host};
use std::rc::Rc;

/// The most blocks that are read at once.
const MAX_READ_BLOCKS: u16 = 64;

/// The chip, with the key that it accepted and the counter that it stands at.
pub(crate) struct Chip {
    silicon: Rc<dyn Silicon>,
    counter: u32,
}

/// What the chip was found to be.
pub(crate) enum Found {
    /// It has our key.
    Ours(Chip),
    /// It has no key yet.
    Fresh,
}

impl Chip {
    /// Looks at the chip. One with another key, or whose answers are not authentic, is an error.
    pub(crate) fn find(silicon: Rc<dyn Silicon>, key: &[u8; 32]) -> Result<Found, StorageError> {
        let nonce = crypto::random_array();
        let response = silicon.rpmb(&host::read_counter(&nonce))?;
        match host::check_counter(key, &nonce, &response) {
            Ok(counter) => Ok(Found::Ours(Self { silicon, counter })),
            Err(Refused::Result(OperationResult::NoKey)) => Ok(Found::Fresh),
            Err(error) => Err(error.into()),
        }
    }

    /// Programs the key into a fresh chip.
    pub(crate) fn program(silicon: Rc<dyn Silicon>, key: &[u8; 32]) -> Result<Self, StorageError> {
        host::check_key(&silicon.rpmb(&host::program_key(key))?)?;
        match Self::find(silicon, key)? {
            Found::Ours(chip) => Ok(chip),
            Found::Fresh => Err(StorageError::Security("the RPMB did not take its key".into())),
        }
    }

    /// How many writes the chip has seen.
    pub(crate) const fn writes(&self) -> u32 {
        self.counter
    }

    /// Reads `count` blocks from block `first` on.
    pub(crate) fn read(
        &self,
        key: &[u8; 32],
        first: u16,
        count: u16,
    ) -> Result<Vec<u8>, StorageError> {
        let mut bytes = Vec::with_capacity(usize::from(count) * rpmb::BLOCK_BYTES);
        let (mut at, mut left) = (first, count);
        while left > 0 {
            let step = left.min(MAX_READ_BLOCKS);
            let nonce = crypto::random_array();
            let response = self.silicon.rpmb(&host::read(&nonce, at, step))?;
            let blocks = host::check_read(key, &nonce, at, step, &response)?;
            bytes.extend(blocks.as_flattened());
            at += step;
            left -= step;
        }
        Ok(bytes)
    }

    /// Writes at most [`MAX_WRITE_FRAMES`] blocks from block `first` on: all or nothing.
    pub(crate) fn write(
        &mut self,
        key: &[u8; 32],
        first: u16,
        blocks: &[Block],
    ) -> Result<(), StorageError> {
        debug_assert!((1..=MAX_WRITE_FRAMES).contains(&blocks.len()));
        let response = self.silicon.rpmb(&host::write(key, self.counter, first, blocks))?;
        let next = self.counter.saturating_add(1);
        host::check_write(key, next, first, &response)?;
        self.counter = next;
        Ok(())
    }
}
