//! Why an operation on an area failed.

use rustix::io::Errno;
use snapshot::path::{PathError, TreePath};
use std::io;

/// Why an operation on an area failed. Each names the path inside the area.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// There is nothing there.
    #[error("{path}: there is nothing of this name")]
    NotFound {
        /// Where.
        path: TreePath,
    },
    /// There is something there already.
    #[error("{path}: there is something of this name already")]
    Exists {
        /// Where.
        path: TreePath,
    },
    /// A directory was wanted, and this is a file or a link.
    #[error("{path}: this is no directory")]
    NotADirectory {
        /// Where.
        path: TreePath,
    },
    /// A file was wanted, and this is a directory or a link.
    #[error("{path}: this is no file")]
    NotAFile {
        /// Where.
        path: TreePath,
    },
    /// The directory still holds something.
    #[error("{path}: the directory is not empty")]
    NotEmpty {
        /// Where.
        path: TreePath,
    },
    /// The path leaves the area, or a name is too long.
    #[error("a path was refused: {0}")]
    Path(#[from] PathError),
    /// What lies on the disk is not what was written there under this name.
    #[error("{path}: {what} was altered on the disk, or moved there from another place")]
    Altered {
        /// Where.
        path: TreePath,
        /// Which part.
        what: &'static str,
    },
    /// The disk is full.
    #[error(
        "{path}: the disk is full: {needed_bytes} bytes are needed and {free_bytes} are free; \
         make room and try again. Nothing of this file was kept"
    )]
    NoSpace {
        /// Which file.
        path: TreePath,
        /// Bytes that the file takes on the disk.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },
    /// The content came with another length than announced.
    #[error("{path}: the content has another length than announced")]
    Length {
        /// Which file.
        path: TreePath,
    },
    /// The folder holds no area, or one that is malformed.
    #[error("the data folder holds no area of this version, or its head was altered")]
    NoArea,
    /// The folder holds the area of another device, user or time.
    #[error("the data folder belongs to another device, or to a time before a reset")]
    Foreign,
    /// The key does not open this area.
    #[error("the key does not open this area")]
    WrongKey,
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
}

impl VaultError {
    /// What the system said about `path`, as an error of ours.
    pub(crate) fn system(path: &TreePath, error: Errno) -> Self {
        let path = path.clone();
        match error {
            Errno::NOENT => Self::NotFound { path },
            Errno::EXIST => Self::Exists { path },
            Errno::NOTDIR | Errno::LOOP => Self::NotADirectory { path },
            Errno::ISDIR => Self::NotAFile { path },
            Errno::NOTEMPTY => Self::NotEmpty { path },
            error => Self::Io { path, source: error.into() },
        }
    }

    pub(crate) fn altered(path: &TreePath, what: &'static str) -> Self {
        Self::Altered { path: path.clone(), what }
    }

    /// Whether the fault lies in what one entry is or in its place, and others may still work.
    pub(crate) const fn concerns_one_entry(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Exists { .. }
                | Self::NotADirectory { .. }
                | Self::NotAFile { .. }
                | Self::NotEmpty { .. }
                | Self::Path(_)
        )
    }
}
