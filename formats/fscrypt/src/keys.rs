//! From master keys to the keys of files.

use crate::contents::Contents;
use crate::error::Error;
use crate::names::Names;
use crate::policy::{Context, Mode, Policy};
use crate::siphash::siphash_2_4;
use crypto::cipher::{Direction, Key, Mode as CipherMode, Padding, Stream};
use crypto::digest::sha512;
use crypto::hash::Hash;
use crypto::kdf::hkdf;
use zeroize::Zeroizing;

/// HKDF contexts of version 2 (`fs/crypto/fscrypt_private.h`).
const KEY_IDENTIFIER: u8 = 1;
const PER_FILE_KEY: u8 = 2;
const IV_INO_LBLK_64_KEY: u8 = 4;
const IV_INO_LBLK_32_KEY: u8 = 6;
const INODE_HASH_KEY: u8 = 7;
/// The shortest and the longest master key of version 2.
const MASTER_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// What a file is part of: some keys and initial vectors depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The file system's UUID.
    pub uuid: [u8; 16],
    /// The file's inode number.
    pub inode: u32,
}

/// The name of a master key in policies of version 2.
#[must_use]
pub fn identifier(master: &[u8]) -> [u8; 16] {
    derive(master, KEY_IDENTIFIER, &[], 16)[..].try_into().expect("16 bytes were asked for")
}

/// The name that e4crypt and the `fscrypt` tool give a master key in policies of version 1.
#[must_use]
pub fn v1_descriptor(master: &[u8]) -> [u8; 8] {
    sha512(&sha512(master))[..8].try_into().expect("8 of 64 bytes")
}

fn derive(master: &[u8], context: u8, data: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let info = [b"fscrypt\0", &[context][..], data].concat();
    hkdf(Hash::Sha512, master, &[], &info, length).expect("some bytes are asked for")
}

/// A file's key, and what its initial vectors begin with.
pub(crate) struct FileKey {
    pub(crate) key: Zeroizing<Vec<u8>>,
    pub(crate) vector: Vector,
}

/// How an initial vector is made from a data unit's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vector {
    /// The index.
    Index,
    /// The inode's number above the index.
    Inode(u32),
    /// The sum of the inode's hash and the index, in 32 bits.
    Hash(u32),
}

impl Vector {
    /// Little-endian, filled up with zeros. `None` past 32 bits where they are all there is.
    pub(crate) fn of(self, index: u64) -> Option<[u8; 16]> {
        let low = match self {
            Self::Index => index,
            Self::Inode(inode) => u64::from(inode) << 32 | u64::from(u32::try_from(index).ok()?),
            Self::Hash(hash) => hash.wrapping_add(u32::try_from(index).ok()?).into(),
        };
        let mut vector = [0; 16];
        vector[..8].copy_from_slice(&low.to_le_bytes());
        Some(vector)
    }
}

impl Context {
    /// What opens and seals the file's content. [`Error::OtherKey`] where the master key is not
    /// the policy's, which version 1 can't tell.
    pub fn contents(&self, master: &[u8], owner: &Owner) -> Result<Contents, Error> {
        let (mode, _) = self.policy.modes();
        if mode != Mode::AES_256_XTS {
            return Err(Error::Unsupported { field: "contents mode", value: mode.number() });
        }
        Ok(Contents(self.file_key(master, owner, mode, 64)?))
    }

    /// What opens and seals the names in the directory, or the link's target.
    pub fn names(&self, master: &[u8], owner: &Owner) -> Result<Names, Error> {
        let (_, mode) = self.policy.modes();
        if mode != Mode::AES_256_CTS {
            return Err(Error::Unsupported { field: "names mode", value: mode.number() });
        }
        let key = self.file_key(master, owner, mode, 32)?;
        Names::new(&key, self.policy.flags().padding())
    }

    fn file_key(
        &self,
        master: &[u8],
        owner: &Owner,
        mode: Mode,
        length: usize,
    ) -> Result<FileKey, Error> {
        let flags = self.policy.flags();
        if flags.is_direct_key() {
            return Err(Error::Unsupported { field: "flags", value: flags.bits() });
        }
        let Policy::V2 { identifier: named, .. } = self.policy else {
            let key = v1_key(master, &self.nonce, length)?;
            return Ok(FileKey { key, vector: Vector::Index });
        };
        if !MASTER_BYTES.contains(&master.len()) {
            return Err(Error::Length { what: "master key", length: master.len() });
        }
        if identifier(master) != named {
            return Err(Error::OtherKey);
        }
        let of_mode = [&[mode.number()][..], &owner.uuid].concat();
        Ok(if flags.is_lblk_64() {
            let key = derive(master, IV_INO_LBLK_64_KEY, &of_mode, length);
            FileKey { key, vector: Vector::Inode(owner.inode) }
        } else if flags.is_lblk_32() {
            let hash_key = derive(master, INODE_HASH_KEY, &[], 16);
            let hash_key = hash_key[..].try_into().expect("16 bytes were asked for");
            let hash = siphash_2_4(hash_key, owner.inode.into()) as u32;
            let key = derive(master, IV_INO_LBLK_32_KEY, &of_mode, length);
            FileKey { key, vector: Vector::Hash(hash) }
        } else {
            let key = derive(master, PER_FILE_KEY, &self.nonce, length);
            FileKey { key, vector: Vector::Index }
        })
    }
}

/// AES-128-ECB over the master key, under the nonce.
fn v1_key(master: &[u8], nonce: &[u8; 16], length: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let wrong = Error::Length { what: "master key", length: master.len() };
    let master = master.get(..length).ok_or(wrong)?;
    let mut out = Zeroizing::new(Vec::with_capacity(length + 32));
    let mode = CipherMode::Ecb(Padding::None);
    let sealed = Key::aes(nonce)
        .and_then(|key| Stream::new(&key, Direction::Encrypt, mode))
        .and_then(|mut stream| {
            stream.update(master, &mut out)?;
            stream.finish(&mut out)
        });
    sealed.map_err(|_| wrong)?;
    Ok(out)
}
