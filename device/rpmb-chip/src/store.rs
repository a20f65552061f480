//! The chip's content, in a file.
//!
//! Two pages of the chip's registers (key, write counter, configuration, sequence number,
//! CRC-32), then a journal for one write, then the blocks. A write goes to the journal first, is
//! made durable, is applied, is made durable again. Whenever power goes, opening the file finishes
//! what the journal holds whole, and drops what it does not. Who has it open has it alone.

use rpmb::{BLOCK_BYTES, Block, MAC_BYTES, MAX_WRITE_FRAMES, Store};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// The most blocks that a chip can have: 16 MiB.
pub const MAX_BLOCKS: u32 = 65_536;
const PAGE: usize = 4096;
const MAGIC: [u8; 8] = *b"HFRPMB01";
/// Two pages of registers, then the journal.
const JOURNAL_AT: u64 = 2 * PAGE as u64;
const JOURNAL_HEAD: usize = 32;
const JOURNAL_BYTES: usize = JOURNAL_HEAD + MAX_WRITE_FRAMES * BLOCK_BYTES;
const BLOCKS_AT: u64 = JOURNAL_AT + (JOURNAL_BYTES.next_multiple_of(PAGE)) as u64;

/// The chip's key and counter.
#[derive(Clone, Default)]
struct Registers {
    sequence: u64,
    counter: u32,
    key: Option<Zeroizing<[u8; MAC_BYTES]>>,
    secure_wp_mode_enable: bool,
}

/// The file under the RPMB chip.
pub struct FileStore {
    file: File,
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
        let mut store = Self { file, blocks, registers: Registers::default() };
        // Both pages are written, so that both are good from now on.
        store.put_registers(Registers::default())?;
        store.put_registers(store.registers.clone())?;
        effects::durable::sync_folder_of(path)?;
        Ok(store)
    }

    /// Opens the chip at `path` and finishes the write that a power cut interrupted.
    /// `ResourceBusy`: another program has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        lock(&file)?;
        let bytes = file.metadata()?.len();
        let blocks = bytes.saturating_sub(BLOCKS_AT) / BLOCK_BYTES as u64;
        let blocks = u32::try_from(blocks).unwrap_or_default();
        if !(1..=MAX_BLOCKS).contains(&blocks) || bytes != file_bytes(blocks) {
            return Err(damaged("its size"));
        }
        let mut pages = Vec::new();
        for index in 0..2 {
            let mut page = Zeroizing::new([0; PAGE]);
            file.read_exact_at(&mut *page, index * PAGE as u64)?;
            pages.extend(Registers::decode(&page));
        }
        let registers = pages
            .into_iter()
            .max_by_key(|page| page.sequence)
            .ok_or_else(|| damaged("registers"))?;
        let mut store = Self { file, blocks, registers };
        store.recover()?;
        Ok(store)
    }

    /// Applies the journal where it holds the write that comes next and lies inside the chip.
    fn recover(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; JOURNAL_BYTES];
        self.file.read_exact_at(&mut bytes, JOURNAL_AT)?;
        match Journal::decode(&bytes) {
            Some(journal) if journal.sequence == self.registers.sequence + 1 => {
                let count = (journal.blocks.len() / BLOCK_BYTES) as u32;
                if u32::from(journal.first) + count > self.blocks {
                    return Err(damaged("its journal"));
                }
                self.apply(&journal)
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, journal: &Journal<'_>) -> io::Result<()> {
        let at = BLOCKS_AT + u64::from(journal.first) * BLOCK_BYTES as u64;
        self.file.write_all_at(journal.blocks, at)?;
        self.file.sync_data()?;
        let counter = journal.counter;
        self.put_registers(Registers { counter, ..self.registers.clone() })
    }

    /// Writes the next page of registers over the older of the two.
    fn put_registers(&mut self, registers: Registers) -> io::Result<()> {
        let next = Registers { sequence: self.registers.sequence + 1, ..registers };
        let at = (next.sequence % 2) * PAGE as u64;
        self.file.write_all_at(&*next.encode(), at)?;
        self.file.sync_data()?;
        self.registers = next;
        Ok(())
    }
}

