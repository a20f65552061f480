//! The vbmeta header, the footer, and the numbers in them.

use crypto::ml_dsa::Parameters;
use std::fmt;

/// The newest version of libavb whose decisions this crate makes.
pub const SUPPORTED_VERSION: Version = Version { major: 1, minor: 4 };
/// The last libavb that does not know ML-DSA: what most devices have.
pub const LIBAVB_1_3: Version = Version { major: 1, minor: 3 };
/// Bytes of a vbmeta header.
pub const HEADER_BYTES: usize = 256;
/// Bytes of a footer.
pub const FOOTER_BYTES: usize = 64;
/// The largest vbmeta image, in bytes.
pub const VBMETA_MAX_BYTES: usize = 64 * 1024;
/// The longest release string, in bytes, without the NUL that ends it.
pub const RELEASE_MAX_BYTES: usize = 47;
/// How many rollback index locations there are.
pub const ROLLBACK_LOCATIONS: usize = 32;
/// The longest partition name, in bytes.
pub const PARTITION_NAME_MAX_BYTES: usize = 31;

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Incompatible changes.
    pub major: u32,
    /// Compatible additions.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// How a vbmeta image is signed (`AvbAlgorithmType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Algorithm {
    /// Not signed.
    None = 0,
    /// SHA-256 with RSA-2048.
    Sha256Rsa2048 = 1,
    /// SHA-256 with RSA-4096.
    Sha256Rsa4096 = 2,
    /// SHA-256 with RSA-8192.
    Sha256Rsa8192 = 3,
    /// SHA-512 with RSA-2048.
    Sha512Rsa2048 = 4,
    /// SHA-512 with RSA-4096.
    Sha512Rsa4096 = 5,
    /// SHA-512 with RSA-8192.
    Sha512Rsa8192 = 6,
    /// ML-DSA-65 (libavb 1.4).
    MlDsa65 = 7,
    /// ML-DSA-87 (libavb 1.4).
    MlDsa87 = 8,
}

impl Algorithm {
    const ALL: [Self; 9] = [
        Self::None,
        Self::Sha256Rsa2048,
        Self::Sha256Rsa4096,
        Self::Sha256Rsa8192,
        Self::Sha512Rsa2048,
        Self::Sha512Rsa4096,
        Self::Sha512Rsa8192,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    /// The algorithm with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// Its number in the header.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// avbtool's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Sha256Rsa2048 => "SHA256_RSA2048",
            Self::Sha256Rsa4096 => "SHA256_RSA4096",
            Self::Sha256Rsa8192 => "SHA256_RSA8192",
            Self::Sha512Rsa2048 => "SHA512_RSA2048",
            Self::Sha512Rsa4096 => "SHA512_RSA4096",
            Self::Sha512Rsa8192 => "SHA512_RSA8192",
            Self::MlDsa65 => "MLDSA65",
            Self::MlDsa87 => "MLDSA87",
        }
    }

    /// The hash and the size of the RSA modulus in bits, where it is an RSA algorithm.
    #[must_use]
    pub const fn rsa(self) -> Option<(Hash, usize)> {
        match self {
            Self::Sha256Rsa2048 => Some((Hash::Sha256, 2048)),
            Self::Sha256Rsa4096 => Some((Hash::Sha256, 4096)),
            Self::Sha256Rsa8192 => Some((Hash::Sha256, 8192)),
            Self::Sha512Rsa2048 => Some((Hash::Sha512, 2048)),
            Self::Sha512Rsa4096 => Some((Hash::Sha512, 4096)),
            Self::Sha512Rsa8192 => Some((Hash::Sha512, 8192)),
            Self::None | Self::MlDsa65 | Self::MlDsa87 => None,
        }
    }

    /// The parameter set, where it is an ML-DSA algorithm.
    #[must_use]
    pub const fn ml_dsa(self) -> Option<Parameters> {
        match self {
            Self::MlDsa65 => Some(Parameters::MlDsa65),
            Self::MlDsa87 => Some(Parameters::MlDsa87),
            _ => None,
        }
    }

    /// Bytes of the hash in the authentication block: none with ML-DSA, which hashes by itself.
    #[must_use]
    pub const fn hash_bytes(self) -> usize {
        match self.rsa() {
            Some((hash, _)) => hash.digest_bytes(),
            None => 0,
        }
    }

    /// Bytes of the signature.
    #[must_use]
    pub const fn signature_bytes(self) -> usize {
        match (self.rsa(), self.ml_dsa()) {
            (Some((_, bits)), _) => bits / 8,
            (None, Some(parameters)) => parameters.signature_bytes(),
            (None, None) => 0,
        }
    }

    /// Bits of the public key: of the modulus, or of the raw key.
    #[must_use]
    pub const fn key_bits(self) -> usize {
        match (self.rsa(), self.ml_dsa()) {
            (Some((_, bits)), _) => bits,
            (None, Some(parameters)) => parameters.public_key_bytes() * 8,
            (None, None) => 0,
        }
    }

    /// The first libavb that verifies it.
    #[must_use]
    pub const fn needs_libavb(self) -> Version {
        match self.ml_dsa() {
            Some(_) => Version { major: 1, minor: 4 },
            None => Version { major: 1, minor: 0 },
        }
    }

    /// The hash of the vbmeta digest that goes to the kernel: that of the signature, SHA-256
    /// where the signature has none.
    #[must_use]
    pub const fn digest_hash(self) -> Hash {
        match self.rsa() {
            Some((hash, _)) => hash,
            None => Hash::Sha256,
        }
    }
}

