//! Hash function, salt, block sizes.

use crate::Error;
use crypto::digest::{Sha256, Sha512};

/// The block size that AVB and the kernel use everywhere.
pub const BLOCK_BYTES: u32 = 4096;

/// The longest salt that dm-verity takes, in bytes.
const MAX_SALT_BYTES: usize = 256;

/// The hash function of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// Bytes of a digest. A power of two, so digests fill hash blocks without gaps.
    #[must_use]
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The name in AVB descriptors and in the dm-verity table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The function with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// The root digest of a tree: 32 or 64 bytes.
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

/// Hash function, salt and block sizes of a tree.
#[derive(Clone)]
pub struct Params {
    algorithm: HashAlgorithm,
    data_block_bytes: usize,
    hash_block_bytes: usize,
    salted: Salted,
}

/// The hash state after the salt.
#[derive(Clone)]
enum Salted {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Params {
    /// Blocks of 4096 bytes.
    pub fn new(algorithm: HashAlgorithm, salt: &[u8]) -> Result<Self, Error> {
        Self::with_block_sizes(algorithm, salt, BLOCK_BYTES, BLOCK_BYTES)
    }

    /// Blocks of other sizes: powers of two from 512 to 65536 bytes.
    pub fn with_block_sizes(
        algorithm: HashAlgorithm,
        salt: &[u8],
        data_block_bytes: u32,
        hash_block_bytes: u32,
    ) -> Result<Self, Error> {
        if salt.len() > MAX_SALT_BYTES {
            return Err(Error::SaltTooLong(salt.len()));
        }
        let salted = match algorithm {
            HashAlgorithm::Sha256 => {
                let mut context = Sha256::new();
                context.update(salt);
                Salted::Sha256(context)
            }
            HashAlgorithm::Sha512 => {
                let mut context = Sha512::new();
                context.update(salt);
                Salted::Sha512(context)
            }
        };
        Ok(Self {
            algorithm,
            data_block_bytes: block_size(data_block_bytes)?,
            hash_block_bytes: block_size(hash_block_bytes)?,
            salted,
        })
    }

    /// The hash function.
    #[must_use]
    pub const fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
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

    /// Digests in a hash block.
    pub(crate) const fn digests_per_block(&self) -> usize {
        self.hash_block_bytes / self.algorithm.digest_bytes()
    }

    /// H(salt || block), where a short block is padded with zeros to `block_bytes`, into `out`.
    pub(crate) fn hash_block(&self, block: &[u8], block_bytes: usize, out: &mut [u8]) {
        let padding = &ZEROS[..block_bytes - block.len()];
        match self.salted.clone() {
            Salted::Sha256(mut context) => {
                context.update(block);
                context.update(padding);
                out.copy_from_slice(&context.finish());
            }
            Salted::Sha512(mut context) => {
                context.update(block);
                context.update(padding);
                out.copy_from_slice(&context.finish());
            }
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
