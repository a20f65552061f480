//! Why an installation stopped.

use board::flash::FlashError;
use payload::ApplyError;
use std::io;

/// Why a package was not installed. The slot that runs is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The slot that runs has not proved itself. Nothing was written.
    #[error("the system that runs has not proved itself yet: restart, and try again")]
    OnTrial,
    /// The flash has no such partition. Nothing was written.
    #[error("the package has a partition {0}, and this device has none")]
    NoPartition(String),
    /// A partition of another size. Nothing was written.
    #[error("partition {name} has {have} bytes; the package's image has {image}")]
    Size {
        /// Without suffix.
        name: String,
        /// The device's.
        have: u64,
        /// The package's.
        image: u64,
    },
    /// Operations that leave blocks of a partition unwritten. Nothing was written.
    #[error("the package does not write all of partition {0}")]
    Uncovered(String),
    /// The slot that runs holds another build than the delta starts from. Nothing was written.
    #[error(
        "partition {0} of the running system is not what the package starts from: use a full one"
    )]
    OtherSource(String),
    /// An operation failed: a blob that is not the one that the manifest names, for one.
    #[error("partition {name}: {error}")]
    Apply {
        /// Without suffix.
        name: String,
        /// What happened.
        error: ApplyError,
    },
    /// What was written is not what the manifest names, once read back.
    #[error("partition {0}: what was written has another hash than the package names")]
    Result(String),
    /// The package can't be read any more.
    #[error("the package can't be read: {0}")]
    Package(#[from] io::Error),
    /// The storage did not answer.
    #[error(transparent)]
    Storage(#[from] FlashError),
}

impl InstallError {
    /// One word for reports.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::OnTrial => "on_trial",
            Self::NoPartition(_) | Self::Size { .. } => "other_partitions",
            Self::Uncovered(_) => "malformed",
            Self::OtherSource(_) => "other_source_build",
            Self::Apply { error: ApplyError::BlobHash, .. } => "changed",
            Self::Apply { .. } | Self::Result(_) => "apply",
            Self::Package(_) => "unreadable",
            Self::Storage(_) => "storage",
        }
    }

    /// Whether it was refused before anything was written.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::OnTrial
                | Self::NoPartition(_)
                | Self::Size { .. }
                | Self::Uncovered(_)
                | Self::OtherSource(_)
        )
    }
}
