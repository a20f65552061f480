//! The maker's side: vbmeta images and partitions with a footer, as avbtool makes them.

use crate::{
    Algorithm, BuildError, DO_NOT_USE_AB, Descriptor, Extent, FOOTER_BYTES, Footer, HEADER_BYTES,
    Hash, HashDescriptor, Header, PARTITION_NAME_MAX_BYTES, PublicKey, Release, VBMETA_MAX_BYTES,
    VbmetaFlags, VbmetaVerdict, Version, verify_vbmeta,
};

/// A vbmeta image to be signed (`avbtool make_vbmeta_image`).
#[derive(Debug, Clone)]
pub struct VbmetaBuilder {
    /// How it is signed.
    pub algorithm: Algorithm,
    /// What it says, in this order.
    pub descriptors: Vec<Descriptor>,
    /// Its rollback index.
    pub rollback_index: u64,
    /// Where the rollback index is stored. Counts for a top-level image only.
    pub rollback_index_location: u32,
    /// Flags.
    pub flags: VbmetaFlags,
    /// Which program made it.
    pub release: Release,
    /// Metadata of the public key, for [`crate::Ops::validate_vbmeta_public_key`].
    pub public_key_metadata: Vec<u8>,
    /// The minor version of libavb that the image asks for. `None`: what its descriptors need.
    pub required_minor: Option<u32>,
}

impl Default for VbmetaBuilder {
    /// SHA256_RSA4096, rollback index 0, no descriptors.
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Sha256Rsa4096,
            descriptors: Vec::new(),
            rollback_index: 0,
            rollback_index_location: 0,
            flags: VbmetaFlags::default(),
            release: Release::default(),
            public_key_metadata: Vec::new(),
            required_minor: None,
        }
    }
}

