//! CMAC of AES (NIST SP 800-38B), around a key that only chains blocks where it lies.

use crate::error::{Result, Rv, ensure};
use crate::key::{Key, Mode, Operation, Stream};
use crypto::cipher::Direction;
use cryptoki_sys::*;
use zeroize::Zeroizing;

/// Bytes of a block, and of the whole tag.
pub(crate) const BLOCK_BYTES: usize = 16;

type Block = [u8; BLOCK_BYTES];

/// A tag under way.
struct Cmac {
    chain: Box<dyn Stream>,
    /// What may be the last block: 1 to 16 bytes, or nothing yet.
    held: Zeroizing<Vec<u8>>,
    /// For a last block that is whole, and for one that is filled up (6.1).
    subkeys: [Zeroizing<Block>; 2],
}

/// Begins a tag.
pub(crate) fn begin(key: &dyn Key) -> Result<Box<dyn Stream>> {
    let encrypt = |mode| Operation::Cipher { direction: Direction::Encrypt, mode };
    let zeros = key.perform(&encrypt(Mode::Ecb), &[0; BLOCK_BYTES])?;
    let zeros: Block = zeros[..].try_into().map_err(|_| Rv(CKR_DEVICE_ERROR))?;
    let whole = doubled(&zeros);
    let filled = doubled(&whole);
    let mode = Mode::Cbc { iv: vec![0; BLOCK_BYTES], padded: false };
    let chain = key.begin(&encrypt(mode))?;
    Ok(Box::new(Cmac { chain, held: Zeroizing::default(), subkeys: [whole, filled] }))
}

/// Twice a number of GF(2^128).
fn doubled(block: &Block) -> Zeroizing<Block> {
    let number = u128::from_be_bytes(*block);
    // The bit that falls out comes back as the field's polynomial, whatever it is.
    let reduction = (number >> 127) * 0x87;
    Zeroizing::new(((number << 1) ^ reduction).to_be_bytes())
}

impl Stream for Cmac {
    fn update(&mut self, input: &[u8], _: &mut Vec<u8>) -> Result<()> {
        self.held.extend_from_slice(input);
        let sure = self.held.len().saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES;
        if sure > 0 {
            self.chain.update(&self.held[..sure], &mut Vec::new())?;
            self.held.drain(..sure);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.update(input, &mut Vec::new())?;
        let Self { chain, held, subkeys: [whole, filled] } = *self;
        let mut last = Zeroizing::new([0; BLOCK_BYTES]);
        last[..held.len()].copy_from_slice(&held);
        let subkey = if held.len() == BLOCK_BYTES {
            whole
        } else {
            last[held.len()] = 0x80;
            filled
        };
        last.iter_mut().zip(subkey.iter()).for_each(|(byte, mask)| *byte ^= mask);
        let mut chained = Vec::new();
        chain.finish(&last[..], &mut chained)?;
        ensure(chained.len() >= BLOCK_BYTES, CKR_DEVICE_ERROR)?;
        out.extend_from_slice(&chained[chained.len() - BLOCK_BYTES..]);
        Ok(())
    }
}
