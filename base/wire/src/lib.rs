//! The messages between device and cloud, and between a person's client and the cloud.
//!
//! JSON over HTTPS. One module a service; each says its routes. Pure types: no I/O, no clock.
//! Bytes are standard base64 in JSON ([`Base64`]). Times are milliseconds since 1970.
//!
//! A refusal is an HTTP status with [`Refusal`] as its body.

pub mod account;
pub mod attest;
pub mod device;
pub mod eid;
pub mod find;
pub mod push;
pub mod sync;
pub mod update;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs: `wrong_password`, `activation_locked`, `challenge_replayed` …
    pub error: String,
    /// For people: what happened and what to do.
    pub reason: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(error: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { error: error.into(), reason: reason.into() }
    }
}

/// Bytes that travel as standard base64 with padding (RFC 4648, 4).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Base64(pub Vec<u8>);

impl std::fmt::Debug for Base64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}

impl From<Vec<u8>> for Base64 {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}
