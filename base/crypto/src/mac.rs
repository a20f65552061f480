//! HMAC (RFC 2104) and CMAC (NIST SP 800-38B).

use crate::Error;
use crate::cipher::{BlockCipher, Key};
use crate::hash::{Digest, Hash, MAX_BYTES};
use crate::lc::{Owned, check};
use aws_lc_rs::hmac;
use aws_lc_sys as ffi;
use std::ptr;

/// HMAC-SHA-256 over the concatenation of `parts`.
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
}

/// Checks `tag` against the HMAC over the concatenation of `parts`, in constant time.
pub fn verify_hmac_sha256(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> Result<(), Error> {
    if crate::constant_time_eq(&hmac_sha256(key, parts), tag) {
        Ok(())
    } else {
        Err(Error::Authentication)
    }
}

/// A key that is expanded once and used for many messages.
#[derive(Clone)]
pub struct HmacSha256(hmac::Key);

impl HmacSha256 {
    /// Expands `key`.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The tag over the concatenation of `parts`.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        context.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
    }
}

/// HMAC with any hash function, over a message that comes in pieces.
pub struct Hmac {
    context: Owned<ffi::HMAC_CTX>,
    hash: Hash,
}

impl Hmac {
    /// An empty message.
    pub fn new(hash: Hash, key: &[u8]) -> Result<Self, Error> {
        // SAFETY: a fresh context; the call reads the key, which is no null pointer even where
        // it is empty.
        unsafe {
            let context = Owned::new(ffi::HMAC_CTX_new())?;
            check(ffi::HMAC_Init_ex(
                context.as_ptr(),
                key.as_ptr().cast(),
                key.len(),
                hash.as_ptr(),
                ptr::null_mut(),
            ))?;
            Ok(Self { context, hash })
        }
    }

    /// Appends `data` to the message.
    pub fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised; the call reads the slice.
        let done = unsafe { ffi::HMAC_Update(self.context.as_ptr(), data.as_ptr(), data.len()) };
        check(done).expect("hashing does not fail");
    }

    /// The tag over all that was appended.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut bytes = [0; MAX_BYTES];
        // SAFETY: the context is initialised; the buffer holds the longest tag.
        let done =
            unsafe { ffi::HMAC_Final(self.context.as_ptr(), bytes.as_mut_ptr(), ptr::null_mut()) };
        check(done).expect("hashing does not fail");
        Digest::new(bytes, self.hash.bytes())
    }
}

/// CMAC with AES or 3DES, over a message that comes in pieces.
pub struct Cmac {
    context: Owned<ffi::CMAC_CTX>,
    cipher: BlockCipher,
}

impl Cmac {
    /// An empty message.
    pub fn new(key: &Key) -> Result<Self, Error> {
        let cipher = key.cipher();
        // SAFETY: a fresh context; the key has the length of its cipher.
        unsafe {
            let name = match cipher {
                BlockCipher::Aes128 => ffi::EVP_aes_128_cbc(),
                BlockCipher::Aes192 => ffi::EVP_aes_192_cbc(),
                BlockCipher::Aes256 => ffi::EVP_aes_256_cbc(),
                BlockCipher::LegacyTripleDes => ffi::EVP_des_ede3_cbc(),
            };
            let context = Owned::new(ffi::CMAC_CTX_new())?;
            check(ffi::CMAC_Init(
                context.as_ptr(),
                key.bytes().as_ptr().cast(),
                key.bytes().len(),
                name,
                ptr::null_mut(),
            ))?;
            Ok(Self { context, cipher })
        }
    }

    /// Appends `data` to the message.
    pub fn update(&mut self, data: &[u8]) {
        // SAFETY: the context is initialised; the call reads the slice.
        let done = unsafe { ffi::CMAC_Update(self.context.as_ptr(), data.as_ptr(), data.len()) };
        check(done).expect("the cipher takes any message");
    }

    /// The tag over all that was appended: a block. A shorter one is its beginning.
    #[must_use]
    pub fn finish(self) -> Digest {
        let (mut bytes, mut length) = ([0; MAX_BYTES], 0);
        // SAFETY: the context is initialised; a tag is a block.
        let done =
            unsafe { ffi::CMAC_Final(self.context.as_ptr(), bytes.as_mut_ptr(), &raw mut length) };
        check(done).expect("the cipher takes any message");
        Digest::new(bytes, self.cipher.block_bytes())
    }
}
