//! Find device and activation lock (SPEC S2.5.1, S2.5.2).
//!
//! | route | who | body → answer |
//! |---|---|---|
//! | `POST /v1/devices/self/find` | device | [`Enable`] → 204 |
//! | `POST /v1/devices/{id}/commands` | user | [`Command`] → [`Issued`] |
//! | `GET /v1/devices/{id}/commands/{command}` | user | → [`Outcome`] |
//! | `POST /v1/devices/self/reports` | device | [`Report`] → 204 |
//! | `POST /v1/activation/state` | a device without account | [`ActivationQuery`] → [`ActivationState`] |
//! | `POST /v1/activation` | a device without account | [`Activate`] → [`Ticket`] |
//! | `POST /v1/devices/self/lost-mode/end` | device | [`EndLost`] → [`Ticket`] |
//!
//! Refusals of activation: `activation_locked` (another account), `wrong_password`,
//! `password_reset_after_loss` (three days).

use crate::Base64;
use serde::{Deserialize, Serialize};

/// Turns find-device on or off.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Enable {
    /// On or off. Off needs the owner's password.
    pub enabled: bool,
    /// The owner's password, to turn it off.
    pub password: Option<String>,
}

/// Where a device is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Degrees north, −90 to 90.
    pub lat: f64,
    /// Degrees east, −180 to 180.
    pub lon: f64,
    /// Metres.
    pub accuracy_m: f64,
    /// When it was measured.
    pub at_ms: u64,
}

/// What the owner wants done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Command {
    /// Report the position.
    Locate,
    /// Sound the alarm.
    Sound,
    /// Lock, show a message, report the position periodically.
    Lost {
        /// Shown on the lock screen.
        message: String,
    },
    /// Destroy the keys.
    Erase,
}

/// A command is on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Issued {
    /// Its number.
    pub command_id: u64,
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Outcome {
    /// Not yet done.
    Pending,
    /// Done.
    Done {
        /// Where the device was, where the command asked for it.
        position: Option<Position>,
    },
    /// The device could not.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A device tells what came of a command, or just where it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The command, where it answers one.
    pub command_id: Option<u64>,
    /// Why it could not, where it could not.
    pub failed: Option<String>,
    /// Where it is.
    pub position: Option<Position>,
}

/// After a reset: whose am I? The chain proves which device asks (fresh challenge).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ActivationQuery {
    /// DER certificates: leaf first, root last.
    pub chain: Vec<Base64>,
}

/// The true association, from the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ActivationState {
    /// Whether an owner's account is needed.
    pub locked: bool,
    /// The owner's masked e-mail, as a hint.
    pub owner_hint: Option<String>,
}

/// Unlocks with an account.
#[derive(Clone, Serialize, Deserialize)]
pub struct Activate {
    /// DER certificates with a fresh challenge.
    pub chain: Vec<Base64>,
    /// From the device's gatekeeper.
    pub nonce: Base64,
    /// Phone, e-mail or account id.
    pub login: String,
    /// The password.
    pub password: String,
}

/// Ends lost mode with the account's password.
#[derive(Clone, Serialize, Deserialize)]
pub struct EndLost {
    /// From the device's gatekeeper.
    pub nonce: Base64,
    /// The password.
    pub password: String,
}

/// For gatekeeper's `redeem`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Ticket {
    /// Compact JWS; claims in `tee_api::gatekeeper::TicketClaims`:
    /// `{"serial", "purpose": "activate"|"end_lost_mode"|"disarm", "nonce" (base64url)}`.
    pub ticket: String,
}
