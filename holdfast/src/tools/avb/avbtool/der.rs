//! Keys in DER: RSA (RFC 8017, A.1) and ML-DSA (RFC 9881), in PKCS#8 (RFC 5958), in
//! SubjectPublicKeyInfo (RFC 5280), or alone.

use avb::{MlDsaPublicKeyBlob, PublicKeyBlob, RsaPublicKeyBlob};
use crypto::ml_dsa::{MlDsaKey, Parameters};

/// A key, taken apart.
pub(super) struct Key<'a> {
    pub(super) numbers: Numbers<'a>,
    /// The private half as PKCS#8, where it is there.
    pub(super) pkcs8: Option<Vec<u8>>,
}

/// What makes the public half.
pub(super) enum Numbers<'a> {
    Rsa {
        modulus: &'a [u8],
        exponent: &'a [u8],
    },
    /// The raw public key.
    MlDsa(&'a [u8]),
    /// The public key follows from the private one.
    MlDsaPrivate(Parameters),
}

impl<'a> Key<'a> {
    /// Takes a key apart, whichever of its forms it has.
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let (SEQUENCE, inside, []) = element(der)? else { return None };
        match element(inside)? {
            // SubjectPublicKeyInfo: an algorithm, a bit string of no unused bits.
            (SEQUENCE, algorithm, rest) => {
                let (BIT_STRING, bits, _) = element(rest)? else { return None };
                let key = bits.strip_prefix(&[0])?;
                match ml_dsa(algorithm) {
                    Some(_) => Some(Self { numbers: Numbers::MlDsa(key), pkcs8: None }),
                    None => pkcs1(key),
                }
            }
            // PKCS#8: version 0, an algorithm, the key in an octet string.
            (INTEGER, [0], rest) if rest.first() == Some(&SEQUENCE) => {
                let (_, algorithm, rest) = element(rest)?;
                let (OCTET_STRING, key, _) = element(rest)? else { return None };
                let numbers = match ml_dsa(algorithm) {
                    Some(parameters) => Numbers::MlDsaPrivate(parameters),
                    None => pkcs1(key)?.numbers,
                };
                Some(Self { numbers, pkcs8: Some(der.to_vec()) })
            }
            _ => pkcs1(der),
        }
    }

    /// The public key as AVB stores it.
    pub(super) fn public(&self) -> Result<PublicKeyBlob, String> {
        let raw = |raw: &[u8]| MlDsaPublicKeyBlob::from_raw(raw).map(PublicKeyBlob::MlDsa);
        match (&self.numbers, &self.pkcs8) {
            (Numbers::Rsa { modulus, .. }, _) => {
                RsaPublicKeyBlob::from_modulus(modulus).map(PublicKeyBlob::Rsa)
            }
            (Numbers::MlDsa(key), _) => raw(key),
            (Numbers::MlDsaPrivate(parameters), pkcs8) => {
                let pkcs8 = pkcs8.as_deref().unwrap_or_default();
                let key = MlDsaKey::from_pkcs8(*parameters, pkcs8);
                raw(key.map_err(|error| error.to_string())?.public_key())
            }
        }
        .map_err(|error| error.to_string())
    }
}

/// The parameter set in an AlgorithmIdentifier, where it is one of ML-DSA's:
/// 2.16.840.1.101.3.4.3.18 and .19.
fn ml_dsa(algorithm: &[u8]) -> Option<Parameters> {
    const ARC: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03];
    let (OBJECT_IDENTIFIER, name, _) = element(algorithm)? else { return None };
    match name.strip_prefix(&ARC)? {
        [18] => Some(Parameters::MlDsa65),
        [19] => Some(Parameters::MlDsa87),
        _ => None,
    }
}

/// PKCS#1: modulus and exponent, behind a version 0 where the key is a private one.
fn pkcs1(der: &[u8]) -> Option<Key<'_>> {
    let (SEQUENCE, inside, []) = element(der)? else { return None };
    let (pkcs8, numbers) = match element(inside)? {
        (INTEGER, [0], rest) => (Some(pkcs8_of(der)), rest),
        _ => (None, inside),
    };
    let (INTEGER, modulus, rest) = element(numbers)? else { return None };
    let (INTEGER, exponent, _) = element(rest)? else { return None };
    let numbers = Numbers::Rsa { modulus: unsigned(modulus), exponent: unsigned(exponent) };
    Some(Key { numbers, pkcs8 })
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// The first DER element: its tag, its content, what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (size, rest) = if first < 0x80 {
        (first.into(), rest)
    } else {
        let (size, rest) = rest.split_at_checked((first & 0x7f).into())?;
        let fold = |sum: usize, byte: &u8| sum.checked_mul(256)?.checked_add((*byte).into());
        (size.iter().try_fold(0, fold)?, rest)
    };
    let (content, rest) = rest.split_at_checked(size)?;
    Some((tag, content, rest))
}

fn unsigned(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|&&byte| byte == 0).count();
    &integer[zeros..]
}

/// A PKCS#1 private key, put into PKCS#8 (RFC 5958).
fn pkcs8_of(pkcs1: &[u8]) -> Vec<u8> {
    // Version 0, then { rsaEncryption 1.2.840.113549.1.1.1, NULL }.
    let mut inside = vec![0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09];
    inside.extend([0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]);
    inside.extend(wrapped(OCTET_STRING, pkcs1));
    wrapped(SEQUENCE, &inside)
}

fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
    let size = content.len().to_be_bytes();
    let zeros = size.iter().take_while(|&&byte| byte == 0).count();
    let size = &size[zeros..];
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 | u8::try_from(size.len()).expect("8 bytes at most"));
    }
    out.extend(size);
    out.extend(content);
    out
}
