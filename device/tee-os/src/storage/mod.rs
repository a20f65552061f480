//! Secure storage (SPEC S3.1.2): the objects of all TAs and the OS's own in RPMB, here; and what
//! TAs ask of either placement ([`calls`]); objects in the system's files, with the crate
//! `secure-storage` ([`files`]).
//!
//! The chip's blocks: two copies of the index (A and B, 128 blocks each), the anchor of the
//! objects in files, then data. An object
//! is sealed with AES-256-GCM under a key that only its owner on this board has, bound to its
//! name and version. A change writes new data into free blocks, then the index into the copy
//! that is not current; that index's first blocks go in one write, which the chip does wholly
//! or not at all, and that is the commit. Freed blocks are overwritten afterwards: at once where
//! an object was deleted, else when the OS is idle, and again at the next start where power
//! went in between.
//!
//! | what happened | what comes of it |
//! |---|---|
//! | power went at any moment | the old state or the new one |
//! | a factory board with a fresh chip | the chip gets its key and an empty index |
//! | a fresh chip, one with another key or without its content, elsewhere | `Security` |
//! | something does not authenticate | `Security` |

mod calls;
mod chip;
mod files;
mod index;

pub(crate) use files::FileStorage;

use crate::secrets::{MasterSecrets, SecretBox};
use board::{Silicon, SiliconError};
use chip::{Chip, Found};
use crypto::aead::{Key, OVERHEAD_BYTES};
use crypto::kdf::hkdf_sha256;
use index::{Entry, Extent, Index};
use rpmb::{BLOCK_BYTES, Block, MAX_WRITE_FRAMES};
use std::rc::Rc;
use tee_api::TeeError;
use tee_api::storage::MAX_NAME_BYTES;
use zeroize::Zeroizing;

/// Blocks of 256 bytes: 4 MiB.
const TOTAL_BLOCKS: u16 = 16_384;
/// Blocks of one copy of the index.
const INDEX_BLOCKS: u16 = 128;
/// Where the anchor of the objects in files lies.
const ANCHOR_BLOCK: u16 = 2 * INDEX_BLOCKS;
/// The first block of data.
const DATA_FIRST: u16 = ANCHOR_BLOCK + 1;
/// The largest object, in bytes.
pub(crate) const MAX_VALUE_BYTES: usize = 16 * 1024;
/// The most extents that wait to be overwritten.
const MAX_FREED: usize = 64;
/// In front of each copy of the index: magic, generation, sealed length.
const HEADER_BYTES: usize = 16;
const MAGIC: [u8; 4] = *b"HFS1";

/// Whose an object is: [`tee_api::Identity::owner`], or zeros for the OS itself.
pub(crate) type Owner = [u8; 32];

/// Why storage refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StorageError {
    /// The board is gone.
    #[error(transparent)]
    Silicon(#[from] SiliconError),
    /// The chip is another one, or its content was altered or rolled back.
    #[error("secure storage: {0}")]
    Security(String),
    /// No room for that many objects, or for that much.
    #[error("secure storage is full")]
    Full,
    /// A name or a value is too long, or a name is empty.
    #[error("an object's {0}")]
    Parameters(&'static str),
    /// There is no such object.
    #[error("object {0}")]
    NotFound(String),
    /// A write went wrong before, so the chip's state is not known until the next power-on.
    #[error("secure storage stopped after a failed write; power the device off and on")]
    Stopped,
}

impl From<rpmb::Refused> for StorageError {
    fn from(error: rpmb::Refused) -> Self {
        Self::Security(error.to_string())
    }
}

impl From<StorageError> for TeeError {
    fn from(error: StorageError) -> Self {
        let text = error.to_string();
        match error {
            StorageError::Silicon(_) | StorageError::Stopped => Self::Communication(text),
            StorageError::Security(_) => Self::Security(text),
            StorageError::Full => Self::Resources(text),
            StorageError::Parameters(_) => Self::BadParameters(text),
            StorageError::NotFound(name) => Self::NotFound(name),
        }
    }
}

/// Changes that happen all or not at all. A name in both lists is deleted.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Objects to create or replace.
    pub(crate) put: Vec<(String, Zeroizing<Vec<u8>>)>,
    /// Objects to delete; missing ones are no error.
    pub(crate) delete: Vec<String>,
}

