//! The messages of `/v1/keys` (docs/keys.md): JSON bodies of requests and answers.
//!
//! Authorizations and byte strings have the forms of [`keymint`]: names in snake case, bytes as
//! base64. A field that is not known is refused in requests and ignored in answers.

use keymint::{Authorizations, Bytes, KeyFormat, KeyPurpose};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use tee_api::keymint::KeyCharacteristics;

/// The longest alias, in bytes.
pub const MAX_ALIAS_BYTES: usize = 256;
/// The most bytes that a program keeps with a key ([`Change::extra`]).
pub const MAX_EXTRA_BYTES: usize = 16 * 1024;
/// The most bytes of data in one request.
pub const MAX_DATA_BYTES: usize = 1 << 20;
/// The most keys in one page of a list.
pub const MAX_PAGE: usize = 1000;
/// The most of them with everything about them.
pub const MAX_DETAILS: usize = 100;

/// Which key: `alias` in the caller's own namespace, `id:16 hex digits` for any key that the
/// caller may use, `grant:16 hex digits` for one that was granted to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyRef {
    /// A key of the caller's own.
    Alias(String),
    /// By its number.
    Id(u64),
    /// By a grant's number.
    Grant(u64),
}

impl KeyRef {
    /// The key of this alias.
    pub fn alias(alias: impl Into<String>) -> Self {
        Self::Alias(alias.into())
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias(alias) => f.write_str(alias),
            Self::Id(id) => write!(f, "id:{id:016x}"),
            Self::Grant(id) => write!(f, "grant:{id:016x}"),
        }
    }
}

/// Why a text names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRefError {
    /// Empty, too long, or with control characters.
    #[error("an alias has 1 to {MAX_ALIAS_BYTES} bytes and no control characters")]
    Alias,
    /// Not 16 hexadecimal digits behind `id:` or `grant:`.
    #[error("behind id: and grant: come 16 hexadecimal digits")]
    Number,
}

/// 16 hexadecimal digits in lower case.
fn number(text: &str) -> Result<u64, KeyRefError> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != 16 || !digits {
        return Err(KeyRefError::Number);
    }
    u64::from_str_radix(text, 16).map_err(|_| KeyRefError::Number)
}

impl FromStr for KeyRef {
    type Err = KeyRefError;

    fn from_str(text: &str) -> Result<Self, KeyRefError> {
        if let Some(id) = text.strip_prefix("id:") {
            return number(id).map(Self::Id);
        }
        if let Some(id) = text.strip_prefix("grant:") {
            return number(id).map(Self::Grant);
        }
        let length = (1..=MAX_ALIAS_BYTES).contains(&text.len());
        if !length || text.chars().any(char::is_control) {
            return Err(KeyRefError::Alias);
        }
        Ok(Self::Alias(text.to_owned()))
    }
}

impl Serialize for KeyRef {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The number of an operation, which is KeyMint's challenge too: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OperationId(pub u64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for OperationId {
    type Err = KeyRefError;

    fn from_str(text: &str) -> Result<Self, KeyRefError> {
        number(text).map(Self)
    }
}

impl Serialize for OperationId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OperationId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whose keys: a user, and the label that the system's security policy gave the program, where it
/// gives labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// User id.
    pub uid: u32,
    /// SELinux label, as `u:r:wallet:s0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// What a grant lets somebody do with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// See it: authorizations, certificates, extra.
    GetInfo,
    /// Use it.
    Use,
    /// Change its certificates and extra.
    Update,
    /// Delete it.
    Delete,
}

impl Access {
    /// All of them; what the owner has. Granting and moving is the owner's alone.
    pub const ALL: [Self; 4] = [Self::GetInfo, Self::Use, Self::Update, Self::Delete];
}

/// What signs the attestation instead of the device's key: a key whose sole purpose that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestKey {
    /// Which key.
    pub key: KeyRef,
    /// Its application id and data, where it has such.
    #[serde(default)]
    pub params: Authorizations,
}

/// Whose key attests a new one, where the caller names none of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttestationSource {
    /// The device's, which its maker certified.
    #[default]
    Factory,
    /// One that the cloud certified for some weeks: it does not tell which device this is, except
    /// to the cloud.
    Remote,
}

impl AttestationSource {
    fn is_factory(&self) -> bool {
        *self == Self::Factory
    }
}

/// `POST /v1/keys/provision`: what attests with [`AttestationSource::Remote`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    /// Keys whose certificates count.
    pub keys: usize,
    /// When the first of them lapses, milliseconds since 1970; `None` where there is none.
    pub expires_ms: Option<u64>,
}

