//! The hardware auth token: who proved themselves, how and when.

use crate::Bytes;
use serde::{Deserialize, Serialize};

/// How somebody proved themselves: a set of KeyMint's `HardwareAuthenticatorType` bits.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct AuthenticatorType(pub u32);

impl AuthenticatorType {
    /// In no way.
    pub const NONE: Self = Self(0);
    /// PIN, password or pattern.
    pub const PASSWORD: Self = Self(1);
    /// Fingerprint, or another part of the body.
    pub const FINGERPRINT: Self = Self(1 << 1);
    /// Any way.
    pub const ANY: Self = Self(u32::MAX);

    /// Whether both sets have a way in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What an authenticator of the TEE says, under a MAC of the key that the TEE's applications
/// share since power-on.
///
/// In messages and in JSON it is its 69 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct HardwareAuthToken {
    /// The operation that it is for; 0 for none.
    pub challenge: u64,
    /// The user's secure id.
    pub user_id: u64,
    /// The authenticator's secure id; 0 where it has none.
    pub authenticator_id: u64,
    /// How.
    pub authenticator_type: AuthenticatorType,
    /// Milliseconds since power-on.
    pub timestamp_ms: u64,
    /// HMAC-SHA-256 over [`HardwareAuthToken::signed`].
    pub mac: [u8; 32],
}

/// Why bytes are no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Another length than [`HardwareAuthToken::BYTES`].
    #[error("a hardware auth token has 69 bytes, not {0}")]
    Length(usize),
    /// Another version than 0.
    #[error("a hardware auth token has version 0, not {0}")]
    Version(u8),
}

impl HardwareAuthToken {
    /// Bytes of a token.
    pub const BYTES: usize = 69;
    /// Bytes in front of the MAC.
    const SIGNED_BYTES: usize = 37;

    /// What the MAC is over: `version u8 = 0 | challenge | user id | authenticator id` (u64 each,
    /// in the machine's own order) `| type u32 | time u64` (big-endian both), as Android packs it.
    #[must_use]
    pub fn signed(&self) -> [u8; Self::SIGNED_BYTES] {
        let mut bytes = [0; Self::SIGNED_BYTES];
        bytes[1..9].copy_from_slice(&self.challenge.to_ne_bytes());
        bytes[9..17].copy_from_slice(&self.user_id.to_ne_bytes());
        bytes[17..25].copy_from_slice(&self.authenticator_id.to_ne_bytes());
        bytes[25..29].copy_from_slice(&self.authenticator_type.0.to_be_bytes());
        bytes[29..].copy_from_slice(&self.timestamp_ms.to_be_bytes());
        bytes
    }

    /// The whole token.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..Self::SIGNED_BYTES].copy_from_slice(&self.signed());
        bytes[Self::SIGNED_BYTES..].copy_from_slice(&self.mac);
        bytes
    }

    /// From the bytes of [`HardwareAuthToken::to_bytes`]. The MAC is not checked here.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenError> {
        let bytes: &[u8; Self::BYTES] =
            bytes.try_into().map_err(|_| TokenError::Length(bytes.len()))?;
        if bytes[0] != 0 {
            return Err(TokenError::Version(bytes[0]));
        }
        let eight = |at: usize| -> [u8; 8] { std::array::from_fn(|index| bytes[at + index]) };
        Ok(Self {
            challenge: u64::from_ne_bytes(eight(1)),
            user_id: u64::from_ne_bytes(eight(9)),
            authenticator_id: u64::from_ne_bytes(eight(17)),
            authenticator_type: AuthenticatorType(u32::from_be_bytes(std::array::from_fn(
                |index| bytes[25 + index],
            ))),
            timestamp_ms: u64::from_be_bytes(eight(29)),
            mac: std::array::from_fn(|index| bytes[Self::SIGNED_BYTES + index]),
        })
    }
}

impl TryFrom<Bytes> for HardwareAuthToken {
    type Error = TokenError;

    fn try_from(bytes: Bytes) -> Result<Self, TokenError> {
        Self::from_bytes(&bytes)
    }
}

impl From<HardwareAuthToken> for Bytes {
    fn from(token: HardwareAuthToken) -> Self {
        Self::from(&token.to_bytes())
    }
}
