//! From a mechanism and a key to an operation.

use crate::attributes::Attributes;
use crate::error::{Result, Rv, ensure, fail};
use crate::key::{Key, Mode, Operation, Stream};
use crate::keyforms::PublicKey;
use crate::mechanism::{Mechanism, Parameters, Scheme};
use crate::operation::{
    Active, Checking, Gathering, Hashing, Judge, Limited, Shape, Then, Withheld,
};
use crate::{cmac, rsa_padding};
use crypto::cipher::Direction;
use crypto::ec;
use crypto::hash::{Hash, Hasher};
use crypto::rsa::{Encryption, Signature};
use cryptoki_sys::*;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The longest message that Ed25519 signs, which KeyMint takes as a whole.
const MAX_ED25519_BYTES: usize = 16 * 1024;

/// Hashes, or takes a message as it is.
fn prepared(hash: Option<Hash>, most: usize) -> Box<dyn Stream> {
    match hash {
        Some(hash) => Box::new(Hashing(Hasher::new(hash))),
        None => Box::new(Gathering::new(most, CKR_DATA_LEN_RANGE)),
    }
}

/// `C_DigestInit`.
pub(crate) fn digest(mechanism: &Mechanism) -> Result<Active> {
    let Scheme::Digest(hash) = mechanism.scheme(CKF_DIGEST)? else {
        return fail(CKR_MECHANISM_INVALID);
    };
    Ok(Active::new(prepared(Some(hash), 0), Shape::Fixed(hash.bytes())))
}

/// The length of an RSA key's modulus.
fn modulus_bytes(attributes: &Attributes) -> Result<usize> {
    attributes.get(CKA_MODULUS).map(<[u8]>::len).ok_or(Rv(CKR_KEY_TYPE_INCONSISTENT))
}

fn active(
    first: Box<dyn Stream>,
    bytes: usize,
    then: impl FnOnce(&[u8]) -> Result<Zeroizing<Vec<u8>>> + Send + 'static,
) -> Active {
    Active::new(Box::new(Then { first, then }), Shape::Fixed(bytes))
}

/// `C_SignInit`.
pub(crate) fn sign(
    mechanism: &Mechanism,
    attributes: &Attributes,
    key: Arc<dyn Key>,
) -> Result<Active> {
    let scheme = mechanism.scheme(CKF_SIGN)?;
    Ok(match (scheme, &mechanism.parameters) {
        (Scheme::RsaPkcs1(hash), _) => {
            let bytes = modulus_bytes(attributes)?;
            active(prepared(hash, bytes - 11), bytes, move |data| match hash {
                Some(hash) => {
                    let info = rsa_padding::digest_info(hash, data);
                    key.perform(&Operation::RsaSignPkcs1, &info)
                }
                None => key.perform(&Operation::RsaSignPkcs1, data),
            })
        }
        (Scheme::RsaBare, _) => {
            let bytes = modulus_bytes(attributes)?;
            active(prepared(None, bytes), bytes, move |data| {
                key.perform(&Operation::RsaSignBare, data)
            })
        }
        (Scheme::RsaPss(named), &Parameters::Pss { hash, mask, salt }) => {
            let bytes = modulus_bytes(attributes)?;
            active(prepared(named, hash.bytes()), bytes, move |digest| {
                let padded = rsa_padding::pss(digest, hash, mask, salt, bytes)?;
                key.perform(&Operation::RsaSignBare, &padded)
            })
        }
        (Scheme::Ecdsa(hash), _) => {
            let PublicKey::Ec(public) = PublicKey::from_attributes(attributes)? else {
                return fail(CKR_KEY_TYPE_INCONSISTENT);
            };
            let bytes = 2 * public.curve().bytes();
            active(prepared(hash, 64), bytes, move |digest| key.perform(&Operation::Ecdsa, digest))
        }
        (Scheme::EdDsa, _) => active(prepared(None, MAX_ED25519_BYTES), 64, move |message| {
            key.perform(&Operation::Ed25519, message)
        }),
        (Scheme::Hmac(_) | Scheme::Cmac, parameters) => {
            let (stream, bytes) = mac(scheme, parameters, &*key)?;
            active(stream, bytes, move |tag| {
                let tag = tag.get(..bytes).ok_or(Rv(CKR_DEVICE_ERROR))?;
                Ok(Zeroizing::new(tag.to_vec()))
            })
        }
        _ => return fail(CKR_MECHANISM_INVALID),
    })
}

