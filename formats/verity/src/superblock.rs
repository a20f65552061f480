//! The superblock that `veritysetup` puts before a tree: what is needed to check it but the root
//! digest.

use crate::params::{MAX_SALT_BYTES, block_size};
use crate::{Error, HashAlgorithm, HashFormat, Params};

/// Bytes of a superblock. The tree begins at the next hash block.
pub const SUPERBLOCK_BYTES: usize = 512;

const MAGIC: &[u8; 8] = b"verity\0\0";
const VERSION: u32 = 1;
const NAME_BYTES: usize = 32;

/// A superblock, version 1. Numbers are little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// How digests are made.
    pub format: HashFormat,
    /// Names the hash device.
    pub uuid: [u8; 16],
    /// The hash function.
    pub algorithm: HashAlgorithm,
    /// Bytes of a data block.
    pub data_block_bytes: u32,
    /// Bytes of a hash block.
    pub hash_block_bytes: u32,
    /// Blocks of the data.
    pub data_blocks: u64,
    /// Up to 256 bytes.
    pub salt: Vec<u8>,
}

impl Superblock {
    /// For a tree with `params`.
    #[must_use]
    pub fn new(params: &Params, data_blocks: u64, uuid: [u8; 16]) -> Self {
        let size = |bytes: usize| u32::try_from(bytes).expect("block sizes are u32");
        Self {
            format: params.format(),
            uuid,
            algorithm: params.algorithm(),
            data_block_bytes: size(params.data_block_bytes()),
            hash_block_bytes: size(params.hash_block_bytes()),
            data_blocks,
            salt: params.salt().to_vec(),
        }
    }

    /// How its tree is made.
    pub fn params(&self) -> Result<Params, Error> {
        let (data, hash) = (self.data_block_bytes, self.hash_block_bytes);
        let params = Params::with_block_sizes(self.algorithm, &self.salt, data, hash)?;
        Ok(params.with_format(self.format))
    }

    /// Bytes of the data.
    pub fn data_bytes(&self) -> Result<u64, Error> {
        let bytes = self.data_blocks.checked_mul(self.data_block_bytes.into());
        bytes.ok_or(Error::TooLarge(u64::MAX))
    }

    /// Reads one. What is reserved must be zero.
    pub fn decode(bytes: &[u8; SUPERBLOCK_BYTES]) -> Result<Self, Error> {
        let mut fields = Fields(bytes);
        if fields.take::<8>() != MAGIC {
            return Err(Error::NoSuperblock);
        }
        let version = u32::from_le_bytes(*fields.take());
        if version != VERSION {
            return Err(Error::SuperblockVersion(version));
        }
        let format = u32::from_le_bytes(*fields.take());
        let format = HashFormat::from_number(format).ok_or(Error::HashFormat(format))?;
        let uuid = *fields.take();
        let algorithm = algorithm(fields.take())?;
        let data_block_bytes = u32::from_le_bytes(*fields.take());
        let hash_block_bytes = u32::from_le_bytes(*fields.take());
        block_size(data_block_bytes)?;
        block_size(hash_block_bytes)?;
        let data_blocks = u64::from_le_bytes(*fields.take());
        let salt_bytes = usize::from(u16::from_le_bytes(*fields.take()));
        let reserved = *fields.take::<6>();
        let salt = fields.take::<MAX_SALT_BYTES>();
        let (salt, behind) =
            salt.split_at_checked(salt_bytes).ok_or(Error::SaltTooLong(salt_bytes))?;
        if reserved.iter().chain(behind).chain(fields.0).any(|&byte| byte != 0) {
            return Err(Error::SuperblockReserved);
        }
        let salt = salt.to_vec();
        Ok(Self { format, uuid, algorithm, data_block_bytes, hash_block_bytes, data_blocks, salt })
    }

    /// Its bytes.
    pub fn encode(&self) -> Result<[u8; SUPERBLOCK_BYTES], Error> {
        let mut name = [0; NAME_BYTES];
        name[..self.algorithm.name().len()].copy_from_slice(self.algorithm.name().as_bytes());
        if self.salt.len() > MAX_SALT_BYTES {
            return Err(Error::SaltTooLong(self.salt.len()));
        }
        block_size(self.data_block_bytes)?;
        block_size(self.hash_block_bytes)?;
        let salt_bytes = u16::try_from(self.salt.len()).expect("256 at most");
        let fields: [&[u8]; 11] = [
            MAGIC,
            &VERSION.to_le_bytes(),
            &self.format.number().to_le_bytes(),
            &self.uuid,
            &name,
            &self.data_block_bytes.to_le_bytes(),
            &self.hash_block_bytes.to_le_bytes(),
            &self.data_blocks.to_le_bytes(),
            &salt_bytes.to_le_bytes(),
            &[0; 6],
            &self.salt,
        ];
        let mut out = [0; SUPERBLOCK_BYTES];
        let fields = fields.concat();
        out[..fields.len()].copy_from_slice(&fields);
        Ok(out)
    }
}

fn algorithm(name: &[u8; NAME_BYTES]) -> Result<HashAlgorithm, Error> {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
    let (name, padding) = name.split_at(end);
    if padding.iter().any(|&byte| byte != 0) {
        return Err(Error::SuperblockReserved);
    }
    let name = String::from_utf8_lossy(name);
    HashAlgorithm::from_name(&name).ok_or_else(|| Error::HashAlgorithm(name.into_owned()))
}

/// What was not read yet.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take<const N: usize>(&mut self) -> &'b [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the fields fit a superblock");
        self.0 = rest;
        field
    }
}