/// A hash function that this crate computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Bytes of a digest.
    #[must_use]
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The name in descriptors and on the kernel command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The digest of `parts`, one after the other.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha256 => {
                let mut context = crypto::digest::Sha256::new();
                parts.iter().for_each(|part| context.update(part));
                context.finish().to_vec()
            }
            Self::Sha512 => {
                let mut context = crypto::digest::Sha512::new();
                parts.iter().for_each(|part| context.update(part));
                context.finish().to_vec()
            }
        }
    }

    pub(crate) const fn of_signature(self) -> crypto::sign::Hash {
        match self {
            Self::Sha256 => crypto::sign::Hash::Sha256,
            Self::Sha512 => crypto::sign::Hash::Sha512,
        }
    }
}

/// The flags of a vbmeta header. Only the top-level image may set any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct VbmetaFlags(pub u32);

impl VbmetaFlags {
    /// dm-verity is off.
    pub const HASHTREE_DISABLED: u32 = 1;
    /// Descriptors are not looked at: nothing is verified.
    pub const VERIFICATION_DISABLED: u32 = 2;

    /// Whether [`Self::HASHTREE_DISABLED`] is set.
    #[must_use]
    pub const fn hashtree_disabled(self) -> bool {
        self.0 & Self::HASHTREE_DISABLED != 0
    }

    /// Whether [`Self::VERIFICATION_DISABLED`] is set.
    #[must_use]
    pub const fn verification_disabled(self) -> bool {
        self.0 & Self::VERIFICATION_DISABLED != 0
    }

    /// Bits that no version of the format defines.
    #[must_use]
    pub const fn unknown(self) -> u32 {
        self.0 & !(Self::HASHTREE_DISABLED | Self::VERIFICATION_DISABLED)
    }
}

/// A part of the authentication block or of the auxiliary block, in bytes from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Where it starts.
    pub offset: u64,
    /// How long it is.
    pub size: u64,
}

impl Extent {
    /// Where it ends, unless that overflows.
    #[must_use]
    pub const fn end(self) -> Option<u64> {
        self.offset.checked_add(self.size)
    }

    /// Whether it lies inside a block of `size` bytes.
    #[must_use]
    pub const fn is_within(self, size: u64) -> bool {
        matches!(self.end(), Some(end) if end <= size)
    }

    /// Its bytes in `block`, if it lies within.
    pub(crate) fn of(self, block: &[u8]) -> Option<&[u8]> {
        let start = usize::try_from(self.offset).ok()?;
        let end = usize::try_from(self.end()?).ok()?;
        block.get(start..end)
    }
}

/// The header of a vbmeta image (`AvbVBMetaImageHeader`), 256 bytes, big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The oldest libavb that may read it.
    pub required_version: Version,
    /// Bytes of the authentication block: hash and signature. A multiple of 64.
    pub authentication_size: u64,
    /// Bytes of the auxiliary block: descriptors and public key. A multiple of 64.
    pub auxiliary_size: u64,
    /// How it is signed.
    pub algorithm: Algorithm,
    /// The hash, in the authentication block.
    pub hash: Extent,
    /// The signature, in the authentication block.
    pub signature: Extent,
    /// The public key blob, in the auxiliary block.
    pub public_key: Extent,
    /// Metadata of the public key, in the auxiliary block.
    pub public_key_metadata: Extent,
    /// The descriptors, in the auxiliary block. libavb does not check that they lie in it.
    pub descriptors: Extent,
    /// Images older than the stored index of the location are refused.
    pub rollback_index: u64,
    /// Flags.
    pub flags: VbmetaFlags,
    /// Where the rollback index is stored. Counts for the top-level image only.
    pub rollback_index_location: u32,
    /// Which program made the image.
    pub release: Release,
}

impl Header {
    /// Bytes of the whole image: header, authentication block, auxiliary block.
    #[must_use]
    pub const fn image_size(&self) -> u64 {
        HEADER_BYTES as u64 + self.authentication_size + self.auxiliary_size
    }
}

/// Which program made an image: at most 47 bytes, none of them NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release(Vec<u8>);

impl Release {
    /// A release string, if it fits.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        Self::from_bytes(text.as_bytes())
    }

    /// A release string of which the bytes that do not fit are cut off, as avbtool does.
    #[must_use]
    pub fn cut(text: &str) -> Option<Self> {
        Self::from_bytes(&text.as_bytes()[..text.len().min(RELEASE_MAX_BYTES)])
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let fits = bytes.len() <= RELEASE_MAX_BYTES && !bytes.contains(&0);
        fits.then(|| Self(bytes.to_vec()))
    }

    /// Its bytes; nothing says that they are UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl Default for Release {
    fn default() -> Self {
        Self(concat!("holdfast ", env!("CARGO_PKG_VERSION")).into())
    }
}

/// The footer in the last 64 bytes of a partition (`AvbFooter`): where the vbmeta image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Version of the footer.
    pub version: Version,
    /// Bytes of the image that the partition holds.
    pub original_image_size: u64,
    /// Where the vbmeta image starts in the partition, in bytes.
    pub vbmeta_offset: u64,
    /// Bytes of the vbmeta image.
    pub vbmeta_size: u64,
}