/// A tag that begins, and how many of its bytes are wanted.
fn mac(scheme: Scheme, parameters: &Parameters, key: &dyn Key) -> Result<(Box<dyn Stream>, usize)> {
    let (stream, whole) = match scheme {
        Scheme::Hmac(hash) => (key.begin(&Operation::Hmac(hash))?, hash.bytes()),
        Scheme::Cmac => (cmac::begin(key)?, cmac::BLOCK_BYTES),
        _ => return fail(CKR_MECHANISM_INVALID),
    };
    match parameters {
        Parameters::Tag(bytes) => Ok((stream, *bytes)),
        _ => Ok((stream, whole)),
    }
}

/// `C_VerifyInit` with a key for MACs.
pub(crate) fn verify_mac(mechanism: &Mechanism, key: &dyn Key) -> Result<Checking> {
    let (stream, bytes) = mac(mechanism.scheme(CKF_VERIFY)?, &mechanism.parameters, key)?;
    let judge: Judge = Box::new(move |tag, signature| {
        ensure(signature.len() == bytes, CKR_SIGNATURE_LEN_RANGE)?;
        let tag = tag.get(..bytes).ok_or(Rv(CKR_DEVICE_ERROR))?;
        ensure(crypto::constant_time_eq(tag, signature), CKR_SIGNATURE_INVALID)
    });
    Ok(Checking { stream, judge, parts: false })
}

/// `C_VerifyInit` with a public key.
pub(crate) fn verify(mechanism: &Mechanism, key: PublicKey) -> Result<Checking> {
    let scheme = mechanism.scheme(CKF_VERIFY)?;
    let (hash, most) = match scheme {
        Scheme::RsaPkcs1(hash) | Scheme::RsaPss(hash) | Scheme::Ecdsa(hash) => (hash, 512),
        Scheme::RsaBare => (None, 512),
        Scheme::EdDsa => (None, crate::border::MAX_INPUT_BYTES),
        _ => return fail(CKR_MECHANISM_INVALID),
    };
    let parameters = mechanism.parameters.clone();
    let judge: Judge =
        Box::new(move |data, signature| judged(scheme, &parameters, &key, data, signature));
    Ok(Checking { stream: prepared(hash, most), judge, parts: false })
}

fn judged(
    scheme: Scheme,
    parameters: &Parameters,
    key: &PublicKey,
    data: &[u8],
    signature: &[u8],
) -> Result<()> {
    let (due, valid) = match (key, scheme, parameters) {
        (PublicKey::Rsa(key), _, _) => {
            let how = match (scheme, parameters) {
                (Scheme::RsaPkcs1(Some(hash)), _) => Signature::Pkcs1(hash),
                (Scheme::RsaPkcs1(None), _) => Signature::Pkcs1Bare,
                (Scheme::RsaBare, _) => Signature::Bare,
                (_, &Parameters::Pss { hash, mask, salt }) => Signature::Pss { hash, mask, salt },
                _ => return fail(CKR_MECHANISM_INVALID),
            };
            (key.bytes(), key.verify(how, data, signature))
        }
        (PublicKey::Ec(key), ..) => {
            let signed = ec::from_fixed(key.curve(), signature);
            let valid = signed.and_then(|der| key.verify(data, &der));
            (2 * key.curve().bytes(), valid)
        }
        (PublicKey::Ed25519(key), ..) => {
            (64, crypto::curve25519::ed25519_verify(key, data, signature))
        }
        (PublicKey::X25519(_), ..) => return fail(CKR_KEY_TYPE_INCONSISTENT),
    };
    ensure(signature.len() == due, CKR_SIGNATURE_LEN_RANGE)?;
    valid.map_err(|_| Rv(CKR_SIGNATURE_INVALID))
}

/// `C_VerifyRecoverInit`: a signature in, its message out.
pub(crate) fn recover(mechanism: &Mechanism, key: PublicKey) -> Result<Active> {
    let PublicKey::Rsa(key) = key else { return fail(CKR_KEY_TYPE_INCONSISTENT) };
    let scheme = mechanism.scheme(CKF_VERIFY_RECOVER)?;
    let bytes = key.bytes();
    Ok(active(prepared(None, bytes), bytes, move |signature| {
        ensure(signature.len() == bytes, CKR_SIGNATURE_LEN_RANGE)?;
        let block = key.encrypt(Encryption::Bare, signature);
        let block = block.map_err(|_| Rv(CKR_SIGNATURE_INVALID))?;
        let message = match scheme {
            Scheme::RsaPkcs1(None) => {
                rsa_padding::signed(&block).ok_or(Rv(CKR_SIGNATURE_INVALID))?
            }
            _ => &block,
        };
        Ok(Zeroizing::new(message.to_vec()))
    }))
}

