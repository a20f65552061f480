//! Hash function, salt, block sizes, format.

use crate::Error;
use crypto::digest::{Blake2b256, LegacySha1, Sha256, Sha512};

/// The block size that AVB and the kernel use everywhere.
pub const BLOCK_BYTES: u32 = 4096;

/// The longest salt that dm-verity takes, in bytes.
pub(crate) const MAX_SALT_BYTES: usize = 256;

/// The hash function of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-1, avbtool's default. Collisions are known: only to read or match what others made.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// BLAKE2b with digests of 32 bytes, without a key.
    Blake2b256,
}

impl HashAlgorithm {
    /// Every function, in the order that messages name them.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha512, Self::Blake2b256];

    /// Bytes of a digest.
    #[must_use]
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake2b256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The name in AVB descriptors, superblocks and the dm-verity table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake2b256 => "blake2b-256",
        }
    }

    /// The function with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// How digests are made and put into hash blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HashFormat {
    /// Format 0, of the first Chrome OS: H(block || salt), digests one behind the other.
    ChromeOs,
    /// Format 1, of everyone: H(salt || block), each digest in a slot of a power of two.
    #[default]
    Normal,
}

impl HashFormat {
    /// The number in superblocks and in the dm-verity table.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::ChromeOs => 0,
            Self::Normal => 1,
        }
    }

    /// The format with this number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::ChromeOs),
            1 => Some(Self::Normal),
            _ => None,
        }
    }
}

/// The root digest of a tree: 20, 32 or 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootDigest {
    bytes: [u8; 64],
    size: usize,
}

impl RootDigest {
    /// From its bytes, for a tree with `algorithm`.
    pub fn new(algorithm: HashAlgorithm, bytes: &[u8]) -> Result<Self, Error> {
        let need = algorithm.digest_bytes();
        if bytes.len() != need {
            return Err(Error::DigestSize { need, have: bytes.len() });
        }
        let mut root = Self { bytes: [0; 64], size: need };
        root.bytes[..need].copy_from_slice(bytes);
        Ok(root)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// Hash function, salt, block sizes and format of a tree.
#[derive(Clone)]
pub struct Params {
    algorithm: HashAlgorithm,
    format: HashFormat,
    data_block_bytes: usize,
    hash_block_bytes: usize,
    salt: Vec<u8>,
    /// The state of the hash before a block: in format 1 behind the salt.
    begun: Hasher,
}

impl Params {
    /// Blocks of 4096 bytes, format 1.
    pub fn new(algorithm: HashAlgorithm, salt: &[u8]) -> Result<Self, Error> {
        Self::with_block_sizes(algorithm, salt, BLOCK_BYTES, BLOCK_BYTES)
    }

    /// Blocks of other sizes, powers of two from 512 to 65536 bytes; format 1.
    pub fn with_block_sizes(
        algorithm: HashAlgorithm,
        salt: &[u8],
        data_block_bytes: u32,
        hash_block_bytes: u32,
    ) -> Result<Self, Error> {
        if salt.len() > MAX_SALT_BYTES {
            return Err(Error::SaltTooLong(salt.len()));
        }
        let params = Self {
            algorithm,
            format: HashFormat::Normal,
            data_block_bytes: block_size(data_block_bytes)?,
            hash_block_bytes: block_size(hash_block_bytes)?,
            salt: salt.to_vec(),
            begun: Hasher::new(algorithm),
        };
        Ok(params.with_format(HashFormat::Normal))
    }

    /// The same with another format.
    #[must_use]
    pub fn with_format(mut self, format: HashFormat) -> Self {
        self.format = format;
        self.begun = Hasher::new(self.algorithm);
        if format == HashFormat::Normal {
            self.begun.update(&self.salt);
        }
        self
    }

    /// The hash function.
    #[must_use]
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The format.
    #[must_use]
    pub const fn format(&self) -> HashFormat {
        self.format
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Bytes of a data block.
    #[must_use]
    pub const fn data_block_bytes(&self) -> usize {
        self.data_block_bytes
    }

    /// Bytes of a hash block.
    #[must_use]
    pub const fn hash_block_bytes(&self) -> usize {
        self.hash_block_bytes
    }

    /// Bytes of the blocks whose digests lie in `level`: data blocks below level 0, hash blocks
    /// below any other.
    #[must_use]
    pub const fn child_bytes(&self, level: usize) -> usize {
        if level == 0 { self.data_block_bytes } else { self.hash_block_bytes }
    }

    /// Digests in a hash block: a power of two.
    #[must_use]
    pub const fn digests_per_block(&self) -> usize {
        let fit = self.hash_block_bytes / self.algorithm.digest_bytes();
        1 << fit.ilog2()
    }

    /// From one digest to the next in a hash block.
    pub(crate) const fn slot_bytes(&self) -> usize {
        match self.format {
            HashFormat::ChromeOs => self.algorithm.digest_bytes(),
            HashFormat::Normal => self.algorithm.digest_bytes().next_power_of_two(),
        }
    }

    /// Whether digests fill hash blocks without gaps.
    pub(crate) const fn is_dense(&self) -> bool {
        self.digests_per_block() * self.algorithm.digest_bytes() == self.hash_block_bytes
    }

    /// The digest of a block, where a short one is padded with zeros to `block_bytes`, into `out`.
    pub(crate) fn hash_block(&self, block: &[u8], block_bytes: usize, out: &mut [u8]) {
        let mut hasher = self.begun.clone();
        hasher.update(block);
        if block.len() < block_bytes {
            hasher.update(&ZEROS[..block_bytes - block.len()]);
        }
        if self.format == HashFormat::ChromeOs {
            hasher.update(&self.salt);
        }
        hasher.finish(out);
    }
}

/// A running hash.
#[derive(Clone)]
enum Hasher {
    Sha1(LegacySha1),
    Sha256(Sha256),
    Sha512(Sha512),
    Blake2b256(Blake2b256),
}

impl Hasher {
    fn new(algorithm: HashAlgorithm) -> Self {
        match algorithm {
            HashAlgorithm::Sha1 => Self::Sha1(LegacySha1::new()),
            HashAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            HashAlgorithm::Sha512 => Self::Sha512(Sha512::new()),
            HashAlgorithm::Blake2b256 => Self::Blake2b256(Blake2b256::new()),
        }
    }

    fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha1(hash) => hash.update(data),
            Self::Sha256(hash) => hash.update(data),
            Self::Sha512(hash) => hash.update(data),
            Self::Blake2b256(hash) => hash.update(data),
        }
    }

    fn finish(self, out: &mut [u8]) {
        match self {
            Self::Sha1(hash) => out.copy_from_slice(&hash.finish()),
            Self::Sha256(hash) => out.copy_from_slice(&hash.finish()),
            Self::Sha512(hash) => out.copy_from_slice(&hash.finish()),
            Self::Blake2b256(hash) => out.copy_from_slice(&hash.finish()),
        }
    }
}

static ZEROS: [u8; 65536] = [0; 65536];

pub(crate) fn block_size(bytes: u32) -> Result<usize, Error> {
    if bytes.is_power_of_two() && (512..=65536).contains(&bytes) {
        Ok(bytes as usize)
    } else {
        Err(Error::BlockSize(bytes))
    }
}
