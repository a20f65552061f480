//! One partition, strictly: every byte belongs to something that was checked, or is zero.

use crate::{
    DecodeError, Descriptor, FOOTER_BYTES, Footer, HashDescriptor, PropertyDescriptor,
    PublicKeyBlob, VbmetaImage, VbmetaVerdict, verify_vbmeta,
};
use std::{fmt, ops::Range};

/// Why something does not boot, as a fixed code. [`RefusalCode::as_str`] goes into records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The footer is missing or malformed.
    FooterMalformed,
    /// The vbmeta image is malformed.
    VbmetaMalformed,
    /// The vbmeta image is not signed, or its signature is wrong.
    SignatureInvalid,
    /// Signed, but with a key that is not trusted.
    KeyRejected,
    /// The rollback index is below the stored one.
    Rollback,
    /// Flags switch verification off, or bits are set that are not defined.
    FlagsRefused,
    /// A descriptor is malformed, or has bits that are not defined.
    DescriptorMalformed,
    /// No descriptor covers the partition, or more than one does.
    DescriptorMissing,
    /// The image is not what its descriptor says.
    DigestMismatch,
    /// Bytes that must be zero are not.
    StrayBytes,
    /// Storage did not answer.
    Io,
    /// The caller asked for something impossible.
    InvalidArgument,
}

impl RefusalCode {
    /// The code in records and interfaces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FooterMalformed => "footer-malformed",
            Self::VbmetaMalformed => "vbmeta-malformed",
            Self::SignatureInvalid => "signature-invalid",
            Self::KeyRejected => "key-rejected",
            Self::Rollback => "rollback",
            Self::FlagsRefused => "flags-refused",
            Self::DescriptorMalformed => "descriptor-malformed",
            Self::DescriptorMissing => "descriptor-missing",
            Self::DigestMismatch => "digest-mismatch",
            Self::StrayBytes => "stray-bytes",
            Self::Io => "io",
            Self::InvalidArgument => "invalid-argument",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The verdict "this does not boot", with its reason for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct Refusal {
    /// Which check refused.
    pub code: RefusalCode,
    /// What was found, for people.
    pub reason: String,
}

impl Refusal {
    pub(crate) fn new(code: RefusalCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// An image that a hash footer vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedImage {
    /// Where the image is in the partition, in bytes.
    pub image: Range<usize>,
    /// Its rollback index: to be stored once the boot was successful.
    pub rollback_index: u64,
    /// SHA-256 of the vbmeta image: names exactly this signed version.
    pub vbmeta_digest: [u8; 32],
    /// SHA-256 of the public key blob.
    pub public_key_digest: [u8; 32],
    /// Which program made the vbmeta image.
    pub release: String,
    /// The signed properties.
    pub properties: Vec<PropertyDescriptor>,
}

impl VerifiedImage {
    /// The value of the signed property `key`, where it is text.
    #[must_use]
    pub fn property(&self, key: &str) -> Option<&str> {
        let property = self.properties.iter().find(|property| property.key == key)?;
        std::str::from_utf8(&property.value).ok()
    }

