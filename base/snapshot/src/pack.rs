//! Packs: many sealed blocks as one object.
//!
//! [`wire::sync::MAGIC`], version (u8), u16 length, wrapped data key (text), then repeated
//! { id (32), u32 length, sealed block }. Numbers are big-endian. At least one block; no block
//! twice. A pack's name is the SHA-256 of its bytes. Where two packs hold the same block, the
//! one that was stored later counts.

use crate::block::{BlockId, DataKey, ID_BYTES, PackId, SEALED_BYTES_MIN};
use crypto::digest::{Sha256, sha256};
use std::collections::HashSet;
use wire::sync::{BLOCK_BYTES, MAGIC, PACK_BYTES, SEALED_BLOCK_BYTES, VERSION};

/// A writer closes its pack before it grows past this.
pub const TARGET_BYTES: usize = 8 << 20;
/// The most that a wrapped key has.
pub const WRAPPED_KEY_BYTES: usize = 1024;

/// Bytes of a block's head: name and length.
pub(crate) const BLOCK_HEAD_BYTES: usize = ID_BYTES + 4;

/// Why bytes are not a pack, or not an answer with blocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Other magic bytes.
    #[error("byte 0: these bytes do not begin with the magic of a pack or of an answer")]
    Magic,
    /// A version that this program does not know.
    #[error("byte 4: version {0} is not known; this program reads version {VERSION}")]
    Version(u8),
    /// A wrapped key that is empty, too long, or not printable ASCII.
    #[error("byte {at}: the wrapped key is not 1 to {WRAPPED_KEY_BYTES} printable characters")]
    WrappedKey {
        /// Where.
        at: u64,
    },
    /// A length that no sealed block has.
    #[error(
        "byte {at}: a sealed block has {SEALED_BYTES_MIN} to {SEALED_BLOCK_BYTES} bytes, not {length}"
    )]
    BlockLength {
        /// Where.
        at: u64,
        /// What it says.
        length: u32,
    },
    /// The same block twice in one pack.
    #[error("block {0} is in the pack twice")]
    Twice(BlockId),
    /// A pack with no block.
    #[error("the pack holds no block")]
    Empty,
    /// More than a pack may have.
    #[error("the pack has more than {PACK_BYTES} bytes")]
    TooLong,
    /// The bytes end in the middle.
    #[error("byte {at}: the bytes end in the middle of a field")]
    Truncated {
        /// How many bytes there were.
        at: u64,
    },
}

/// A finished pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Its name.
    pub id: PackId,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The blocks in it, in order.
    pub blocks: Vec<BlockId>,
}

/// Fills a pack. The caller gives no block twice.
pub struct PackWriter {
    bytes: Vec<u8>,
    blocks: Vec<BlockId>,
}

impl PackWriter {
    /// An empty pack whose blocks are sealed under the key that `wrapped_key` wraps.
    pub fn new(wrapped_key: &str) -> Result<Self, Error> {
        check_wrapped_key(wrapped_key.as_bytes(), 7)?;
        let mut bytes = Vec::with_capacity(TARGET_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&(wrapped_key.len() as u16).to_be_bytes());
        bytes.extend_from_slice(wrapped_key.as_bytes());
        Ok(Self { bytes, blocks: Vec::new() })
    }

    /// Whether a block of `plaintext_bytes` still fits under [`TARGET_BYTES`].
    #[must_use]
    pub const fn has_room_for(&self, plaintext_bytes: usize) -> bool {
        let sealed = plaintext_bytes + SEALED_BLOCK_BYTES - BLOCK_BYTES;
        self.bytes.len() + BLOCK_HEAD_BYTES + sealed <= TARGET_BYTES
    }

    /// Whether there is no block in it yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Seals `plaintext` under `key` into the pack.
    pub fn push(&mut self, key: &DataKey, id: &BlockId, plaintext: &[u8]) {
        let sealed = plaintext.len() + SEALED_BLOCK_BYTES - BLOCK_BYTES;
        self.bytes.extend_from_slice(&id.0);
        self.bytes.extend_from_slice(&(sealed as u32).to_be_bytes());
        key.seal_into(id, plaintext, &mut self.bytes);
        self.blocks.push(*id);
    }

    /// The pack and its name.
    #[must_use]
    pub fn finish(self) -> Pack {
        Pack { id: PackId(sha256(&self.bytes)), bytes: self.bytes, blocks: self.blocks }
    }
}

/// What lies where in a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The pack's name: SHA-256 of its bytes.
    pub id: PackId,
    /// The wrapped data key.
    pub wrapped_key: String,
    /// The blocks, in order.
    pub blocks: Vec<Place>,
    /// Bytes of the whole pack.
    pub bytes: u64,
}

/// Where a sealed block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub id: BlockId,
    /// Where the sealed block begins, from the pack's first byte.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u32,
}