/// Which copy of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    A,
    B,
}

impl Copy {
    const fn first_block(self) -> u16 {
        match self {
            Self::A => 0,
            Self::B => INDEX_BLOCKS,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The storage, opened.
pub(crate) struct SecureStorage {
    chip: Chip,
    secrets: Rc<SecretBox<MasterSecrets>>,
    index: Index,
    generation: u64,
    current: Copy,
    stopped: bool,
}

impl SecureStorage {
    /// Opens the storage of this board. Only in the factory (`may_format`) does a chip without
    /// a key get one: later, such a chip is a swapped one.
    pub(crate) fn open(
        silicon: Rc<dyn Silicon>,
        secrets: Rc<SecretBox<MasterSecrets>>,
        may_format: bool,
    ) -> Result<Self, StorageError> {
        let chip = match Chip::find(Rc::clone(&silicon), &secrets.rpmb_key)? {
            Found::Ours(chip) => chip,
            Found::Fresh if may_format => Chip::program(silicon, &secrets.rpmb_key)?,
            Found::Fresh => {
                let reason =
                    "the RPMB has no key: it is not the one that this device was made with";
                return Err(StorageError::Security(reason.into()));
            }
        };
        let index = Index::default();
        let mut storage =
            Self { chip, secrets, index, generation: 0, current: Copy::B, stopped: false };
        // The first write ever is the empty index. No write yet: power went right before it.
        if storage.chip.writes() == 0 {
            storage.write_index(Index::default())?;
        } else {
            storage.load()?;
        }
        storage.overwrite_freed()?;
        Ok(storage)
    }

    /// The content of an object.
    pub(crate) fn get(&self, owner: Owner, name: &str) -> Result<Zeroizing<Vec<u8>>, StorageError> {
        let id = (owner, name.to_owned());
        let entry = self.index.entries.get(&id).ok_or(StorageError::NotFound(id.1))?;
        let Extent { first, count } = entry.extent();
        let mut sealed = self.chip.read(&self.secrets.rpmb_key, first, count)?;
        sealed.truncate(entry.sealed_bytes as usize);
        self.object_key(owner)
            .open(&object_aad(owner, entry.version, name), &sealed)
            .map(Zeroizing::new)
            .map_err(|_| StorageError::Security(format!("object {name} was altered")))
    }

    /// Makes `changes` to the objects of `owner`. What a deletion freed is overwritten when this
    /// returns; what a replacement freed, by the next [`Self::overwrite_freed`].
    pub(crate) fn commit(&mut self, owner: Owner, changes: &Changes) -> Result<(), StorageError> {
        if self.stopped {
            return Err(StorageError::Stopped);
        }
        if self.index.scrub.len() > MAX_FREED {
            self.overwrite_freed()?;
        }
        let (index, writes) = self.plan(owner, changes)?;
        // From the first write on, an error leaves the chip in a state that is not known here.
        self.stopped = true;
        for (first, sealed) in writes {
            self.write(first, &sealed)?;
        }
        self.write_index(index)?;
        self.stopped = false;
        if changes.delete.is_empty() { Ok(()) } else { self.overwrite_freed() }
    }

    /// Bytes of an object.
    pub(crate) fn size(&self, owner: Owner, name: &str) -> Result<u32, StorageError> {
        let id = (owner, name.to_owned());
        let entry = self.index.entries.get(&id).ok_or(StorageError::NotFound(id.1))?;
        Ok(entry.sealed_bytes.saturating_sub(OVERHEAD_BYTES as u32))
    }

    /// The names of an owner's objects and their sizes, sorted.
    pub(crate) fn objects(&self, owner: Owner) -> impl Iterator<Item = (&str, u32)> {
        let all = self.index.entries.range((owner, String::new())..);
        all.take_while(move |((of, _), _)| *of == owner).map(|((_, name), entry)| {
            (&name[..], entry.sealed_bytes.saturating_sub(OVERHEAD_BYTES as u32))
        })
    }

    /// The block that is kept for the root of the objects in files; zeros at first.
    pub(crate) fn anchor(&self) -> Result<Block, StorageError> {
        let bytes = self.chip.read(&self.secrets.rpmb_key, ANCHOR_BLOCK, 1)?;
        bytes.try_into().map_err(|_| StorageError::Security("the anchor is not one block".into()))
    }

    /// Replaces that block, in one write.
    pub(crate) fn set_anchor(&mut self, block: &Block) -> Result<(), StorageError> {
        if self.stopped {
            return Err(StorageError::Stopped);
        }
        self.stopped = true;
        self.chip.write(&self.secrets.rpmb_key, ANCHOR_BLOCK, std::slice::from_ref(block))?;
        self.stopped = false;
        Ok(())
    }

    /// Whether [`Self::overwrite_freed`] has something to do.
    pub(crate) fn has_freed(&self) -> bool {
        !self.stopped && !self.index.scrub.is_empty()
    }

    /// Overwrites the blocks that earlier changes freed.
    pub(crate) fn overwrite_freed(&mut self) -> Result<(), StorageError> {
        self.stopped = true;
        for Extent { first, count } in std::mem::take(&mut self.index.scrub) {
            self.write(first, &vec![0; usize::from(count) * BLOCK_BYTES])?;
        }
        self.stopped = false;
        Ok(())
    }

    /// The next index, and what is to be written where before it holds.
    #[expect(clippy::type_complexity, reason = "a list of (block, bytes) needs no name")]
    fn plan(
        &self,
        owner: Owner,
        changes: &Changes,
    ) -> Result<(Index, Vec<(u16, Vec<u8>)>), StorageError> {
        let version = self.generation + 1;
        let mut next = self.index.clone();
        // Blocks that are still to be overwritten stay so, and stay taken.
        let mut freed = std::mem::take(&mut next.scrub);
        let mut writes = Vec::with_capacity(changes.put.len());
        let names = changes.put.iter().map(|(name, _)| name).chain(&changes.delete);
        for name in names {
            let old = next.entries.remove(&(owner, name.clone()));
            freed.extend(old.map(|entry| entry.extent()));
        }
        for (name, value) in &changes.put {
            check_size(name, value)?;
            if changes.delete.contains(name) {
                continue;
            }
            let sealed = self.object_key(owner).seal(&object_aad(owner, version, name), value);
            let first =
                next.allocate(blocks_for(sealed.len()), &freed).ok_or(StorageError::Full)?;
            let entry = Entry { version, first, sealed_bytes: sealed.len() as u32 };
            if next.entries.insert((owner, name.clone()), entry).is_some() {
                return Err(StorageError::Parameters("name stands twice in one change"));
            }
            writes.push((first, sealed));
        }
        next.scrub = freed;
        let bytes = HEADER_BYTES + next.encode().len() + OVERHEAD_BYTES;
        if bytes > usize::from(INDEX_BLOCKS) * BLOCK_BYTES {
            return Err(StorageError::Full);
        }
        Ok((next, writes))
    }

    fn write(&mut self, first: u16, bytes: &[u8]) -> Result<(), StorageError> {
        let mut at = first;
        for blocks in to_blocks(bytes).chunks(MAX_WRITE_FRAMES) {
            self.chip.write(&self.secrets.rpmb_key, at, blocks)?;
            at += blocks.len() as u16;
        }
        Ok(())
    }

    /// Writes `index` into the copy that is not current; its last write, the one with the
    /// header, makes it the current one.
    fn write_index(&mut self, index: Index) -> Result<(), StorageError> {
        let target = self.current.other();
        let generation = self.generation + 1;
        let plain = index.encode();
        let header = header(generation, plain.len() + OVERHEAD_BYTES);
        let sealed = self.index_key().seal(&index_aad(target, &header), &plain);
        let blocks = to_blocks(&[&header[..], &sealed].concat());
        let pieces: Vec<&[Block]> = blocks.chunks(MAX_WRITE_FRAMES).collect();
        for (at, piece) in pieces.iter().enumerate().rev() {
            let first = target.first_block() + (at * MAX_WRITE_FRAMES) as u16;
            self.chip.write(&self.secrets.rpmb_key, first, piece)?;
        }
        (self.index, self.generation, self.current) = (index, generation, target);
        Ok(())
    }

    /// Takes the newer copy of the index. It must authenticate: power loss never breaks it, for
    /// only the other copy is ever written to.
    fn load(&mut self) -> Result<(), StorageError> {
        let a = self.read_header(Copy::A)?;
        let b = self.read_header(Copy::B)?;
        let (newest, copy) = match (a, b) {
            (Some(a), Some(b)) if a.0 > b.0 => (a, Copy::A),
            (_, Some(b)) => (b, Copy::B),
            (Some(a), None) => (a, Copy::A),
            (None, None) => {
                let reason = "the RPMB lost its content";
                return Err(StorageError::Security(reason.into()));
            }
        };
        let (generation, sealed_bytes) = newest;
        let altered = || StorageError::Security("the index was altered".into());
        let count = blocks_for(HEADER_BYTES + sealed_bytes);
        let bytes = self.chip.read(&self.secrets.rpmb_key, copy.first_block(), count)?;
        let header = header(generation, sealed_bytes);
        let sealed = bytes.get(HEADER_BYTES..HEADER_BYTES + sealed_bytes).ok_or_else(altered)?;
        let plain = self.index_key().open(&index_aad(copy, &header), sealed);
        self.index = plain.ok().and_then(|bytes| Index::decode(&bytes)).ok_or_else(altered)?;
        (self.generation, self.current) = (generation, copy);
        Ok(())
    }

    /// Generation and sealed length of a copy; `None` where it was never written.
    fn read_header(&self, copy: Copy) -> Result<Option<(u64, usize)>, StorageError> {
        let block = self.chip.read(&self.secrets.rpmb_key, copy.first_block(), 1)?;
        let header: &[u8; HEADER_BYTES] =
            block.first_chunk().expect("a block is larger than the header");
        // Of a copy that was never completed, the first blocks are still zero.
        if *header == [0; HEADER_BYTES] {
            return Ok(None);
        }
        let generation = u64::from_le_bytes(header[4..12].try_into().expect("eight bytes"));
        let length = u32::from_le_bytes(header[12..].try_into().expect("four bytes")) as usize;
        let fits = length <= usize::from(INDEX_BLOCKS) * BLOCK_BYTES - HEADER_BYTES;
        if header[..4] == MAGIC && fits {
            Ok(Some((generation, length)))
        } else {
            Err(StorageError::Security("the header of the index was altered".into()))
        }
    }

    fn index_key(&self) -> Key {
        let key = hkdf_sha256::<32>(&self.secrets.storage_key, &[], &[b"index"]);
        Key::aes_256_gcm(key.expose())
    }

    fn object_key(&self, owner: Owner) -> Key {
        let key = hkdf_sha256::<32>(&self.secrets.storage_key, &[], &[b"objects", &owner]);
        Key::aes_256_gcm(key.expose())
    }
}

fn header(generation: u64, sealed_bytes: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..12].copy_from_slice(&generation.to_le_bytes());
    header[12..].copy_from_slice(&(sealed_bytes as u32).to_le_bytes());
    header
}

fn index_aad(copy: Copy, header: &[u8; HEADER_BYTES]) -> Vec<u8> {
    [&header[..], &copy.first_block().to_le_bytes()].concat()
}

fn object_aad(owner: Owner, version: u64, name: &str) -> Vec<u8> {
    [&owner[..], &version.to_le_bytes(), name.as_bytes()].concat()
}

fn check_size(name: &str, value: &[u8]) -> Result<(), StorageError> {
    match (name.len(), value.len()) {
        (1..=MAX_NAME_BYTES, 0..=MAX_VALUE_BYTES) => Ok(()),
        (1..=MAX_NAME_BYTES, _) => Err(StorageError::Parameters("content is over 16 KiB")),
        _ => Err(StorageError::Parameters("name needs 1 to 64 bytes")),
    }
}

const fn blocks_for(bytes: usize) -> u16 {
    bytes.div_ceil(BLOCK_BYTES) as u16
}

fn to_blocks(bytes: &[u8]) -> Vec<Block> {
    bytes
        .chunks(BLOCK_BYTES)
        .map(|chunk| {
            let mut block = [0; BLOCK_BYTES];
            block[..chunk.len()].copy_from_slice(chunk);
            block
        })
        .collect()
}

#[cfg(test)]
mod tests;
