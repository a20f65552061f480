//! A folder as a tar archive (POSIX.1-2001 pax), and the comparison of the two.
//!
//! [`pack_folder`] writes a folder: sorted, nothing followed, hard links and holes kept, a file
//! that changes while it is read written again. [`compare`] reads an archive beside a folder
//! and lists every difference. [`read`] and [`write`] are the archive format itself, for
//! whoever keeps a tree elsewhere. All of it streams; memory stays bounded by the number of
//! hard links, not by sizes.
//!
//! Names are raw bytes: pax values are taken as such, as GNU tar does. Times have nanoseconds,
//! sizes have no limit. Holes travel as GNU sparse 1.0. Read besides: GNU long names. Not read:
//! the older sparse formats, which are reported as such.

pub mod compare;
mod pack;
pub mod read;
pub mod write;

pub use compare::{Difference, compare_tar_with_folder};
pub use pack::{PackError, pack_folder};

/// What one archive entry is, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path as the archive has it: raw, unchecked.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// The twelve permission bits.
    pub mode: u32,
    /// Seconds since 1970 of the last change.
    pub mtime_s: i64,
    /// Nanoseconds of it.
    pub mtime_ns: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file of so many bytes, holes included.
    File {
        /// Bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// As it is written.
        target: Vec<u8>,
    },
    /// Another name of an earlier file.
    Hardlink {
        /// That file's path in the archive: raw, unchecked.
        target: Vec<u8>,
    },
    /// Something that a folder can have but a vault does not keep: what it is, for people.
    Other(&'static str),
}

/// What was carried over, and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Files, each hard link but the first not counted.
    pub files: u64,
    /// Directories, the root not counted.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Further names of files.
    pub hardlinks: u64,
    /// Bytes of all files, holes included.
    pub bytes: u64,
    /// Everything that was left out.
    pub skipped: Vec<Skipped>,
}

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its path, raw.
    pub path: Vec<u8>,
    /// Why, for people.
    pub why: String,
}

impl Summary {
    /// Notes something that was left out.
    pub fn skip(&mut self, path: impl Into<Vec<u8>>, why: impl Into<String>) {
        self.skipped.push(Skipped { path: path.into(), why: why.into() });
    }
}

/// Bytes of a tar record.
const RECORD: u64 = 512;

const fn padding(size: u64) -> u64 {
    size.wrapping_neg() % RECORD
}
