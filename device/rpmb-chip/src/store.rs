//! The chip's content, in a file.
//!
//! Two pages of the chip's registers (key, write counter, configuration, sequence number,
//! CRC-32), then two slots of a journal, then the blocks. A write goes into the slot that the
//! write before it did not use and is made durable: that is all that it waits for. Only then it
//! is made in its place, and the next write's barrier makes that durable too, before the slot is
//! used again. Whenever power goes, opening the file repeats what the journal holds whole, and
//! drops what it does not. Who has the file open has it alone.

use crate::journal::{ENTRY_BYTES, Entry};
use crate::registers::{PAGE, Registers};
use rpmb::{BLOCK_BYTES, Block, MAC_BYTES, Store};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// The most blocks that a chip can have: 16 MiB.
pub const MAX_BLOCKS: u32 = 65_536;
/// Two pages of registers, then two slots.
const JOURNAL_AT: u64 = 2 * PAGE as u64;
const SLOT_BYTES: u64 = ENTRY_BYTES.next_multiple_of(PAGE) as u64;
const BLOCKS_AT: u64 = JOURNAL_AT + 2 * SLOT_BYTES;

/// What a chip's content lies on.
pub trait Medium {
    /// Fills `bytes` from `offset` on.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` from `offset` on.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all writes so far durable.
    fn sync_data(&self) -> io::Result<()>;
}

impl Medium for File {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }
}

/// The file under the RPMB chip.
pub struct FileStore<M = File> {
    medium: M,
    blocks: u32,
    registers: Registers,
}

impl FileStore {
    /// Makes a factory-fresh chip of `blocks` blocks (1 to [`MAX_BLOCKS`]) at `path`; refuses
    /// where there is a file.
    pub fn create(path: &Path, blocks: u32) -> io::Result<Self> {
        if !(1..=MAX_BLOCKS).contains(&blocks) {
            let message = format!("an RPMB chip has 1 to {MAX_BLOCKS} blocks, not {blocks}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        lock(&file)?;
        file.set_len(file_bytes(blocks))?;
        let store = Self::format(file, blocks)?;
        effects::durable::sync_folder_of(path)?;
        Ok(store)
    }

    /// Opens the chip at `path` and finishes the write that a power cut interrupted.
    /// `ResourceBusy`: another program has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        lock(&file)?;
        let bytes = file.metadata()?.len();
        Self::recover(file, bytes)
    }
}

impl<M: Medium> FileStore<M> {
    /// A fresh chip on a medium that holds zeros.
    fn format(medium: M, blocks: u32) -> io::Result<Self> {
        // Writing where nothing was written before takes the file system longer.
        medium.write_all_at(&vec![0; 2 * SLOT_BYTES as usize], JOURNAL_AT)?;
        let mut store = Self { medium, blocks, registers: Registers::default() };
        // Both pages are written, so that both are good from now on.
        store.put_registers(Registers::default())?;
        store.put_registers(store.registers.clone())?;
        Ok(store)
    }

    /// The chip on a medium of `bytes` bytes.
    fn recover(medium: M, bytes: u64) -> io::Result<Self> {
        let blocks = bytes.saturating_sub(BLOCKS_AT) / BLOCK_BYTES as u64;
        let blocks = u32::try_from(blocks).unwrap_or_default();
        if !(1..=MAX_BLOCKS).contains(&blocks) || bytes != file_bytes(blocks) {
            return Err(damaged("its size"));
        }
        let mut pages = Vec::new();
        for index in 0..2 {
            let mut page = Zeroizing::new([0; PAGE]);
            medium.read_exact_at(&mut *page, index * PAGE as u64)?;
            pages.extend(Registers::decode(&page));
        }
        let registers = pages
            .into_iter()
            .max_by_key(|page| page.sequence)
            .ok_or_else(|| damaged("registers"))?;
        let mut store = Self { medium, blocks, registers };
        store.repeat_journal()?;
        Ok(store)
    }

