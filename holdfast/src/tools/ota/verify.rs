//! `holdfast ota verify`: who signed, does it belong together, does a device take it.

use super::arguments::{ForDevice, Streaming, Verify};
use super::file::{Source, Update};
use super::remote::Input;
use super::sign;
use super::streamed::{Online, signed_index};
use crate::exit::Exit;
use anyhow::{Context, Result, bail, ensure};
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
    let (update, mut checked): (Box<dyn Source>, _) = match &verify.input {
        Input::Url(url) => {
            let online = Online::open(url, &verify.streaming, trusted)?;
            let checked = online.judge(trusted)?;
            (Box::new(online), checked)
        }
        Input::File(path) => {
            let update = Update::open(path)?;
            let checked = judge_file(&update, &verify.streaming, trusted)?;
            (Box::new(update), checked)
        }
    };
    if takes(&*update, &verify.device)? {
        checked.push("device rules");
    }
    Ok(checked)
}

/// Who signed a file, and whether the index describes it, where one is named.
pub(super) fn judge_file(
    update: &Update,
    how: &Streaming,
    trusted: &[Certificate],
) -> Result<Vec<&'static str>> {
    let mut checked = judge(update, trusted)?;
    if let Some(index) = &how.index {
        let index = signed_index(index, how.ca.as_deref(), trusted)?;
        ensure!(index == sign::index(update)?, "the index describes another file");
        checked.push("signed index");
    }
    Ok(checked)
}

/// Who signed an update: whole file, payload metadata and payload, each by somebody trusted. All
/// of its bytes are read once, and are those that the properties name.
fn judge(update: &Update, trusted: &[Certificate]) -> Result<Vec<&'static str>> {
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
pub(super) fn takes(update: &dyn Source, of: &ForDevice) -> Result<bool> {
    let Some(name) = &of.device else { return Ok(false) };
    if let Some(metadata) = update.metadata() {
        let device = Device {
            device: name.clone(),
            serial: of.serial.clone(),
            fingerprint: of.fingerprint.clone(),
            incremental: of.incremental.clone(),
            timestamp: of.timestamp,
            security_patch_level: of.security_patch.clone(),
        };
        device.judge(metadata)?;
    }
    let downgrade = update.metadata().is_some_and(|it| it.downgrade);
    let newest = update.payload().manifest().max_timestamp.unwrap_or(0);
    ensure!(
        downgrade || newest >= of.timestamp,
        "the payload's build is older (max_timestamp {newest}) than this device's ({})",
        of.timestamp
    );
    Ok(true)
}
