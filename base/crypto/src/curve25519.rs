//! Ed25519 signatures (RFC 8032) and X25519 key agreement (RFC 7748).

use crate::Error;
use crate::lc::{self, Key, Owned, check};
use aws_lc_sys as ffi;
use std::ffi::c_int;
use std::ptr;
use zeroize::Zeroizing;

/// Bytes of a public key.
pub const PUBLIC_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

fn private(kind: c_int, seed: &[u8; 32]) -> Result<Key, Error> {
    // SAFETY: reads the seed.
    unsafe {
        Owned::new(ffi::EVP_PKEY_new_raw_private_key(kind, ptr::null_mut(), seed.as_ptr(), 32))
    }
}

fn public(kind: c_int, bytes: &[u8]) -> Result<Key, Error> {
    let bytes: &[u8; PUBLIC_BYTES] = bytes.try_into().map_err(|_| Error::MalformedKey)?;
    // SAFETY: reads the bytes.
    unsafe {
        Owned::new(ffi::EVP_PKEY_new_raw_public_key(kind, ptr::null_mut(), bytes.as_ptr(), 32))
    }
    .map_err(|_| Error::MalformedKey)
}

fn of_kind(kind: c_int, key: Key) -> Result<Key, Error> {
    if lc::kind(&key) == kind { Ok(key) } else { Err(Error::MalformedKey) }
}

fn public_bytes(key: &Key) -> Result<[u8; PUBLIC_BYTES], Error> {
    let (mut out, mut length) = ([0; PUBLIC_BYTES], PUBLIC_BYTES);
    // SAFETY: the buffer has the length that is said.
    check(unsafe {
        ffi::EVP_PKEY_get_raw_public_key(key.as_ptr(), out.as_mut_ptr(), &raw mut length)
    })?;
    Ok(out)
}

macro_rules! pair {
    ($kind:expr) => {
        /// A fresh key.
        pub fn generate() -> Result<Self, Error> {
            Self::from_seed(&Zeroizing::new(crate::random_array()))
        }

        /// From its 32 private bytes.
        pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Error> {
            private($kind, seed).map(Self)
        }

        /// From PKCS#8 DER (RFC 8410).
        pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
            of_kind($kind, lc::parse_pkcs8(der)?).map(Self)
        }

        /// As PKCS#8 DER.
        pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
            lc::to_pkcs8(&self.0)
        }

        /// The public key.
        pub fn public(&self) -> Result<[u8; PUBLIC_BYTES], Error> {
            public_bytes(&self.0)
        }

        /// The public key as SubjectPublicKeyInfo DER (RFC 8410).
        pub fn to_spki(&self) -> Result<Vec<u8>, Error> {
            lc::to_spki(&self.0)
        }
    };
}

/// An Ed25519 key pair.
pub struct Ed25519(Key);

impl Ed25519 {
    pair!(ffi::EVP_PKEY_ED25519);

    /// A signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], Error> {
        let (mut out, mut length) = ([0; SIGNATURE_BYTES], SIGNATURE_BYTES);
        // SAFETY: a fresh context; the buffer has a signature's length.
        unsafe {
            let context = Owned::new(ffi::EVP_MD_CTX_new())?;
            check(ffi::EVP_DigestSignInit(
                context.as_ptr(),
                ptr::null_mut(),
                ptr::null(),
                ptr::null_mut(),
                self.0.as_ptr(),
            ))?;
            check(ffi::EVP_DigestSign(
                context.as_ptr(),
                out.as_mut_ptr(),
                &raw mut length,
                message.as_ptr(),
                message.len(),
            ))?;
        }
        Ok(out)
    }
}

/// The public key inside SubjectPublicKeyInfo DER.
pub fn ed25519_from_spki(der: &[u8]) -> Result<[u8; PUBLIC_BYTES], Error> {
    public_bytes(&of_kind(ffi::EVP_PKEY_ED25519, lc::parse_spki(der)?)?)
}

/// The public key inside SubjectPublicKeyInfo DER.
pub fn x25519_from_spki(der: &[u8]) -> Result<[u8; PUBLIC_BYTES], Error> {
    public_bytes(&of_kind(ffi::EVP_PKEY_X25519, lc::parse_spki(der)?)?)
}

/// Checks an Ed25519 signature.
pub fn ed25519_verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), Error> {
    let key = public(ffi::EVP_PKEY_ED25519, public_key)?;
    // SAFETY: a fresh context; the calls read the slices.
    unsafe {
        let context = Owned::new(ffi::EVP_MD_CTX_new())?;
        check(ffi::EVP_DigestVerifyInit(
            context.as_ptr(),
            ptr::null_mut(),
            ptr::null(),
            ptr::null_mut(),
            key.as_ptr(),
        ))?;
        check(ffi::EVP_DigestVerify(
            context.as_ptr(),
            signature.as_ptr(),
            signature.len(),
            message.as_ptr(),
            message.len(),
        ))
    }
    .map_err(|_| Error::Authentication)
}

/// An X25519 key pair.
pub struct X25519(Key);

impl X25519 {
    pair!(ffi::EVP_PKEY_X25519);

    /// What this key and the peer's public key agree on. A peer whose point leads to zero is
    /// refused (RFC 7748, 6.1).
    pub fn agree(&self, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        lc::agree(&self.0, &public(ffi::EVP_PKEY_X25519, peer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_verify_under_their_key_only() {
        let key = Ed25519::from_pkcs8(&Ed25519::generate().unwrap().to_pkcs8().unwrap()).unwrap();
        let signature = key.sign(b"message").unwrap();
        let public = ed25519_from_spki(&key.to_spki().unwrap()).unwrap();
        assert_eq!(public, key.public().unwrap());
        assert_eq!(ed25519_verify(&public, b"message", &signature), Ok(()));
        assert!(ed25519_verify(&public, b"massage", &signature).is_err());
        assert!(ed25519_verify(&public[1..], b"message", &signature).is_err());
        assert!(X25519::from_pkcs8(&key.to_pkcs8().unwrap()).is_err());
    }

    #[test]
    fn two_keys_agree() {
        let (one, two) = (X25519::generate().unwrap(), X25519::generate().unwrap());
        let public = x25519_from_spki(&two.to_spki().unwrap()).unwrap();
        assert_eq!(one.agree(&public).unwrap(), two.agree(&one.public().unwrap()).unwrap());
        assert!(one.agree(&[0; 32]).is_err());
    }
}
