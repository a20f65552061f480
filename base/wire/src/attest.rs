//! Device attestation (SPEC S2.1.2).
//!
//! | route | who | body → answer |
//! |---|---|---|
//! | `POST /v1/attest/challenge` | anyone | → [`Challenge`] |
//! | `POST /v1/attest` | anyone | [`Evidence`] → [`Statement`] |
//! | `POST /v1/attest/time` | an enrolled device | [`TimeQuery`] → [`TimeToken`] |
//! | `POST /v1/makers/devices` | a maker's credential (bearer) | [`Enrolment`] → [`Enrolled`] |
//! | `POST /v1/makers/devices/bulk` | a maker | [`BulkEnrolment`] → [`BulkEnrolled`] |
//! | `GET /v1/makers/devices?after=&limit=` | a maker | → list of [`DeviceRecord`] |
//! | `GET /v1/makers/devices/{serial}` | a maker | → [`DeviceRecord`] |
//! | `POST /v1/makers/devices/{serial}/revoke` | a maker | [`Revoke`] |
//! | `POST /v1/makers/certificates/{serial}/revoke` | a maker | [`RevokeCertificate`] |
//! | `GET /v1/makers/alarms` | a maker | → list of [`Alarm`] |
//! | `POST /v1/attestation/challenge` | anyone | → [`Challenge`] |
//! | `POST /v1/attestation/verify` | anyone; a relying party's credential (bearer) | [`Query`] → verdict |
//! | `GET /v1/attestation/jwks.json` | anyone | → JWK set (RFC 7517) |
//! | `GET /v1/attestation/status` | anyone | → revocation list in Google's form |
//! | `GET /v1/attestation/roots` | anyone | → [`Roots`] |
//! | `POST /v1/attestation/provision` | an enrolled device | [`ProvisionRequest`] → [`Provisioned`] |
//! | `GET /v1/attestation/relying-parties` | the administrator (bearer) | → list of [`RelyingParty`] |
//! | `PUT`, `DELETE /v1/attestation/relying-parties/{name}` | the administrator | → [`Admitted`] |
//! | `GET …/{name}/policies` | the administrator, or that relying party | → list of [`PolicyName`] |
//! | `GET`, `PUT`, `DELETE …/{name}/policies/{policy}` | the same | policy → [`StoredPolicy`] |
//! | `POST /v1/attestation/keys/rotate` | the administrator | → [`Rotated`] |

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

/// Devices of a production run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BulkEnrolment {
    /// One chain a device: DER, the device first, the root last. At most 1000.
    pub chains: Vec<Vec<Base64>>,
}

/// What became of each, in the same order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BulkEnrolled {
    /// One a chain.
    pub results: Vec<EnrolmentResult>,
}

/// What became of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EnrolmentResult {
    /// It is enrolled.
    Enrolled {
        /// Its serial number.
        serial: String,
    },
    /// It is not.
    Refused {
        /// A word for programs.
        error: String,
        /// A sentence.
        reason: String,
    },
}

/// A device in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// As its maker numbered it.
    pub serial: String,
    /// Its certificate, DER.
    pub certificate: Base64,
    /// When it was enrolled.
    pub enrolled_at_ms: u64,
    /// When it was revoked, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at_ms: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_reason: Option<String>,
}

/// A device is believed no more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoke {
    /// As Google's list has it: `KEY_COMPROMISE`, `SOFTWARE_FLAW`, or any words.
    pub reason: String,
}

/// A certificate is believed no more, nor what it signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevokeCertificate {
    /// `REVOKED` or `SUSPENDED`.
    pub status: String,
    /// As in [`Revoke`].
    pub reason: String,
}

/// A device that is seen with two boards at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Which.
    pub serial: String,
    /// `serial_twice`, `key_twice`, `went_back`.
    pub kind: String,
    /// More about the last time.
    pub detail: String,
    /// The first time.
    pub first_at_ms: u64,
    /// The last time.
    pub last_at_ms: u64,
    /// How often.
    pub times: u64,
}

/// A relying party wants a verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// DER certificates: leaf first, root last.
    pub chain: Vec<Base64>,
    /// The challenge that it must answer. One that the asker made itself has at least 16 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<Base64>,
    /// One of the asker's policies; the default where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// The roots that chains may end in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Roots {
    /// All of them.
    pub roots: Vec<Root>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Root {
    /// `makers`, `cloud`, `google`, `configured`.
    pub owner: String,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Base64,
}

/// A device asks for attestation certificates.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProvisionRequest {
    /// A COSE_Sign1 by the device's key: `keyattest::CertificateRequest`.
    pub request: Base64,
}

/// What it gets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provisioned {
    /// A chain for each key, in the request's order: DER, the key's certificate first, the root last.
    pub chains: Vec<Vec<Base64>>,
    /// When the certificates lapse.
    pub expires_at_ms: u64,
}

/// Who asks for verdicts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RelyingParty {
    /// Its name: the audience of its verdicts.
    pub name: String,
    /// When it was admitted.
    pub created_at_ms: u64,
}

/// A relying party was admitted, or got a new credential.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Admitted {
    /// Its name.
    pub name: String,
    /// The bearer token. It is told once.
    pub credential: String,
}

/// A policy, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyName {
    /// Its name.
    pub name: String,
    /// The newest version.
    pub version: u32,
}

/// A version of a policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredPolicy<P> {
    /// Its name.
    pub name: String,
    /// Counts from 1.
    pub version: u32,
    /// When it was stored.
    pub stored_at_ms: u64,
    /// What it says.
    pub policy: P,
}

/// Verdicts are signed with another key from now on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rotated {
    /// Its name in the JWK set.
    pub kid: String,
}
