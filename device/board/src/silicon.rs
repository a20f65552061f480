//! What hardware gives to the trusted side: one trait for each thing, [`Silicon`] for all.
//!
//! Display and keys of the trusted screen are messages of their own: [`crate::ui`].

use crate::channel::ChannelError;
use serde::{Deserialize, Serialize};

/// The monotonic counter that guards the level-1 bootloader.
pub const BL1_COUNTER: u8 = 0;
/// The monotonic counter that guards the TEE.
pub const TEE_COUNTER: u8 = 1;
/// The monotonic counter that guards the secure element's memory. Not every board has it.
pub const ELEMENT_COUNTER: u8 = 2;
/// The most random bytes that one question gets.
pub const MAX_RANDOM_BYTES: usize = 256;
/// The longest label of a key; the shortest has one byte.
pub const MAX_LABEL_BYTES: usize = 256;

/// Where in its life a board is. It only moves forward; the fuse that holds it is write-once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LifeCycle {
    /// In the factory: the device certificate may be installed.
    Factory,
    /// In somebody's hands.
    Deployed,
}

/// What the board computes in hardware of its own. What it does not offer, the trusted OS
/// computes in software (`base/crypto`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Nothing: even the HUK is used by a program.
    Software,
    /// A TPM 2.0: it alone holds and uses the HUK. It is too slow for anything else.
    Tpm2,
}

/// Why the board refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SiliconError {
    /// The board is gone, or what it said is not a message.
    #[error("the board does not answer: {0}")]
    Unreachable(String),
    /// It can't be done; the reason is for people.
    #[error("the board refused: {0}")]
    Refused(String),
}

impl From<ChannelError> for SiliconError {
    fn from(error: ChannelError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

/// What was burnt in at manufacture.
pub trait Fuses {
    /// SHA-256 of each root public key of the maker (AVB public-key blob) that still counts:
    /// those that were burnt in and not revoked.
    fn root_key_hashes(&self) -> Result<Vec<[u8; 32]>, SiliconError>;
    /// The serial number.
    fn serial(&self) -> Result<String, SiliconError>;
    /// The life cycle.
    fn life_cycle(&self) -> Result<LifeCycle, SiliconError>;
    /// Blows the life-cycle fuse: from [`LifeCycle::Factory`] to [`LifeCycle::Deployed`].
    fn deploy(&self) -> Result<(), SiliconError>;
}

/// The hardware unique key. It can be used, never read.
pub trait Huk {
    /// A key that only this board has, for `label` (1 to [`MAX_LABEL_BYTES`] bytes) and bound to
    /// `context`.
    fn derive(&self, label: &str, context: &[u8]) -> Result<[u8; 32], SiliconError>;
    /// A MAC over `data` that only this board can make, under a key for `label` alone. It tells
    /// nothing of what [`Self::derive`] gives.
    fn mac(&self, label: &str, data: &[u8]) -> Result<[u8; 32], SiliconError>;
}

/// A source of true random numbers.
pub trait Trng {
    /// Random bytes, at most [`MAX_RANDOM_BYTES`] at once.
    fn random(&self, bytes: usize) -> Result<Vec<u8>, SiliconError>;
}

/// Counters against rollback. They only rise; a copy of the board's files takes none back.
pub trait MonotonicCounter {
    /// The counter at `location`: [`BL1_COUNTER`], [`TEE_COUNTER`], [`ELEMENT_COUNTER`].
    fn counter(&self, location: u8) -> Result<u64, SiliconError>;
    /// Raises the counter at `location`; refuses to lower it.
    fn raise_counter(&self, location: u8, value: u64) -> Result<(), SiliconError>;
}

/// The replay-protected memory block of the flash chip.
pub trait Rpmb {
    /// One exchange: request frames in (JESD84-B51), response frames out (empty where the
    /// request has none).
    fn rpmb(&self, frames: &[u8]) -> Result<Vec<u8>, SiliconError>;
}

/// The crypto engine, which a board need not have.
pub trait CryptoEngine {
    /// What it does. A board that says nothing has none.
    fn engine(&self) -> Result<Engine, SiliconError> {
        Ok(Engine::Software)
    }
}

/// A counter that runs with the power.
pub trait Timer {
    /// Milliseconds since power-on.
    fn uptime_ms(&self) -> Result<u64, SiliconError>;
}

/// All that hardware gives to the trusted side.
pub trait Silicon:
    Fuses + Huk + Trng + MonotonicCounter + Rpmb + CryptoEngine + Timer + Send + Sync
{
}

impl<T> Silicon for T where
    T: Fuses + Huk + Trng + MonotonicCounter + Rpmb + CryptoEngine + Timer + Send + Sync
{
}

/// Refuses a label that no board takes.
pub fn check_label(label: &str) -> Result<(), SiliconError> {
    if (1..=MAX_LABEL_BYTES).contains(&label.len()) {
        Ok(())
    } else {
        Err(SiliconError::Refused("a label has 1 to 256 bytes".into()))
    }
}

/// Refuses more random bytes than one question gets.
pub fn check_random(bytes: usize) -> Result<(), SiliconError> {
    if bytes <= MAX_RANDOM_BYTES {
        Ok(())
    } else {
        Err(SiliconError::Refused("at most 256 random bytes at once".into()))
    }
}
