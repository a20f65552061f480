//! The messages that cross into the TEE, and the commands of each trusted application.
//!
//! Three borders, one module each: [`ree`] (a program of the system calls a TA), [`boot`] (the
//! bootloaders tell and ask, before the system runs), [`ta`] (the trusted OS and a TA process;
//! one module more for each service).
//! The commands that TAs understand are [`gatekeeper`] and [`keymint`]; the TA and its callers
//! share them; [`clock`] and [`ui`] (the trusted screen) are services of the trusted OS to TAs. All
//! messages are CBOR.

pub mod boot;
pub mod call;
pub mod clock;
pub mod engine;
pub mod gatekeeper;
mod identity;
pub mod keeper;
pub mod keymint;
mod login;
pub mod ree;
pub mod storage;
pub mod ta;
pub mod ui;
mod uuid;

pub use identity::{Identity, Signer};
pub use login::{Login, LoginMethod};
pub use uuid::NotAUuid;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Names a trusted application: GlobalPlatform's UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaId(pub [u8; 16]);

/// What a trusted application speaks.
pub trait Protocol {
    /// Which one.
    const TA: TaId;
    /// Its file's name in the `tee` partition, as `ta-keymint`.
    const NAME: &'static str;
    /// What it is asked.
    type Command: Serialize + DeserializeOwned;
    /// What it answers.
    type Reply: Serialize + DeserializeOwned;
}

/// Why the TEE refused. The names are those of GlobalPlatform's TEE Client API where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TeeError {
    /// `TEE_ERROR_ITEM_NOT_FOUND`: no such TA, session or object.
    #[error("not found: {0}")]
    NotFound(String),
    /// `TEE_ERROR_ACCESS_DENIED`: this caller, or this state of the device, may not.
    #[error("denied: {0}")]
    Denied(String),
    /// `TEE_ERROR_BAD_PARAMETERS`: malformed, or out of range.
    #[error("bad parameters: {0}")]
    BadParameters(String),
    /// `TEE_ERROR_BAD_STATE`: not now.
    #[error("bad state: {0}")]
    BadState(String),
    /// `TEE_ERROR_CANCEL`: the caller withdrew the request, or the person turned it away.
    #[error("cancelled")]
    Cancelled,
    /// `TEE_ERROR_SECURITY`: stored state was altered or rolled back, or a signature is wrong.
    #[error("security: {0}")]
    Security(String),
    /// `TEE_ERROR_OUT_OF_MEMORY` or a quota.
    #[error("out of resources: {0}")]
    Resources(String),
    /// `TEE_ERROR_TARGET_DEAD`: the TA panicked; its sessions are gone, it starts anew.
    #[error("the trusted application died")]
    TargetDead,
    /// `TEE_ERROR_COMMUNICATION`: the TEE itself is gone.
    #[error("the TEE does not answer: {0}")]
    Communication(String),
}
