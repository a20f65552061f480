//! The userdata partition: the vault's metadata, sealed under the DE key.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `HFUD` |
//! | 1 | version 1 |
//! | 3 | zero |
//! | 4 | length of the sealed part, big-endian |
//! | … | AES-256-GCM: nonce (12), ciphertext of CBOR, tag (16); the first 12 bytes are its additional data |
//! | rest | zero |
//!
//! A partition of zeros is one that nobody wrote since the device was made or erased. The
//! gatekeeper keeps the digest of the whole partition, so an older one is refused; [`store`]
//! tells it before and after a write, so a power cut in between loses nothing.
//!
//! The large data lies in a folder beside the image. It is tied to the device through the
//! random ids of its areas, which are kept here.

use crate::keys::Id;
use crypto::aead::Key;
use crypto::digest::sha256;
use crypto::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use std::collections::BTreeMap;

/// Bytes of the partition.
pub const PARTITION_BYTES: usize = 1 << 20;
const MAGIC: [u8; 8] = *b"HFUD\x01\0\0\0";
const HEAD_BYTES: usize = MAGIC.len() + 4;

/// What the partition holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Userdata {
    /// The areas in the data folder, by name (`de`, `ce/0`): each opens only with its id.
    areas: BTreeMap<String, ByteArray<32>>,
    /// Small settings of the system, by name.
    settings: BTreeMap<String, ByteBuf>,
}

/// Why a partition was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserdataError {
    /// Not of the partition's size.
    #[error("the userdata partition has {0} bytes instead of {PARTITION_BYTES}")]
    Size(usize),
    /// Neither empty nor of this version, or bytes after the sealed part.
    #[error("the userdata partition is malformed at byte {0}")]
    Malformed(usize),
    /// Altered, or sealed by another device or before a reset.
    #[error(
        "the userdata partition does not open: it was altered, or belongs to another device or to a time before a reset"
    )]
    Authentication,
    /// More than fits.
    #[error("the settings do not fit the userdata partition")]
    Full,
}

impl Userdata {
    /// Reads a partition. `None`: it was never written since the device was made or erased.
    pub fn decode(partition: &[u8], de_key: &Secret<32>) -> Result<Option<Self>, UserdataError> {
        if partition.len() != PARTITION_BYTES {
            return Err(UserdataError::Size(partition.len()));
        }
        if snapshot::block::is_zero(partition) {
            return Ok(None);
        }
        let (head, rest) = partition.split_at(HEAD_BYTES);
        if head[..MAGIC.len()] != MAGIC {
            return Err(UserdataError::Malformed(0));
        }
        let length = u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize;
        if length > rest.len() {
            return Err(UserdataError::Malformed(MAGIC.len()));
        }
        let (sealed, zeros) = rest.split_at(length);
        if !snapshot::block::is_zero(zeros) {
            return Err(UserdataError::Malformed(HEAD_BYTES + length));
        }
        let key = sealing_key(de_key);
        let plain = key.open(head, sealed).map_err(|_| UserdataError::Authentication)?;
        let mut unread = &plain[..];
        let decoded = ciborium::from_reader(&mut unread);
        decoded
            .ok()
            .filter(|_| unread.is_empty())
            .map(Some)
            .ok_or(UserdataError::Malformed(HEAD_BYTES))
    }

    /// The whole partition.
    pub fn encode(&self, de_key: &Secret<32>) -> Result<Vec<u8>, UserdataError> {
        let mut plain = Vec::new();
        ciborium::into_writer(self, &mut plain).expect("a vector takes every byte");
        let length = plain.len() + crypto::aead::OVERHEAD_BYTES;
        if HEAD_BYTES + length > PARTITION_BYTES {
            return Err(UserdataError::Full);
        }
        let mut partition = Vec::with_capacity(PARTITION_BYTES);
        partition.extend_from_slice(&MAGIC);
        partition.extend_from_slice(&(length as u32).to_be_bytes());
        let sealed = sealing_key(de_key).seal(&partition, &plain);
        partition.extend_from_slice(&sealed);
        partition.resize(PARTITION_BYTES, 0);
        Ok(partition)
    }

    /// The id of the area called `name`.
    #[must_use]
    pub fn area(&self, name: &str) -> Option<Id> {
        self.areas.get(name).map(|id| **id)
    }

    /// Notes the id of the area called `name`.
    pub fn set_area(&mut self, name: &str, id: Id) {
        self.areas.insert(name.into(), ByteArray::new(id));
    }

    /// A setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&[u8]> {
        self.settings.get(name).map(|value| &value[..])
    }

    /// Changes a setting; `None` removes it.
    pub fn set_setting(&mut self, name: &str, value: Option<Vec<u8>>) {
        match value {
            Some(value) => drop(self.settings.insert(name.into(), value.into())),
            None => drop(self.settings.remove(name)),
        }
    }
}

fn sealing_key(de_key: &Secret<32>) -> Key {
    let key = crypto::kdf::hkdf_sha256(de_key.expose(), b"", &[b"holdfast-userdata"]);
    Key::aes_256_gcm(key.expose())
}

/// The partition as a device of its own.
pub trait Partition {
    /// Replaces its content; durable when it returns.
    fn write(&mut self, content: &[u8]) -> std::io::Result<()>;
}

/// Who remembers what the partition holds: the gatekeeper (`BeginUserdata`, `CommitUserdata`).
pub trait Witness {
    /// Why it refuses.
    type Error;
    /// The partition is about to have this digest; until the commit, either passes.
    fn begin(&mut self, digest: [u8; 32]) -> Result<(), Self::Error>;
    /// It has it.
    fn commit(&mut self) -> Result<(), Self::Error>;
}

/// Why a partition was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError<E> {
    /// It cannot be encoded.
    #[error(transparent)]
    Encode(#[from] UserdataError),
    /// The gatekeeper refused.
    #[error("the gatekeeper refused the userdata partition")]
    Witness(E),
    /// The flash refused.
    #[error("the userdata partition cannot be written: {0}")]
    Io(#[from] std::io::Error),
}

/// Writes `userdata`: announced, written, committed. A power cut anywhere leaves the old or the
/// new content, and the gatekeeper takes either.
pub fn store<W: Witness>(
    userdata: &Userdata,
    de_key: &Secret<32>,
    flash: &mut dyn Partition,
    gatekeeper: &mut W,
) -> Result<(), StoreError<W::Error>> {
    let partition = userdata.encode(de_key)?;
    gatekeeper.begin(digest(&partition)).map_err(StoreError::Witness)?;
    flash.write(&partition)?;
    gatekeeper.commit().map_err(StoreError::Witness)
}

/// What the gatekeeper remembers of a partition.
#[must_use]
pub fn digest(partition: &[u8]) -> [u8; 32] {
    sha256(partition)
}

#[cfg(test)]
mod tests;
