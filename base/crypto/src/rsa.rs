//! RSA (RFC 8017): keys of 2048 to 8192 bits, 1024 for old peers; signatures, encryption, and the
//! bare operation.

use crate::Error;
use crate::hash::Hash;
use crate::lc::{self, Key, Owned, check, failed, number, two_calls};
use aws_lc_sys as ffi;
use std::ffi::c_int;
use std::ptr;
use zeroize::Zeroizing;

/// The smallest key that a caller takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// 2048 bits: what is safe today.
    Bits2048,
    /// 1024 bits: only where an old peer asks for it.
    Legacy1024,
}

impl Floor {
    const fn bits(self) -> u32 {
        match self {
            Self::Bits2048 => 2048,
            Self::Legacy1024 => 1024,
        }
    }
}

/// The most bits that a key has.
const MAX_BITS: u32 = 8192;

/// How a digest becomes a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// PKCS#1 v1.5 (8.2) over a digest of this hash function.
    Pkcs1(Hash),
    /// PKCS#1 v1.5 without the hash function's name: any bytes, 11 fewer than the key has.
    Pkcs1Bare,
    /// PSS (8.1).
    Pss {
        /// What made the digest.
        hash: Hash,
        /// What the mask is made with.
        mask: Hash,
        /// Bytes of the salt.
        salt: usize,
    },
    /// The bare operation on a number below the modulus. Shorter input gets zeros in front.
    Bare,
}

/// How a short text becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption<'a> {
    /// OAEP (7.1).
    Oaep {
        /// The hash function of the label.
        hash: Hash,
        /// What the mask is made with.
        mask: Hash,
        /// What is bound to the text; mostly empty.
        label: &'a [u8],
    },
    /// PKCS#1 v1.5 (7.2). Whoever learns whether the padding was right can decrypt: only where an
    /// old peer asks for it, and never tell.
    LegacyPkcs1,
    /// The bare operation, as in [`Signature::Bare`].
    Bare,
}

/// A private key's numbers, big-endian.
pub struct Numbers<'a> {
    /// Modulus.
    pub n: &'a [u8],
    /// Public exponent.
    pub e: &'a [u8],
    /// Private exponent.
    pub d: &'a [u8],
    /// First prime.
    pub p: &'a [u8],
    /// Second prime.
    pub q: &'a [u8],
    /// `d mod (p - 1)`.
    pub dp: &'a [u8],
    /// `d mod (q - 1)`.
    pub dq: &'a [u8],
    /// `1 / q mod p`.
    pub qi: &'a [u8],
}

/// A public key.
pub struct PublicKey(Key);

/// A key pair.
pub struct PrivateKey(PublicKey);

fn checked(key: Key, floor: Floor) -> Result<PublicKey, Error> {
    if lc::kind(&key) != ffi::EVP_PKEY_RSA {
        return Err(Error::MalformedKey);
    }
    let key = PublicKey(key);
    if (floor.bits()..=MAX_BITS).contains(&key.bits()) { Ok(key) } else { Err(Error::MalformedKey) }
}

fn wrap(rsa: Owned<ffi::RSA>, floor: Floor) -> Result<PublicKey, Error> {
    // SAFETY: a fresh key takes the numbers over.
    let key = unsafe {
        let key = Owned::new(ffi::EVP_PKEY_new())?;
        check(ffi::EVP_PKEY_set1_RSA(key.as_ptr(), rsa.as_ptr()))?;
        key
    };
    checked(key, floor)
}

impl PublicKey {
    /// From SubjectPublicKeyInfo DER (RFC 4055, 1.2).
    pub fn from_spki(der: &[u8], floor: Floor) -> Result<Self, Error> {
        checked(lc::parse_spki(der)?, floor)
    }

    /// From modulus and exponent, big-endian.
    pub fn from_numbers(n: &[u8], e: &[u8], floor: Floor) -> Result<Self, Error> {
        let (n, e) = (number(n)?, number(e)?);
        // SAFETY: the call copies the numbers.
        let rsa = unsafe { Owned::new(ffi::RSA_new_public_key(n.as_ptr(), e.as_ptr())) };
        wrap(rsa.map_err(|_| Error::MalformedKey)?, floor)
    }

    /// As SubjectPublicKeyInfo DER.
    pub fn to_spki(&self) -> Result<Vec<u8>, Error> {
        lc::to_spki(&self.0)
    }