impl Registers {
    /// Magic, sequence, counter, whether there is a key, configuration, the key, zeros, CRC-32.
    fn encode(&self) -> Zeroizing<[u8; PAGE]> {
        let mut page = Zeroizing::new([0; PAGE]);
        page[..8].copy_from_slice(&MAGIC);
        page[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        page[16..20].copy_from_slice(&self.counter.to_be_bytes());
        if let Some(key) = &self.key {
            page[20] = 1;
            page[24..24 + MAC_BYTES].copy_from_slice(&**key);
        }
        page[21] = u8::from(self.secure_wp_mode_enable);
        let crc = crc32fast::hash(&page[..PAGE - 4]);
        page[PAGE - 4..].copy_from_slice(&crc.to_be_bytes());
        page
    }

    fn decode(page: &[u8; PAGE]) -> Option<Self> {
        let field = |at: usize| page[at..at + 4].try_into().map(u32::from_be_bytes).ok();
        if page[..8] != MAGIC || field(PAGE - 4)? != crc32fast::hash(&page[..PAGE - 4]) {
            return None;
        }
        let key = page[24..24 + MAC_BYTES].try_into().ok()?;
        Some(Self {
            sequence: u64::from(field(8)?) << 32 | u64::from(field(12)?),
            counter: field(16)?,
            key: (page[20] == 1).then(|| Zeroizing::new(key)),
            secure_wp_mode_enable: page[21] == 1,
        })
    }
}

/// One write that is about to happen.
struct Journal<'a> {
    sequence: u64,
    counter: u32,
    first: u16,
    blocks: &'a [u8],
}

impl<'a> Journal<'a> {
    /// Sequence, counter, first block, blocks; CRC-32 of these and of the content; the content.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; JOURNAL_HEAD];
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.counter.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.first.to_be_bytes());
        let count = u16::try_from(self.blocks.len() / BLOCK_BYTES).unwrap_or(u16::MAX);
        bytes[14..16].copy_from_slice(&count.to_be_bytes());
        let crc = Self::crc(&bytes[..16], self.blocks);
        bytes[16..20].copy_from_slice(&crc.to_be_bytes());
        bytes.extend_from_slice(self.blocks);
        bytes
    }

    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (head, content) = bytes.split_at_checked(JOURNAL_HEAD)?;
        let count = usize::from(u16::from_be_bytes(head[14..16].try_into().ok()?));
        let blocks = content.get(..count * BLOCK_BYTES)?;
        let crc = u32::from_be_bytes(head[16..20].try_into().ok()?);
        (crc == Self::crc(&head[..16], blocks)).then_some(())?;
        Some(Self {
            sequence: u64::from_be_bytes(head[..8].try_into().ok()?),
            counter: u32::from_be_bytes(head[8..12].try_into().ok()?),
            first: u16::from_be_bytes(head[12..14].try_into().ok()?),
            blocks,
        })
    }

    fn crc(head: &[u8], blocks: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(head);
        crc.update(blocks);
        crc.finalize()
    }
}

