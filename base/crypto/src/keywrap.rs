//! Keys under keys: AES key wrap (RFC 3394, NIST SP 800-38F KW) and with padding (RFC 5649, KWP).
//! Deterministic: a key needs no nonce.

use crate::Error;
use crate::lc::check;
use aws_lc_sys as ffi;
use std::mem::MaybeUninit;
use std::ptr;
use zeroize::{Zeroize, Zeroizing};

/// An AES key that wraps other keys.
pub struct WrappingKey {
    seal: ffi::AES_KEY,
    open: ffi::AES_KEY,
}

impl WrappingKey {
    /// From 16, 24 or 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self, Error> {
        if !matches!(key.len(), 16 | 24 | 32) {
            return Err(Error::MalformedKey);
        }
        let bits = key.len() as u32 * 8;
        let (mut seal, mut open) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: the calls read the key's bytes and fill both schedules; 0 is success.
        unsafe {
            if ffi::AES_set_encrypt_key(key.as_ptr(), bits, seal.as_mut_ptr()) != 0
                || ffi::AES_set_decrypt_key(key.as_ptr(), bits, open.as_mut_ptr()) != 0
            {
                return Err(Error::Internal);
            }
            Ok(Self { seal: seal.assume_init(), open: open.assume_init() })
        }
    }

    /// Wraps `secret`: at least 16 bytes, a multiple of 8.
    pub fn wrap(&self, secret: &[u8]) -> Result<Vec<u8>, Error> {
        if secret.len() < 16 || !secret.len().is_multiple_of(8) {
            return Err(Error::Length);
        }
        let mut out = vec![0; secret.len() + 8];
        // SAFETY: the output has 8 bytes more than the input; null is the standard's vector.
        let written = unsafe {
            ffi::AES_wrap_key(
                &raw const self.seal,
                ptr::null(),
                out.as_mut_ptr(),
                secret.as_ptr(),
                secret.len(),
            )
        };
        if usize::try_from(written) == Ok(out.len()) { Ok(out) } else { Err(Error::Length) }
    }

    /// Unwraps what [`WrappingKey::wrap`] made.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) {
            return Err(Error::Authentication);
        }
        let mut out = Zeroizing::new(vec![0; wrapped.len() - 8]);
        // SAFETY: the output has 8 bytes fewer than the input.
        let written = unsafe {
            ffi::AES_unwrap_key(
                &raw const self.open,
                ptr::null(),
                out.as_mut_ptr(),
                wrapped.as_ptr(),
                wrapped.len(),
            )
        };
        if usize::try_from(written) == Ok(out.len()) { Ok(out) } else { Err(Error::Authentication) }
    }

    /// Wraps `secret` of any length but 0, with padding.
    pub fn wrap_padded(&self, secret: &[u8]) -> Result<Vec<u8>, Error> {
        let (mut out, mut length) = (vec![0; secret.len() + 15], 0);
        // SAFETY: padding and the vector add at most 15 bytes.
        check(unsafe {
            ffi::AES_wrap_key_padded(
                &raw const self.seal,
                out.as_mut_ptr(),
                &raw mut length,
                out.len(),
                secret.as_ptr(),
                secret.len(),
            )
        })
        .map_err(|_| Error::Length)?;
        out.truncate(length);
        Ok(out)
    }

    /// Unwraps what [`WrappingKey::wrap_padded`] made.
    pub fn unwrap_padded(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (mut out, mut length) = (Zeroizing::new(vec![0; wrapped.len()]), 0);
        // SAFETY: the output is never longer than the input.
        check(unsafe {
            ffi::AES_unwrap_key_padded(
                &raw const self.open,
                out.as_mut_ptr(),
                &raw mut length,
                out.len(),
                wrapped.as_ptr(),
                wrapped.len(),
            )
        })
        .map_err(|_| Error::Authentication)?;
        out.truncate(length);
        Ok(out)
    }
}

impl Drop for WrappingKey {
    fn drop(&mut self) {
        self.seal.rd_key.zeroize();
        self.open.rd_key.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_what_it_wrapped_and_nothing_else() {
        let key = WrappingKey::new(&[7; 32]).unwrap();
        for length in [16, 24, 32, 64] {
            let secret = vec![5; length];
            let wrapped = key.wrap(&secret).unwrap();
            assert_eq!(*key.unwrap(&wrapped).unwrap(), secret);
            for at in 0..wrapped.len() {
                let mut altered = wrapped.clone();
                altered[at] ^= 1;
                assert!(key.unwrap(&altered).is_err());
            }
        }
        for length in 1..40 {
            let secret = vec![5; length];
            let wrapped = key.wrap_padded(&secret).unwrap();
            assert_eq!(*key.unwrap_padded(&wrapped).unwrap(), secret);
            assert!(key.unwrap_padded(&wrapped[..wrapped.len() - 1]).is_err());
        }
        assert_eq!(key.wrap(&[1; 15]), Err(Error::Length));
        assert!(key.wrap_padded(&[]).is_err());
        assert!(WrappingKey::new(&[0; 20]).is_err());
    }
}
