//! Verdicts: a chain held against a policy, signed so that anyone can check it offline.

use crate::examine::Examined;
use crate::statement::{boot_word, level, level_word};
use crate::{Attest, Error, Policy, Refusal, RootOwner, Violation, hex};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use effects::random_array;
use keyattest::Provisioning;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long a signed verdict counts.
pub const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Who signs verdicts.
const ISSUER: &str = "holdfast-attestation";

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The asker, where it showed its credential.
    pub party: Option<&'a str>,
    /// The challenge that the chain must answer. One that the asker made itself needs its
    /// credential; without any it must be one of ours.
    pub challenge: Option<&'a [u8]>,
    /// One of the asker's policies; [`Policy::default`] where none is named.
    pub policy: Option<&'a str>,
}

/// What a chain proves, held against a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `accepted` or `refused`.
    pub verdict: &'static str,
    /// Why not: every rule that is not met. None where it is accepted.
    pub reasons: Vec<Violation>,
    /// The policy's name and version; `null` for the default.
    pub policy: Option<Value>,
    /// What a sound chain says; `null` where the chain itself is refused.
    pub device: Option<Value>,
    /// The attested key.
    pub key: Option<Value>,
    /// The whole attestation, with the names of Google's verifier.
    pub attestation: Option<Map<String, Value>>,
}

/// A verdict, and the token that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedVerdict {
    /// To read.
    pub verdict: Verdict,
    /// To pass on: a JWT (RFC 7519), ES256, of the keys in [`Attest::jwks`].
    pub token: String,
}

impl Attest {
    /// Judges a chain. A refusal is a verdict too, and signed; errors are what keeps us from any.
    pub async fn verdict(
        &self,
        chain: &[impl AsRef<[u8]>],
        asked: Asked<'_>,
    ) -> Result<SignedVerdict, Error> {
        let stored = match (asked.policy, asked.party) {
            (None, _) => None,
            (Some(name), Some(party)) => Some(self.policy(party, name, None).await?),
            (Some(_), None) => return Err(Refusal::NotARelyingParty.into()),
        };
        let policy = stored.as_ref().map(|it| it.policy.clone()).unwrap_or_default();
        let (mut verdict, subject) = match self.judge(chain, asked, &policy).await {
            Ok((examined, reasons)) => (accepted_or(reasons, &examined), subject(&examined)),
            Err(Error::Refused(refusal)) => (refused(&refusal), None),
            Err(error) => return Err(error),
        };
        verdict.policy =
            stored.map(|stored| json!({ "name": stored.name, "version": stored.version }));
        let token = self.sign(&verdict, asked.party, subject).await?;
        Ok(SignedVerdict { verdict, token })
    }

    /// The chain, then its challenge, then the policy.
    async fn judge(
        &self,
        chain: &[impl AsRef<[u8]>],
        asked: Asked<'_>,
        policy: &Policy,
    ) -> Result<(Examined, Vec<Violation>), Error> {
        let examined = self.examine(chain).await?;
        let said = &examined.statement.description.attestation_challenge;
        if asked.challenge.is_some_and(|due| due != said) {
            return Err(Refusal::ChallengeMismatch.into());
        }
        match self.use_up(said).await {
            Err(Error::Refused(Refusal::ChallengeUnknown))
                if asked.party.is_some() && asked.challenge.is_some() =>
            {
                self.use_up_own(said).await?;
            }
            other => other?,
        }
        let mut reasons = policy.violations(&examined);
        if let (true, Err(refusal)) = (policy.enrolled, examined.enrolled()) {
            reasons.push(violation(&refusal));
        }
        Ok((examined, reasons))
    }