/// What every new key has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Its name in the caller's namespace.
    pub alias: String,
    /// What it obeys for its whole life, and what is said in its certificate.
    pub params: Authorizations,
    /// Takes the place of the key of that alias, which is deleted; else that is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// What the program keeps with it; the keystore does not look into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Bytes>,
    /// Who attests it; with a challenge among `params` and nobody here, who `key_source` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest_key: Option<AttestKey>,
    /// Whose key attests it, without an `attest_key`.
    #[serde(default, skip_serializing_if = "AttestationSource::is_factory")]
    pub key_source: AttestationSource,
}

impl NewKey {
    /// A key of this alias that obeys `params`.
    pub fn new(alias: impl Into<String>, params: Authorizations) -> Self {
        Self {
            alias: alias.into(),
            params,
            replace: false,
            extra: None,
            attest_key: None,
            key_source: AttestationSource::Factory,
        }
    }
}

/// `POST /v1/keys/import`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// What the key is to be.
    pub key: NewKey,
    /// The form of `data`.
    pub format: KeyFormat,
    /// The key's bytes.
    pub data: Bytes,
}

/// `POST /v1/keys/import-wrapped`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportWrapped {
    /// The new key's name.
    pub alias: String,
    /// As in [`NewKey`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// The key of the purpose `wrap_key` that the transport key was encrypted to.
    pub wrapping_key: KeyRef,
    /// `SecureKeyWrapper` (DER), which has the key and its authorizations.
    pub data: Bytes,
    /// What the transport key was masked with, 32 bytes; zeros for none.
    pub masking_key: Bytes,
    /// Padding and digest of the wrapping key, its application id and data.
    #[serde(default)]
    pub params: Authorizations,
    /// The user's secure id at the password's authenticator, for keys that need authentication.
    #[serde(default)]
    pub password_sid: u64,
    /// The same at the fingerprint's.
    #[serde(default)]
    pub biometric_sid: u64,
}

/// A key, or a certificate without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its name in its owner's namespace.
    pub alias: String,
    /// Its number: what [`KeyRef::Id`] takes.
    pub id: String,
    /// Whose it is.
    pub owner: Namespace,
    /// What is behind it; `false`: certificates only.
    pub has_key: bool,
    /// What it obeys, by who enforces it: the TEE (`hardware_enforced`), or the keystore.
    pub characteristics: KeyCharacteristics,
    /// DER, the key's own first; empty for symmetric keys.
    pub certificates: Vec<Bytes>,
    /// What the program keeps with it.
    pub extra: Option<Bytes>,
    /// When it came, milliseconds since 1970.
    pub created_ms: u64,
    /// How often it may still be used; `None`: no limit.
    pub uses_left: Option<u32>,
    /// Works only while the device is unlocked.
    pub needs_unlock: bool,
    /// What the caller may do with it.
    pub access: Vec<Access>,
}

impl KeyInfo {
    /// What names it, whatever becomes of its alias.
    #[must_use]
    pub fn reference(&self) -> Option<KeyRef> {
        u64::from_str_radix(&self.id, 16).ok().map(KeyRef::Id)
    }
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// As in [`KeyInfo`].
    pub alias: String,
    /// As in [`KeyInfo`].
    pub id: String,
    /// As in [`KeyInfo`].
    pub has_key: bool,
    /// As in [`KeyInfo`].
    pub created_ms: u64,
    /// As in [`KeyInfo`].
    pub needs_unlock: bool,
}

/// `GET /v1/keys?after=ALIAS&limit=NUMBER&prefix=TEXT`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// By alias, in the order of its bytes.
    pub keys: Vec<Entry>,
    /// `after` for the next page; `None`: this was the last.
    pub next: Option<String>,
}

/// `GET /v1/keys/details?after=ALIAS&limit=NUMBER&prefix=TEXT`: a page with everything about its
/// keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// By alias, in the order of its bytes.
    pub keys: Vec<KeyInfo>,
    /// `after` for the next page; `None`: this was the last.
    pub next: Option<String>,
}

/// `POST /v1/keys/grant`; again for the same grantee replaces what it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Which key; only its owner grants.
    pub key: KeyRef,
    /// To whom.
    pub to: Namespace,
    /// What.
    pub access: Vec<Access>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// What the grantee names the key by: `grant:` and 16 digits.
    pub grant: String,
    /// To whom.
    pub to: Namespace,
    /// What.
    pub access: Vec<Access>,
}

/// `POST /v1/keys/ungrant`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ungrant {
    /// Which key.
    pub key: KeyRef,
    /// From whom.
    pub to: Namespace,
}

