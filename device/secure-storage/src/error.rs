//! Why storage refused.

use crate::io::{AnchorError, FileError, FileId};

/// Why storage refused. One that is not [`Error::Unreachable`] changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such object.
    #[error("object {0}")]
    NotFound(String),
    /// A name, a size or an offset that no object has.
    #[error("an object's {0}")]
    Parameters(&'static str),
    /// More than the owner, or all owners together, may have.
    #[error("secure storage: {0}")]
    Quota(&'static str),
    /// The REE's disk is full. Storage goes on once there is room.
    #[error("secure storage: the disk of the system is full; free some space")]
    DiskFull,
    /// What the REE keeps is not what this device last stored there.
    #[error("secure storage: {0}; put the right files back, or reset the device")]
    Security(String),
    /// The REE's store or the RPMB did not do its part; whether a change holds is known once
    /// they do.
    #[error("secure storage: {0}")]
    Unreachable(String),
}

impl Error {
    /// What a failed operation on the file `file`, which must be there, comes to.
    pub(crate) fn of_file(error: FileError, file: &FileId) -> Self {
        match error {
            FileError::Unreachable => {
                Self::Unreachable("no program of the system keeps its files now".into())
            }
            FileError::Missing => Self::Security(format!("file {file} is missing or cut off")),
            FileError::Full => Self::DiskFull,
            FileError::Failed(why) => Self::Unreachable(format!("file {file}: {why}")),
        }
    }

    pub(crate) fn altered(what: &str) -> Self {
        Self::Security(format!("{what} was altered, or replaced by an older or foreign one"))
    }
}

impl From<AnchorError> for Error {
    fn from(AnchorError(why): AnchorError) -> Self {
        Self::Unreachable(why)
    }
}