impl Store for FileStore {
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
        self.file.read_exact_at(&mut bytes, BLOCKS_AT + u64::from(first) * BLOCK_BYTES as u64)?;
        let (blocks, _) = bytes.as_chunks::<BLOCK_BYTES>();
        Ok(blocks.to_vec())
    }

    fn write(&mut self, first: u16, blocks: &[Block], counter: u32) -> io::Result<()> {
        let sequence = self.registers.sequence + 1;
        let journal = Journal { sequence, counter, first, blocks: blocks.as_flattened() };
        self.file.write_all_at(&journal.encode(), JOURNAL_AT)?;
        self.file.sync_data()?;
        self.apply(&journal)
    }

    fn configure(&mut self, secure_wp_mode_enable: bool, counter: u32) -> io::Result<()> {
        self.put_registers(Registers { secure_wp_mode_enable, counter, ..self.registers.clone() })
    }
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
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    const NEW: Block = [2; BLOCK_BYTES];
    const BLOCKS: u32 = 64;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpmb.bin");
        (folder, path)
    }

    #[test]
    fn keeps_key_counter_and_blocks() {
        let (_folder, path) = place();
        let mut store = FileStore::create(&path, BLOCKS).unwrap();
        store.program_key(&[5; 32]).unwrap();
        store.write(3, &[[1; BLOCK_BYTES], NEW], 1).unwrap();
        drop(store);
        let store = FileStore::open(&path).unwrap();
        assert_eq!((store.key(), store.counter()), (Some([5; 32]), 1));
        assert_eq!(store.read(3, 2).unwrap(), [[1; BLOCK_BYTES], NEW]);
        assert!(FileStore::create(&path, BLOCKS).is_err());
    }

    #[test]
    fn keeps_the_configuration_with_the_counter() {
        let (_folder, path) = place();
        let mut store = FileStore::create(&path, BLOCKS).unwrap();
        assert!(!store.secure_wp_mode_enable());
        store.configure(true, 1).unwrap();
        drop(store);
        let store = FileStore::open(&path).unwrap();
        assert_eq!((store.secure_wp_mode_enable(), store.counter()), (true, 1));
    }

    #[test]
    fn one_program_at_a_time_has_the_chip() {
        let (_folder, path) = place();
        let store = FileStore::create(&path, BLOCKS).unwrap();
        let busy = FileStore::open(&path).err().map(|error| error.kind());
        assert_eq!(busy, Some(io::ErrorKind::ResourceBusy));
        drop(store);
        FileStore::open(&path).unwrap();
    }

    #[test]
    fn sizes_that_no_chip_has_are_refused() {
        let (_folder, path) = place();
        for blocks in [0, MAX_BLOCKS + 1] {
            assert!(FileStore::create(&path, blocks).is_err());
        }
        drop(FileStore::create(&path, MAX_BLOCKS).unwrap());
        assert_eq!(FileStore::open(&path).unwrap().blocks(), MAX_BLOCKS);
        for length in [0, BLOCKS_AT, BLOCKS_AT + 1, file_bytes(MAX_BLOCKS) + BLOCK_BYTES as u64] {
            fs::write(&path, vec![0; length as usize]).unwrap();
            assert!(FileStore::open(&path).is_err(), "{length} bytes");
        }
    }

    /// Power goes after every single byte of what a write puts on the disk, in order.
    #[test]
    fn a_power_cut_leaves_the_old_content_or_the_new() {
        let (_folder, path) = place();
        let mut store = FileStore::create(&path, BLOCKS).unwrap();
        store.program_key(&[5; 32]).unwrap();
        store.write(9, &[[1; BLOCK_BYTES]], 1).unwrap();
        let before = fs::read(&path).unwrap();
        store.write(9, &[NEW], 2).unwrap();
        let after = fs::read(&path).unwrap();
        drop(store);

        let places = [JOURNAL_AT, BLOCKS_AT, 0, PAGE as u64].map(|at| at as usize);
        let lengths = [BLOCKS_AT as usize - JOURNAL_AT as usize, 16 * BLOCK_BYTES, PAGE, PAGE];
        let mut disk = before;
        let (mut old, mut new) = (0, 0);
        for (start, length) in places.into_iter().zip(lengths) {
            let altered: Vec<usize> =
                (start..start + length).filter(|&at| disk[at] != after[at]).collect();
            for at in altered {
                disk[at] = after[at];
                fs::write(&path, &disk).unwrap();
                let store = FileStore::open(&path).unwrap();
                match (store.counter(), store.read(9, 1).unwrap()[0]) {
                    (1, block) if block == [1; BLOCK_BYTES] => old += 1,
                    (2, block) if block == NEW => new += 1,
                    torn => panic!("torn at byte {at}: {torn:?}"),
                }
            }
        }
        assert!(old > 0 && new > 0, "{old} old, {new} new");
    }
}
