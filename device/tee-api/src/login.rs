//! Login methods (GlobalPlatform TEE Client API 4.2.2): how a caller wants to be known to the
//! trusted application, and what the trusted application then hears.
//!
//! Nothing here is the caller's own word. A user id and a label are what the kernel of the
//! system keeps about the process that connected. That kernel is outside the TEE: whoever owns
//! it can pretend to be any user and any application of this device, and nothing more than that.

use crate::Identity;
use serde::{Deserialize, Serialize};

/// How a program wants to be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginMethod {
    /// Not at all.
    Public,
    /// By its user.
    #[default]
    User,
    /// By its user and by the label that the system's security policy gave it.
    Application,
}

/// Who opened a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// Somebody.
    Public,
    /// A program of this user.
    User {
        /// The user id, as the kernel tells it.
        uid: u32,
    },
    /// A program of this user that the system's security policy labelled.
    Application {
        /// The user id, as the kernel tells it.
        uid: u32,
        /// The label (`SO_PEERSEC`, as `u:r:wallet:s0`); `None` where the kernel has no labels.
        label: Option<String>,
    },
    /// Another trusted application. The trusted OS vouches for it.
    TrustedApplication(Identity),
}