    /// The signed property `version`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.property("version")
    }
}

/// Verifies a partition that holds an image, its vbmeta image and a footer: `bl1`, `tee`, `bl2`.
///
/// The key's SHA-256 must be `root_key_digest`, the rollback index at least
/// `min_rollback_index`, and exactly one hash descriptor must name `partition_name` (without the
/// slot's suffix) and the whole image. **Every** byte counts: image, footer and vbmeta image are
/// checked, all others must be zero. One flipped bit anywhere is refused.
///
/// ```
/// use avb::{Algorithm, RefusalCode, RsaPublicKeyBlob, VbmetaBuilder};
/// use avb::{hash_footer, verify_hash_footer_partition};
/// use crypto::sign::{Hash, RsaKey};
///
/// let key = RsaKey::generate(2048)?;
/// let public_key = RsaPublicKeyBlob::from_modulus(&key.modulus())?;
/// let builder = VbmetaBuilder {
///     algorithm: Algorithm::Sha256Rsa2048,
///     rollback_index: 2,
///     ..VbmetaBuilder::default()
/// };
/// let sign = |data: &[u8]| key.sign_pkcs1(Hash::Sha256, data);
/// let footer = hash_footer(b"image", "bl1", 131_072, b"salt", &builder, &public_key, sign)?;
/// let mut partition = footer.assemble(b"image");
///
/// let root_key = public_key.digest();
/// let verified = verify_hash_footer_partition(&partition, "bl1", &root_key, 2)?;
/// assert_eq!(&partition[verified.image], b"image");
///
/// let refusal = verify_hash_footer_partition(&partition, "bl1", &root_key, 3).unwrap_err();
/// assert_eq!(refusal.code, RefusalCode::Rollback);
/// partition[1000] = 1;
/// let refusal = verify_hash_footer_partition(&partition, "bl1", &root_key, 2).unwrap_err();
/// assert_eq!(refusal.code, RefusalCode::StrayBytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify_hash_footer_partition(
    partition: &[u8],
    partition_name: &str,
    root_key_digest: &[u8; 32],
    min_rollback_index: u64,
) -> Result<VerifiedImage, Refusal> {
    let layout = Layout::find(partition)?;
    let vbmeta = signed_vbmeta(layout.vbmeta)?;
    let public_key_digest = trusted_key(&vbmeta, root_key_digest)?;
    let header = vbmeta.header();
    if header.rollback_index < min_rollback_index {
        return Err(Refusal::new(
            RefusalCode::Rollback,
            format!(
                "{partition_name} has rollback index {}, but {min_rollback_index} is the lowest \
                 that this device accepts",
                header.rollback_index
            ),
        ));
    }
    if header.flags.0 != 0 {
        let reason = format!("vbmeta flags {:#x} are set, none is allowed", header.flags.0);
        return Err(Refusal::new(RefusalCode::FlagsRefused, reason));
    }
    let (hash, properties) = only_descriptors(&vbmeta, partition_name)?;
    check_image(&hash, layout.image)?;
    Ok(VerifiedImage {
        image: 0..layout.image.len(),
        rollback_index: header.rollback_index,
        vbmeta_digest: crypto::digest::sha256(vbmeta.bytes()),
        public_key_digest,
        release: header.release.to_string(),
        properties,
    })
}

/// Where the footer says that things are; the bytes between them are zero.
struct Layout<'a> {
    image: &'a [u8],
    vbmeta: &'a [u8],
}

impl<'a> Layout<'a> {
    fn find(partition: &'a [u8]) -> Result<Self, Refusal> {
        let malformed = |reason: &str| Refusal::new(RefusalCode::FooterMalformed, reason);
        let (body, footer) = partition
            .split_last_chunk::<FOOTER_BYTES>()
            .ok_or_else(|| malformed("the partition is smaller than a footer"))?;
        let footer = Footer::decode_strict(footer)
            .map_err(|error| malformed(&format!("the partition has no good footer: {error}")))?;
        if footer.version.minor != 0 {
            return Err(malformed("the footer is not of version 1.0"));
        }
        let outside = || malformed("the footer points outside the partition");
        let size = |size| usize::try_from(size).map_err(|_| outside());
        let (image_size, vbmeta_size) =
            (size(footer.original_image_size)?, size(footer.vbmeta_size)?);
        let (before, after) =
            body.split_at_checked(size(footer.vbmeta_offset)?).ok_or_else(outside)?;
        let (image, padding) = before.split_at_checked(image_size).ok_or_else(outside)?;
        let (vbmeta, rest) = after.split_at_checked(vbmeta_size).ok_or_else(outside)?;
        check_zeros(padding, "between image and vbmeta")?;
        check_zeros(rest, "between vbmeta and footer")?;
        Ok(Self { image, vbmeta })
    }
}

/// Parses a vbmeta image that must fill `bytes`, be canonical and carry a good signature.
pub(crate) fn signed_vbmeta(bytes: &[u8]) -> Result<VbmetaImage<'_>, Refusal> {
    let image = VbmetaImage::parse(bytes).map_err(vbmeta_malformed)?;
    image.check_canonical().map_err(vbmeta_malformed)?;
    match verify_vbmeta(bytes) {
        VbmetaVerdict::Ok => Ok(image),
        verdict @ (VbmetaVerdict::InvalidVbmetaHeader | VbmetaVerdict::UnsupportedVersion) => {
            let reason = format!("the vbmeta image is malformed: {verdict}");
            Err(Refusal::new(RefusalCode::VbmetaMalformed, reason))
        }
        verdict => {
            let reason = format!("the vbmeta image is not signed by its key: {verdict}");
            Err(Refusal::new(RefusalCode::SignatureInvalid, reason))
        }
    }
}

pub(crate) fn vbmeta_malformed(error: DecodeError) -> Refusal {
    Refusal::new(RefusalCode::VbmetaMalformed, format!("the vbmeta image is malformed: {error}"))
}

