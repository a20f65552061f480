//! [`KeyDescription`] as JSON, with the names and forms of Google's verifier: numbers as text, bytes
//! as base64 (RFC 4648, 4), what is absent left out.

use crate::decode::{is_patch_level, is_text};
use crate::encode::Authorization as _;
use crate::types::{
    AttestationApplicationId, KeyDescription, KeyOrigin, Package, RootOfTrust, SecurityLevel,
    VerifiedBootState,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

impl KeyDescription {
    /// All fields by name. A patch level that is none, and an identifier that is no text, are left
    /// out, as Google's verifier does; [`crate::Oddity`] tells of them.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Value> {
        let fields = [
            ("attestationVersion", json!(self.attestation_version.to_string())),
            ("attestationSecurityLevel", json!(self.attestation_security_level.name())),
            ("keyMintVersion", json!(self.key_mint_version.to_string())),
            ("keyMintSecurityLevel", json!(self.key_mint_security_level.name())),
            ("attestationChallenge", base64(&self.attestation_challenge)),
            ("uniqueId", base64(&self.unique_id)),
            ("softwareEnforced", Value::Object(self.software_enforced.shown())),
            ("hardwareEnforced", Value::Object(self.hardware_enforced.shown())),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl SecurityLevel {
    /// As in JSON: `TRUSTED_ENVIRONMENT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Software => "SOFTWARE",
            Self::TrustedEnvironment => "TRUSTED_ENVIRONMENT",
            Self::StrongBox => "STRONG_BOX",
        }
    }
}

impl VerifiedBootState {
    /// As in JSON: `SELF_SIGNED`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verified => "VERIFIED",
            Self::SelfSigned => "SELF_SIGNED",
            Self::Unverified => "UNVERIFIED",
            Self::Failed => "FAILED",
        }
    }
}

impl KeyOrigin {
    /// As in JSON: `SECURELY_IMPORTED`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generated => "GENERATED",
            Self::Derived => "DERIVED",
            Self::Imported => "IMPORTED",
            Self::Reserved => "RESERVED",
            Self::SecurelyImported => "SECURELY_IMPORTED",
        }
    }
}

/// A type that an authorization can have.
pub(crate) trait Authorization {
    /// The value under this tag; `None` leaves it out.
    fn show(&self, tag: u32) -> Option<Value>;
}

impl Authorization for bool {
    fn show(&self, _: u32) -> Option<Value> {
        self.then(|| json!(true))
    }
}

impl Authorization for Option<u64> {
    fn show(&self, tag: u32) -> Option<Value> {
        let dated = matches!(tag, 706 | 718 | 719);
        self.filter(|value| !dated || is_patch_level(*value)).map(|value| json!(value.to_string()))
    }
}

impl Authorization for BTreeSet<u64> {
    fn show(&self, _: u32) -> Option<Value> {
        let numbers = || self.iter().map(|value| json!(value.to_string())).collect();
        (!self.is_empty()).then(numbers)
    }
}

impl Authorization for Option<Vec<u8>> {
    fn show(&self, tag: u32) -> Option<Value> {
        let octets = self.as_deref()?;
        if is_text(tag) {
            return std::str::from_utf8(octets).ok().map(|text| json!(text));
        }
        Some(base64(octets))
    }
}

impl Authorization for Option<KeyOrigin> {
    fn show(&self, _: u32) -> Option<Value> {
        self.map(|origin| json!(origin.name()))
    }
}

impl Authorization for Option<RootOfTrust> {
    fn show(&self, _: u32) -> Option<Value> {
        let root = self.as_ref()?;
        let mut shown = json!({
            "verifiedBootKey": base64(&root.verified_boot_key),
            "deviceLocked": root.device_locked,
            "verifiedBootState": root.verified_boot_state.name(),
        });
        if let Some(hash) = &root.verified_boot_hash {
            shown["verifiedBootHash"] = base64(hash);
        }
        Some(shown)
    }
}

impl Authorization for Option<AttestationApplicationId> {
    fn show(&self, _: u32) -> Option<Value> {
        let id = self.as_ref()?;
        let mut packages: Vec<&Package> = id.packages.iter().collect();
        // In the order of the SET OF, as other parsers meet them.
        packages.sort_by_cached_key(|package| package.encode());
        let packages: Vec<Value> = packages
            .into_iter()
            .map(|package| json!({ "name": package.name, "version": package.version.to_string() }))
            .collect();
        let signatures: Vec<Value> =
            id.signature_digests.iter().map(|digest| base64(digest)).collect();
        Some(json!({ "packages": packages, "signatures": signatures }))
    }
}

fn base64(bytes: &[u8]) -> Value {
    json!(STANDARD.encode(bytes))
}
