//! The roots of the attestation service: those that come from outside, and the one that goes out.

use crate::Attestation;
use anyhow::Context as _;
use cloud_attest::Attest;
use effects::durable;
use keyattest::pem;
use keyattest::x509::{Certificate, Spki};
use std::path::Path;

/// The public keys in the files that are configured.
pub(crate) fn roots(config: &Attestation) -> anyhow::Result<Vec<Spki>> {
    let mut keys = Vec::new();
    for file in &config.roots {
        let read = || -> anyhow::Result<()> {
            for der in pem::decode(&std::fs::read(file)?)? {
                keys.push(Certificate::parse(&der)?.public_key().clone());
            }
            Ok(())
        };
        let mut read = read;
        read().with_context(|| format!("the attestation roots {}", file.display()))?;
    }
    Ok(keys)
}

/// Puts the root of our provisioning where people and programs find it: `attestation/root.pem`.
pub(crate) async fn publish_root(state: &Path, attest: &Attest) -> anyhow::Result<()> {
    let root = pem::encode(&[attest.provisioning_root().await?]);
    let folder = state.join("attestation");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("root.pem");
    if std::fs::read(&file).is_ok_and(|found| found == root.as_bytes()) {
        return Ok(());
    }
    Ok(durable::replace(&file, root.as_bytes(), 0o644)?)
}
