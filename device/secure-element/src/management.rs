//! The management key (9B), on the host's side.

use crate::PivError;
use crypto::cipher::{Direction, Key, Mode, Padding, Stream};
use zeroize::Zeroizing;

/// What a management key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagementKind {
    /// 3DES: what new cards have.
    TripleDes,
    /// AES-192.
    Aes192,
    /// AES-256.
    Aes256,
}

impl ManagementKind {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::TripleDes => 0x03,
            Self::Aes192 => 0x0A,
            Self::Aes256 => 0x0C,
        }
    }

    /// By its number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0x03 => Self::TripleDes,
            0x0A => Self::Aes192,
            0x0C => Self::Aes256,
            _ => return None,
        })
    }

    /// Bytes of a key.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        if matches!(self, Self::Aes256) { 32 } else { 24 }
    }

    pub(crate) const fn block_bytes(self) -> usize {
        if matches!(self, Self::TripleDes) { 8 } else { 16 }
    }
}

/// A management key.
pub struct ManagementKey {
    pub(crate) kind: ManagementKind,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

impl ManagementKey {
    /// The one that every new card has.
    #[must_use]
    pub fn of_new_cards() -> Self {
        let bytes = Zeroizing::new([1, 2, 3, 4, 5, 6, 7, 8].repeat(3));
        Self { kind: ManagementKind::TripleDes, bytes }
    }

    /// A fresh one, of AES-256.
    #[must_use]
    pub fn random() -> Self {
        let bytes = Zeroizing::new(crypto::random_array::<32>().to_vec());
        Self { kind: ManagementKind::Aes256, bytes }
    }

    /// From its bytes; none where their number is wrong.
    #[must_use]
    pub fn new(kind: ManagementKind, bytes: &[u8]) -> Option<Self> {
        (bytes.len() == kind.key_bytes())
            .then(|| Self { kind, bytes: Zeroizing::new(bytes.to_vec()) })
    }

    /// Its bytes, where they are kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One block.
    pub(crate) fn block(&self, direction: Direction, block: &[u8]) -> Result<Vec<u8>, PivError> {
        let key = match self.kind {
            ManagementKind::TripleDes => {
                let bytes = self.bytes.as_slice().try_into();
                Key::legacy_triple_des(bytes.map_err(|_| crypto::Error::MalformedKey)?)
            }
            _ => Key::aes(&self.bytes)?,
        };
        let (mut stream, mut out) =
            (Stream::new(&key, direction, Mode::Ecb(Padding::None))?, Vec::new());
        stream.update(block, &mut out)?;
        stream.finish(&mut out)?;
        Ok(out)
    }
}
