//! Why something of a vault could not be read, written or opened.

use rustix::io::Errno;
use std::fmt;
use std::path::PathBuf;

/// What was found altered in a backing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// The first page: no vault's file, or another one's.
    Header,
    /// The map page of this region.
    Map(u64),
    /// The tag page of this group of blocks.
    Tags(u64),
    /// This block of 4096 bytes.
    Block(u64),
    /// The file was cut: it has these bytes, and needs the others.
    Short {
        /// Bytes that are there.
        there: u64,
        /// Bytes that are due.
        due: u64,
    },
    /// Something was appended: the file has these bytes, and may have the others.
    Long {
        /// Bytes that are there.
        there: u64,
        /// Bytes that are due at most.
        due: u64,
    },
    /// The name of an entry, or its companion file.
    Name,
    /// The id of a directory.
    Directory,
    /// The target of a symbolic link.
    Link,
    /// An extended attribute.
    Attribute,
    /// What no vault has: a directory or file among those of the vault itself.
    Stranger,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("its first page was altered, or is another file's"),
            Self::Map(region) => write!(f, "map page {region} was altered, moved or exchanged"),
            Self::Tags(group) => write!(f, "tag page {group} was altered, moved or exchanged"),
            Self::Block(block) => write!(f, "block {block} was altered, moved or exchanged"),
            Self::Short { there, due } => write!(f, "it was cut: {there} bytes of {due}"),
            Self::Long { there, due } => {
                write!(f, "something was appended: {there} bytes where {due} are due at most")
            }
            Self::Name => f.write_str("its name was altered, or comes from another directory"),
            Self::Directory => f.write_str("the directory's id was altered or removed"),
            Self::Link => f.write_str("the link's target was altered"),
            Self::Attribute => f.write_str("an extended attribute was altered or moved here"),
            Self::Stranger => f.write_str("it is no part of a vault"),
        }
    }
}

/// Why a file's content or an entry could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("{0}")]
    Os(#[from] Errno),
    /// What lies there is not what was written there.
    #[error("{0}")]
    Damaged(Damage),
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Os(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

/// Why a vault was not created, unlocked, mounted or locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// A path, and what the system said.
    #[error("{}: {error}", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// The folder for a new vault has something in it.
    #[error("{}: the folder is not empty; a vault is created in an empty or a new one", .0.display())]
    NotEmpty(PathBuf),
    /// There is no vault.
    #[error("{}: there is no vault here; `holdfast vault create` makes one", .0.display())]
    NoVault(PathBuf),
    /// `vault.json` is not what this program writes.
    #[error("{}: {what}", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The password is wrong, or `vault.json` was altered.
    #[error("the password is wrong, or vault.json was altered")]
    WrongPassword,
    /// The vault's key is sealed by a TEE that was not asked.
    #[error("this vault opens only with the device that it was created on; it did not answer")]
    NeedsDevice,
    /// Another program has it.
    #[error("the vault is unlocked already: {0}")]
    InUse(String),
    /// FUSE did not mount.
    #[error("{} was not mounted: {why}", mount.display())]
    Mount {
        /// Where.
        mount: PathBuf,
        /// Why, and what to do.
        why: String,
    },
}

impl VaultError {
    /// An error of the system at a path.
    pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |error| Self::Path { path, error }
    }
}