    /// Modulus and exponent, big-endian without leading zeros.
    #[must_use]
    pub fn numbers(&self) -> (Vec<u8>, Vec<u8>) {
        // SAFETY: the key has both numbers.
        unsafe {
            let (n, e) = (ffi::RSA_get0_n(self.rsa()), ffi::RSA_get0_e(self.rsa()));
            (lc::to_bytes(n).to_vec(), lc::to_bytes(e).to_vec())
        }
    }

    /// Bits of the modulus.
    #[must_use]
    pub fn bits(&self) -> u32 {
        // SAFETY: the key is valid.
        unsafe { ffi::RSA_bits(self.rsa()) }
    }

    /// Bytes of the modulus, and of a signature.
    #[must_use]
    pub fn bytes(&self) -> usize {
        (self.bits() as usize).div_ceil(8)
    }

    fn rsa(&self) -> *mut ffi::RSA {
        // SAFETY: `checked` saw that it is an RSA key.
        unsafe { ffi::EVP_PKEY_get0_RSA(self.0.as_ptr()) }
    }

    /// Checks a signature over `digest`.
    pub fn verify(&self, how: Signature, digest: &[u8], signature: &[u8]) -> Result<(), Error> {
        let good = match how {
            Signature::Pkcs1(_) | Signature::Pss { .. } => {
                self.verify_digest(how, digest, signature)
            }
            Signature::Pkcs1Bare => self
                .recover(ffi::RSA_PKCS1_PADDING, signature)
                .map(|signed| crate::constant_time_eq(&signed, digest)),
            Signature::Bare => self
                .recover(ffi::RSA_NO_PADDING, signature)
                .and_then(|signed| Ok(crate::constant_time_eq(&signed, &self.padded(digest)?))),
        };
        if good == Ok(true) { Ok(()) } else { Err(Error::Authentication) }
    }

    fn verify_digest(
        &self,
        how: Signature,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, Error> {
        let context = lc::operation(&self.0)?;
        // SAFETY: the context's key lives through the calls, which read the slices.
        unsafe {
            check(ffi::EVP_PKEY_verify_init(context.as_ptr()))?;
            how.prepare(&context)?;
            check(ffi::EVP_PKEY_verify(
                context.as_ptr(),
                signature.as_ptr(),
                signature.len(),
                digest.as_ptr(),
                digest.len(),
            ))?;
        }
        Ok(true)
    }

    fn recover(&self, padding: c_int, signature: &[u8]) -> Result<Vec<u8>, Error> {
        let (mut out, mut length) = (vec![0; self.bytes()], 0);
        // SAFETY: the output has the modulus's length.
        check(unsafe {
            ffi::RSA_verify_raw(
                self.rsa(),
                &raw mut length,
                out.as_mut_ptr(),
                out.len(),
                signature.as_ptr(),
                signature.len(),
                padding,
            )
        })?;
        out.truncate(length);
        Ok(out)
    }

    /// Zeros in front, up to the modulus's length.
    fn padded(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let missing = self.bytes().checked_sub(input.len()).ok_or(Error::Length)?;
        let mut out = Zeroizing::new(vec![0; missing]);
        out.extend_from_slice(input);
        Ok(out)
    }

    /// Encrypts a short text. [`Error::Length`] where it is too long for the key.
    pub fn encrypt(&self, how: Encryption<'_>, text: &[u8]) -> Result<Vec<u8>, Error> {
        let padded = if how == Encryption::Bare {
            self.padded(text)?
        } else {
            Zeroizing::new(text.to_vec())
        };
        let context = lc::operation(&self.0)?;
        // SAFETY: the context's key lives through the calls, which read the text and write what
        // they said that they would.
        unsafe {
            check(ffi::EVP_PKEY_encrypt_init(context.as_ptr()))?;
            how.prepare(&context)?;
            two_calls(|out, length| {
                ffi::EVP_PKEY_encrypt(context.as_ptr(), out, length, padded.as_ptr(), padded.len())
            })
        }
        .map(|mut out| std::mem::take(&mut *out))
        .map_err(|_| Error::Length)
    }
}

impl PrivateKey {
    /// A fresh key of 2048, 3072, 4096 or 8192 bits, with the exponent 65537. 4096 bits take
    /// about a second.
    pub fn generate(bits: u32) -> Result<Self, Error> {
        if !matches!(bits, 2048 | 3072 | 4096 | 8192) {
            return Err(Error::MalformedKey);
        }
        Self::generate_any(bits)
    }

