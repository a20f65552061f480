//! cpio archives of the kind "newc" (magic 070701), as the kernel's initramfs reads them.
//!
//! Only what a system image needs: directories, regular files, symbolic links. A reader gets
//! entries in an order in which each one's directory comes first, with names that cannot leave
//! the tree: unpacking them one after the other never follows a link.
//!
//! ```
//! use bootimg::cpio::{Archive, Content, Writer};
//!
//! let mut writer = Writer::new();
//! writer.directory("bin", 0o755)?;
//! writer.file("bin/system", 0o755, b"\x7fELF")?;
//! let bytes = writer.finish();
//! let archive = Archive::parse(&bytes)?;
//! assert_eq!(archive.file("bin/system"), Some(&b"\x7fELF"[..]));
//! # Ok::<(), bootimg::cpio::CpioError>(())
//! ```

mod decode;
mod encode;

pub use decode::Archive;
pub use encode::Writer;

use std::collections::HashMap;

/// One thing in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path: relative, without `.`, `..` and empty parts.
    pub path: &'a str,
    /// Permission bits, up to 0o7777.
    pub mode: u32,
    /// What it is.
    pub content: Content<'a>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// A directory.
    Directory,
    /// A regular file with its bytes.
    File(&'a [u8]),
    /// A symbolic link with its target: relative, and not above the root of the archive.
    Symlink(&'a str),
}

impl Content<'_> {
    const fn file_type(&self) -> u32 {
        match self {
            Self::Directory => 0o040_000,
            Self::File(_) => 0o100_000,
            Self::Symlink(_) => 0o120_000,
        }
    }
}

/// What is wrong with an archive, or with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CpioError {
    /// The archive ends in the middle.
    #[error("the archive is cut off at byte {0}")]
    Truncated(usize),
    /// A header is malformed.
    #[error("the header at byte {at} is malformed: {problem}")]
    Header {
        /// Where it starts.
        at: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A path is not allowed.
    #[error("path {path:?}: {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Padding is not zero, or something follows the trailer.
    #[error("bytes at {0} should be padding, but are not zero")]
    Padding(usize),
    /// A file is larger than the 4 GiB that the format can say.
    #[error("path {0:?}: larger than 4 GiB")]
    TooLarge(String),
}

const MAGIC: &[u8; 6] = b"070701";
const HEADER_BYTES: usize = 110;
const TRAILER: &str = "TRAILER!!!";
const ALIGNMENT: usize = 4;
/// The longest path in bytes, with the NUL behind it (Linux' PATH_MAX).
const MAX_PATH_BYTES: usize = 4096;

/// The paths seen so far, and whether they are directories.
#[derive(Default)]
struct Tree {
    seen: HashMap<String, bool>,
}

impl Tree {
    /// Admits an entry: a new path in a directory that is already there.
    fn admit(&mut self, path: &str, content: &Content<'_>) -> Result<(), CpioError> {
        let refuse = |problem| CpioError::Path { path: path.to_owned(), problem };
        check_path(path).map_err(refuse)?;
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if parent.is_some_and(|parent| self.seen.get(parent) != Some(&true)) {
            return Err(refuse("its directory does not come before it"));
        }
        if let Content::Symlink(target) = content {
            check_target(path, target).map_err(refuse)?;
        }
        let is_directory = matches!(content, Content::Directory);
        if self.seen.insert(path.to_owned(), is_directory).is_some() {
            return Err(refuse("occurs twice"));
        }
        Ok(())
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path == TRAILER {
        return Err("is the name of the trailer");
    }
    if path.len() >= MAX_PATH_BYTES || path.contains('\0') {
        return Err("is too long or has a NUL");
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err("is absolute, or has empty parts, `.` or `..`");
    }
    Ok(())
}

/// A link's target, seen from the directory of the link, stays inside the archive.
fn check_target(path: &str, target: &str) -> Result<(), &'static str> {
    if target.is_empty() || target.len() >= MAX_PATH_BYTES || target.contains('\0') {
        return Err("its target is empty, too long or has a NUL");
    }
    if target.starts_with('/') {
        return Err("its target is absolute");
    }
    let mut depth = path.matches('/').count();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1).ok_or("its target leaves the archive")?,
            _ => depth += 1,
        }
    }
    Ok(())
}
