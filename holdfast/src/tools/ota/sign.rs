//! `holdfast ota sign`, and the keys that all of it signs with.

use super::arguments::{Sign, Signing};
use super::file::{Disk, Update};
use super::target;
use crate::exit::{Exit, Misused};
use crate::tools::signing_helper::{self, Failure};
use anyhow::{Context, Result};
use crypto::sign::Curve;
use otazip::index::{File, Index, hex};
use otazip::make::Parts;
use otazip::package::{CERTIFICATE, PAYLOAD, PAYLOAD_METADATA, PROPERTIES};
use otazip::zip::Archive;
use otazip::{caremap, metadata};
use payload::key::{Certificate, KeyError, KeyKind, PublicKey, Signer, SigningKey};
use payload::make::Builder;
use std::path::{Path, PathBuf};

/// What an update is signed with.
pub(super) struct Keys {
    keys: Vec<SigningKey>,
    /// The first key's.
    pub(super) certificate: Option<Certificate>,
    /// Where the signed index goes.
    pub(super) index: Option<PathBuf>,
    /// No zip file around the payload.
    pub(super) bare: bool,
}

impl Keys {
    /// Reads the files that the command line names.
    pub(super) fn read(signing: &Signing) -> Result<Self> {
        let mut keys = Vec::new();
        for path in &signing.key {
            let text = super::read_text(path)?;
            let key = match &signing.signing_helper {
                None => SigningKey::from_pem(&text),
                Some(program) => elsewhere(&text, path, program),
            };
            keys.push(key.with_context(|| path.display().to_string())?);
        }
        let mut certificate = None;
        if let Some(path) = &signing.cert {
            let found = Certificate::from_pem(&super::read_text(path)?);
            let found = found.with_context(|| path.display().to_string())?.swap_remove(0);
            anyhow::ensure!(
                keys.first().map(SigningKey::public_key).transpose()?.as_ref()
                    == Some(&found.public_key),
                "{} is not the certificate of the first key",
                path.display()
            );
            certificate = Some(found);
        }
        if !keys.is_empty() && certificate.is_none() && !signing.bare {
            let missing = "--cert is missing: a zip file is signed with a key and its certificate";
            return Err(Misused(missing.to_owned()).into());
        }
        Ok(Self { keys, certificate, index: signing.index.clone(), bare: signing.bare })
    }

    /// Those that sign the payload.
    pub(super) fn payload(&self) -> Vec<&SigningKey> {
        self.keys.iter().collect()
    }
}

/// The key whose public half, or certificate, is in a file; `program` signs with it.
fn elsewhere(text: &str, path: &Path, program: &Path) -> Result<SigningKey, KeyError> {
    let public = match PublicKey::from_pem(text) {
        Ok(mut found) => found.swap_remove(0),
        Err(KeyError::NoPem(_)) => SigningKey::from_pem(text)?.public_key()?,
        Err(error) => return Err(error),
    };
    let kind = public.kind()?;
    if matches!(kind, KeyKind::Rsa { bytes: ..256 }) {
        return Err(KeyError::Private);
    }
    let helper = Helper { program: program.to_owned(), key: path.to_owned(), kind };
    Ok(SigningKey::Elsewhere(public, Box::new(helper)))
}

/// A program that signs with one key.
struct Helper {
    program: PathBuf,
    key: PathBuf,
    kind: KeyKind,
}

impl Signer for Helper {
    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, String> {
        let (algorithm, data) = match self.kind {
            KeyKind::Rsa { bytes } => {
                let padded = signing_helper::padded(signing_helper::SHA256, digest, bytes);
                (format!("SHA256_RSA{}", bytes * 8), padded)
            }
            KeyKind::Ecdsa(Curve::P256) => ("SHA256_ECDSA_P256".to_owned(), digest.to_vec()),
            KeyKind::Ecdsa(Curve::P384) => ("SHA256_ECDSA_P384".to_owned(), digest.to_vec()),
        };
        let asked = signing_helper::ask(&self.program, &algorithm, &self.key, &data);
        asked.map_err(|failure| match failure {
            Failure::Start(error) => format!("{}: {error}", self.program.display()),
            Failure::Said(what) => String::from_utf8_lossy(&what).trim_end().to_owned(),
        })
    }
}