    async fn sign(
        &self,
        verdict: &Verdict,
        party: Option<&str>,
        subject: Option<String>,
    ) -> Result<String, Error> {
        let now = self.clock.now().seconds();
        let mut claims = json!({
            "iss": ISSUER,
            "iat": now,
            "exp": now + LIFETIME.as_secs(),
            "jti": URL_SAFE_NO_PAD.encode(random_array::<16>(&*self.entropy)),
        });
        if let Some(party) = party {
            claims["aud"] = json!(party);
        }
        if let Some(subject) = subject {
            claims["sub"] = json!(subject);
        }
        let internal = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
        let verdict = serde_json::to_value(verdict).map_err(|error| internal(&error))?;
        for (name, value) in verdict.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let signer = self.signing_key().await?;
        jws::sign_as(&signer.kid, &claims, |message| signer.key.sign_fixed(message))
            .map_err(|error| internal(&error))
    }
}

fn accepted_or(reasons: Vec<Violation>, examined: &Examined) -> Verdict {
    Verdict {
        verdict: if reasons.is_empty() { "accepted" } else { "refused" },
        reasons,
        policy: None,
        device: Some(device(examined)),
        key: Some(key(examined)),
        attestation: Some(examined.statement.description.to_json()),
    }
}

fn refused(refusal: &Refusal) -> Verdict {
    Verdict {
        verdict: "refused",
        reasons: vec![violation(refusal)],
        policy: None,
        device: None,
        key: None,
        attestation: None,
    }
}

/// The reason of the chain's own rules where it is one of those.
fn violation(refusal: &Refusal) -> Violation {
    match refusal {
        Refusal::Chain(chain) => Violation::new(chain.reason(), chain),
        other => Violation::new(&other.code().to_ascii_uppercase(), other),
    }
}

/// The enrolled device's serial number.
fn subject(examined: &Examined) -> Option<String> {
    examined.device.as_ref().map(|device| device.serial.clone())
}

fn device(examined: &Examined) -> Value {
    let statement = &examined.statement;
    let (root, hardware) = (&statement.root_of_trust, &statement.description.hardware_enforced);
    let provisioning = match statement.provisioning {
        Provisioning::Factory => "factory",
        Provisioning::Remote => "remote",
        Provisioning::Unknown => "unknown",
    };
    json!({
        "serial": subject(examined),
        "enrolled": examined.enrolled().is_ok(),
        "root": examined.owner,
        "provisioning": provisioning,
        "certificates_issued": statement.provisioning_info.map(|info| info.certificates_issued),
        "security_level": level_word(statement.security_level),
        "locked": root.device_locked,
        "boot_state": boot_word(root.verified_boot_state),
        "verified_boot_key": hex(&root.verified_boot_key),
        "verified_boot_hash": root.verified_boot_hash.as_deref().map(hex),
        "os_version": level(hardware.os_version),
        "os_patch_level": level(hardware.os_patch_level),
        "vendor_patch_level": level(hardware.vendor_patch_level),
        "boot_patch_level": level(hardware.boot_patch_level),
    })
}

fn key(examined: &Examined) -> Value {
    let statement = &examined.statement;
    let software = &statement.description.software_enforced;
    let application = software.attestation_application_id.as_ref();
    let packages: Vec<Value> = application
        .into_iter()
        .flat_map(|id| &id.packages)
        .map(|package| json!({ "name": package.name, "version": package.version }))
        .collect();
    let signers: Vec<String> =
        application.into_iter().flat_map(|id| &id.signature_digests).map(|it| hex(it)).collect();
    json!({
        "public_key": STANDARD.encode(statement.public_key.as_der()),
        "challenge": STANDARD.encode(&statement.description.attestation_challenge),
        "packages": packages,
        "signers": signers,
    })
}

impl Serialize for SignedVerdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten)]
            verdict: &'a Verdict,
            token: &'a str,
        }
        Shown { verdict: &self.verdict, token: &self.token }.serialize(serializer)
    }
}

impl RootOwner {
    /// As policies name it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Makers => "makers",
            Self::Cloud => "cloud",
            Self::Google => "google",
            Self::Configured => "configured",
        }
    }
}
