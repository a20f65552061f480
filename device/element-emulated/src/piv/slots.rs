//! Slots, algorithms and policies: the numbers of SP 800-73-5 and SP 800-78-5, and those beyond.

use iso7816::Status;
use serde::{Deserialize, Serialize};

/// PIV authentication.
pub const AUTHENTICATION: u8 = 0x9A;
/// Card management.
pub const MANAGEMENT: u8 = 0x9B;
/// Digital signature: the PIN each time.
pub const SIGNATURE: u8 = 0x9C;
/// Key management.
pub const KEY_MANAGEMENT: u8 = 0x9D;
/// Card authentication: no PIN.
pub const CARD_AUTHENTICATION: u8 = 0x9E;
/// What attests the other keys.
pub const ATTESTATION: u8 = 0xF9;

/// Whether a private key can be in this slot.
#[must_use]
pub const fn is_private(slot: u8) -> bool {
    matches!(slot, 0x9A | 0x9C..=0x9E | 0x82..=0x95 | ATTESTATION)
}

/// Refuses what is no slot of a private key.
pub(crate) const fn private(slot: u8) -> Result<u8, Status> {
    if is_private(slot) { Ok(slot) } else { Err(Status::WRONG_PARAMETERS) }
}

/// What a private key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
}

impl Algorithm {
    /// All of them, with their numbers.
    const NUMBERS: [(u8, Self); 5] = [
        (0x05, Self::Rsa3072),
        (0x07, Self::Rsa2048),
        (0x11, Self::P256),
        (0x14, Self::P384),
        (0x16, Self::Rsa4096),
    ];

    /// By its number. RSA of 1024 bits is too weak to be here.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::NUMBERS.iter().find(|(its, _)| *its == number).map(|(_, algorithm)| *algorithm)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        let found = Self::NUMBERS.iter().find(|(_, algorithm)| *algorithm == self);
        found.expect("every algorithm has a number").0
    }

    /// Bits of an RSA modulus; none on curves.
    #[must_use]
    pub const fn rsa_bits(self) -> Option<u32> {
        match self {
            Self::Rsa2048 => Some(2048),
            Self::Rsa3072 => Some(3072),
            Self::Rsa4096 => Some(4096),
            Self::P256 | Self::P384 => None,
        }
    }
}

/// What the management key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SymmetricAlgorithm {
    /// 3DES with three parts.
    TripleDes,
    /// AES-128.
    Aes128,
    /// AES-192.
    Aes192,
    /// AES-256.
    Aes256,
}

impl SymmetricAlgorithm {
    /// By its number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0x03 => Self::TripleDes,
            0x08 => Self::Aes128,
            0x0A => Self::Aes192,
            0x0C => Self::Aes256,
            _ => return None,
        })
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::TripleDes => 0x03,
            Self::Aes128 => 0x08,
            Self::Aes192 => 0x0A,
            Self::Aes256 => 0x0C,
        }
    }

    /// Bytes of a key.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        if matches!(self, Self::TripleDes) { 8 } else { 16 }
    }
}

/// When a key asks for the PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinPolicy {
    /// Never.
    Never,
    /// Once after each reset.
    Once,
    /// Before each use.
    Always,
}

impl PinPolicy {
    /// By its number; 0 asks for what the slot has by itself (SP 800-73-5, part 1, table 5).
    pub(crate) const fn from_number(number: u8, slot: u8) -> Result<Self, Status> {
        match (number, slot) {
            (0, SIGNATURE) | (3, _) => Ok(Self::Always),
            (0, CARD_AUTHENTICATION) | (1, _) => Ok(Self::Never),
            (0 | 2, _) => Ok(Self::Once),
            _ => Err(Status::WRONG_DATA),
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Never => 1,
            Self::Once => 2,
            Self::Always => 3,
        }
    }
}

/// When a key asks for a touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TouchPolicy {
    /// Never.
    Never,
    /// Before each use.
    Always,
    /// Unless there was one within the last 15 seconds.
    Cached,
}

impl TouchPolicy {
    /// By its number; 0 is never.
    pub(crate) const fn from_number(number: u8) -> Result<Self, Status> {
        match number {
            0 | 1 => Ok(Self::Never),
            2 => Ok(Self::Always),
            3 => Ok(Self::Cached),
            _ => Err(Status::WRONG_DATA),
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Never => 1,
            Self::Always => 2,
            Self::Cached => 3,
        }
    }
}

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It was made here, and nobody else has it.
    Generated,
    /// Somebody brought it.
    Imported,
}
