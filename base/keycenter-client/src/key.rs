//! Keys as a caller sees them.

use crate::error::Error;
use crate::message::DataKeyAnswer;
use crypto::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum KeyType {
    /// AES-128-GCM with 96-bit nonces.
    #[serde(rename = "aes128-gcm96")]
    Aes128Gcm96,
    /// AES-256-GCM with 96-bit nonces.
    #[serde(rename = "aes256-gcm96")]
    Aes256Gcm96,
    /// HMAC.
    #[serde(rename = "hmac")]
    Hmac,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// Its type, such as `aes256-gcm96`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its versions and when each was made (seconds since 1970).
    #[serde(default)]
    pub keys: BTreeMap<String, u64>,
    /// The newest version.
    #[serde(default)]
    pub latest_version: u64,
    /// Whether it may be deleted.
    pub deletion_allowed: bool,
    /// Whether it can be given out.
    pub exportable: bool,
}

/// A data key: used here, stored in its wrapped form alone.
#[derive(Debug)]
pub struct DataKey {
    /// The key.
    pub plaintext: Secret<32>,
    /// The key, sealed by the Key Center (`vault:v1:…`).
    pub wrapped: String,
}

impl DataKey {
    pub(crate) fn from_answer(answer: DataKeyAnswer) -> Result<Self, Error> {
        let bytes = answer.plaintext.decode();
        let bytes = bytes.ok_or_else(|| Error::Answer("the data key is not base64".to_owned()))?;
        Self::from_bytes(&bytes, answer.ciphertext)
    }

    pub(crate) fn from_bytes(bytes: &[u8], wrapped: String) -> Result<Self, Error> {
        let plaintext = Secret::from_slice(bytes)
            .map_err(|_| Error::Answer("the data key has not 32 bytes".to_owned()))?;
        Ok(Self { plaintext, wrapped })
    }
}
