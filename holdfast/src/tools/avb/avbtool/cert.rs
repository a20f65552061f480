//! The avb_cert extension: certificates that lead from a fused root key to the key that signs.

use super::args::{
    MakeCertMetadata, MakeCertPermanentAttributes, MakeCertUnlockCredential, MakeCertificate,
};
use super::image::open_input;
use super::key::KeyFile;
use super::output::Output;
use super::vbmeta::read;
use crate::exit::Exit;
use anyhow::{Context, Result, anyhow, ensure};
use avb::Algorithm;
use avb::cert::{CERTIFICATE_BYTES, CertificateData, PUBLIC_KEY_BYTES, PermanentAttributes, Usage};
use crypto::digest::sha256;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Format version of all four structures.
const VERSION: u32 = 1;
/// What signs certificates and challenges.
const ALGORITHM: Algorithm = Algorithm::Sha512Rsa4096;

/// `make_certificate`.
pub(super) fn certificate(args: &MakeCertificate) -> Result<Exit> {
    let output = Output::new("--output", args.output.as_deref())?;
    let subject = open_input("--subject", &args.subject)?;
    open_input("--subject_key", &args.subject_key)?;
    let usage = match &args.usage {
        Some(usage) if !usage.is_empty() => sha256(usage.as_bytes()),
        _ if args.subject_is_intermediate_authority => Usage::IntermediateAuthority.digest(),
        _ if args.usage_for_unlock => Usage::Unlock.digest(),
        _ => Usage::Signing.digest(),
    };
    let key_version = match args.subject_key_version {
        Some(version) => version,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    let data = CertificateData {
        version: VERSION,
        public_key: public_key(&args.subject_key)?,
        subject: sha256(&subject),
        usage,
        key_version,
    };
    let mut certificate = data.encode().to_vec();
    if let Some(path) = &args.authority_key {
        let signature = KeyFile::read(path)?.sign(ALGORITHM, &certificate, &args.signing)?;
        certificate.extend(signature);
    }
    output.write(&certificate)?;
    Ok(Exit::Held)
}

/// `make_cert_permanent_attributes`.
pub(super) fn permanent_attributes(args: &MakeCertPermanentAttributes) -> Result<Exit> {
    let output = Output::new("--output", args.output.as_deref())?;
    open_input("--root_authority_key", &args.root_authority_key)?;
    let product = open_input("--product_id", &args.product_id)?;
    let attributes = PermanentAttributes {
        version: VERSION,
        product_root_public_key: public_key(&args.root_authority_key)?,
        product_id: product.try_into().map_err(|_| anyhow!("Invalid Product ID length."))?,
    };
    output.write(&attributes.encode())?;
    Ok(Exit::Held)
}

/// `make_cert_metadata`.
pub(super) fn metadata(args: &MakeCertMetadata) -> Result<Exit> {
    let output = Output::new("--output", args.output.as_deref())?;
    let intermediate =
        open_input("--intermediate_key_certificate", &args.intermediate_key_certificate)?;
    let product = open_input("--product_key_certificate", &args.product_key_certificate)?;
    check_certificate("intermediate", &intermediate)?;
    check_certificate("product", &product)?;
    output.write(&[&VERSION.to_le_bytes()[..], &intermediate, &product].concat())?;
    Ok(Exit::Held)
}

/// `make_cert_unlock_credential`.
pub(super) fn unlock_credential(args: &MakeCertUnlockCredential) -> Result<Exit> {
    let output = Output::new("--output", args.output.as_deref())?;
    let intermediate =
        open_input("--intermediate_key_certificate", &args.intermediate_key_certificate)?;
    let unlock = open_input("--unlock_key_certificate", &args.unlock_key_certificate)?;
    check_certificate("intermediate", &intermediate)?;
    check_certificate("product", &unlock)?;
    let mut credential = [&VERSION.to_le_bytes()[..], &intermediate, &unlock].concat();
    if let Some(path) = &args.challenge {
        let challenge = read(path)?;
        ensure!(challenge.len() == 16, "Invalid unlock challenge length.");
        if let Some(key) = &args.unlock_key {
            let key = KeyFile::read(key).context("--unlock_key")?;
            credential.extend(key.sign(ALGORITHM, &challenge, &args.signing)?);
        }
    }
    output.write(&credential)?;
    Ok(Exit::Held)
}

/// The public key in a file: RSA-4096, which the structures have room for.
fn public_key(path: &Path) -> Result<[u8; PUBLIC_KEY_BYTES]> {
    let key = KeyFile::read(path)?;
    let blob = key.public().as_bytes().try_into();
    blob.with_context(|| format!("{}: certificates are for keys of RSA-4096", path.display()))
}

fn check_certificate(kind: &str, certificate: &[u8]) -> Result<()> {
    let good = certificate.len() == CERTIFICATE_BYTES;
    ensure!(good, "Invalid {kind} key certificate length.");
    Ok(())
}