    /// A fresh key of 1024 bits.
    pub fn generate_legacy_1024() -> Result<Self, Error> {
        Self::generate_any(1024)
    }

    fn generate_any(bits: u32) -> Result<Self, Error> {
        let exponent = number(&[1, 0, 1])?;
        // SAFETY: a fresh key; no callback.
        let rsa = unsafe {
            let rsa = Owned::new(ffi::RSA_new())?;
            check(ffi::RSA_generate_key_ex(
                rsa.as_ptr(),
                bits as c_int,
                exponent.as_ptr(),
                ptr::null_mut(),
            ))?;
            rsa
        };
        wrap(rsa, Floor::Legacy1024).map(Self)
    }

    /// From PKCS#8 DER (RFC 5958). Numbers that do not belong together are refused.
    pub fn from_pkcs8(der: &[u8], floor: Floor) -> Result<Self, Error> {
        checked(lc::parse_pkcs8(der)?, floor).map(Self)
    }

    /// From its numbers. Those that do not belong together are refused.
    pub fn from_numbers(numbers: &Numbers<'_>, floor: Floor) -> Result<Self, Error> {
        let Numbers { n, e, d, p, q, dp, dq, qi } = *numbers;
        let (n, e, d, p, q) = (number(n)?, number(e)?, number(d)?, number(p)?, number(q)?);
        let (dp, dq, qi) = (number(dp)?, number(dq)?, number(qi)?);
        // SAFETY: the call copies the numbers.
        let rsa = unsafe {
            Owned::new(ffi::RSA_new_private_key(
                n.as_ptr(),
                e.as_ptr(),
                d.as_ptr(),
                p.as_ptr(),
                q.as_ptr(),
                dp.as_ptr(),
                dq.as_ptr(),
                qi.as_ptr(),
            ))
        };
        wrap(rsa.map_err(|_| Error::MalformedKey)?, floor).map(Self)
    }

    /// From its two primes, with the exponent 65537, as smart cards are given keys. Numbers that
    /// make no key are refused.
    pub fn from_primes(p: &[u8], q: &[u8], floor: Floor) -> Result<Self, Error> {
        let (p, q, e) = (number(p)?, number(q)?, number(&[1, 0, 1])?);
        // SAFETY: fresh numbers and a fresh context, all of which live through the calls; the
        // last one copies.
        let rsa = unsafe {
            let one = ffi::BN_value_one();
            let context = Owned::new(ffi::BN_CTX_new())?;
            let fresh = || Owned::new(ffi::BN_new());
            let [n, d, p1, q1, phi, dp, dq, qi] =
                [fresh()?, fresh()?, fresh()?, fresh()?, fresh()?, fresh()?, fresh()?, fresh()?];
            let inverse = |out: &Owned<ffi::BIGNUM>, of: *mut ffi::BIGNUM, modulus: *mut _| {
                let done = ffi::BN_mod_inverse(out.as_ptr(), of, modulus, context.as_ptr());
                if done.is_null() { Err(lc::failed()) } else { Ok(()) }
            };
            check(ffi::BN_mul(n.as_ptr(), p.as_ptr(), q.as_ptr(), context.as_ptr()))
                .and_then(|()| check(ffi::BN_sub(p1.as_ptr(), p.as_ptr(), one)))
                .and_then(|()| check(ffi::BN_sub(q1.as_ptr(), q.as_ptr(), one)))
                .and_then(|()| {
                    check(ffi::BN_mul(phi.as_ptr(), p1.as_ptr(), q1.as_ptr(), context.as_ptr()))
                })
                .and_then(|()| inverse(&d, e.as_ptr(), phi.as_ptr()))
                .and_then(|()| inverse(&dp, e.as_ptr(), p1.as_ptr()))
                .and_then(|()| inverse(&dq, e.as_ptr(), q1.as_ptr()))
                .and_then(|()| inverse(&qi, q.as_ptr(), p.as_ptr()))
                .map_err(|_| Error::MalformedKey)?;
            Owned::new(ffi::RSA_new_private_key(
                n.as_ptr(),
                e.as_ptr(),
                d.as_ptr(),
                p.as_ptr(),
                q.as_ptr(),
                dp.as_ptr(),
                dq.as_ptr(),
                qi.as_ptr(),
            ))
        };
        wrap(rsa.map_err(|_| Error::MalformedKey)?, floor).map(Self)
    }