/// `POST /v1/keys/move`: to another alias, or, by the system, to another namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Which key.
    pub key: KeyRef,
    /// Its new name, which must be free.
    pub alias: String,
    /// Its new owner; `None`: stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Namespace>,
}

/// `POST /v1/keys/update`: what may change about a key. On an alias that is not there,
/// `certificates` makes an entry without a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Which key.
    pub key: KeyRef,
    /// Its certificates from now on (DER, its own first); `None`: stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Vec<Bytes>>,
    /// What the program keeps with it; `None`: stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Bytes>,
}

/// `POST /v1/keys/operations`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// Which key.
    pub key: KeyRef,
    /// For what.
    pub purpose: KeyPurpose,
    /// Block mode, padding, digest, nonce and so on; application id and data.
    #[serde(default)]
    pub params: Authorizations,
    /// A hardware auth token (69 bytes) besides those that the keystore has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Bytes>,
}

/// An operation that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Its number; an auth token for it has the same number as its challenge.
    pub operation: OperationId,
    /// The nonce that was chosen, where one was.
    pub params: Authorizations,
}

/// `POST /v1/keys/operations/ID/finish`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    /// The last of the data.
    #[serde(default)]
    pub input: Bytes,
    /// What is to be verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Bytes>,
    /// A hardware auth token for this operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Bytes>,
    /// What the trusted screen gave for this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Bytes>,
}

/// `POST /v1/keys/use`: an operation from begin to finish in one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    /// Which key.
    pub key: KeyRef,
    /// For what.
    pub purpose: KeyPurpose,
    /// As in [`Begin`].
    #[serde(default)]
    pub params: Authorizations,
    /// Data that is authenticated and not encrypted (GCM).
    #[serde(default)]
    pub aad: Bytes,
    /// The data; at most [`MAX_DATA_BYTES`].
    #[serde(default)]
    pub input: Bytes,
    /// As in [`Finish`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Bytes>,
    /// As in [`Begin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Bytes>,
    /// As in [`Finish`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Bytes>,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Signature, MAC, text; empty where something was verified.
    pub output: Bytes,
    /// The nonce that was chosen, where one was.
    #[serde(default)]
    pub params: Authorizations,
}

/// `POST /v1/keys/open`: to use a key at the TEE itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Which key.
    pub key: KeyRef,
    /// Its application id and data, where it has such.
    #[serde(default)]
    pub params: Authorizations,
    /// As in [`Begin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Bytes>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// 16 bytes, for `ticket` of KeyMint's `Use` and `Begin` in this user's own sessions. `None`:
    /// something about this key only the keystore can enforce, at each use.
    pub ticket: Option<Bytes>,
    /// What, where there is no ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// `POST /v1/keys/auth-tokens`: by the system, a token that an authenticator gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddToken {
    /// 69 bytes.
    pub token: Bytes,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// Its number: one more than that of the line before.
    pub number: u64,
    /// What happened: JSON, as it was chained.
    pub line: String,
    /// HMAC-SHA-256 over the code of the line before, the number and the line.
    pub code: Bytes,
}

/// `GET /v1/keys/audit?after=NUMBER&limit=NUMBER`, for the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// The oldest first.
    pub lines: Vec<AuditLine>,
    /// The lines of this page follow one another and the one before them, unaltered.
    pub intact: bool,
    /// `after` for the next page; `None`: this was the last.
    pub next: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_alias_number_or_grant() {
        for (text, key) in [
            ("my key/ä", KeyRef::alias("my key/ä")),
            ("id:00000000000000ff", KeyRef::Id(255)),
            ("grant:ffffffffffffffff", KeyRef::Grant(u64::MAX)),
        ] {
            assert_eq!(text.parse::<KeyRef>().unwrap(), key);
            assert_eq!(key.to_string(), text);
        }
        let long = "x".repeat(MAX_ALIAS_BYTES + 1);
        for text in
            ["", "a\nb", &long, "id:", "id:ff", "id:+0000000000000ff", "grant:G000000000000000"]
        {
            assert!(text.parse::<KeyRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_field_that_is_not_known_is_refused() {
        let text = r#"{"key":"k","purpose":"sign","input":"aGk="}"#;
        let used: Use = serde_json::from_str(text).unwrap();
        assert_eq!(&used.input[..], b"hi");
        let odd = r#"{"key":"k","purpose":"sign","inptu":"aGk="}"#;
        assert!(serde_json::from_str::<Use>(odd).is_err());
    }
}