/// `holdfast ota sign`.
pub(super) fn run(sign: &Sign) -> Result<Exit> {
    let mut keys = Keys::read(&sign.signing)?;
    let update = Update::open(&sign.input)?;
    keys.bare |= update.about.is_none();
    let builder = Builder::resign(&update.payload);
    let blobs = update.payload.blobs();
    let parts = parts(&update)?;
    let written = target::write(
        builder,
        &|see| update.payload_pieces(blobs.clone(), see),
        &keys,
        parts,
        &sign.output,
    )?;
    written.report(&super::info::census(&update.payload), sign.json);
    Ok(Exit::Held)
}

/// What stands beside the payload, kept.
fn parts(update: &Update) -> Result<Parts> {
    let Some(about) = &update.about else { return Ok(Parts::default()) };
    let comment = otazip::signature::comment_size(&update.file, update.length)?.unwrap_or(0);
    let archive = Archive::open(&update.file, update.length, comment)?;
    let mut parts = Parts { metadata: about.metadata.clone(), ..Parts::default() };
    for entry in &about.entries {
        let made = [PAYLOAD, PROPERTIES, CERTIFICATE, metadata::TEXT, metadata::PROTOBUF];
        if made.contains(&entry.name.as_str()) || entry.name.ends_with('/') {
            continue;
        }
        let content = archive.read(&entry.name)?;
        if entry.name == caremap::NAME {
            parts.care_map = Some(content);
        } else {
            parts.others.push((entry.name.clone(), content));
        }
    }
    Ok(parts)
}

/// Writes the signed index of an update that stands.
pub(super) fn write_index(output: &Path, keys: &Keys, path: &Path) -> Result<()> {
    let update = Update::open(output)?;
    let index = index(&update)?;
    let (Some(key), Some(certificate)) = (keys.keys.first(), &keys.certificate) else {
        return Err(Misused("--index needs --key and --cert".to_owned()).into());
    };
    let bytes = index.sign(key, certificate)?;
    effects::durable::replace(path, &bytes, 0o644).map_err(|error| super::lacking(path, &error))
}

/// The index that a file must have.
pub(super) fn index(update: &Update) -> Result<Index> {
    let entries = update.about.as_ref().map(|about| about.entries.as_slice()).unwrap_or_default();
    let mut ranges: Vec<_> =
        entries.iter().map(|entry| (entry.name.clone(), entry.data.clone())).collect();
    let front = update.start..update.start + update.payload.header().blobs_start();
    ranges.push((PAYLOAD_METADATA.to_owned(), front));
    ranges.sort_by_key(|(_, range)| range.start);
    let mut files = Vec::new();
    for (name, range) in ranges {
        let sha256 = hex(&update.file.sha256(range.clone())?);
        files.push(File { name, offset: range.start, size: range.end - range.start, sha256 });
    }
    Ok(Index { version: 1, size: update.length, files })
}

/// The certificates in files: PEM, or an otacerts.zip.
pub(super) fn certificates(paths: &[PathBuf]) -> Result<Vec<Certificate>> {
    let mut found = Vec::new();
    for path in paths {
        let (file, length) = Disk::open(path)?;
        let zip = length >= 2 && file.read(0..2)? == b"PK";
        let read = if zip {
            otazip::otacerts::decode(&file, length).map_err(anyhow::Error::from)
        } else {
            Certificate::from_pem(&super::read_text(path)?).map_err(anyhow::Error::from)
        };
        found.extend(read.with_context(|| path.display().to_string())?);
    }
    Ok(found)
}
