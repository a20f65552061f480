//! How far an update was applied.

use crate::layout::Payload;

/// Which operations of which payload are done. Written after what they wrote is durable.
///
/// It holds no hash state: the metadata's hash binds it to one manifest, the manifest names the
/// hash of every blob and of every partition, and operations may be repeated. So nothing that was
/// not checked is ever used, whatever a checkpoint says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    metadata: [u8; 32],
    done: u64,
}

const MAGIC: &[u8; 8] = b"HFpayCP1";
/// Bytes of a checkpoint.
pub const CHECKPOINT_BYTES: usize = 8 + 32 + 8 + 32;

impl Checkpoint {
    /// After the first `done` operations, counted through all partitions.
    #[must_use]
    pub fn new(payload: &Payload, done: u64) -> Self {
        Self { metadata: crypto::digest::sha256(payload.metadata()), done }
    }

    /// The file: magic, hash of the metadata, operations done (big-endian), SHA-256 of all that.
    #[must_use]
    pub fn encode(&self) -> [u8; CHECKPOINT_BYTES] {
        let mut out = [0; CHECKPOINT_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..40].copy_from_slice(&self.metadata);
        out[40..48].copy_from_slice(&self.done.to_be_bytes());
        let sum = crypto::digest::sha256(&out[..48]);
        out[48..].copy_from_slice(&sum);
        out
    }

    /// Reads the file; `None` where it is torn or something else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; CHECKPOINT_BYTES] = bytes.try_into().ok()?;
        if !bytes.starts_with(MAGIC) || crypto::digest::sha256(&bytes[..48]) != bytes[48..] {
            return None;
        }
        let metadata = bytes[8..40].try_into().ok()?;
        Some(Self { metadata, done: u64::from_be_bytes(bytes[40..48].try_into().ok()?) })
    }

    /// How many operations of `payload` are done: none where the checkpoint is another payload's.
    #[must_use]
    pub fn done(&self, payload: &Payload) -> u64 {
        let operations = payload.manifest().partitions.iter().map(|it| it.operations.len() as u64);
        let total: u64 = operations.sum();
        let same = self.metadata == crypto::digest::sha256(payload.metadata());
        if same && self.done <= total { self.done } else { 0 }
    }
}