    /// As PKCS#8 DER.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        lc::to_pkcs8(&self.0.0)
    }

    /// Its public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.0
    }

    /// Signs `digest`. [`Error::Length`] where it does not fit the scheme or the key.
    pub fn sign(&self, how: Signature, digest: &[u8]) -> Result<Vec<u8>, Error> {
        match how {
            Signature::Pkcs1(_) | Signature::Pss { .. } => self.sign_digest(how, digest),
            Signature::Pkcs1Bare => self.sign_bare(ffi::RSA_PKCS1_PADDING, digest),
            Signature::Bare => self.sign_bare(ffi::RSA_NO_PADDING, &self.0.padded(digest)?),
        }
    }

    fn sign_digest(&self, how: Signature, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let context = lc::operation(&self.0.0)?;
        // SAFETY: the context's key lives through the calls, which read the digest and write what
        // they said that they would.
        unsafe {
            check(ffi::EVP_PKEY_sign_init(context.as_ptr()))?;
            how.prepare(&context)?;
            two_calls(|out, length| {
                ffi::EVP_PKEY_sign(context.as_ptr(), out, length, digest.as_ptr(), digest.len())
            })
        }
        .map(|mut out| std::mem::take(&mut *out))
        .map_err(|_| Error::Length)
    }

    fn sign_bare(&self, padding: c_int, input: &[u8]) -> Result<Vec<u8>, Error> {
        let (mut out, mut length) = (vec![0; self.0.bytes()], 0);
        // SAFETY: the output has the modulus's length.
        check(unsafe {
            ffi::RSA_sign_raw(
                self.0.rsa(),
                &raw mut length,
                out.as_mut_ptr(),
                out.len(),
                input.as_ptr(),
                input.len(),
                padding,
            )
        })
        .map_err(|_| Error::Length)?;
        out.truncate(length);
        Ok(out)
    }

    /// Decrypts.
    pub fn decrypt(&self, how: Encryption<'_>, text: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let context = lc::operation(&self.0.0)?;
        // SAFETY: the context's key lives through the calls, which read the text and write what
        // they said that they would.
        unsafe {
            check(ffi::EVP_PKEY_decrypt_init(context.as_ptr()))?;
            how.prepare(&context)?;
            two_calls(|out, length| {
                ffi::EVP_PKEY_decrypt(context.as_ptr(), out, length, text.as_ptr(), text.len())
            })
        }
        .map_err(|_| Error::Authentication)
    }
}

impl Signature {
    /// Tells a context what to do.
    fn prepare(self, context: &Owned<ffi::EVP_PKEY_CTX>) -> Result<(), Error> {
        let context = context.as_ptr();
        // SAFETY: the context is initialised for signing or verifying.
        unsafe {
            match self {
                Self::Pkcs1(hash) => {
                    check(ffi::EVP_PKEY_CTX_set_rsa_padding(context, ffi::RSA_PKCS1_PADDING))?;
                    check(ffi::EVP_PKEY_CTX_set_signature_md(context, hash.as_ptr()))
                }
                Self::Pss { hash, mask, salt } => {
                    let salt = c_int::try_from(salt).map_err(|_| Error::Length)?;
                    check(ffi::EVP_PKEY_CTX_set_rsa_padding(context, ffi::RSA_PKCS1_PSS_PADDING))?;
                    check(ffi::EVP_PKEY_CTX_set_signature_md(context, hash.as_ptr()))?;
                    check(ffi::EVP_PKEY_CTX_set_rsa_mgf1_md(context, mask.as_ptr()))?;
                    check(ffi::EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt))
                }
                Self::Pkcs1Bare | Self::Bare => Err(failed()),
            }
        }
    }
}

