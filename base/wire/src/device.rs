//! Devices and their sessions.
//!
//! | route | who | body → answer |
//! |---|---|---|
//! | `POST /v1/devices` | user | [`Bind`] → [`Bound`] |
//! | `GET /v1/devices` | user | → list of [`Device`] |
//! | `POST /v1/devices/token` | a bound device | [`TokenRequest`] → [`Token`] |
//! | `GET /v1/devices/self/link` | device | `text/event-stream` of [`crate::push::Event`]; `Last-Event-ID` honoured |
//! | `POST /v1/devices/self/ack` | device | [`Ack`] → 204 |

use crate::Base64;
use crate::attest::Statement;
use crate::find::Position;
use serde::{Deserialize, Serialize};

/// Binds the device to the signed-in account. The leaf of the chain is the key that the device
/// signs in with from now on; its challenge must be a fresh one of `POST /v1/attest/challenge`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bind {
    /// DER certificates: leaf first, root last.
    pub chain: Vec<Base64>,
    /// What its owner calls it.
    pub name: String,
}

/// The binding.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bound {
    /// A random id, the only one used from here on.
    pub device_id: String,
    /// The account.
    pub account_id: String,
    /// What the attestation said.
    pub statement: Statement,
}

/// Asks for a session of the device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenRequest {
    /// RFC 7523 client assertion: compact JWS, ES256 by the bound key; claims in [`DeviceClaims`].
    pub assertion: String,
}

/// The claims of a device's assertion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceClaims {
    /// The device id.
    pub iss: String,
    /// The device id.
    pub sub: String,
    /// `holdfast-cloud`.
    pub aud: String,
    /// Issued at (seconds). The cloud's time decides; it tells its own in [`Token`].
    pub iat: u64,
    /// Expires (seconds), at most five minutes after `iat`.
    pub exp: u64,
    /// Single use.
    pub jti: String,
}

/// A session of the device.
#[derive(Clone, Serialize, Deserialize)]
pub struct Token {
    /// Bearer token.
    pub token: String,
    /// When it ends.
    pub expires_at_ms: u64,
    /// The cloud's clock.
    pub now_ms: u64,
}

/// A device, as its owner sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub device_id: String,
    /// What its owner calls it.
    pub name: String,
    /// Its serial number, masked.
    pub serial: String,
    /// What its last attestation said.
    pub statement: Statement,
    /// When that was.
    pub attested_at_ms: u64,
    /// When it was last connected.
    pub last_seen_ms: u64,
    /// Whether its link is up now.
    pub connected: bool,
    /// Whether find-device is on.
    pub find_enabled: bool,
    /// The message of lost mode, while it holds.
    pub lost: Option<String>,
    /// Whether it was erased and not activated since.
    pub erased: bool,
    /// Its last reported position.
    pub position: Option<Position>,
}

/// Acknowledges events: they are deleted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ack {
    /// Event ids.
    pub ids: Vec<u64>,
}