fn trusted_key(vbmeta: &VbmetaImage<'_>, root_key_digest: &[u8; 32]) -> Result<[u8; 32], Refusal> {
    let key = PublicKeyBlob::decode(vbmeta.public_key()).map_err(vbmeta_malformed)?;
    let digest = key.digest();
    if digest == *root_key_digest {
        return Ok(digest);
    }
    let reason = format!("signed with the key {}, which this device does not trust", hex(&digest));
    Err(Refusal::new(RefusalCode::KeyRejected, reason))
}

/// The one hash descriptor of the partition, and properties: nothing else is allowed here.
fn only_descriptors(
    vbmeta: &VbmetaImage<'_>,
    partition_name: &str,
) -> Result<(HashDescriptor, Vec<PropertyDescriptor>), Refusal> {
    let malformed = |reason: String| Refusal::new(RefusalCode::DescriptorMalformed, reason);
    let (mut hashes, mut properties) = (Vec::new(), Vec::new());
    for descriptor in vbmeta.descriptors().map_err(|error| malformed(error.to_string()))? {
        match descriptor {
            Descriptor::Hash(hash) => hashes.push(hash),
            Descriptor::Property(property) => properties.push(property),
            other => {
                let name = other.partition_name().unwrap_or("no partition");
                let reason = format!("a descriptor of {name} has no business in {partition_name}");
                return Err(malformed(reason));
            }
        }
    }
    match <[HashDescriptor; 1]>::try_from(hashes) {
        Ok([hash]) if hash.partition_name == partition_name => Ok((hash, properties)),
        Ok([hash]) => Err(Refusal::new(
            RefusalCode::DescriptorMissing,
            format!("the image is signed as {}, not as {partition_name}", hash.partition_name),
        )),
        Err(hashes) => Err(Refusal::new(
            RefusalCode::DescriptorMissing,
            format!("{} hash descriptors instead of one for {partition_name}", hashes.len()),
        )),
    }
}

fn check_image(hash: &HashDescriptor, image: &[u8]) -> Result<(), Refusal> {
    if hash.image_size != image.len() as u64 {
        return Err(Refusal::new(
            RefusalCode::FooterMalformed,
            format!("the footer says {} bytes, the descriptor {}", image.len(), hash.image_size),
        ));
    }
    let function = hash.hash_algorithm.hash().ok_or_else(|| {
        Refusal::new(RefusalCode::DescriptorMalformed, "the hash function is not supported")
    })?;
    if function.digest(&[&hash.salt, image]) == hash.digest {
        return Ok(());
    }
    let reason = format!("{} is not the image that was signed", hash.partition_name);
    Err(Refusal::new(RefusalCode::DigestMismatch, reason))
}

/// Checks a `vbmeta` partition: a vbmeta image, then zeros. Gives the image.
///
/// Says nothing about the signature; [`crate::policy`] calls it beside slot verification.
pub fn check_vbmeta_partition(partition: &[u8]) -> Result<VbmetaImage<'_>, Refusal> {
    let (image, rest) = VbmetaImage::parse_prefix(partition).map_err(vbmeta_malformed)?;
    image.check_canonical().map_err(vbmeta_malformed)?;
    check_zeros(rest, "behind the vbmeta image")?;
    Ok(image)
}

/// Checks that a partition is zero behind the `image_size` bytes that a descriptor covers.
pub fn check_zero_after(
    partition_name: &str,
    partition: &[u8],
    image_size: u64,
) -> Result<(), Refusal> {
    let start = usize::try_from(image_size).unwrap_or(usize::MAX);
    let rest = partition.get(start..).ok_or_else(|| {
        let reason = format!("{partition_name} is smaller than the {image_size} bytes signed");
        Refusal::new(RefusalCode::DigestMismatch, reason)
    })?;
    check_zeros(rest, &format!("behind the image in {partition_name}"))
}

pub(crate) fn check_zeros(bytes: &[u8], place: &str) -> Result<(), Refusal> {
    // Partitions are mostly padding: whole chunks are compared by words, and only a chunk that
    // is not zero is looked at byte by byte.
    const CHUNK: [u8; 4096] = [0; 4096];
    let zero = |chunk: &&[u8]| **chunk == CHUNK[..chunk.len()];
    let sound: usize = bytes.chunks(CHUNK.len()).take_while(zero).map(<[u8]>::len).sum();
    let stray = bytes[sound..].iter().position(|&byte| byte != 0).map(|at| sound + at);
    match stray {
        None => Ok(()),
        Some(at) => Err(Refusal::new(
            RefusalCode::StrayBytes,
            format!("{place}: byte {at} is {:#04x}, not zero", bytes[at]),
        )),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all text");
        text
    })
}