impl Place {
    /// The sealed block, out of the pack that it was found in.
    ///
    /// # Panics
    /// Where `pack` is another, shorter one.
    #[must_use]
    pub fn of<'p>(&self, pack: &'p [u8]) -> &'p [u8] {
        &pack[self.offset as usize..][..self.length as usize]
    }
}

/// Indexes a pack that is in memory.
pub fn parse(pack: &[u8]) -> Result<Index, Error> {
    let mut scanner = Scanner::new();
    scanner.push(pack)?;
    scanner.finish()
}

/// Indexes a pack while its bytes pass by, in pieces of any size; keeps no block in memory.
pub struct Scanner {
    state: State,
    /// The field that is being gathered.
    field: Vec<u8>,
    position: u64,
    hash: Sha256,
    wrapped_key: String,
    blocks: Vec<Place>,
    seen: HashSet<BlockId>,
}

enum State {
    Head,
    WrappedKey(usize),
    BlockHead,
    Block(u32),
}

/// Bytes of the head: magic, version, length of the wrapped key.
pub(crate) const HEAD_BYTES: usize = 7;

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// Before the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Head,
            field: Vec::new(),
            position: 0,
            hash: Sha256::new(),
            wrapped_key: String::new(),
            blocks: Vec::new(),
            seen: HashSet::new(),
        }
    }

    /// The next bytes of the pack.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), Error> {
        if self.position + piece.len() as u64 > PACK_BYTES as u64 {
            return Err(Error::TooLong);
        }
        self.hash.update(piece);
        while !piece.is_empty() {
            piece = match self.state {
                State::Block(left) => self.skip(left, piece),
                State::Head => self.gather(HEAD_BYTES, piece, Self::head)?,
                State::WrappedKey(length) => self.gather(length, piece, Self::key)?,
                State::BlockHead => self.gather(BLOCK_HEAD_BYTES, piece, Self::block_head)?,
            };
        }
        Ok(())
    }

    /// After the last byte.
    pub fn finish(self) -> Result<Index, Error> {
        if !matches!(self.state, State::BlockHead) || !self.field.is_empty() {
            return Err(Error::Truncated { at: self.position });
        }
        if self.blocks.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Index {
            id: PackId(self.hash.finish()),
            wrapped_key: self.wrapped_key,
            blocks: self.blocks,
            bytes: self.position,
        })
    }

    fn skip<'p>(&mut self, left: u32, piece: &'p [u8]) -> &'p [u8] {
        let taken = piece.len().min(left as usize);
        self.position += taken as u64;
        self.state = match left - taken as u32 {
            0 => State::BlockHead,
            left => State::Block(left),
        };
        &piece[taken..]
    }

    fn gather<'p>(
        &mut self,
        length: usize,
        piece: &'p [u8],
        done: fn(&mut Self, &[u8]) -> Result<State, Error>,
    ) -> Result<&'p [u8], Error> {
        let (taken, rest) = piece.split_at(piece.len().min(length - self.field.len()));
        self.field.extend_from_slice(taken);
        self.position += taken.len() as u64;
        if self.field.len() == length {
            let field = std::mem::take(&mut self.field);
            self.state = done(self, &field)?;
        }
        Ok(rest)
    }

    fn head(&mut self, field: &[u8]) -> Result<State, Error> {
        Ok(State::WrappedKey(check_head(field, MAGIC)?))
    }

    fn key(&mut self, field: &[u8]) -> Result<State, Error> {
        check_wrapped_key(field, HEAD_BYTES as u64)?;
        self.wrapped_key = String::from_utf8_lossy(field).into_owned();
        Ok(State::BlockHead)
    }

    fn block_head(&mut self, field: &[u8]) -> Result<State, Error> {
        let (id, length) = split_block_head(field);
        check_block_length(length, self.position - 4)?;
        if !self.seen.insert(id) {
            return Err(Error::Twice(id));
        }
        self.blocks.push(Place { id, offset: self.position, length });
        Ok(State::Block(length))
    }
}

/// Checks magic and version; the length of the wrapped key.
fn check_head(head: &[u8], magic: [u8; 4]) -> Result<usize, Error> {
    if head[..4] != magic {
        return Err(Error::Magic);
    }
    if head[4] != VERSION {
        return Err(Error::Version(head[4]));
    }
    let length = usize::from(u16::from_be_bytes([head[5], head[6]]));
    check_key_length(length, 5)?;
    Ok(length)
}

pub(crate) fn check_key_length(length: usize, at: u64) -> Result<(), Error> {
    if (1..=WRAPPED_KEY_BYTES).contains(&length) { Ok(()) } else { Err(Error::WrappedKey { at }) }
}

pub(crate) fn check_wrapped_key(key: &[u8], at: u64) -> Result<(), Error> {
    check_key_length(key.len(), at)?;
    if key.iter().all(u8::is_ascii_graphic) { Ok(()) } else { Err(Error::WrappedKey { at }) }
}