impl Encryption<'_> {
    /// Tells a context what to do.
    fn prepare(self, context: &Owned<ffi::EVP_PKEY_CTX>) -> Result<(), Error> {
        let context = context.as_ptr();
        // SAFETY: the context is initialised for encrypting or decrypting; it takes the label's
        // copy over once the call agreed.
        unsafe {
            match self {
                Self::Oaep { hash, mask, label } => {
                    check(ffi::EVP_PKEY_CTX_set_rsa_padding(context, ffi::RSA_PKCS1_OAEP_PADDING))?;
                    check(ffi::EVP_PKEY_CTX_set_rsa_oaep_md(context, hash.as_ptr()))?;
                    check(ffi::EVP_PKEY_CTX_set_rsa_mgf1_md(context, mask.as_ptr()))?;
                    if label.is_empty() {
                        return Ok(());
                    }
                    let copy = ffi::OPENSSL_memdup(label.as_ptr().cast(), label.len());
                    let given = !copy.is_null()
                        && ffi::EVP_PKEY_CTX_set0_rsa_oaep_label(context, copy.cast(), label.len())
                            == 1;
                    if !given {
                        ffi::OPENSSL_free(copy);
                        return Err(failed());
                    }
                    Ok(())
                }
                Self::LegacyPkcs1 => {
                    check(ffi::EVP_PKEY_CTX_set_rsa_padding(context, ffi::RSA_PKCS1_PADDING))
                }
                Self::Bare => {
                    check(ffi::EVP_PKEY_CTX_set_rsa_padding(context, ffi::RSA_NO_PADDING))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PSS: Signature = Signature::Pss { hash: Hash::Sha256, mask: Hash::Sha256, salt: 32 };
    const OAEP: Encryption<'_> =
        Encryption::Oaep { hash: Hash::Sha256, mask: Hash::LegacySha1, label: b"label" };

    #[test]
    fn signs_and_verifies_in_every_way() {
        let key = PrivateKey::generate(2048).unwrap();
        let digest = Hash::Sha256.digest(b"message");
        for how in [Signature::Pkcs1(Hash::Sha256), PSS, Signature::Pkcs1Bare, Signature::Bare] {
            let signature = key.sign(how, &digest).unwrap();
            assert_eq!(signature.len(), 256);
            assert_eq!(key.public().verify(how, &digest, &signature), Ok(()), "{how:?}");
            let other = Hash::Sha256.digest(b"massage");
            assert!(key.public().verify(how, &other, &signature).is_err(), "{how:?}");
        }
        assert!(key.sign(Signature::Pkcs1(Hash::Sha256), b"no digest").is_err());
        assert!(key.sign(Signature::Pkcs1Bare, &[1; 246]).is_err());
        assert!(key.sign(Signature::Bare, &[0xff; 256]).is_err());
    }

    #[test]
    fn decrypts_what_it_encrypted() {
        let key = PrivateKey::generate(2048).unwrap();
        for how in [OAEP, Encryption::LegacyPkcs1] {
            let sealed = key.public().encrypt(how, b"text").unwrap();
            assert_eq!(key.decrypt(how, &sealed).unwrap()[..], *b"text");
        }
        let sealed = key.public().encrypt(OAEP, b"text").unwrap();
        let other = Encryption::Oaep { hash: Hash::Sha256, mask: Hash::LegacySha1, label: b"" };
        assert_eq!(key.decrypt(other, &sealed).err(), Some(Error::Authentication));
        let bare = key.public().encrypt(Encryption::Bare, b"text").unwrap();
        assert!(key.decrypt(Encryption::Bare, &bare).unwrap().ends_with(b"\0text"));
    }

    #[test]
    fn numbers_that_are_no_primes_make_no_key() {
        for (p, q) in [(&[0xFF; 128][..], &[0xFF; 128][..]), (&[0; 128], &[1; 128]), (&[], &[3])] {
            assert!(PrivateKey::from_primes(p, q, Floor::Bits2048).is_err());
        }
    }

    #[test]
    fn small_keys_are_taken_only_where_legacy_is_said() {
        let small = PrivateKey::generate_legacy_1024().unwrap();
        let (pkcs8, spki) = (small.to_pkcs8().unwrap(), small.public().to_spki().unwrap());
        assert!(PrivateKey::from_pkcs8(&pkcs8, Floor::Bits2048).is_err());
        assert!(PublicKey::from_spki(&spki, Floor::Bits2048).is_err());
        let again = PrivateKey::from_pkcs8(&pkcs8, Floor::Legacy1024).unwrap();
        let (n, e) = again.public().numbers();
        let public = PublicKey::from_numbers(&n, &e, Floor::Legacy1024).unwrap();
        let how = Signature::Pkcs1(Hash::LegacySha1);
        let digest = Hash::LegacySha1.digest(b"message");
        assert_eq!(public.verify(how, &digest, &small.sign(how, &digest).unwrap()), Ok(()));
        assert!(PrivateKey::generate(1024).is_err());
    }
}
