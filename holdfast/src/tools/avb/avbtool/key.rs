//! Keys in files, and who signs with them: we, or a program that somebody gives us.

use super::args::Signing;
use super::{der, python};
use crate::tools::signing_helper::{self, Failure};
use anyhow::{Context, Result, anyhow, bail, ensure};
use avb::{Algorithm, Hash, PublicKey, PublicKeyBlob};
use base64::Engine;
use crypto::ml_dsa::MlDsaKey;
use crypto::sign::{Hash as SignatureHash, RsaKey};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A key file: at least its public half.
pub(super) struct KeyFile {
    path: PathBuf,
    public: PublicKeyBlob,
    /// PKCS#8, where the file has the private half.
    private: Option<Vec<u8>>,
}

impl KeyFile {
    /// Reads a private key (PKCS#8, PKCS#1) or a public one (SubjectPublicKeyInfo, PKCS#1), PEM
    /// or DER.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let failed = |why: String| anyhow!("Error getting public key: {}: {why}", path.display());
        let bytes = std::fs::read(path).map_err(|error| failed(python::os_error(&error, path)))?;
        let der = der_of(&bytes).map_err(|why| failed(why.into()))?;
        let key = der::Key::read(&der).ok_or_else(|| failed("not an RSA or ML-DSA key".into()))?;
        if let der::Numbers::Rsa { exponent, .. } = key.numbers {
            ensure!(exponent == [1, 0, 1], "Only RSA keys with exponent 65537 are supported.");
        }
        let public = key.public().map_err(failed)?;
        Ok(Self { path: path.to_owned(), public, private: key.pkcs8 })
    }

    /// The path that it was read from.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The public key as AVB stores it.
    pub(super) const fn public(&self) -> &PublicKeyBlob {
        &self.public
    }

    /// Signs `data`, with the program that `signing` names or else with the key in the file.
    pub(super) fn sign(
        &self,
        algorithm: Algorithm,
        data: &[u8],
        signing: &Signing,
    ) -> Result<Vec<u8>> {
        let name = algorithm.name();
        let (have, need) = (self.public.bits(), algorithm.key_bits());
        ensure!(
            self.public.fits(algorithm),
            "Key size of key ({have} bits) does not match key size ({need} bits) of given \
             algorithm {name}."
        );
        let signature = match (&signing.signing_helper_with_files, &signing.signing_helper) {
            (Some(program), _) => {
                sign_in_file(program, name, &self.path, &to_be_signed(algorithm, data))?
            }
            (None, Some(program)) => {
                sign_by_pipe(program, name, &self.path, &to_be_signed(algorithm, data))?
            }
            (None, None) => self.sign_here(algorithm, data)?,
        };
        let size = algorithm.signature_bytes();
        ensure!(signature.len() == size, "Error signing: Invalid length of signature");
        Ok(signature)
    }

    fn sign_here(&self, algorithm: Algorithm, data: &[u8]) -> Result<Vec<u8>> {
        let pkcs8 = self.private.as_deref().with_context(|| {
            format!("Error signing: {} has no private key", self.path.display())
        })?;
        let signature = match (algorithm.rsa(), algorithm.ml_dsa()) {
            (Some((hash, _)), _) => {
                let hash = match hash {
                    Hash::Sha256 => SignatureHash::Sha256,
                    Hash::Sha512 => SignatureHash::Sha512,
                };
                RsaKey::from_pkcs8(pkcs8).and_then(|key| key.sign_pkcs1(hash, data))
            }
            (_, Some(parameters)) => {
                MlDsaKey::from_pkcs8(parameters, pkcs8).and_then(|key| key.sign(data))
            }
            (None, None) => bail!("Algorithm with name {} is not supported.", algorithm.name()),
        };
        signature.context("Error signing")
    }
}

/// What another program signs: the padded digest for raw RSA, all data for ML-DSA.
fn to_be_signed(algorithm: Algorithm, data: &[u8]) -> Vec<u8> {
    match algorithm.rsa() {
        Some((hash, bits)) => {
            let last_arc = match hash {
                Hash::Sha256 => signing_helper::SHA256,
                Hash::Sha512 => signing_helper::SHA512,
            };
            signing_helper::padded(last_arc, &hash.digest(&[data]), bits / 8)
        }
        None => data.to_vec(),
    }
}

fn sign_by_pipe(program: &Path, algorithm: &str, key: &Path, data: &[u8]) -> Result<Vec<u8>> {
    signing_helper::ask(program, algorithm, key, data).map_err(|failure| match failure {
        Failure::Start(error) => anyhow!("Error signing: {}", python::os_error(&error, program)),
        Failure::Said(what) => anyhow!("Error signing: {}", python::repr_bytes(&what)),
    })
}

fn sign_in_file(program: &Path, algorithm: &str, key: &Path, data: &[u8]) -> Result<Vec<u8>> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(data)?;
    file.flush()?;
    let status = Command::new(program)
        .arg(algorithm)
        .arg(key)
        .arg(file.path())
        .status()
        .map_err(|error| anyhow!("Error signing: {}", python::os_error(&error, program)))?;
    ensure!(status.success(), "Error signing");
    Ok(std::fs::read(file.path())?)
}

/// The DER inside a file: the first PEM block with a key, or the file itself.
fn der_of(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    if bytes.first() == Some(&0x30) {
        return Ok(bytes.to_vec());
    }
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim_end);
    let kind = lines
        .find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .ok_or("neither PEM nor DER")?;
    let body: Vec<&str> = lines.take_while(|line| !line.starts_with("-----END ")).collect();
    if kind == "ENCRYPTED PRIVATE KEY" || body.iter().any(|line| line.contains("ENCRYPTED")) {
        return Err(
            "the key is encrypted: decrypt it, or use --signing_helper with its public key",
        );
    }
    base64::engine::general_purpose::STANDARD
        .decode(body.concat())
        .map_err(|_| "the PEM block is not base64")
}

/// The algorithm with avbtool's name.
pub(super) fn algorithm(name: &str) -> Result<Algorithm> {
    let found = (0..=8).filter_map(Algorithm::from_number).find(|it| it.name() == name);
    match found {
        Some(algorithm) => Ok(algorithm),
        None => bail!("Unknown algorithm with name {name}"),
    }
}
