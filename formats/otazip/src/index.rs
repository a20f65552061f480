//! The signed index of an OTA file: with it, reading by range is as safe as reading the whole.
//!
//! Who streams an OTA file cannot check the whole-file signature. The index is a file of its own
//! beside it: a PKCS#7 message with JSON inside,
//! `{"version":1,"size":…,"files":[{"name","offset","size","sha256"}]}`, signed with a key that
//! the device trusts for updates. It names where every entry lies, and its SHA-256. A client reads
//! the index, checks the signature, reads the ranges it names and checks each hash before it
//! believes a byte; it never looks at the zip file's own directory. Of the payload, of gigabytes,
//! it may use each blob as it comes: the index binds the payload's metadata (`payload_metadata.bin`
//! is a range of its own), and the metadata binds every blob.
//!
//! The idea and the shape are those of Custota's `.csig` files; field names differ.

use crate::cms::{self, CmsError, SignedData};
use crate::signature::acceptable;
use payload::key::{Certificate, KeyError, SigningKey};
use serde::{Deserialize, Serialize};

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// 1.
    pub version: u32,
    /// Bytes of the whole OTA file.
    pub size: u64,
    /// Its entries, and `payload_metadata.bin` inside `payload.bin`.
    pub files: Vec<File>,
}

/// A range of the OTA file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The entry's path.
    pub name: String,
    /// Where its bytes begin.
    pub offset: u64,
    /// How many.
    pub size: u64,
    /// SHA-256 of them, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// Why an index is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A malformed message.
    #[error(transparent)]
    Cms(#[from] CmsError),
    /// A message without the index inside.
    #[error("the index is not inside its signature")]
    Detached,
    /// Nobody who is trusted signed it.
    #[error("none of the trusted certificates signed the index")]
    NotTrusted,
    /// A certificate or key that recovery would not take.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not the JSON above.
    #[error("malformed index: {0}")]
    Json(String),
    /// Numbers that do not fit.
    #[error("the index names {0} twice, outside the file, or with a malformed hash")]
    File(String),
    /// Another version.
    #[error("the index has version {0}; only 1 is supported")]
    Version(u32),
    /// The bytes read are not those that were signed.
    #[error("{0} is not what the index names: the server sent something else")]
    Content(String),
}

impl Index {
    /// The signed file.
    pub fn sign(&self, key: &SigningKey, certificate: &Certificate) -> Result<Vec<u8>, IndexError> {
        let json = serde_json::to_vec(self).map_err(|error| IndexError::Json(error.to_string()))?;
        let signature = key.sign(&crypto::digest::sha256(&json))?;
        Ok(cms::encode(certificate, key.kind()?, &signature, Some(&json)))
    }

    /// Reads a signed file; the index that comes back was signed by one of `certificates`.
    pub fn open(bytes: &[u8], certificates: &[Certificate]) -> Result<Self, IndexError> {
        let message = SignedData::decode(bytes)?;
        let json = message.content.ok_or(IndexError::Detached)?;
        let digest = crypto::digest::sha256(&json);
        certificates.iter().try_for_each(acceptable)?;
        if !certificates.iter().any(|it| it.public_key.verifies(&digest, &message.signature)) {
            return Err(IndexError::NotTrusted);
        }
        let index: Self =
            serde_json::from_slice(&json).map_err(|error| IndexError::Json(error.to_string()))?;
        index.check()?;
        Ok(index)
    }

    fn check(&self) -> Result<(), IndexError> {
        if self.version != 1 {
            return Err(IndexError::Version(self.version));
        }
        for (at, file) in self.files.iter().enumerate() {
            let inside = file.offset.checked_add(file.size).is_some_and(|end| end <= self.size);
            let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let hash = file.sha256.len() == 64 && file.sha256.bytes().all(digit);
            if !inside || !hash || self.files[..at].iter().any(|it| it.name == file.name) {
                return Err(IndexError::File(file.name.clone()));
            }
        }
        Ok(())
    }

    /// The range of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }
}

impl File {
    /// Whether these are the bytes.
    pub fn check(&self, bytes: &[u8]) -> Result<(), IndexError> {
        self.check_digest(&crypto::digest::sha256(bytes), bytes.len() as u64)
    }

    /// Whether bytes with this SHA-256 and of this number are the bytes.
    pub fn check_digest(&self, sha256: &[u8; 32], size: u64) -> Result<(), IndexError> {
        if size == self.size && hex(sha256) == self.sha256 {
            Ok(())
        } else {
            Err(IndexError::Content(self.name.clone()))
        }
    }
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
