//! Whether a package is the maker's, holds together, and is for this device.
//!
//! Everything is read from one descriptor. What decides is bound to the bytes that were signed: the
//! pass that hashes the file compares it with all that was read before. Blobs are hashed again from
//! the very buffer that is used ([`payload::apply()`]). So a file that is swapped or changed at any
//! time is either refused or never seen.

use crate::witness::Witness;
use board::build::Build;
use crypto::digest::Sha256;
use otazip::metadata::Metadata;
use otazip::otacerts::{self, OtacertsError};
use otazip::package::{Package as Zip, PackageError};
use otazip::policy::{Device, Refused};
use otazip::signature::{SignatureError, WholeFile};
use payload::key::{Certificate, KeyError, PublicKey};
use payload::manifest::Operation;
use payload::properties::Properties;
use payload::{DecodeError, Digests, Hasher, Payload, ReadAt, signature};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes that are hashed at once.
const PIECE: usize = 1 << 20;

/// Why a package is refused. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The file can't be read.
    #[error("the package can't be read: {0}")]
    Io(#[from] io::Error),
    /// Its parts do not hold together.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Its whole-file signature is missing or malformed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A signature message is malformed.
    #[error("a signature of the package's payload is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The device's own list of certificates is not good.
    #[error("this device's certificates for updates are not good: {0}")]
    Certificates(#[from] OtacertsError),
    /// A certificate that recovery does not take.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Signed by somebody else.
    #[error("nobody whom this device trusts signed the package's {0}")]
    Untrusted(&'static str),
    /// The payload is another one than its properties name.
    #[error("payload.bin is not what the package's properties name")]
    OtherPayload,
    /// Somebody wrote to the file meanwhile.
    #[error("the package changed while it was read")]
    Changed,
    /// A rule that this device has.
    #[error(transparent)]
    Rule(#[from] Refused),
    /// The payload says that its build is older.
    #[error("the payload's build is older (max_timestamp {new}) than this device's ({old})")]
    MaxTimestamp {
        /// The payload's.
        new: i64,
        /// The device's.
        old: i64,
    },
    /// It would erase the user's data.
    #[error("the package erases the user's data; this device takes no such package")]
    Wipes,
}

impl Refusal {
    /// One word for reports.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Io(_) => "unreadable",
            Self::Package(_) | Self::Malformed(_) | Self::OtherPayload => "malformed",
            Self::Signature(_) | Self::Untrusted(_) => "signature",
            Self::Certificates(_) | Self::Key(_) => "certificates",
            Self::Changed => "changed",
            Self::Wipes => "wipes",
            Self::MaxTimestamp { .. } => "older_build",
            Self::Rule(rule) => match rule {
                Refused::Timestamp { .. } | Refused::DowngradeFromAny => "older_build",
                Refused::SecurityPatch { .. } => "older_security_patch",
                Refused::Build(..) => "other_source_build",
                Refused::Device(..) | Refused::NoDevice | Refused::Serial => "other_device",
                _ => "other_kind",
            },
        }
    }
}

/// The certificates in `etc/otacerts.zip`.
pub fn trusted(otacerts: &[u8]) -> Result<Vec<Certificate>, Refusal> {
    Ok(otacerts::decode(&otacerts.to_vec(), otacerts.len() as u64)?)
}

/// A package that somebody trusted signed, and whose parts belong together.
#[derive(Debug)]
pub struct Package {
    file: File,
    metadata: Metadata,
    payload: Payload,
    /// Where the payload begins in the file.
    start: u64,
}

impl Package {
    /// Opens a package: its whole-file signature as Android's recovery checks it, the payload's
    /// properties, and the payload's two signatures, each by one of `trusted`. Reads the file twice
    /// where it is needed for the verdict, and hashes it once.
    pub fn open(file: File, trusted: &[Certificate]) -> Result<Self, Refusal> {
        let length = file.metadata()?.len();
        let witness = Witness::new(&file);
        let whole = WholeFile::open(&witness, length)?;
        let zip = Zip::open(&witness, length)?;
        let (start, payload) = (zip.payload_entry.data.start, zip.payload);
        let (metadata, properties) = (zip.metadata, zip.properties);
        let signatures = payload.signatures().ok_or(Refusal::Untrusted("payload"))?;
        let signatures = read(&witness, start, signatures)?;

        let (digest, inner) = hash(&file, &witness, &whole, &payload, start)?;
        if whole.signer(&digest, trusted)?.is_none() {
            return Err(Refusal::Untrusted("whole file"));
        }
        check_payload(&payload, &properties, &signatures, &inner, trusted)?;
        Ok(Self { file, metadata, payload, start })
    }

    /// Whether a device that runs `build` takes the package.
    pub fn check(&self, build: &Build) -> Result<(), Refusal> {
        let device = Device {
            device: build.model.clone(),
            serial: String::new(),
            fingerprint: build.fingerprint.clone(),
            incremental: build.incremental.clone(),
            timestamp: build.timestamp,
            security_patch_level: build.security_patch.clone(),
        };
        device.judge(&self.metadata)?;
        let new = self.payload.manifest().max_timestamp.unwrap_or(0);
        if !self.metadata.downgrade && new < build.timestamp {
            return Err(Refusal::MaxTimestamp { new, old: build.timestamp });
        }
        if self.metadata.wipe { Err(Refusal::Wipes) } else { Ok(()) }
    }

    /// What it is for.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What it does.
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The fingerprint of the build that it leads to; empty where it does not say so.
    #[must_use]
    pub fn post_build(&self) -> &str {
        self.metadata.postcondition.build.first().map_or("", String::as_str)
    }

    /// An operation's blob as it stands in the file now: whoever uses it checks its hash first.
    pub(crate) fn blob(&self, operation: &Operation) -> io::Result<Vec<u8>> {
        let place = self.payload.blob(operation);
        let size = usize::try_from(place.end - place.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, self.start + place.start)?;
        Ok(bytes)
    }
}

/// A range of the payload.
fn read(file: &dyn ReadAt, start: u64, range: Range<u64>) -> Result<Vec<u8>, Refusal> {
    let size = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    file.read_at(start + range.start, &mut bytes)?;
    Ok(bytes)
}

/// SHA-256 of what the whole-file signature is over, and the payload's digests; refuses a file that
/// is not what was read of it.
fn hash(
    file: &File,
    witness: &Witness<'_>,
    whole: &WholeFile,
    payload: &Payload,
    start: u64,
) -> Result<([u8; 32], Digests), Refusal> {
    let (mut all, mut inner) = (Sha256::new(), Hasher::new(payload));
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < whole.signed_bytes() {
        let now = usize::try_from(whole.signed_bytes() - at).unwrap_or(PIECE).min(PIECE);
        let piece = &mut buffer[..now];
        file.read_exact_at(piece, at)?;
        if !witness.agrees(at, piece) {
            return Err(Refusal::Changed);
        }
        all.update(piece);
        let end = at + now as u64;
        let (from, to) = (start.max(at), (start + payload.length()).min(end));
        let place = |offset: u64| usize::try_from(offset - at).expect("inside this piece");
        if from < to {
            inner.update(&piece[place(from)..place(to)]);
        }
        at = end;
    }
    Ok((all.finish(), inner.finish()))
}

fn check_payload(
    payload: &Payload,
    properties: &Properties,
    signatures: &[u8],
    inner: &Digests,
    trusted: &[Certificate],
) -> Result<(), Refusal> {
    if inner.file != properties.file_hash {
        return Err(Refusal::OtherPayload);
    }
    let keys: Vec<PublicKey> = trusted.iter().map(|it| it.public_key.clone()).collect();
    let metadata = crypto::digest::sha256(payload.metadata());
    if signature::signer(payload.metadata_signature(), &metadata, &keys)?.is_none() {
        return Err(Refusal::Untrusted("payload metadata"));
    }
    if signature::signer(signatures, &inner.signed, &keys)?.is_none() {
        return Err(Refusal::Untrusted("payload"));
    }
    Ok(())
}
