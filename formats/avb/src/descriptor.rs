//! Descriptors: what a vbmeta image says about partitions.

use crate::Hash;

/// One descriptor of a vbmeta image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Descriptor {
    /// A name and a value.
    Property(PropertyDescriptor),
    /// The root of a dm-verity tree over a partition.
    Hashtree(HashtreeDescriptor),
    /// The digest of a whole partition image.
    Hash(HashDescriptor),
    /// A piece of the kernel command line.
    KernelCmdline(KernelCmdlineDescriptor),
    /// Another partition has a vbmeta of its own, signed with the key given here.
    ChainPartition(ChainPartitionDescriptor),
    /// A tag that this version does not know.
    Unknown {
        /// The tag.
        tag: u64,
        /// What follows the descriptor's first 16 bytes.
        payload: Vec<u8>,
    },
}

impl Descriptor {
    pub(crate) const PROPERTY: u64 = 0;
    pub(crate) const HASHTREE: u64 = 1;
    pub(crate) const HASH: u64 = 2;
    pub(crate) const KERNEL_CMDLINE: u64 = 3;
    pub(crate) const CHAIN_PARTITION: u64 = 4;

    /// Flag bits that no version of the format defines.
    #[must_use]
    pub const fn unknown_flags(&self) -> u32 {
        match self {
            Self::Property(_) | Self::Unknown { .. } => 0,
            Self::Hashtree(d) => {
                d.flags & !(DO_NOT_USE_AB | HashtreeDescriptor::CHECK_AT_MOST_ONCE)
            }
            Self::Hash(d) => d.flags & !DO_NOT_USE_AB,
            Self::KernelCmdline(d) => {
                d.flags
                    & !(KernelCmdlineDescriptor::ONLY_IF_HASHTREE_ENABLED
                        | KernelCmdlineDescriptor::ONLY_IF_HASHTREE_DISABLED)
            }
            Self::ChainPartition(d) => d.flags & !DO_NOT_USE_AB,
        }
    }

    /// The partition that it speaks about.
    #[must_use]
    pub fn partition_name(&self) -> Option<&str> {
        match self {
            Self::Hashtree(d) => Some(&d.partition_name),
            Self::Hash(d) => Some(&d.partition_name),
            Self::ChainPartition(d) => Some(&d.partition_name),
            Self::Property(_) | Self::KernelCmdline(_) | Self::Unknown { .. } => None,
        }
    }
}

/// Flag of hash, hashtree and chain descriptors: the partition has no slots, its name takes no
/// suffix.
pub const DO_NOT_USE_AB: u32 = 1;

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyDescriptor {
    /// The name.
    pub key: String,
    /// The value: any bytes.
    pub value: Vec<u8>,
}

impl PropertyDescriptor {
    /// A property whose value is text.
    #[must_use]
    pub fn text(key: &str, value: &str) -> Self {
        Self { key: key.to_owned(), value: value.as_bytes().to_vec() }
    }
}

/// The root of a dm-verity tree over a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashtreeDescriptor {
    /// 1.
    pub dm_verity_version: u32,
    /// Bytes of the data.
    pub image_size: u64,
    /// Where the tree starts in the partition, in bytes.
    pub tree_offset: u64,
    /// Bytes of the tree.
    pub tree_size: u64,
    /// Bytes of a data block.
    pub data_block_size: u32,
    /// Bytes of a hash block.
    pub hash_block_size: u32,
    /// Roots of the forward error correction code; 0 = there is none.
    pub fec_num_roots: u32,
    /// Where the error correction data starts in the partition, in bytes.
    pub fec_offset: u64,
    /// Bytes of the error correction data.
    pub fec_size: u64,
    /// The hash function.
    pub hash_algorithm: HashName,
    /// [`DO_NOT_USE_AB`], [`Self::CHECK_AT_MOST_ONCE`].
    pub flags: u32,
    /// The partition, without the slot's suffix.
    pub partition_name: String,
    /// What is hashed before each block.
    pub salt: Vec<u8>,
    /// The root digest. Empty = the digest is in a persistent value.
    pub root_digest: Vec<u8>,
}