    /// Repeats the writes that the journal holds and that came after the registers' page.
    fn repeat_journal(&mut self) -> io::Result<()> {
        let mut slots = [vec![0; ENTRY_BYTES], vec![0; ENTRY_BYTES]];
        for (at, slot) in slots.iter_mut().enumerate() {
            self.medium.read_exact_at(slot, slot_at(at as u64))?;
        }
        let mut entries: Vec<Entry<'_>> = slots.iter().filter_map(|it| Entry::decode(it)).collect();
        entries.retain(|entry| entry.sequence > self.registers.sequence);
        entries.sort_unstable_by_key(|entry| entry.sequence);
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            let count = (entry.blocks.len() / BLOCK_BYTES) as u32;
            if u32::from(entry.first) + count > self.blocks {
                return Err(damaged("its journal"));
            }
            self.apply(&entry)?;
        }
        // The next write takes the older one's slot.
        self.medium.sync_data()
    }

    /// Makes a write that the journal holds durably. What makes it durable in its place comes
    /// later.
    fn apply(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let at = BLOCKS_AT + u64::from(entry.first) * BLOCK_BYTES as u64;
        self.medium.write_all_at(entry.blocks, at)?;
        (self.registers.sequence, self.registers.counter) = (entry.sequence, entry.counter);
        Ok(())
    }

    /// Writes the next page of registers over the older of the two. It outdates the journal, so
    /// what that holds must be durable in its place first.
    fn put_registers(&mut self, registers: Registers) -> io::Result<()> {
        self.medium.sync_data()?;
        let next = Registers { sequence: self.registers.sequence + 1, ..registers };
        let at = (next.sequence % 2) * PAGE as u64;
        self.medium.write_all_at(&*next.encode(), at)?;
        self.medium.sync_data()?;
        self.registers = next;
        Ok(())
    }
}

impl<M: Medium> Store for FileStore<M> {
    type Error = io::Error;

    fn blocks(&self) -> u32 {
        self.blocks
    }

    fn key(&self) -> Option<[u8; MAC_BYTES]> {
        self.registers.key.as_deref().copied()
    }

    fn counter(&self) -> u32 {
        self.registers.counter
    }

    fn secure_wp_mode_enable(&self) -> bool {
        self.registers.secure_wp_mode_enable
    }

    fn program_key(&mut self, key: &[u8; MAC_BYTES]) -> io::Result<()> {
        self.put_registers(Registers { key: Some(Zeroizing::new(*key)), ..self.registers.clone() })
    }

    fn read(&self, first: u16, count: u16) -> io::Result<Vec<Block>> {
        let mut bytes = vec![0; usize::from(count) * BLOCK_BYTES];
        self.medium.read_exact_at(&mut bytes, BLOCKS_AT + u64::from(first) * BLOCK_BYTES as u64)?;
        let (blocks, _) = bytes.as_chunks::<BLOCK_BYTES>();
        Ok(blocks.to_vec())
    }

    fn write(&mut self, first: u16, blocks: &[Block], counter: u32) -> io::Result<()> {
        let sequence = self.registers.sequence + 1;
        let entry = Entry { sequence, counter, first, blocks: blocks.as_flattened() };
        self.medium.write_all_at(&entry.encode(), slot_at(sequence))?;
        self.medium.sync_data()?;
        self.apply(&entry)
    }

    fn configure(&mut self, secure_wp_mode_enable: bool, counter: u32) -> io::Result<()> {
        self.put_registers(Registers { secure_wp_mode_enable, counter, ..self.registers.clone() })
    }
}

/// Where the journal's slot for this write begins.
const fn slot_at(sequence: u64) -> u64 {
    JOURNAL_AT + sequence % 2 * SLOT_BYTES
}

const fn file_bytes(blocks: u32) -> u64 {
    BLOCKS_AT + blocks as u64 * BLOCK_BYTES as u64
}

/// Two chips over one file would each believe their own counter.
fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::Error(error) => error,
        TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::ResourceBusy, "another program has the RPMB chip open")
        }
    })
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the RPMB chip is damaged: {what}"))
}

#[cfg(test)]
mod tests;
