//! `holdfast keys`: what a person can type.

use super::rules::{KeyRules, UseRules};
use crate::args::{EXITS, StateDir};
use clap::{Args, Subcommand};
use keymint::Bytes;
use keystore_client::api::{Access, AttestationSource, KeyRef, Namespace};
use std::path::PathBuf;

/// Where the device is, and how it is told what came of it.
#[derive(Debug, Args)]
pub(crate) struct At {
    #[command(flatten)]
    pub(crate) state: StateDir,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

/// `holdfast keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key in the TEE
    ///
    /// What it obeys is fixed from then on. With --challenge its certificate is an attestation.
    #[command(after_help = EXITS)]
    Generate(#[command(flatten)] New),
    /// Take a key in that was made outside
    #[command(after_help = EXITS)]
    Import {
        #[command(flatten)]
        new: New,
        /// The key: PKCS#8 DER of a key pair, or the bytes of a symmetric key
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// pkcs8 or raw
        #[arg(long, value_name = "FORMAT", default_value = "pkcs8")]
        format: keymint::KeyFormat,
    },
    /// Take a key in that comes encrypted to a key of the TEE
    ///
    /// Nobody on the way sees it. What it obeys comes with it. --padding and --digest say how the
    /// wrapping key is used: rsa_oaep and sha_2_256.
    #[command(after_help = EXITS)]
    ImportWrapped(#[command(flatten)] Wrapped),
    /// List your keys
    #[command(after_help = EXITS)]
    List {
        #[command(flatten)]
        at: At,
        /// Only those whose alias begins so
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Say what a key obeys
    #[command(after_help = EXITS)]
    Show {
        #[command(flatten)]
        at: At,
        /// Alias, id:… or grant:…
        key: KeyRef,
    },
    /// Sign a file
    #[command(after_help = EXITS)]
    Sign(Data),
    /// Check a signature or a MAC; exit code 1 if it is wrong
    ///
    /// A MAC is checked in the TEE, a signature here, under the key's certificate.
    #[command(after_help = EXITS)]
    Verify {
        #[command(flatten)]
        data: Data,
        /// The signature or MAC
        #[arg(long, value_name = "FILE")]
        signature: PathBuf,
    },
    /// Encrypt a file; the nonce comes in front of the text
    ///
    /// With an RSA key that happens here, under the key's certificate.
    #[command(after_help = EXITS)]
    Encrypt(Cipher),
    /// Decrypt a file; the nonce is taken from the front of the text
    #[command(after_help = EXITS)]
    Decrypt(Cipher),
    /// Make a MAC over a file
    #[command(after_help = EXITS)]
    Mac(Data),
    /// Write a key's certificate chain as PEM: its attestation, if it was made with --challenge
    #[command(after_help = EXITS)]
    Attest {
        #[command(flatten)]
        at: At,
        /// Alias, id:… or grant:…
        key: KeyRef,
        /// Where to [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Have the cloud certify keys that attest others, now
    ///
    /// With --key-source remote that happens by itself; this does not wait until they lapse.
    #[command(after_help = EXITS)]
    Provision(#[command(flatten)] At),
    /// Let another user of the device use a key of yours, or take that back
    #[command(after_help = EXITS)]
    Grant {
        #[command(flatten)]
        at: At,
        /// Alias, or id:…
        key: KeyRef,
        /// To whom: a user id, and behind a slash the label that the security policy gives it
        #[arg(long, value_name = "UID[/LABEL]", value_parser = namespace)]
        to: Namespace,
        /// What: get_info, use, update, delete; several with commas
        #[arg(long, value_name = "ACCESS", value_delimiter = ',', default_value = "get_info,use")]
        #[arg(value_parser = access)]
        access: Vec<Access>,
        /// Take it back
        #[arg(long, conflicts_with = "access")]
        revoke: bool,
    },
    /// Delete a key, in the TEE too
    #[command(after_help = EXITS)]
    Delete {
        #[command(flatten)]
        at: At,
        /// Alias, id:… or grant:…
        key: KeyRef,
    },
}

impl Keys {
    /// Where the device is, and how it is told what came of it.
    pub(crate) const fn at(&self) -> &At {
        match self {
            Self::Generate(new) | Self::Import { new, .. } => &new.at,
            Self::ImportWrapped(wrapped) => &wrapped.at,
            Self::Sign(data) | Self::Mac(data) | Self::Verify { data, .. } => &data.at,
            Self::Encrypt(cipher) | Self::Decrypt(cipher) => &cipher.data.at,
            Self::List { at, .. }
            | Self::Show { at, .. }
            | Self::Attest { at, .. }
            | Self::Provision(at)
            | Self::Grant { at, .. }
            | Self::Delete { at, .. } => at,
        }
    }
}

/// A new key.
#[derive(Debug, Args)]
pub(crate) struct New {
    #[command(flatten)]
    pub(crate) at: At,
    /// What it is to be called
    pub(crate) alias: String,
    #[command(flatten)]
    pub(crate) rules: KeyRules,
    /// Delete the key that has this alias, and take its place
    #[arg(long)]
    pub(crate) replace: bool,
    /// A key of the purpose attest_key that attests this one, instead of the device's
    #[arg(long, value_name = "KEY")]
    pub(crate) attest_key: Option<KeyRef>,
    /// Whose key attests this one: factory, the device's own, or remote, one that the cloud
    /// certified for some weeks and that does not tell which device this is
    #[arg(long, value_name = "SOURCE", default_value = "factory", value_parser = source)]
    #[arg(conflicts_with = "attest_key")]
    pub(crate) key_source: AttestationSource,
}

/// A key that comes encrypted to a key of the TEE.
#[derive(Debug, Args)]
pub(crate) struct Wrapped {
    #[command(flatten)]
    pub(crate) at: At,
    /// What it is to be called
    pub(crate) alias: String,
    /// The key: DER of SecureKeyWrapper
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The key of the purpose wrap_key that it is encrypted to
    #[arg(long, value_name = "KEY")]
    pub(crate) wrapping_key: KeyRef,
    /// What the transport key was masked with, 32 bytes [default: zeros, which is no mask]
    #[arg(long, value_name = "HEX", value_parser = masking_key)]
    pub(crate) masking_key: Option<Bytes>,
    #[command(flatten)]
    pub(crate) rules: UseRules,
    /// The secure id of the user whose password the key needs, where it needs one
    #[arg(long, value_name = "ID", default_value_t = 0)]
    pub(crate) password_sid: u64,
    /// The secure id of the user's fingerprints, where the key needs one
    #[arg(long, value_name = "ID", default_value_t = 0)]
    pub(crate) biometric_sid: u64,
    /// Delete the key that has this alias, and take its place
    #[arg(long)]
    pub(crate) replace: bool,
}

/// A key and a file.
#[derive(Debug, Args)]
pub(crate) struct Data {
    #[command(flatten)]
    pub(crate) at: At,
    /// Alias, id:… or grant:…
    pub(crate) key: KeyRef,
    /// What to read [default: standard input]
    pub(crate) file: Option<PathBuf>,
    /// Where what comes out goes, once all of it is there [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) rules: UseRules,
    /// What the trusted screen gave for this message
    #[arg(long, value_name = "FILE")]
    pub(crate) confirmation: Option<PathBuf>,
    /// Have the person authenticate on the trusted screen, for a key that needs that each time
    #[arg(long)]
    pub(crate) authenticate: bool,
}

/// The same, and what encryption needs besides.
#[derive(Debug, Args)]
pub(crate) struct Cipher {
    #[command(flatten)]
    pub(crate) data: Data,
    /// What is authenticated and not encrypted (GCM)
    #[arg(long, value_name = "FILE")]
    pub(crate) aad: Option<PathBuf>,
    /// No nonce in front of the text: encrypt tells it on standard error, decrypt takes --nonce
    #[arg(long)]
    pub(crate) no_nonce: bool,
}

fn namespace(text: &str) -> Result<Namespace, String> {
    let (uid, label) = match text.split_once('/') {
        Some((uid, label)) => (uid, Some(label.to_owned())),
        None => (text, None),
    };
    let uid = uid.parse().map_err(|_| format!("{uid:?} is no user id"))?;
    Ok(Namespace { uid, label })
}

fn masking_key(text: &str) -> Result<Bytes, String> {
    let bytes = board::argument::unhex(&text.to_ascii_lowercase());
    let bytes = bytes.filter(|bytes| bytes.len() == 32);
    bytes.map(Bytes).ok_or_else(|| "64 hexadecimal digits".to_owned())
}

fn source(text: &str) -> Result<AttestationSource, String> {
    serde_json::from_value(serde_json::json!(text)).map_err(|_| "factory or remote".to_owned())
}

fn access(text: &str) -> Result<Access, String> {
    serde_json::from_value(serde_json::json!(text))
        .map_err(|_| "one of get_info, use, update, delete".to_owned())
}
