//! `holdfast ota verify`: who signed, does it belong together, does a device take it.

use super::arguments::{ForDevice, Verify};
use super::file::Update;
use super::sign;
use crate::exit::Exit;
use anyhow::{Context, Result, bail, ensure};
use otazip::index::Index;
use otazip::policy::Device;
use otazip::signature::WholeFile;
use payload::key::{Certificate, PublicKey};
use payload::{Hasher, signature};
use serde_json::json;

/// `holdfast ota verify`.
pub(super) fn run(verify: &Verify) -> Result<Exit> {
    let trusted = sign::certificates(&verify.trust.cert)?;
    let checked = match check(verify, &trusted) {
        Ok(checked) => checked,
        Err(error) if verify.json && !error.is::<crate::exit::Lacking>() => {
            println!("{}", json!({"ok": false, "reason": format!("{error:#}")}));
            return Ok(Exit::Failed);
        }
        Err(error) => return Err(error),
    };
    if verify.json {
        println!("{}", json!({"ok": true, "checked": checked}));
    } else {
        for line in &checked {
            println!("holds: {line}");
        }
    }
    Ok(Exit::Held)
}

fn check(verify: &Verify, trusted: &[Certificate]) -> Result<Vec<&'static str>> {
    let update = Update::open(&verify.input)?;
    let mut checked = judge(&update, trusted)?;
    if let Some(path) = &verify.index {
        let bytes = std::fs::read(path).map_err(|error| super::lacking(path, &error))?;
        let index = Index::open(&bytes, trusted).with_context(|| path.display().to_string())?;
        ensure!(index == sign::index(&update)?, "the index describes another file");
        checked.push("signed index");
    }
    if takes(&update, &verify.device)? {
        checked.push("device rules");
    }
    Ok(checked)
}

/// Who signed an update: whole file, payload metadata and payload, each by somebody trusted. All
/// of its bytes are read once, and are those that the properties name.
pub(super) fn judge(update: &Update, trusted: &[Certificate]) -> Result<Vec<&'static str>> {
    let mut checked = Vec::new();
    if let Some(about) = &update.about {
        let whole = WholeFile::open(&update.file, update.length)?;
        let digest = update.file.sha256(0..whole.signed_bytes())?;
        if whole.signer(&digest, trusted)?.is_none() {
            bail!("none of the trusted certificates signed the whole file");
        }
        checked.extend(["parts belong together", "whole-file signature"]);
        let hash = update.file.sha256(update.start..update.start + update.payload.length())?;
        ensure!(hash == about.properties.file_hash, "payload.bin is not what its properties name");
        checked.push("payload properties");
    }
    let keys: Vec<PublicKey> = trusted.iter().map(|it| it.public_key.clone()).collect();
    let metadata = crypto::digest::sha256(update.payload.metadata());
    let signer = signature::signer(update.payload.metadata_signature(), &metadata, &keys)?;
    ensure!(signer.is_some(), "none of the trusted certificates signed the payload's metadata");
    checked.push("payload metadata signature");

    let place = update.payload.signatures().context("the payload is not signed")?;
    let end = update.read_payload(place)?;
    let mut hasher = Hasher::new(&update.payload);
    update.payload_pieces(0..update.payload.length(), |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    let signer = signature::signer(&end, &hasher.finish().signed, &keys)?;
    ensure!(signer.is_some(), "none of the trusted certificates signed the payload");
    checked.push("payload signature");
    Ok(checked)
}

/// Whether a device takes an update; whether one was named at all.
pub(super) fn takes(update: &Update, of: &ForDevice) -> Result<bool> {
    let Some(name) = &of.device else { return Ok(false) };
    if let Some(about) = &update.about {
        let device = Device {
            device: name.clone(),
            serial: of.serial.clone(),
            fingerprint: of.fingerprint.clone(),
            incremental: of.incremental.clone(),
            timestamp: of.timestamp,
            security_patch_level: of.security_patch.clone(),
        };
        device.judge(&about.metadata)?;
    }
    let downgrade = update.about.as_ref().is_some_and(|about| about.metadata.downgrade);
    let newest = update.manifest().max_timestamp.unwrap_or(0);
    ensure!(
        downgrade || newest >= of.timestamp,
        "the payload's build is older (max_timestamp {newest}) than this device's ({})",
        of.timestamp
    );
    Ok(true)
}
