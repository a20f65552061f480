//! Why the update service did not do it.

use std::io;
use std::path::{Path, PathBuf};

/// A refusal with its reason, or a failure of what the service stands on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of a request does not have its form.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong, and what would be right.
        reason: &'static str,
    },
    /// There is no such thing, or it is another maker's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The maker has announced this build for this model and channel.
    #[error(
        "this build is release {release_id} of the model and channel already; add packages to it"
    )]
    ReleaseExists {
        /// Which release.
        release_id: String,
    },
    /// The release has a package for this source build.
    #[error("the release has a package for this source build already; delete the release first")]
    PackageExists,
    /// A release that rolls out cannot be deleted.
    #[error("the release rolls out; stop it first")]
    RollsOut,
    /// The release is stopped: nobody gets its packages.
    #[error("the release was stopped; check again for another")]
    Stopped,
    /// The device may not have updates.
    #[error("no updates for this device: {0}")]
    Untrusted(&'static str),
    /// More or fewer bytes than were announced.
    #[error("{announced} bytes were announced, {sent} came; nothing was stored")]
    Size {
        /// As announced.
        announced: u64,
        /// As sent; with more than announced, how many had come when it was noticed.
        sent: u64,
    },
    /// Other bytes than were announced.
    #[error("the package's SHA-256 is not the announced one; nothing was stored, send it again")]
    Hash,
    /// The sender stopped in the middle.
    #[error("the package did not arrive whole: {0}; nothing was stored, send it again")]
    CutShort(String),
    /// There is no room.
    #[error("the cloud's disk has no room for the package; nothing was stored, make room first")]
    Full,
    /// The process ends before the work was done.
    #[error("the service is stopping; try again in a moment")]
    Stopping,
    /// The audit log could not be written.
    #[error("the audit log: {0}")]
    Audit(String),
    /// What is stored has not the form that is due.
    #[error("the stored {0} has not the form that is due")]
    Stored(&'static str),
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

impl Error {
    /// A file's error; a full disk is told from others.
    pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full,
            _ => Self::File { path: path.clone(), source },
        }
    }

    pub(crate) const fn invalid(field: &'static str, reason: &'static str) -> Self {
        Self::Invalid { field, reason }
    }
}
