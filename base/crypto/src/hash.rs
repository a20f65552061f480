//! Hash functions chosen at run time (FIPS 180-4): what a key's authorisations or a caller's
//! mechanism name. Where the function is known, [`crate::digest`] has it with its length.

use crate::Error;
use crate::lc::{Owned, check};
use aws_lc_sys as ffi;
use std::fmt;

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// MD5 (RFC 1321). Broken: only where an old protocol asks for it.
    LegacyMd5,
    /// SHA-1. Collisions are known: only where an old protocol asks for it.
    LegacySha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512/224.
    Sha512_224,
    /// SHA-512/256.
    Sha512_256,
}

/// The most bytes that a digest has.
pub const MAX_BYTES: usize = 64;

impl Hash {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::LegacyMd5,
        Self::LegacySha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha512_224,
        Self::Sha512_256,
    ];

    /// Bytes of a digest.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::LegacyMd5 => 16,
            Self::LegacySha1 => 20,
            Self::Sha224 | Self::Sha512_224 => 28,
            Self::Sha256 | Self::Sha512_256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of `data`.
    #[must_use]
    pub fn digest(self, data: &[u8]) -> Digest {
        let mut hasher = Hasher::new(self);
        hasher.update(data);
        hasher.finish()
    }

    pub(crate) fn as_ptr(self) -> *const ffi::EVP_MD {
        // SAFETY: these calls take nothing and give a pointer to a constant.
        unsafe {
            match self {
                Self::LegacyMd5 => ffi::EVP_md5(),
                Self::LegacySha1 => ffi::EVP_sha1(),
                Self::Sha224 => ffi::EVP_sha224(),
                Self::Sha256 => ffi::EVP_sha256(),
                Self::Sha384 => ffi::EVP_sha384(),
                Self::Sha512 => ffi::EVP_sha512(),
                Self::Sha512_224 => ffi::EVP_sha512_224(),
                Self::Sha512_256 => ffi::EVP_sha512_256(),
            }
        }
    }
}

/// A digest or a MAC: up to 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    bytes: [u8; MAX_BYTES],
    length: usize,
}

impl Digest {
    /// The first `length` of `bytes`.
    pub(crate) const fn new(bytes: [u8; MAX_BYTES], length: usize) -> Self {
        Self { bytes, length }
    }
}

impl std::ops::Deref for Digest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A digest over data that comes in pieces.
pub struct Hasher {
    context: Owned<ffi::EVP_MD_CTX>,
    hash: Hash,
}

impl Hasher {
    /// An empty message.
    ///
    /// # Panics
    /// Where there is no memory.
    #[must_use]
    pub fn new(hash: Hash) -> Self {
        Self::start(hash).expect("there is memory for a hash function's state")
    }

    fn start(hash: Hash) -> Result<Self, Error> {
        // SAFETY: a fresh context is initialised with a constant function.
        unsafe {
            let context = Owned::new(ffi::EVP_MD_CTX_new())?;
            check(ffi::EVP_DigestInit_ex(context.as_ptr(), hash.as_ptr(), std::ptr::null_mut()))?;
            Ok(Self { context, hash })
        }
    }

    /// Appends `data` to the message.
    pub fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised; the call reads the slice.
        let done = unsafe {
            ffi::EVP_DigestUpdate(self.context.as_ptr(), data.as_ptr().cast(), data.len())
        };
        check(done).expect("hashing does not fail");
    }

    /// The digest of all that was appended.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut bytes = [0; MAX_BYTES];
        // SAFETY: the context is initialised; the buffer holds the longest digest.
        let done = unsafe {
            ffi::EVP_DigestFinal_ex(self.context.as_ptr(), bytes.as_mut_ptr(), std::ptr::null_mut())
        };
        check(done).expect("hashing does not fail");
        Digest::new(bytes, self.hash.bytes())
    }
}

impl Clone for Hasher {
    fn clone(&self) -> Self {
        let copy = Self::new(self.hash);
        // SAFETY: both contexts are initialised.
        let done = unsafe { ffi::EVP_MD_CTX_copy_ex(copy.context.as_ptr(), self.context.as_ptr()) };
        check(done).expect("there is memory for a hash function's state");
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_copies_lead_to_the_same_digest() {
        for hash in Hash::ALL {
            let mut whole = Hasher::new(hash);
            whole.update(b"ab");
            let mut copy = whole.clone();
            copy.update(b"c");
            assert_eq!(copy.finish(), hash.digest(b"abc"));
            assert_eq!(whole.finish(), hash.digest(b"ab"));
            assert_eq!(hash.digest(b"").len(), hash.bytes());
        }
    }
}