impl HashtreeDescriptor {
    /// Flag: dm-verity checks a block when it is read first and not again.
    pub const CHECK_AT_MOST_ONCE: u32 = 2;
}

/// The digest of a whole partition image: H(salt || image).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashDescriptor {
    /// Bytes of the image.
    pub image_size: u64,
    /// The hash function.
    pub hash_algorithm: HashName,
    /// [`DO_NOT_USE_AB`].
    pub flags: u32,
    /// The partition, without the slot's suffix.
    pub partition_name: String,
    /// What is hashed before the image.
    pub salt: Vec<u8>,
    /// The digest. Empty = the digest is in a persistent value.
    pub digest: Vec<u8>,
}

impl HashDescriptor {
    /// The descriptor of `image` for `partition_name`.
    #[must_use]
    pub fn of(partition_name: &str, image: &[u8], hash: Hash, salt: &[u8]) -> Self {
        Self {
            image_size: image.len() as u64,
            hash_algorithm: hash.into(),
            flags: 0,
            partition_name: partition_name.to_owned(),
            salt: salt.to_vec(),
            digest: hash.digest(&[salt, image]),
        }
    }
}

/// A piece of the kernel command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelCmdlineDescriptor {
    /// [`Self::ONLY_IF_HASHTREE_ENABLED`], [`Self::ONLY_IF_HASHTREE_DISABLED`].
    pub flags: u32,
    /// The text, in which `$(ANDROID_…)` is replaced.
    pub cmdline: String,
}

impl KernelCmdlineDescriptor {
    /// Flag: counts only while dm-verity is on.
    pub const ONLY_IF_HASHTREE_ENABLED: u32 = 1;
    /// Flag: counts only while dm-verity is off.
    pub const ONLY_IF_HASHTREE_DISABLED: u32 = 2;
}

/// Another partition has a vbmeta of its own, signed with the key given here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainPartitionDescriptor {
    /// Where the rollback index of the chained image is stored: 1 to 31.
    pub rollback_index_location: u32,
    /// [`DO_NOT_USE_AB`].
    pub flags: u32,
    /// The partition, without the slot's suffix.
    pub partition_name: String,
    /// The public key blob that must have signed it.
    pub public_key: Vec<u8>,
}

/// A hash function by the name that a descriptor gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HashName {
    /// SHA-1: avbtool's default for trees.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// BLAKE2b with 256 bits.
    Blake2b256,
    /// A name that this version does not know. At most 31 bytes and no NUL in it.
    Other(Vec<u8>),
}

impl HashName {
    /// The name in the descriptor.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha1 => b"sha1",
            Self::Sha256 => b"sha256",
            Self::Sha512 => b"sha512",
            Self::Blake2b256 => b"blake2b-256",
            Self::Other(name) => name,
        }
    }

    /// The function with this name.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Self {
        match name {
            b"sha1" => Self::Sha1,
            b"sha256" => Self::Sha256,
            b"sha512" => Self::Sha512,
            b"blake2b-256" => Self::Blake2b256,
            other => Self::Other(other.to_vec()),
        }
    }

    /// The hash function, where this crate computes it.
    #[must_use]
    pub const fn hash(&self) -> Option<Hash> {
        match self {
            Self::Sha256 => Some(Hash::Sha256),
            Self::Sha512 => Some(Hash::Sha512),
            Self::Sha1 | Self::Blake2b256 | Self::Other(_) => None,
        }
    }

    /// Bytes of a digest, where libavb knows the function.
    #[must_use]
    pub const fn digest_bytes(&self) -> Option<usize> {
        match self {
            Self::Sha1 => Some(20),
            Self::Sha256 => Some(32),
            Self::Sha512 => Some(64),
            Self::Blake2b256 | Self::Other(_) => None,
        }
    }
}

impl From<Hash> for HashName {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256,
            Hash::Sha512 => Self::Sha512,
        }
    }
}
