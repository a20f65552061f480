//! The manifest: which blocks make which file, and all that a restore needs besides.
//!
//! CBOR (RFC 8949), a list: `["holdfast-snapshot", 1, root, packs, entries]`. `root` is
//! `[mode, seconds, nanoseconds]`; `packs` is one byte string of names end to end; an entry is
//! `[kind, path, mode, seconds, nanoseconds, size, pieces, target]` with kind 0 directory,
//! 1 file, 2 symlink, 3 hard link; a piece is `[pack, id]` for a block or a number for that many
//! blocks of zeros. Entries are sorted by path; a directory comes before what is in it; a hard
//! link names a file that came before.

use crate::block::{BlockId, ID_BYTES, PackId, block_count};
use crate::path::{PATH_BYTES, PathError, TreePath};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

const NAME: &str = "holdfast-snapshot";
const FORMAT: u32 = 1;
/// The most entries.
pub const ENTRIES: usize = 16_000_000;
/// The largest file: 2^60 bytes.
pub const FILE_BYTES: u64 = 1 << 60;

/// A snapshot of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// Mode and time of the tree's root.
    pub root: Attributes,
    /// The packs that the blocks lie in; [`Piece::Block`] counts in this list.
    pub packs: Vec<PackId>,
    /// Everything in the tree, sorted by path.
    pub entries: Vec<Entry>,
}

/// Mode and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// The twelve permission bits.
    pub mode: u32,
    /// Seconds since 1970 of the last change; may be negative.
    pub mtime_s: i64,
    /// Nanoseconds of it.
    pub mtime_ns: u32,
}

/// One thing in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: TreePath,
    /// Mode and time; of a hard link: those of its file.
    pub attributes: Attributes,
    /// What.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// Bytes.
        size: u64,
        /// Its blocks in order: all of [`wire::sync::BLOCK_BYTES`] but the last.
        pieces: Vec<Piece>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as it is written.
        target: Vec<u8>,
    },
    /// Another name of a file.
    Hardlink {
        /// The file's first name.
        target: TreePath,
    },
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// One block.
    Block {
        /// Its name.
        id: BlockId,
        /// In which of the manifest's packs it lies.
        pack: u32,
    },
    /// So many blocks of zeros, which are not stored. Never 0; two never follow each other.
    Hole(u64),
}

/// Why bytes are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not CBOR of this shape, or bytes follow it.
    #[error("the manifest is not well-formed: {0}")]
    Malformed(String),
    /// A format of another time.
    #[error("the manifest has format {0}; this program reads format {FORMAT}")]
    Format(u32),
    /// An entry breaks a rule.
    #[error("entry {index} of the manifest: {fault}")]
    Entry {
        /// Which, counted from 0.
        index: usize,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Its path leaves the tree.
    #[error("{0}")]
    Path(#[from] PathError),
    /// It is out of order, or there twice.
    #[error("it does not sort after the entry before it")]
    Order,
    /// What it lies in is no directory of the manifest.
    #[error("its directory is not in the manifest")]
    Orphan,
    /// A field that its kind does not have, or out of its range.
    #[error("the field {0} is out of its range")]
    Field(&'static str),
    /// A hard link to something that is no file before it.
    #[error("it links to what is no earlier file")]
    Link,
}

#[derive(Serialize, Deserialize)]
struct WireManifest<'m>(std::borrow::Cow<'m, str>, u32, (u32, i64, u32), ByteBuf, Vec<WireEntry>);

#[derive(Serialize, Deserialize)]
struct WireEntry(u8, ByteBuf, u32, i64, u32, u64, Vec<WirePiece>, ByteBuf);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WirePiece {
    Hole(u64),
    Block(u32, ByteArray<ID_BYTES>),
}

impl Manifest {
    /// The CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let root = (self.root.mode, self.root.mtime_s, self.root.mtime_ns);
        let packs = ByteBuf::from(self.packs.iter().flat_map(|id| id.0).collect::<Vec<_>>());
        let entries = self.entries.iter().map(Entry::to_wire).collect();
        let mut out = Vec::new();
        ciborium::into_writer(&WireManifest(NAME.into(), FORMAT, root, packs, entries), &mut out)
            .expect("a vector takes every byte");
        out
    }

    /// Reads CBOR, strictly.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let WireManifest(name, format, root, packs, entries) = ciborium::from_reader(&mut bytes)
            .map_err(|error| DecodeError::Malformed(error.to_string()))?;
        if name != NAME {
            return Err(DecodeError::Malformed("another name at its beginning".into()));
        }
        if format != FORMAT {
            return Err(DecodeError::Format(format));
        }
        let (packs, rest) = packs.as_chunks::<ID_BYTES>();
        if !bytes.is_empty() || !rest.is_empty() || entries.len() > ENTRIES {
            return Err(DecodeError::Malformed("bytes left over, or too many entries".into()));
        }
        let root = attributes(root.0, root.1, root.2)
            .map_err(|_| DecodeError::Malformed("mode or time of the root".into()))?;
        let packs: Vec<_> = packs.iter().copied().map(PackId).collect();
        let entries = checked_entries(entries, packs.len())?;
        Ok(Self { root, packs, entries })
    }

    /// Bytes of all files, each counted once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.kind.size()).sum()
    }

    /// How many files there are, hard links not counted.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.entries.iter().filter(|entry| matches!(entry.kind, Kind::File { .. })).count() as u64
    }
}

impl Kind {
    /// Bytes of a file; 0 for everything else.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            _ => 0,
        }
    }
}

