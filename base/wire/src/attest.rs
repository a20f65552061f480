//! Device attestation (SPEC S2.1.2).
//!
//! | route | who | body → answer |
//! |---|---|---|
//! | `POST /v1/attest/challenge` | anyone | → [`Challenge`] |
//! | `POST /v1/attest` | anyone | [`Evidence`] → [`Statement`] |
//! | `POST /v1/attest/time` | an enrolled device | [`TimeQuery`] → [`TimeToken`] |
//! | `POST /v1/makers/devices` | a maker's credential (bearer) | [`Enrolment`] → [`Enrolled`] |

use crate::Base64;
use serde::{Deserialize, Serialize};

/// A challenge, single use.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Challenge {
    /// 32 bytes.
    pub challenge: Base64,
    /// When it lapses.
    pub expires_at_ms: u64,
}

/// What a device answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    /// DER certificates: leaf first, root last.
    pub chain: Vec<Base64>,
}

/// What the cloud says of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its serial number.
    pub serial: String,
    /// `software`, `trusted_environment`, `strongbox`.
    pub security_level: String,
    /// Whether its bootloader is locked.
    pub locked: bool,
    /// `green`, `yellow`, `orange`, `red`.
    pub boot_state: String,
    /// SHA-256 of the key that verified its system; hexadecimal.
    pub verified_boot_key: String,
    /// The vbmeta digest; hexadecimal.
    pub verified_boot_hash: String,
    /// `YYYYMM`.
    pub os_patch_level: u32,
}

/// A device asks what time it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TimeQuery {
    /// DER certificates over a fresh challenge: leaf first, root last.
    pub chain: Vec<Base64>,
    /// 32 bytes, from the device's secure clock.
    pub nonce: Base64,
}

/// For gatekeeper's `set_time`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TimeToken {
    /// Compact JWS under [`Enrolled::ticket_key`]; claims in `tee_api::clock::TimeClaims`:
    /// `{"purpose": "set_time", "serial", "nonce" (base64url), "time_ms"}`.
    pub token: String,
}

/// A maker tells the cloud of a device that it made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Enrolment {
    /// DER certificates: device first, root last.
    pub chain: Vec<Base64>,
}

/// What the maker puts into the device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Enrolled {
    /// The key that the cloud signs activation tickets and time tokens with: SubjectPublicKeyInfo DER.
    pub ticket_key: Base64,
    /// Where the Key Center listens: the device's radio must reach it too.
    pub keycenter_url: String,
}