/// `C_EncryptInit` with a public key.
pub(crate) fn encrypt(mechanism: &Mechanism, key: PublicKey) -> Result<Active> {
    let PublicKey::Rsa(key) = key else { return fail(CKR_KEY_TYPE_INCONSISTENT) };
    let (scheme, parameters) = (mechanism.entry.scheme, mechanism.parameters.clone());
    let bytes = key.bytes();
    Ok(active(prepared(None, bytes), bytes, move |text| {
        let how = match (scheme, &parameters) {
            (Scheme::RsaPkcs1(None), _) => Encryption::LegacyPkcs1,
            (Scheme::RsaBare, _) => Encryption::Bare,
            (_, Parameters::Oaep { hash, mask, label }) => {
                Encryption::Oaep { hash: *hash, mask: *mask, label }
            }
            _ => return fail(CKR_MECHANISM_INVALID),
        };
        Ok(Zeroizing::new(key.encrypt(how, text)?))
    }))
}

/// `C_DecryptInit` with a private key.
pub(crate) fn decrypt(
    mechanism: &Mechanism,
    attributes: &Attributes,
    key: Arc<dyn Key>,
) -> Result<Active> {
    let (scheme, parameters) = (mechanism.entry.scheme, mechanism.parameters.clone());
    let bytes = modulus_bytes(attributes)?;
    let gathering = Gathering::new(bytes, CKR_ENCRYPTED_DATA_LEN_RANGE);
    Ok(active(Box::new(gathering), bytes, move |text| {
        ensure(text.len() == bytes, CKR_ENCRYPTED_DATA_LEN_RANGE)?;
        match (scheme, &parameters) {
            (Scheme::RsaPkcs1(None), _) => key.perform(&Operation::RsaDecryptPkcs1, text),
            (Scheme::RsaBare, _) => key.perform(&Operation::RsaDecryptBare, text),
            (_, Parameters::Oaep { hash, mask, label }) => {
                let bare = key.perform(&Operation::RsaDecryptBare, text)?;
                rsa_padding::oaep(&bare, *hash, *mask, label)
            }
            _ => fail(CKR_MECHANISM_INVALID),
        }
    }))
}

/// `C_EncryptInit` and `C_DecryptInit` with a secret key.
pub(crate) fn cipher(mechanism: &Mechanism, direction: Direction, key: &dyn Key) -> Result<Active> {
    let block = if matches!(mechanism.entry.code, CKM_DES3_ECB | CKM_DES3_CBC | CKM_DES3_CBC_PAD) {
        8
    } else {
        16
    };
    let encrypts = direction == Direction::Encrypt;
    let (mode, shape) = match (mechanism.entry.scheme, mechanism.parameters.clone()) {
        (Scheme::Ecb(_), _) => (Mode::Ecb, Shape::Blocks { bytes: block, padded: false }),
        (Scheme::Cbc(_), Parameters::Iv(iv)) => {
            (Mode::Cbc { iv, padded: false }, Shape::Blocks { bytes: block, padded: false })
        }
        (Scheme::CbcPad(_), Parameters::Iv(iv)) => {
            (Mode::Cbc { iv, padded: true }, Shape::Blocks { bytes: block, padded: encrypts })
        }
        (Scheme::Ctr, Parameters::Counter { iv, most }) => {
            let stream = key.begin(&Operation::Cipher { direction, mode: Mode::Ctr { iv } })?;
            return Ok(Active::new(Box::new(Limited { stream, left: most }), Shape::Same));
        }
        (Scheme::Gcm, Parameters::Gcm { iv, aad, tag_bytes }) => {
            let shape = if encrypts { Shape::Sealed(tag_bytes) } else { Shape::Opened(tag_bytes) };
            (Mode::Gcm { iv, aad, tag_bytes }, shape)
        }
        _ => return fail(CKR_MECHANISM_INVALID),
    };
    let withheld = matches!(shape, Shape::Opened(_));
    let stream = key.begin(&Operation::Cipher { direction, mode })?;
    let stream: Box<dyn Stream> =
        if withheld { Box::new(Withheld { stream, held: Zeroizing::default() }) } else { stream };
    Ok(Active::new(stream, shape))
}
