//! Files through a key: in pieces, of any size. What comes out is put where it belongs once all of
//! it is there and the TEE agreed.

use super::args::{Cipher, Data};
use super::{outside, read};
use crate::exit::{Exit, Misused};
use anyhow::{Context as _, Result};
use keymint::{
    Algorithm, Authorizations, BlockMode, Bytes, Digest, ErrorCode, KeyPurpose, PaddingMode, Tag,
};
use keystore_client::api::{Begin, Finish, KeyInfo, MAX_DATA_BYTES};
use keystore_client::{Code, Error, Keystore, KeystoreCode, Operation};
use serde_json::json;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Signs, or makes a MAC.
pub(super) fn sign(keystore: &Keystore, asked: &Data) -> Result<Exit> {
    let mut output = Output::to(asked.output.as_deref())?;
    let (_, params) = rules(keystore, asked, KeyPurpose::Sign)?;
    let operation = begin(keystore, asked, KeyPurpose::Sign, params)?;
    stream(operation, asked, None, &mut open(asked.file.as_deref())?, &mut output)?;
    output.keep(asked)
}

/// Checks a signature or a MAC.
pub(super) fn verify(keystore: &Keystore, asked: &Data, signature: &[u8]) -> Result<Exit> {
    let (info, params) = rules(keystore, asked, KeyPurpose::Verify)?;
    let mut input = open(asked.file.as_deref())?;
    let right = match info.filter(is_pair) {
        Some(info) => outside::verify(&info, &params, &mut input, signature)?,
        None => {
            let operation = begin(keystore, asked, KeyPurpose::Verify, params)?;
            let nothing = &mut io::sink();
            let checked = stream(operation, asked, Some(signature), &mut input, nothing);
            match checked.map_err(|error| error.downcast::<Error>()) {
                Ok(()) => true,
                Err(Ok(error)) if is(&error, ErrorCode::VerificationFailed) => false,
                Err(Ok(error)) => return Err(error.into()),
                Err(Err(error)) => return Err(error),
            }
        }
    };
    match (asked.at.json, right) {
        (true, _) => println!("{}", json!({ "verified": right })),
        (false, true) => println!("right"),
        (false, false) => eprintln!("wrong: neither this key made it over this file, nor any"),
    }
    Ok(if right { Exit::Held } else { Exit::Failed })
}

/// Encrypts.
pub(super) fn encrypt(keystore: &Keystore, asked: &Cipher) -> Result<Exit> {
    let data = &asked.data;
    let mut output = Output::to(data.output.as_deref())?;
    let (info, params) = rules(keystore, data, KeyPurpose::Encrypt)?;
    let mut input = open(data.file.as_deref())?;
    if let Some(info) = info.filter(is_pair) {
        output.write_all(&outside::encrypt(&info, &params, &mut input)?)?;
        return output.keep(data);
    }
    let given = params.nonce.clone();
    let mut operation = begin(keystore, data, KeyPurpose::Encrypt, params)?;
    if let Some(nonce) = given.or_else(|| operation.params().nonce.clone()) {
        match asked.no_nonce {
            true => eprintln!("nonce: {}", board::argument::hex(&nonce)),
            false => output.write_all(&nonce)?,
        }
    }
    associated(&mut operation, asked)?;
    stream(operation, data, None, &mut input, &mut output)?;
    output.keep(data)
}

/// Decrypts.
pub(super) fn decrypt(keystore: &Keystore, asked: &Cipher) -> Result<Exit> {
    let data = &asked.data;
    let mut output = Output::to(data.output.as_deref())?;
    let (_, mut params) = rules(keystore, data, KeyPurpose::Decrypt)?;
    let mut input = open(data.file.as_deref())?;
    if params.nonce.is_none() && !asked.no_nonce {
        let mut nonce = vec![0; nonce_bytes(&params)];
        let short = |_| Misused("the file is shorter than the nonce in front of it".into());
        input.read_exact(&mut nonce).map_err(short)?;
        params.nonce = Some(Bytes(nonce)).filter(|nonce| !nonce.is_empty());
    }
    params.algorithm = None;
    let mut operation = begin(keystore, data, KeyPurpose::Decrypt, params)?;
    associated(&mut operation, asked)?;
    stream(operation, data, None, &mut input, &mut output)?;
    output.keep(data)
}

fn is_pair(info: &KeyInfo) -> bool {
    matches!(
        info.characteristics.hardware_enforced.algorithm,
        Some(Algorithm::Rsa | Algorithm::Ec | Algorithm::MlDsa)
    )
}

fn is(error: &Error, code: impl Into<Code>) -> bool {
    error.code() == Some(code.into())
}

/// What a nonce of this mode has.
fn nonce_bytes(params: &Authorizations) -> usize {
    match params.block_mode.first() {
        Some(BlockMode::Gcm) => 12,
        Some(BlockMode::Cbc | BlockMode::Ctr) if params.algorithm == Some(Algorithm::TripleDes) => {
            8
        }
        Some(BlockMode::Cbc | BlockMode::Ctr) => 16,
        Some(BlockMode::Ecb) | None => 0,
    }
}

