//! An RPMB chip in a file, sealed to a counter in the TPM.
//!
//! A file can be copied, put back and edited; a chip can't. So the board keeps a MAC over all of
//! the chip's state in `rpmb.seal`, and in both the number of the power-on (its *epoch*), which is
//! an NV counter. At power-on the counter rises, and the chip's state must be the one that the
//! newest seal vouches for, from the epoch that the counter says. That refuses:
//!
//! - a copy from before the last power-on, of either file or of both: another epoch;
//! - an edited chip, and a mixture of old and new: another state.
//!
//! A write is announced in one slot of the seal, done, and confirmed in both: from then on no slot
//! vouches for the state before it, so that nobody takes the last write back by damaging a slot or
//! the chip's journal (a wrong PIN, say, that was counted just before the power went).
//!
//! That costs each write three small durable writes, and none of the TPM: NV memory is slow and
//! wears out. The price: a copy that is taken *while the device runs* and put back before its next
//! power-on is not told apart. Whoever can do that is root on the host and has the TPM too.
//!
//! The state is the XOR of a MAC for each block, so that a write costs only its own blocks; it
//! never leaves the memory in the clear (a MAC over it does), so that blocks can't be exchanged
//! for others with the same sum.

use crate::error::TpmError;
use crypto::mac::HmacSha256;
use rpmb::{BLOCK_BYTES, Block, MAC_BYTES, Store};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Slots of the seal's file: each on a page of its own.
const SLOT_AT: [u64; 2] = [0, 4096];
const SLOT_BYTES: usize = 8 + 8 + 3 * MAC_BYTES;
/// Blocks that are read at once.
const CHUNK: u16 = 256;

type Digest = [u8; MAC_BYTES];

/// What a write leads from and to; the same, once it is done.
#[derive(Clone, Copy)]
struct Slot {
    epoch: u64,
    sequence: u64,
    before: Digest,
    after: Digest,
}

impl Slot {
    fn mac(&self, key: &HmacSha256) -> Digest {
        let (epoch, sequence) = (self.epoch.to_be_bytes(), self.sequence.to_be_bytes());
        key.tag(&[b"slot", &epoch, &sequence, &self.before, &self.after])
    }

    fn encode(&self, key: &HmacSha256) -> Vec<u8> {
        let (epoch, sequence) = (self.epoch.to_be_bytes(), self.sequence.to_be_bytes());
        [&epoch[..], &sequence, &self.before, &self.after, &self.mac(key)].concat()
    }

    fn decode(bytes: &[u8; SLOT_BYTES], key: &HmacSha256) -> Option<Self> {
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_be_bytes).ok();
        let digest = |at: usize| Digest::try_from(&bytes[at..at + MAC_BYTES]).ok();
        let slot = Self {
            epoch: number(0)?,
            sequence: number(8)?,
            before: digest(16)?,
            after: digest(48)?,
        };
        crypto::constant_time_eq(&slot.mac(key), &bytes[80..]).then_some(slot)
    }
}

/// A chip over `S`, sealed. It has one block fewer than `S`: the last one holds the epoch.
pub struct SealedChip<S> {
    inner: S,
    seal: File,
    key: HmacSha256,
    epoch: u64,
    sequence: u64,
    sum: Digest,
    /// A write failed: nobody knows what the chip holds.
    lost: bool,
}

impl<S: Store<Error = io::Error>> SealedChip<S> {
    /// Seals a factory-fresh chip; its seal is made at `path`. `key` comes from the HUK, `epoch`
    /// from the TPM.
    pub fn create(inner: S, path: &Path, key: &[u8; 32], epoch: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let seal = options.open(path)?;
        let key = HmacSha256::new(key);
        let mut chip = Self { inner, seal, key, epoch, sequence: 0, sum: [0; 32], lost: false };
        chip.sum = chip.sum_of_all()?;
        chip.enter(epoch)?;
        effects::durable::sync_folder_of(path)?;
        Ok(chip)
    }

    /// Opens the chip whose seal is at `path`, where the TPM's counter stands at `counter`, and
    /// enters the next epoch: [`Self::epoch`]. The counter must be raised to it before anybody
    /// uses the chip.
    pub fn open(inner: S, path: &Path, key: &[u8; 32], counter: u64) -> Result<Self, TpmError> {
        let io = |error| TpmError::Io(path.to_owned(), error);
        let seal = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        let key = HmacSha256::new(key);
        let newest = newest(&seal, &key)
            .map_err(io)?
            .ok_or(TpmError::Chip("its seal (rpmb.seal) is damaged, or it is another board's"))?;
        if newest.epoch < counter {
            return Err(TpmError::Chip(
                "its files are an old copy: the TPM has counted more power-ons since",
            ));
        }
        let (epoch, sequence) = (newest.epoch, newest.sequence);
        let mut chip = Self { inner, seal, key, epoch, sequence, sum: [0; 32], lost: false };
        chip.sum = chip.sum_of_all().map_err(io)?;
        let now = chip.digest(&chip.state());
        if ![newest.before, newest.after].iter().any(|it| crypto::constant_time_eq(it, &now)) {
            return Err(TpmError::Chip(
                "rpmb.bin is not what its seal vouches for: it was altered, or it is an old copy",
            ));
        }
        let next = epoch.checked_add(1).ok_or(TpmError::Chip("its epochs are used up"))?;
        chip.enter(next).map_err(io)?;
        Ok(chip)
    }