pub(crate) fn check_block_length(length: u32, at: u64) -> Result<(), Error> {
    if (SEALED_BYTES_MIN..=SEALED_BLOCK_BYTES).contains(&(length as usize)) {
        Ok(())
    } else {
        Err(Error::BlockLength { at, length })
    }
}

fn split_block_head(field: &[u8]) -> (BlockId, u32) {
    let id = field[..ID_BYTES].try_into().expect("a block's head begins with its name");
    let length = field[ID_BYTES..].try_into().expect("a block's head ends with its length");
    (BlockId(id), u32::from_be_bytes(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::IdKey;
    use proptest::prelude::*;

    const WRAPPED: &str = "vault:v1:AAAA";

    fn pack(plaintexts: &[Vec<u8>]) -> Pack {
        let (ids, key) = (IdKey::new(&[1; 32]), DataKey::new(&[2; 32], "a"));
        let mut writer = PackWriter::new(WRAPPED).expect("a wrapped key");
        for plaintext in plaintexts {
            writer.push(&key, &ids.name(plaintext), plaintext);
        }
        writer.finish()
    }

    proptest! {
        #[test]
        fn s5_2_a_pack_is_indexed_the_same_in_pieces_of_any_size(
            plaintexts in proptest::collection::hash_set(proptest::collection::vec(any::<u8>(), 1..300), 1..8),
            step in 1_usize..50,
        ) {
            let plaintexts: Vec<_> = plaintexts.into_iter().collect();
            let pack = pack(&plaintexts);
            let index = parse(&pack.bytes).expect("a pack");
            let mut scanner = Scanner::new();
            for piece in pack.bytes.chunks(step) {
                scanner.push(piece).expect("a pack");
            }
            prop_assert_eq!(&scanner.finish().expect("a pack"), &index);
            prop_assert_eq!((index.id, index.bytes), (pack.id, pack.bytes.len() as u64));
            prop_assert_eq!(&index.wrapped_key, WRAPPED);
            let key = DataKey::new(&[2; 32], "a");
            for ((place, plaintext), id) in index.blocks.iter().zip(&plaintexts).zip(&pack.blocks) {
                prop_assert_eq!(place.id, *id);
                let mut sealed = place.of(&pack.bytes).to_vec();
                prop_assert_eq!(key.open(id, &mut sealed), Ok(&plaintext[..]));
            }
        }

        #[test]
        fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[&b"HFPK\x01\0\x01k"[..], &bytes].concat());
        }
    }

    #[test]
    fn refuses_what_is_not_exactly_a_pack() {
        let good = pack(&[vec![7; 10]]);
        for length in 0..good.bytes.len() {
            let cut = parse(&good.bytes[..length]);
            assert!(
                matches!(cut, Err(Error::Truncated { .. } | Error::Empty)),
                "{length}: {cut:?}"
            );
        }
        let altered = |at: usize, to: u8| {
            let mut bytes = good.bytes.clone();
            bytes[at] = to;
            parse(&bytes)
        };
        assert_eq!(altered(0, b'X'), Err(Error::Magic));
        assert_eq!(altered(4, 2), Err(Error::Version(2)));
        assert_eq!(altered(5, 0xff), Err(Error::WrappedKey { at: 5 }));
        assert_eq!(altered(8, b'\n'), Err(Error::WrappedKey { at: 7 }));
        let length_at = HEAD_BYTES + WRAPPED.len() + ID_BYTES;
        assert!(matches!(altered(length_at, 1), Err(Error::BlockLength { .. })));
        assert!(matches!(altered(length_at + 3, 28), Err(Error::BlockLength { length: 28, .. })));
        let twice = [&good.bytes[..], &good.bytes[HEAD_BYTES + WRAPPED.len()..]].concat();
        assert_eq!(parse(&twice), Err(Error::Twice(good.blocks[0])));
        assert_eq!(Scanner::new().push(&vec![0; PACK_BYTES + 1]), Err(Error::TooLong));
        assert!(PackWriter::new("").is_err() && PackWriter::new("a b").is_err());
    }

    #[test]
    fn a_writer_says_when_the_pack_is_full() {
        let (ids, key) = (IdKey::new(&[1; 32]), DataKey::new(&[2; 32], "a"));
        let mut writer = PackWriter::new(WRAPPED).expect("a wrapped key");
        assert!(writer.is_empty());
        let mut n = 0_u8;
        while writer.has_room_for(BLOCK_BYTES) {
            let plaintext = vec![n; BLOCK_BYTES];
            writer.push(&key, &ids.name(&plaintext), &plaintext);
            n += 1;
        }
        assert_eq!(n, 7);
        assert!(writer.finish().bytes.len() <= TARGET_BYTES);
    }
}
