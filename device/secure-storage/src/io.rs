//! What the engine stands on: the REE's files, one block of RPMB, keys from the HUK.

use crypto::secret::Secret;
use std::fmt;

/// Whose an object is: what names a trusted application to whatever is bound to it.
pub type Owner = [u8; 32];

/// Bytes of the anchor: one block of RPMB.
pub const ANCHOR_BYTES: usize = 256;

/// The name of a file in the REE; it tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub [u8; 16]);

impl fmt::Display for FileId {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why an operation on a file failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Nobody keeps files now.
    #[error("nobody keeps files now")]
    Unreachable,
    /// There is no such file, or it ends too early.
    #[error("missing")]
    Missing,
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

/// The untrusted store. One operation at a time; nothing that it says is believed.
pub trait Files {
    /// Makes a file of `bytes` zeros in the place of any that has its name; it and its name are
    /// durable afterwards.
    fn create(&self, file: FileId, bytes: u32) -> impl Future<Output = Result<(), FileError>>;
    /// Writes inside a file. With `sync`, this and all writes to the file before it are durable
    /// afterwards.
    fn write(
        &self,
        file: FileId,
        offset: u32,
        bytes: Vec<u8>,
        sync: bool,
    ) -> impl Future<Output = Result<(), FileError>>;
    /// Reads exactly `length` bytes, at most [`crate::MAX_IO_BYTES`].
    fn read(
        &self,
        file: FileId,
        offset: u32,
        length: u32,
    ) -> impl Future<Output = Result<Vec<u8>, FileError>>;
    /// Removes a file; a missing one is no error.
    fn remove(&self, file: FileId) -> impl Future<Output = Result<(), FileError>>;
    /// Some of the files that there are, at most some thousand.
    fn list(&self) -> impl Future<Output = Result<Vec<FileId>, FileError>>;
}

/// Why the anchor could not be read or written. After a failed write, what it holds is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AnchorError(pub String);

/// One block that is authentic, never older than last written, and replaced wholly or not at all.
pub trait Anchor {
    /// Its content; zeros where it was never written.
    fn load(&self) -> impl Future<Output = Result<[u8; ANCHOR_BYTES], AnchorError>>;
    /// Replaces it, durably.
    fn store(&self, block: [u8; ANCHOR_BYTES]) -> impl Future<Output = Result<(), AnchorError>>;
}

/// The keys that only this device has.
pub trait Keys {
    /// Seals the anchor.
    fn anchor_key(&self) -> Secret<32>;
    /// What the keys of an owner's objects derive from.
    fn owner_key(&self, owner: &Owner) -> Secret<32>;
}