    /// The number of this power-on.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Writes the number of a power-on into both files.
    fn enter(&mut self, epoch: u64) -> io::Result<()> {
        self.epoch = epoch;
        let mut block: Block = [0; BLOCK_BYTES];
        block[..8].copy_from_slice(&epoch.to_be_bytes());
        let counter = self.inner.counter();
        self.write(self.last(), &[block], counter)
    }

    /// The block behind those that the chip shows.
    fn last(&self) -> u16 {
        u16::try_from(self.blocks()).unwrap_or(u16::MAX)
    }

    fn tag(&self, number: u16, block: &Block) -> Digest {
        self.key.tag(&[b"block", &number.to_be_bytes(), block])
    }

    /// The sum with `blocks` from `first` on taken out or put in: XOR does both.
    fn sum_with(&self, mut sum: Digest, first: u16, blocks: &[Block]) -> Digest {
        for (number, block) in (first..=u16::MAX).zip(blocks) {
            let tag = self.tag(number, block);
            sum.iter_mut().zip(tag).for_each(|(byte, tag)| *byte ^= tag);
        }
        sum
    }

    fn sum_of_all(&self) -> io::Result<Digest> {
        let (mut sum, all) = ([0; 32], self.inner.blocks());
        let mut first = 0;
        while first < all {
            let count = CHUNK.min(u16::try_from(all - first).unwrap_or(CHUNK));
            let at = u16::try_from(first).map_err(io::Error::other)?;
            sum = self.sum_with(sum, at, &self.inner.read(at, count)?);
            first += u32::from(count);
        }
        Ok(sum)
    }

    fn state(&self) -> State {
        State {
            sum: self.sum,
            key: self.inner.key(),
            counter: self.inner.counter(),
            protected: self.inner.secure_wp_mode_enable(),
        }
    }

    fn digest(&self, state: &State) -> Digest {
        let key = state.key.unwrap_or_default();
        let flags = [u8::from(state.key.is_some()), u8::from(state.protected)];
        self.key.tag(&[b"chip", &state.sum, &flags, &key, &state.counter.to_be_bytes()])
    }

    /// Announces a write, does it, and confirms it.
    fn seal(
        &mut self,
        after: &State,
        write: impl FnOnce(&mut S) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.lost {
            return Err(io::Error::other("a write to the RPMB chip failed before"));
        }
        let (before, done) = (self.digest(&self.state()), self.digest(after));
        self.lost = true;
        self.vouch(before, done)?;
        write(&mut self.inner)?;
        self.vouch(done, done)?;
        self.vouch(done, done)?;
        (self.lost, self.sum) = (false, after.sum);
        Ok(())
    }

    /// Writes the slot that was not written last.
    fn vouch(&mut self, before: Digest, after: Digest) -> io::Result<()> {
        self.sequence += 1;
        let slot = Slot { epoch: self.epoch, sequence: self.sequence, before, after };
        let at = SLOT_AT[usize::from(slot.sequence % 2 == 1)];
        self.seal.write_all_at(&slot.encode(&self.key), at)?;
        self.seal.sync_data()
    }
}

/// All that a chip holds.
struct State {
    sum: Digest,
    key: Option<[u8; MAC_BYTES]>,
    counter: u32,
    protected: bool,
}

fn newest(seal: &File, key: &HmacSha256) -> io::Result<Option<Slot>> {
    let mut slots = Vec::new();
    for at in SLOT_AT {
        let mut bytes = [0; SLOT_BYTES];
        match seal.read_exact_at(&mut bytes, at) {
            Ok(()) => slots.extend(Slot::decode(&bytes, key)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
    }
    Ok(slots.into_iter().max_by_key(|slot| slot.sequence))
}

impl<S: Store<Error = io::Error>> Store for SealedChip<S> {
    type Error = io::Error;

    fn blocks(&self) -> u32 {
        self.inner.blocks() - 1
    }

    fn key(&self) -> Option<[u8; MAC_BYTES]> {
        self.inner.key()
    }

    fn counter(&self) -> u32 {
        self.inner.counter()
    }

    fn secure_wp_mode_enable(&self) -> bool {
        self.inner.secure_wp_mode_enable()
    }

    fn program_key(&mut self, key: &[u8; MAC_BYTES]) -> io::Result<()> {
        let after = State { key: Some(*key), ..self.state() };
        self.seal(&after, |inner| inner.program_key(key))
    }

    fn read(&self, first: u16, count: u16) -> io::Result<Vec<Block>> {
        self.inner.read(first, count)
    }

    fn write(&mut self, first: u16, blocks: &[Block], counter: u32) -> io::Result<()> {
        let count = u16::try_from(blocks.len()).map_err(io::Error::other)?;
        let old = self.inner.read(first, count)?;
        let sum = self.sum_with(self.sum_with(self.sum, first, &old), first, blocks);
        let after = State { sum, counter, ..self.state() };
        self.seal(&after, |inner| inner.write(first, blocks, counter))
    }

    fn configure(&mut self, secure_wp_mode_enable: bool, counter: u32) -> io::Result<()> {
        let after = State { counter, protected: secure_wp_mode_enable, ..self.state() };
        self.seal(&after, |inner| inner.configure(secure_wp_mode_enable, counter))
    }
}

#[cfg(test)]
mod tests;