impl Entry {
    fn to_wire(&self) -> WireEntry {
        let (kind, size, pieces, target): (u8, u64, &[Piece], &[u8]) = match &self.kind {
            Kind::Directory => (0, 0, &[], &[]),
            Kind::File { size, pieces } => (1, *size, pieces, &[]),
            Kind::Symlink { target } => (2, 0, &[], target),
            Kind::Hardlink { target } => (3, 0, &[], target.as_bytes()),
        };
        let Attributes { mode, mtime_s, mtime_ns } = self.attributes;
        let path = ByteBuf::from(self.path.as_bytes());
        let pieces = pieces.iter().map(WirePiece::from).collect();
        WireEntry(kind, path, mode, mtime_s, mtime_ns, size, pieces, ByteBuf::from(target))
    }
}

impl From<&Piece> for WirePiece {
    fn from(piece: &Piece) -> Self {
        match piece {
            Piece::Block { id, pack } => Self::Block(*pack, ByteArray::new(id.0)),
            Piece::Hole(count) => Self::Hole(*count),
        }
    }
}

fn checked_entries(wire: Vec<WireEntry>, packs: usize) -> Result<Vec<Entry>, DecodeError> {
    let mut check = Check { packs, above: vec![TreePath::root()] };
    let mut entries: Vec<Entry> = Vec::with_capacity(wire.len());
    for (index, wire) in wire.into_iter().enumerate() {
        let entry = check.entry(wire, &entries);
        entries.push(entry.map_err(|fault| DecodeError::Entry { index, fault })?);
    }
    Ok(entries)
}

/// What must be remembered of the entries before one.
struct Check {
    packs: usize,
    /// The directories from the root to the entry before.
    above: Vec<TreePath>,
}

impl Check {
    fn entry(&mut self, wire: WireEntry, before: &[Entry]) -> Result<Entry, Fault> {
        let WireEntry(kind, path, mode, seconds, nanoseconds, size, pieces, target) = wire;
        let path = TreePath::new(path.into_vec())?;
        if path.is_root() || before.last().is_some_and(|before| before.path >= path) {
            return Err(Fault::Order);
        }
        self.climb_to_directory_of(&path)?;
        let attributes = attributes(mode, seconds, nanoseconds)?;
        let bare = size == 0 && pieces.is_empty();
        let kind = match kind {
            0 if bare && target.is_empty() => Kind::Directory,
            1 if target.is_empty() => Kind::File { size, pieces: self.pieces(size, pieces)? },
            2 if bare => Kind::Symlink { target: link_target(target)? },
            3 if bare => Kind::Hardlink { target: link(target, before)? },
            0..=3 => return Err(Fault::Field("size, pieces or target")),
            _ => return Err(Fault::Field("kind")),
        };
        if kind == Kind::Directory {
            self.above.push(path.clone());
        }
        Ok(Entry { path, attributes, kind })
    }

    fn climb_to_directory_of(&mut self, path: &TreePath) -> Result<(), Fault> {
        let (parent, _) = path.split().ok_or(Fault::Order)?;
        while self.above.last().is_some_and(|directory| *directory != parent) {
            self.above.pop();
        }
        if self.above.is_empty() { Err(Fault::Orphan) } else { Ok(()) }
    }

    fn pieces(&self, size: u64, wire: Vec<WirePiece>) -> Result<Vec<Piece>, Fault> {
        let fault = Fault::Field("pieces");
        let (mut blocks, mut pieces) = (0_u64, Vec::with_capacity(wire.len()));
        for piece in wire {
            let (piece, count) = match piece {
                WirePiece::Hole(0) => return Err(fault),
                WirePiece::Hole(_) if matches!(pieces.last(), Some(Piece::Hole(_))) => {
                    return Err(fault);
                }
                WirePiece::Hole(count) => (Piece::Hole(count), count),
                WirePiece::Block(pack, _) if pack as usize >= self.packs => {
                    return Err(Fault::Field("pack"));
                }
                WirePiece::Block(pack, id) => {
                    (Piece::Block { id: BlockId(id.into_array()), pack }, 1)
                }
            };
            blocks = blocks.checked_add(count).ok_or(fault)?;
            pieces.push(piece);
        }
        if size > FILE_BYTES || blocks != block_count(size) { Err(fault) } else { Ok(pieces) }
    }
}

fn link(target: ByteBuf, before: &[Entry]) -> Result<TreePath, Fault> {
    let target = TreePath::new(target.into_vec())?;
    let found = before.binary_search_by(|entry| entry.path.cmp(&target)).map(|at| &before[at].kind);
    if matches!(found, Ok(Kind::File { .. })) { Ok(target) } else { Err(Fault::Link) }
}

fn attributes(mode: u32, mtime_s: i64, mtime_ns: u32) -> Result<Attributes, Fault> {
    if mode > 0o7777 {
        return Err(Fault::Field("mode"));
    }
    if mtime_ns >= 1_000_000_000 {
        return Err(Fault::Field("nanoseconds"));
    }
    Ok(Attributes { mode, mtime_s, mtime_ns })
}

fn link_target(target: ByteBuf) -> Result<Vec<u8>, Fault> {
    if target.is_empty() || target.len() > PATH_BYTES || target.contains(&0) {
        return Err(Fault::Field("target"));
    }
    Ok(target.into_vec())
}

/// Adds one block to the pieces of a file; a hole joins the hole before it.
pub fn push_piece(pieces: &mut Vec<Piece>, piece: Piece) {
    match (pieces.last_mut(), piece) {
        (Some(Piece::Hole(before)), Piece::Hole(more)) => *before += more,
        _ => pieces.push(piece),
    }
}

#[cfg(test)]
mod tests;
