//! Sync: an area of the vault goes to the cloud as a snapshot, and comes back (SPEC S5.2).
//!
//! [`upload`] reads the area, cuts files into blocks, asks the cloud which of them it lacks,
//! seals those under a data key of the Key Center and sends them in packs; last comes the
//! manifest, sealed in blocks itself, and the head moves on to it. [`restore`] goes the other
//! way and checks every block against its name.
//!
//! Both run in plain threads with bounded queues between them (under 64 MiB of blocks in
//! memory) and may block; a caller in an async runtime gives them a thread of their own. The
//! cloud and the Key Center come in as [`CloudStore`] and [`DataKeys`]; [`http`] has the real
//! ones.
//!
//! What was acknowledged survives a kill at any moment: packs are noted in the area once the
//! cloud has them, so the next run sends only what is missing. A second run over an unchanged
//! area reads no file: the vault names every version of every file.

mod download;
pub mod http;
mod restore;
mod seal;
mod state;
mod upload;

pub use restore::restore;
pub use upload::upload;

use crypto::secret::Secret;
use snapshot::block::{BlockId, DoesNotOpen, IdKey, PackId};
use std::io::Read;
use vault::VaultError;
use wire::sync::{Advance, Head, Root};

/// The cloud's end of sync. Methods block and are called from several threads.
pub trait CloudStore: Send + Sync {
    /// The account's root, if it has one.
    fn root(&self) -> Result<Option<Root>, StoreError>;
    /// Sets the account's root; false where it has one already.
    fn create_root(&self, root: &Root) -> Result<bool, StoreError>;
    /// The newest snapshot.
    fn head(&self) -> Result<Option<Head>, StoreError>;
    /// Makes a snapshot the newest; false where another came first.
    fn advance(&self, advance: &Advance) -> Result<bool, StoreError>;
    /// Which of `ids` (at most [`wire::sync::IDS_AT_ONCE`]) are not stored.
    fn missing(&self, ids: &[BlockId]) -> Result<Vec<BlockId>, StoreError>;
    /// Stores a pack; durable when it returns.
    fn put_pack(&self, id: &PackId, bytes: Vec<u8>) -> Result<(), StoreError>;
    /// The blocks `ids`, each asked for once, in order: a stream for
    /// [`snapshot::fetch::FetchReader`].
    fn blocks(&self, ids: &[BlockId]) -> Result<Box<dyn Read + Send>, StoreError>;
}

/// The account's data keys. Methods block.
pub trait DataKeys: Send + Sync {
    /// A fresh data key and its wrapped form.
    fn fresh(&self) -> Result<(Secret<32>, String), StoreError>;
    /// The key that was wrapped.
    fn unwrap(&self, wrapped: &str) -> Result<Secret<32>, StoreError>;
}

/// What the cloud or the Key Center said instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StoreError(pub Box<dyn std::error::Error + Send + Sync>);

impl StoreError {
    /// From words.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into().into())
    }
}

/// Why a snapshot was not made or not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The area.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The cloud or the Key Center.
    #[error("sync could not go on: {0}; what was acknowledged is kept, run it again")]
    Store(#[from] StoreError),
    /// The account has no snapshot.
    #[error("the cloud holds no snapshot of this account")]
    NothingStored,
    /// The cloud has a snapshot that this device never saw.
    #[error(
        "the cloud holds snapshot {generation}, which this device has not seen; \
         restore it first, or say that it is to be followed by this device's state"
    )]
    Unseen {
        /// Its generation.
        generation: u64,
    },
    /// Another device was faster.
    #[error("another device made a snapshot at the same time; run it again")]
    Conflict,
    /// A block was altered.
    #[error(transparent)]
    Block(#[from] DoesNotOpen),
    /// The stream of blocks is malformed or broke off.
    #[error(transparent)]
    Stream(#[from] snapshot::fetch::ReadError),
    /// The manifest is malformed.
    #[error(transparent)]
    Manifest(#[from] snapshot::manifest::DecodeError),
    /// The Key Center gave a wrapped key that no pack can hold.
    #[error(transparent)]
    Pack(#[from] snapshot::pack::Error),
    /// The cloud answered something that its rules exclude.
    #[error("the cloud's answer: {0}")]
    Answer(&'static str),
    /// A file was replaced while it was uploaded.
    #[error("{0} changed while it was uploaded; run it again")]
    Changed(snapshot::path::TreePath),
}

/// What to do about a snapshot in the cloud that this device has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unseen {
    /// Refuse: it may be the owner's data from before a reset.
    #[default]
    Refuse,
    /// Follow it with the state of this device.
    Replace,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files looked at or written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that they have.
    pub blocks: u64,
    /// Blocks that had to be sent or fetched.
    pub moved_blocks: u64,
    /// Bytes of those.
    pub moved_bytes: u64,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The figures at the end.
    pub progress: Progress,
    /// The snapshot's generation.
    pub generation: u64,
}

/// Hears how far a run is; called often, from one thread at a time.
pub type Listener<'l> = &'l (dyn Fn(Progress) + Sync);

/// The key that names the account's blocks; made here where the account has none.
fn id_key(
    store: &dyn CloudStore,
    keys: &dyn DataKeys,
    root: Option<Root>,
) -> Result<(IdKey, Root), SyncError> {
    if let Some(root) = root {
        let key = keys.unwrap(&root.wrapped_id_key)?;
        return Ok((IdKey::new(key.expose()), root));
    }
    let (key, wrapped_id_key) = keys.fresh()?;
    let root = Root { wrapped_id_key };
    if store.create_root(&root)? {
        return Ok((IdKey::new(key.expose()), root));
    }
    let root = store.root()?.ok_or(SyncError::Answer("a root that is there and is not"))?;
    let key = keys.unwrap(&root.wrapped_id_key)?;
    Ok((IdKey::new(key.expose()), root))
}

#[cfg(test)]
mod tests;
