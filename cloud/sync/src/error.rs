//! Why sync did not do it.

use snapshot::block::{BlockId, NotAName, NotNames, PackId};
use std::io;
use std::path::PathBuf;

/// A refusal with its reason, or a failure of what sync stands on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database.
    #[error("sync's database: {0}")]
    Database(#[from] sqlx::Error),
    /// A file or folder.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is stored has not the form that is due.
    #[error("the stored {0} has not the form that is due")]
    Stored(&'static str),
    /// An account's name that cannot name a folder.
    #[error("an account's name has letters, digits, '-' and '_' only")]
    Account,
    /// The bytes are no pack.
    #[error("this is no pack: {0}")]
    Pack(#[from] snapshot::pack::Error),
    /// The pack's bytes have another hash than its name says.
    #[error("the pack's bytes are those of {actual}; they were altered on the way, send it again")]
    PackName {
        /// What the bytes hash to.
        actual: PackId,
    },
    /// The sender stopped in the middle.
    #[error("the pack did not arrive whole: {0}")]
    CutShort(String),
    /// The process ends before the work began.
    #[error("the service is stopping; try again in a moment")]
    Stopping,
    /// There is no room.
    #[error("the cloud's disk is full; nothing was stored, try again later")]
    Full,
    /// A name in a question is malformed.
    #[error(transparent)]
    Name(#[from] NotAName),
    /// A list of names is malformed.
    #[error(transparent)]
    Names(#[from] NotNames),
    /// A wrapped key that is empty, too long or not printable.
    #[error(
        "the wrapped key has not 1 to {} printable characters",
        snapshot::pack::WRAPPED_KEY_BYTES
    )]
    WrappedKey,
    /// The account has a root already.
    #[error("the account has a sync root already; read it and use it")]
    RootExists,
    /// Another snapshot came first.
    #[error("another snapshot came first: the newest is {newest}, this one follows {follows}")]
    Conflict {
        /// The newest generation.
        newest: u64,
        /// What was to be followed.
        follows: u64,
    },
    /// A snapshot without a manifest or packs.
    #[error("a snapshot names at least one block of its manifest and one pack")]
    EmptySnapshot,
    /// A snapshot needs a pack that is not stored.
    #[error("pack {0} is not stored; ask which blocks are missing, send them, and try again")]
    NoSuchPack(PackId),
    /// A manifest's block lies in none of the snapshot's packs.
    #[error("block {0} of the manifest is in none of the packs that the snapshot names")]
    ManifestBlock(BlockId),
    /// A block that was asked for is not stored.
    #[error("block {0} is not stored")]
    NoSuchBlock(BlockId),
}

impl Error {
    /// A file's error; a full disk is told from others.
    pub(crate) fn at(path: &std::path::Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::File { path: path.clone(), source },
        }
    }
}
