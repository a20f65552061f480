//! The verdict for a person and for a program.

use super::judge::Judged;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyattest::{Provisioning, Statement, VerifiedBootState};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The attestation's fields, `verdict`, `reason` and `detail` of a refusal, `chain` of a sound one.
pub(super) fn json(judged: &Judged) -> Value {
    let mut shown = judged.description.as_ref().map_or_else(Map::new, |it| it.to_json());
    let verdict = if judged.refusal.is_none() { "accepted" } else { "refused" };
    shown.insert("verdict".into(), json!(verdict));
    if let Some(refusal) = &judged.refusal {
        shown.insert("reason".into(), json!(refusal.reason));
        shown.insert("detail".into(), json!(refusal.detail));
    }
    if let Some(statement) = &judged.statement {
        shown.insert("chain".into(), chain(statement, judged.root));
    }
    Value::Object(shown)
}

fn chain(statement: &Statement, root: Option<&str>) -> Value {
    let oddities: Vec<String> =
        statement.oddities.iter().map(|oddity| format!("{oddity:?}")).collect();
    json!({
        "root": root,
        "provisioning": provisioning(statement.provisioning),
        "certificatesIssued": statement.provisioning_info.map(|info| info.certificates_issued),
        "securityLevel": statement.security_level.name(),
        "device": device(statement),
        "publicKey": STANDARD.encode(statement.public_key.as_der()),
        "oddities": oddities,
    })
}

const fn provisioning(provisioning: Provisioning) -> &'static str {
    match provisioning {
        Provisioning::Factory => "FACTORY",
        Provisioning::Remote => "REMOTE",
        Provisioning::Unknown => "UNKNOWN",
    }
}

/// The device's certificate, by the name in it, else by its number.
fn device(statement: &Statement) -> String {
    let certificate = &statement.attestation_certificate;
    let subject = certificate.subject();
    subject
        .serial_number()
        .or_else(|| subject.common_name())
        .unwrap_or_else(|| certificate.serial().to_hex())
}

/// Some lines.
pub(super) fn text(judged: &Judged) -> String {
    let mut out = match &judged.refusal {
        None => "accepted\n".to_owned(),
        Some(refusal) => format!("refused: {} ({})\n", refusal.reason, refusal.detail),
    };
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        writeln!(out, "{name:<16}{value}").expect("text grows in memory");
    };
    if let Some(statement) = &judged.statement {
        line("root", &judged.root.unwrap_or("given"));
        line("provisioning", &provisioning(statement.provisioning));
        line("device", &device(statement));
    }
    let Some(said) = &judged.description else { return out };
    line("attestation", &format_args!("version {}", said.attestation_version));
    line("security level", &said.attestation_security_level.name());
    line("key in", &said.key_mint_security_level.name());
    line("challenge", &hex(&said.attestation_challenge));
    if let Some(root) = &said.hardware_enforced.root_of_trust {
        let locked = if root.device_locked { "locked" } else { "unlocked" };
        let colour = match root.verified_boot_state {
            VerifiedBootState::Verified => "green",
            VerifiedBootState::SelfSigned => "yellow",
            VerifiedBootState::Unverified => "orange",
            VerifiedBootState::Failed => "red",
        };
        line("boot", &format_args!("{colour}, {locked}"));
    }
    for (name, level) in [
        ("system patch", said.hardware_enforced.os_patch_level),
        ("vendor patch", said.hardware_enforced.vendor_patch_level),
        ("boot patch", said.hardware_enforced.boot_patch_level),
    ] {
        if let Some(level) = level {
            line(name, &level);
        }
    }
    let application = said.software_enforced.attestation_application_id.as_ref();
    for package in application.into_iter().flat_map(|id| &id.packages) {
        line("package", &format_args!("{} {}", package.name, package.version));
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
