//! Images of trusted applications: who signed one, which one it is, what it may use.
//!
//! An image is an AVB image (docs/decisions/0003): a static ELF with a hash footer. The
//! partition's name is the trusted application's, the rollback index its version. Signed
//! properties say the rest, see [`properties`]. Nothing of an image is believed before its
//! signature is checked; its program then runs from a sealed copy of what was checked.

mod archive;
mod properties;

pub(crate) use archive::TeeImage;
pub(crate) use properties::{Callee, Limits};

use avb::{FOOTER_BYTES, Footer, VbmetaImage, VerifiedImage};
use board::exec;
use board::verdict::{Refusal, verify_under};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::Mode;
use tee_api::{Identity, Signer};

/// The longest name.
const MAX_NAME_BYTES: usize = 32;
/// Who runs a program need not be able to read it: the kernel then lets nobody look into the
/// process, from its first instruction on.
const EXECUTE_ONLY: Mode = Mode::XUSR;

/// Whose signature counts: SHA-256 of AVB public-key blobs.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Those of the maker that were not revoked.
    pub(crate) maker: Vec<[u8; 32]>,
    /// Those that the verified tee image admits besides.
    pub(crate) admitted: Vec<[u8; 32]>,
}

impl Keys {
    fn all(&self) -> Vec<[u8; 32]> {
        [&self.maker[..], &self.admitted[..]].concat()
    }

    fn signer(&self, digest: [u8; 32]) -> Signer {
        if self.maker.contains(&digest) { Signer::Maker } else { Signer::Key(digest) }
    }
}

/// A verified program.
#[derive(Debug)]
pub(crate) struct Program {
    /// As `ta-keymint`.
    pub(crate) name: String,
    /// Who it is.
    pub(crate) identity: Identity,
    /// Its rollback index.
    pub(crate) version: u64,
    /// SHA-256 of its signed metadata: names exactly this build.
    pub(crate) digest: [u8; 32],
    /// What it may use.
    pub(crate) limits: Limits,
    /// Whom it may call.
    pub(crate) calls: Vec<Callee>,
    /// The executable, in a sealed memfd.
    pub(crate) file: OwnedFd,
}

/// Verifies `image`, which is signed under the name that it brings itself.
pub(crate) fn verify(image: &[u8], keys: &Keys) -> Result<Program, Refusal> {
    let name = claimed_name(image).ok_or_else(|| {
        Refusal::new("ERROR_INVALID_METADATA", "not an image with an AVB hash footer")
    })?;
    check_name(&name)?;
    let verified = verify_under(&keys.all(), image, &name, 0)?;
    program(name, &verified, image, keys)
}

fn program(
    name: String,
    verified: &VerifiedImage,
    image: &[u8],
    keys: &Keys,
) -> Result<Program, Refusal> {
    let signed = properties::read(verified).map_err(Refusal::policy)?;
    let identity = Identity { uuid: signed.uuid, signer: keys.signer(verified.public_key_digest) };
    let file = executable(&name, &image[verified.image.clone()])
        .map_err(|error| Refusal::new("ERROR_OOM", format!("{name}: {error}")))?;
    Ok(Program {
        name,
        identity,
        version: verified.rollback_index,
        digest: verified.vbmeta_digest,
        limits: signed.limits,
        calls: signed.calls,
        file,
    })
}

fn executable(name: &str, program: &[u8]) -> std::io::Result<OwnedFd> {
    let file = exec::sealed(name, program)?;
    rustix::fs::fchmod(file.as_fd(), EXECUTE_ONLY)?;
    Ok(file)
}

/// The name that an image says it is signed as. Not to be believed: what it is good for is to
/// ask whether it was.
pub(crate) fn claimed_name(image: &[u8]) -> Option<String> {
    let (body, footer) = image.split_last_chunk::<FOOTER_BYTES>()?;
    let footer = Footer::decode_strict(footer).ok()?;
    let start = usize::try_from(footer.vbmeta_offset).ok()?;
    let size = usize::try_from(footer.vbmeta_size).ok()?;
    let vbmeta = body.get(start..start.checked_add(size)?)?;
    let descriptors = VbmetaImage::parse(vbmeta).ok()?.descriptors().ok()?;
    let hash = descriptors.iter().find_map(|descriptor| match descriptor {
        avb::Descriptor::Hash(hash) => Some(hash.partition_name.clone()),
        _ => None,
    });
    hash.filter(|name| name.len() <= MAX_NAME_BYTES)
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (4..=MAX_NAME_BYTES).contains(&name.len());
    if fits && name.starts_with("ta-") && name.bytes().all(plain) {
        return Ok(());
    }
    Err(Refusal::policy("the image's partition name is not `ta-` and 1 to 29 of a-z, 0-9 and `-`"))
}

#[cfg(test)]
mod tests;
