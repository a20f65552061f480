//! Zip files as OTA packages need them: strict to read, plain to write.
//!
//! Follows APPNOTE.TXT. Entries are stored or deflated, zip64 where it is needed. Everything on
//! which two readers could disagree is refused: see [`ZipError`].

mod read;
mod write;

pub use read::{Archive, Entry};
pub use write::Writer;

use std::io;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;

/// Bytes of the end-of-directory record without its comment.
pub(crate) const END_BYTES: usize = 22;
const LOCAL_BYTES: usize = 30;
const CENTRAL_BYTES: usize = 46;
const END_64_BYTES: usize = 56;
const LOCATOR_64_BYTES: usize = 20;

/// What stands in a 32-bit field whose value is in the zip64 fields.
const IN_64: u32 = u32::MAX;
/// The extra field with 64-bit sizes and offsets.
const EXTRA_64: u16 = 1;

/// Why a zip file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZipError {
    /// No end-of-directory record where it must be.
    #[error("no end-of-directory record at the end: not a zip file, or something was appended")]
    NoEnd,
    /// Its magic stands again behind it: two readers would see two files.
    #[error("the end-of-directory magic occurs twice: another reader would see another file")]
    SecondEnd,
    /// A file in several parts.
    #[error("the zip file is one part of several")]
    Parts,
    /// zip64 records that are malformed, misplaced or contradict the others.
    #[error("the zip64 records are malformed or contradict the others")]
    Zip64,
    /// A directory that does not end where the end record begins, or holds other bytes.
    #[error("the central directory does not fill the place that the end record names")]
    Directory,
    /// A directory or a file in memory that is too large.
    #[error("{what} has {size} bytes; {limit} are allowed")]
    TooLarge {
        /// What.
        what: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A name that is empty, not UTF-8 or leads elsewhere.
    #[error("the entry name {0:?} is not a plain relative path")]
    Name(String),
    /// A name that occurs twice.
    #[error("the entry {0} occurs twice: which one counts?")]
    Twice(String),
    /// Encryption, patches, or a method that is neither stored nor deflate.
    #[error("the entry {0} is encrypted or compressed in a way that OTA files do not have")]
    Method(String),
    /// The header in front of the data says something else than the directory.
    #[error("the entry {0} has a local header that contradicts the directory")]
    Local(String),
    /// Data that shares bytes with another entry or with the directory.
    #[error("the entry {0} overlaps another entry or the directory")]
    Overlap(String),
    /// Data that is not what the directory says.
    #[error("the entry {0} is damaged: its size or CRC-32 is another")]
    Damaged(String),
    /// An entry that must be there.
    #[error("the entry {0} is missing")]
    Missing(String),
    /// Reading failed.
    #[error("the zip file cannot be read: {0}")]
    Io(#[from] io::Error),
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Whether a name is a plain relative path.
fn is_plain(name: &str) -> bool {
    let path = name.strip_suffix('/').unwrap_or(name);
    !name.bytes().any(|byte| byte < 0x20 || byte == b'\\' || byte == b':')
        && path.split('/').all(|part| !["", ".", ".."].contains(&part))
}
