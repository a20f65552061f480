//! What the element remembers without power.

use crate::piv::slots::{Algorithm, Origin, PinPolicy, SymmetricAlgorithm, TouchPolicy};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Bytes of a PIN or a PUK, filled up with `FF` (SP 800-73-5, part 2, 2.4.3).
pub const REFERENCE_BYTES: usize = 8;
/// The most bytes that all data objects have together.
pub const OBJECTS_BYTES: usize = 128 * 1024;

/// Bytes that are wiped when dropped and that no debugging shows.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(pub Zeroizing<Vec<u8>>);

impl From<&[u8]> for SecretBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(ByteBuf::deserialize(deserializer)?.into_vec())))
    }
}

/// A PIN or a PUK, and how often it may be guessed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The value, [`REFERENCE_BYTES`] long.
    pub value: SecretBytes,
    /// How many wrong attempts in a row block it.
    pub attempts: u8,
    /// How many of them are left.
    pub left: u8,
    /// Whether it is the one that every new element has.
    pub default: bool,
}

impl Reference {
    /// The one that a new element has.
    #[must_use]
    pub fn initial(value: [u8; REFERENCE_BYTES], attempts: u8) -> Self {
        Self { value: SecretBytes::from(&value[..]), attempts, left: attempts, default: true }
    }

    /// A new value, with all attempts.
    pub fn set(&mut self, value: [u8; REFERENCE_BYTES]) {
        *self = Self { default: false, ..Self::initial(value, self.attempts) };
    }
}

/// The card management key (9B).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Management {
    /// Its algorithm.
    pub algorithm: SymmetricAlgorithm,
    /// The key.
    pub key: SecretBytes,
    /// Whether somebody has to touch the element when it is used.
    pub touch: bool,
    /// Whether it is the one that every new element has.
    pub default: bool,
}

/// A private key and its rules, which are fixed when it is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// PKCS#8 DER.
    pub pkcs8: SecretBytes,
    /// When the PIN is needed.
    pub pin: PinPolicy,
    /// When somebody has to touch the element.
    pub touch: TouchPolicy,
    /// Where it comes from.
    pub origin: Origin,
}

/// All of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Which writing of the state this is; the board's counter says which one counts.
    pub sequence: u64,
    /// The element's serial number.
    pub serial: u32,
    /// When it was made, as X.509's GeneralizedTime.
    pub made: String,
    /// The PIV application's PIN (80).
    pub pin: Reference,
    /// The PIN unblocking key (81).
    pub puk: Reference,
    /// The card management key.
    pub management: Management,
    /// Private keys by slot.
    pub keys: BTreeMap<u8, Key>,
    /// Data objects by tag.
    pub objects: BTreeMap<u32, ByteBuf>,
}

impl State {
    /// Bytes of all data objects.
    #[must_use]
    pub fn objects_bytes(&self) -> usize {
        self.objects.values().map(|object| object.len()).sum()
    }
}