/// What was said, and where the key allows one way only, that way. Somebody who may use a key and
/// not see it says everything.
fn rules(
    keystore: &Keystore,
    asked: &Data,
    purpose: KeyPurpose,
) -> Result<(Option<KeyInfo>, Authorizations)> {
    let mut params = asked.rules.0.clone();
    let info = match keystore.show(&asked.key) {
        Ok(info) => info,
        Err(error) if is(&error, KeystoreCode::PermissionDenied) => return Ok((None, params)),
        Err(error) => return Err(error.into()),
    };
    let key = &info.characteristics.hardware_enforced;
    for (tag, ways) in [
        (Tag::Digest, key.digest.len()),
        (Tag::Padding, key.padding.len()),
        (Tag::BlockMode, key.block_mode.len()),
    ] {
        if !params.has(tag) && ways == 1 {
            params.copy(tag, key);
        }
    }
    if params.mac_length.is_none() {
        params.mac_length = mac_length(&params, key, purpose);
    }
    // Only to know how long a nonce is; KeyMint is not told.
    if purpose == KeyPurpose::Decrypt {
        params.algorithm = key.algorithm;
    }
    Ok((Some(info), params))
}

/// The whole tag, or the whole MAC.
fn mac_length(params: &Authorizations, key: &Authorizations, purpose: KeyPurpose) -> Option<u32> {
    if params.block_mode.contains(&BlockMode::Gcm) {
        return Some(128);
    }
    if key.algorithm != Some(Algorithm::Hmac) || purpose != KeyPurpose::Sign {
        return None;
    }
    outside::hash(*params.digest.first()?).map(|hash| 8 * hash.digest(b"").len() as u32)
}

fn begin<'a>(
    keystore: &'a Keystore,
    asked: &Data,
    purpose: KeyPurpose,
    params: Authorizations,
) -> Result<Operation<'a>> {
    let begin = Begin { key: asked.key.clone(), purpose, params, token: None };
    let mut operation = keystore.begin(&begin)?;
    if asked.authenticate {
        eprintln!("authenticate on the trusted screen");
        operation.authenticate()?;
    }
    Ok(operation)
}

fn associated(operation: &mut Operation<'_>, asked: &Cipher) -> Result<()> {
    if let Some(path) = &asked.aad {
        operation.update_aad(&read(path)?)?;
    }
    Ok(())
}

/// The whole input, piece by piece.
fn stream(
    mut operation: Operation<'_>,
    asked: &Data,
    signature: Option<&[u8]>,
    input: &mut impl Read,
    output: &mut impl Write,
) -> Result<()> {
    let confirmation = asked.confirmation.as_deref().map(read).transpose()?.map(Bytes);
    let mut piece = Vec::with_capacity(MAX_DATA_BYTES);
    loop {
        piece.clear();
        input.take(MAX_DATA_BYTES as u64).read_to_end(&mut piece).context("reading")?;
        if piece.is_empty() {
            break;
        }
        output.write_all(&operation.update(&piece)?).context("writing")?;
    }
    let signature = signature.map(Bytes::from);
    let last = Finish { signature, confirmation, ..Finish::default() };
    output.write_all(&operation.finish(&last)?).context("writing")
}

fn open(path: Option<&Path>) -> Result<Box<dyn Read>> {
    match path {
        None => Ok(Box::new(io::stdin())),
        Some(path) => {
            let file = File::open(path);
            let file = file.map_err(|error| Misused(format!("{}: {error}", path.display())))?;
            Ok(Box::new(file))
        }
    }
}

/// Where things go once all is there: nobody acts on half of it.
struct Output<'a> {
    file: NamedTempFile,
    to: Option<&'a Path>,
}

impl<'a> Output<'a> {
    fn to(path: Option<&'a Path>) -> Result<Self> {
        let file = match path.map(|path| path.parent().unwrap_or(path)) {
            None => NamedTempFile::new(),
            Some(folder) if folder.as_os_str().is_empty() => NamedTempFile::new_in("."),
            Some(folder) => NamedTempFile::new_in(folder),
        };
        let file = file.map_err(|error| Misused(format!("nothing can be written: {error}")))?;
        Ok(Self { file, to: path })
    }

    fn keep(mut self, asked: &Data) -> Result<Exit> {
        let bytes = self.file.as_file().metadata()?.len();
        match self.to {
            Some(path) => {
                self.file.persist(path).with_context(|| path.display().to_string())?;
                if asked.at.json {
                    println!("{}", json!({ "output": path, "bytes": bytes }));
                }
            }
            None => {
                let mut again = self.file.reopen()?;
                self.file.flush()?;
                io::copy(&mut again, &mut io::stdout()).context("standard output")?;
            }
        }
        Ok(Exit::Held)
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The digest and the padding that were said; one each.
pub(super) fn said(params: &Authorizations) -> (Digest, Option<PaddingMode>) {
    (params.digest.first().copied().unwrap_or(Digest::None), params.padding.first().copied())
}
