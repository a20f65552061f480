//! Keys from keys: HKDF (RFC 5869) and the counter mode of NIST SP 800-108; keys from passwords:
//! PBKDF2 (RFC 8018).

use crate::Error;
use crate::cipher::Key;
use crate::hash::{Digest, Hash};
use crate::lc::{check, pointer};
use crate::mac::{Cmac, Hmac};
use crate::secret::Secret;
use aws_lc_rs::hkdf;
use aws_lc_sys as ffi;
use zeroize::Zeroizing;

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(
    algorithm: hkdf::Algorithm,
    ikm: &[u8],
    salt: &[u8],
    info: &[&[u8]],
) -> Secret<N> {
    let mut out = [0; N];
    hkdf::Salt::new(algorithm, salt)
        .extract(ikm)
        .expand(info, Length(N))
        .and_then(|okm| okm.fill(&mut out))
        .expect("N is below 255 times the hash length");
    Secret::new(out)
}

/// HKDF-SHA-256 with the info string given in parts that are concatenated.
#[must_use]
pub fn hkdf_sha256<const N: usize>(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> Secret<N> {
    derive(hkdf::HKDF_SHA256, ikm, salt, info)
}

/// HKDF-SHA-512 with the info string given in parts that are concatenated.
#[must_use]
pub fn hkdf_sha512<const N: usize>(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> Secret<N> {
    derive(hkdf::HKDF_SHA512, ikm, salt, info)
}

/// HKDF with any hash function; up to 255 digests long, else [`Error::Length`].
pub fn hkdf(
    hash: Hash,
    ikm: &[u8],
    salt: &[u8],
    info: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut out = Zeroizing::new(vec![0; length]);
    // SAFETY: the calls read the slices and fill the output.
    check(unsafe {
        ffi::HKDF(
            out.as_mut_ptr(),
            out.len(),
            hash.as_ptr(),
            pointer(ikm),
            ikm.len(),
            pointer(salt),
            salt.len(),
            pointer(info),
            info.len(),
        )
    })
    .map_err(|_| Error::Length)?;
    Ok(out)
}

/// PBKDF2 with HMAC.
pub fn pbkdf2(
    hash: Hash,
    password: &[u8],
    salt: &[u8],
    rounds: std::num::NonZeroU32,
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut out = Zeroizing::new(vec![0; length]);
    // SAFETY: the call reads the slices and fills the output.
    check(unsafe {
        ffi::PKCS5_PBKDF2_HMAC(
            password.as_ptr().cast(),
            password.len(),
            salt.as_ptr(),
            salt.len(),
            rounds.get(),
            hash.as_ptr(),
            out.len(),
            out.as_mut_ptr(),
        )
    })?;
    Ok(out)
}

/// The function that [`counter`] calls.
#[derive(Clone, Copy)]
pub enum Prf<'a> {
    /// HMAC with this hash function and key.
    Hmac(Hash, &'a [u8]),
    /// CMAC with this key.
    Cmac(&'a Key),
}

impl Prf<'_> {
    fn call(self, parts: [&[u8]; 3]) -> Result<Digest, Error> {
        match self {
            Self::Hmac(hash, key) => {
                let mut mac = Hmac::new(hash, key)?;
                parts.iter().for_each(|part| mac.update(part));
                Ok(mac.finish())
            }
            Self::Cmac(key) => {
                let mut mac = Cmac::new(key)?;
                parts.iter().for_each(|part| mac.update(part));
                Ok(mac.finish())
            }
        }
    }
}

/// The counter mode of SP 800-108 (4.1): block `i` is the function of `before || i || after`, where
/// `i` has `counter_bytes` (1 to 4) and starts at 1. [`Error::Length`] where the counter would
/// turn over.
pub fn counter(
    prf: Prf<'_>,
    counter_bytes: usize,
    before: &[u8],
    after: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let skipped = 4_usize.checked_sub(counter_bytes).filter(|skipped| *skipped < 4);
    let skipped = skipped.ok_or(Error::Length)?;
    let last = u32::MAX >> (8 * skipped);
    let mut out = Zeroizing::new(Vec::with_capacity(length + 64));
    for number in 1..=last {
        if out.len() >= length {
            break;
        }
        out.extend_from_slice(&prf.call([before, &number.to_be_bytes()[skipped..], after])?);
    }
    if out.len() < length {
        return Err(Error::Length);
    }
    out.truncate(length);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_sha256_agrees_with_rfc_5869_a_1() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let okm: Secret<42> = hkdf_sha256(&[0x0b; 22], &salt, &[&info[..4], &info[4..]]);
        assert_eq!(okm.expose()[..4], [0x3c, 0xb2, 0x5f, 0x25]);
        assert_eq!(okm.expose()[38..], [0x87, 0x18, 0x58, 0x65]);
    }
}