impl VbmetaBuilder {
    /// Builds and signs the image.
    ///
    /// `signer` gets the data and gives an RSA PKCS#1 v1.5 signature with the algorithm's hash, or
    /// an ML-DSA signature with an empty context.
    /// What it gives is verified under `public_key` before it is used.
    pub fn sign<E>(
        &self,
        public_key: &impl PublicKey,
        signer: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, BuildError<E>> {
        let image = self.sign_unverified(public_key, signer)?;
        match verify_vbmeta(&image) {
            VbmetaVerdict::Ok => Ok(image),
            _ => Err(BuildError::WrongSignature),
        }
    }

    /// The same, but a signature that only has the right size is believed: for a caller who
    /// verifies the image, or wants a bad one.
    pub fn sign_unverified<E>(
        &self,
        public_key: &impl PublicKey,
        signer: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, BuildError<E>> {
        let algorithm = self.algorithm;
        if algorithm == Algorithm::None {
            return Err(BuildError::UnsupportedAlgorithm(algorithm.name()));
        }
        if !public_key.fits(algorithm) {
            return Err(BuildError::KeySize {
                algorithm: algorithm.name(),
                need: algorithm.key_bits(),
                have: public_key.bits(),
            });
        }
        let (hash_bytes, signature_bytes) = (algorithm.hash_bytes(), algorithm.signature_bytes());
        let (header, auxiliary) =
            self.layout(public_key.as_bytes(), hash_bytes, signature_bytes)?;
        let header_bytes = header.encode();
        let signed = [&header_bytes[..], &auxiliary].concat();
        let signature = signer(&signed).map_err(BuildError::Signer)?;
        let hash = algorithm.rsa().map(|(hash, _)| hash.digest(&[&signed]));
        let mut authentication = hash.unwrap_or_default();
        authentication.extend(signature);
        if authentication.len() != hash_bytes + signature_bytes {
            return Err(BuildError::WrongSignature);
        }
        authentication.resize(authentication.len().next_multiple_of(64), 0);
        Ok([&header_bytes[..], &authentication, &auxiliary].concat())
    }

    /// Builds an image that nobody signs: good for tests and for `avbtool`'s
    /// `--include_descriptors_from_image`. Its algorithm is [`Algorithm::None`].
    pub fn unsigned(&self) -> Result<Vec<u8>, BuildError<std::convert::Infallible>> {
        let unsigned = Self { algorithm: Algorithm::None, ..self.clone() };
        let (header, auxiliary) = unsigned.layout(&[], 0, 0)?;
        Ok([&header.encode()[..], &auxiliary].concat())
    }

    /// The header, and the auxiliary block: descriptors, public key, its metadata.
    fn layout<E>(
        &self,
        public_key: &[u8],
        hash_size: usize,
        signature_size: usize,
    ) -> Result<(Header, Vec<u8>), BuildError<E>> {
        self.check_names()?;
        let mut auxiliary: Vec<u8> = self.descriptors.iter().flat_map(Descriptor::encode).collect();
        let descriptors = extent(0, auxiliary.len());
        let key = extent(auxiliary.len(), public_key.len());
        auxiliary.extend(public_key);
        let metadata = extent(auxiliary.len(), self.public_key_metadata.len());
        auxiliary.extend(&self.public_key_metadata);
        auxiliary.resize(auxiliary.len().next_multiple_of(64), 0);
        let authentication_size = (hash_size + signature_size).next_multiple_of(64);
        let total = HEADER_BYTES + authentication_size + auxiliary.len();
        if total > VBMETA_MAX_BYTES {
            return Err(BuildError::TooLarge(total));
        }
        let header = Header {
            required_version: self.required_version(),
            authentication_size: authentication_size as u64,
            auxiliary_size: auxiliary.len() as u64,
            algorithm: self.algorithm,
            hash: extent(0, hash_size),
            signature: extent(hash_size, signature_size),
            public_key: key,
            public_key_metadata: metadata,
            descriptors,
            rollback_index: self.rollback_index,
            flags: self.flags,
            rollback_index_location: self.rollback_index_location,
            release: self.release.clone(),
        };
        Ok((header, auxiliary))
    }

    /// The oldest libavb that understands the image, as avbtool chooses it.
    fn required_version(&self) -> Version {
        let needs = |descriptor: &Descriptor| match descriptor {
            Descriptor::ChainPartition(d) if d.flags & DO_NOT_USE_AB != 0 => 3,
            Descriptor::Hash(d) if d.flags != 0 || d.digest.is_empty() => 1,
            Descriptor::Hashtree(d) if d.flags != 0 || d.root_digest.is_empty() => 1,
            _ => 0,
        };
        let location = if self.rollback_index_location > 0 { 2 } else { 0 };
        let location = u32::max(location, self.algorithm.needs_libavb().minor);
        let least = || self.descriptors.iter().map(needs).fold(location, u32::max);
        Version { major: 1, minor: self.required_minor.unwrap_or_else(least) }
    }

    fn check_names<E>(&self) -> Result<(), BuildError<E>> {
        // avbtool takes the empty name of a hash tree for the image that the descriptor is in.
        let fits = |descriptor: &Descriptor| match (descriptor, descriptor.partition_name()) {
            (_, None) | (Descriptor::Hashtree(_), Some("")) => true,
            (_, Some(name)) => (1..=PARTITION_NAME_MAX_BYTES).contains(&name.len()),
        };
        if self.descriptors.iter().all(fits) {
            return Ok(());
        }
        Err(BuildError::Field { field: "partition_name", problem: "is not of 1 to 31 bytes" })
    }
}

const fn extent(offset: usize, size: usize) -> Extent {
    Extent { offset: offset as u64, size: size as u64 }
}

/// Blocks of a partition that hold the image, the vbmeta image and the footer.
const BLOCK_BYTES: u64 = 4096;

/// What goes behind an image in its partition (`avbtool add_hash_footer`). All else behind the
/// image is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashFooter {
    /// The signed vbmeta image.
    pub vbmeta: Vec<u8>,
    /// Where it goes, in bytes from the start of the partition.
    pub vbmeta_offset: u64,
    /// The footer.
    pub footer: [u8; FOOTER_BYTES],
    /// Where it goes: 64 bytes before the end of the partition.
    pub footer_offset: u64,
}

impl HashFooter {
    /// The whole partition. `image` is the one that the footer was made for.
    #[must_use]
    pub fn assemble(&self, image: &[u8]) -> Vec<u8> {
        let at = |offset: u64| usize::try_from(offset).expect("the image fits the memory");
        let mut partition = Vec::with_capacity(at(self.footer_offset) + FOOTER_BYTES);
        partition.extend(image);
        partition.resize(at(self.vbmeta_offset), 0);
        partition.extend(&self.vbmeta);
        partition.resize(at(self.footer_offset), 0);
        partition.extend(self.footer);
        partition
    }
}

/// The largest image that fits a partition of `partition_size` bytes with its footer.
#[must_use]
pub const fn hash_footer_max_image_size(partition_size: u64) -> u64 {
    partition_size.saturating_sub(VBMETA_MAX_BYTES as u64 + BLOCK_BYTES)
}

/// Signs a hash footer for `image`, as `avbtool add_hash_footer` does.
///
/// The hash descriptor comes first, then the descriptors of `builder`. `partition_size` is a
/// multiple of 4096. The salt is the caller's: avbtool takes 32 random bytes.
pub fn hash_footer<E>(
    image: &[u8],
    partition_name: &str,
    partition_size: u64,
    salt: &[u8],
    builder: &VbmetaBuilder,
    public_key: &impl PublicKey,
    signer: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<HashFooter, BuildError<E>> {
    if !partition_size.is_multiple_of(BLOCK_BYTES) {
        return Err(BuildError::Field {
            field: "partition_size",
            problem: "is not a multiple of 4096",
        });
    }
    let size = image.len() as u64;
    let max = hash_footer_max_image_size(partition_size);
    if size > max || max == 0 {
        return Err(BuildError::ImageTooLarge { image: size, partition: partition_size, max });
    }
    let mut builder = builder.clone();
    let descriptor = HashDescriptor::of(partition_name, image, Hash::Sha256, salt);
    builder.descriptors.insert(0, Descriptor::Hash(descriptor));
    let vbmeta = builder.sign(public_key, signer)?;
    let vbmeta_offset = size.next_multiple_of(BLOCK_BYTES);
    let footer = Footer {
        version: Version { major: 1, minor: 0 },
        original_image_size: size,
        vbmeta_offset,
        vbmeta_size: vbmeta.len() as u64,
    };
    Ok(HashFooter {
        vbmeta,
        vbmeta_offset,
        footer: footer.encode(),
        footer_offset: partition_size - FOOTER_BYTES as u64,
    })
}
