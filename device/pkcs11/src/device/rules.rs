//! What keys of PKCS #11 are in KeyMint's words.

use crate::error::{Result, Rv};
use crate::key::{self, Mode, Operation};
use crate::token::{NewKey, TokenSecret};
use crypto::cipher::Direction;
use crypto::ec::Curve;
use crypto::hash::Hash;
use cryptoki_sys::*;
use keymint::{Algorithm, Authorizations, BlockMode, Digest, EcCurve, KeyPurpose, PaddingMode};

/// The shortest tag of a MAC, in bits.
const MIN_MAC_BITS: u32 = 64;
/// The shortest tag of AES-GCM, in bits.
const MIN_TAG_BITS: u32 = 96;

/// What a key obeys for its whole life.
pub(super) fn for_life(key: &NewKey<'_>) -> Result<Authorizations> {
    let mut rules = Authorizations {
        no_auth_required: true,
        application_data: key.secret.map(application_data),
        ..Authorizations::default()
    };
    let purposes = [
        (key.purposes.sign, KeyPurpose::Sign),
        (key.purposes.encrypt, KeyPurpose::Encrypt),
        (key.purposes.decrypt, KeyPurpose::Decrypt),
        (key.purposes.agree, KeyPurpose::AgreeKey),
    ];
    rules.purpose = purposes.into_iter().filter(|(has, _)| *has).map(|(_, it)| it).collect();
    match key.algorithm {
        key::Algorithm::Rsa(bits) => {
            rules.algorithm = Some(Algorithm::Rsa);
            rules.key_size = Some(bits);
            rules.rsa_public_exponent = Some(65537);
            rules.digest = [Digest::None].into();
            // PSS and OAEP are padded outside: KeyMint takes no digest and no label.
            rules.padding =
                [PaddingMode::None, PaddingMode::RsaPkcs1Sign, PaddingMode::RsaPkcs1Encrypt].into();
        }
        key::Algorithm::Ec(curve) => elliptic(&mut rules, ec_curve(curve)?),
        key::Algorithm::Ed25519 => {
            rules.purpose.retain(|purpose| *purpose == KeyPurpose::Sign);
            elliptic(&mut rules, EcCurve::Curve25519);
        }
        key::Algorithm::X25519 => {
            rules.purpose.retain(|purpose| *purpose == KeyPurpose::AgreeKey);
            elliptic(&mut rules, EcCurve::Curve25519);
        }
        key::Algorithm::Aes(bytes) => {
            blocks(&mut rules, Algorithm::Aes, bytes);
            rules.block_mode.extend([BlockMode::Ctr, BlockMode::Gcm]);
            rules.min_mac_length = Some(MIN_TAG_BITS);
        }
        // KeyMint counts 168 bits of a 3DES key.
        key::Algorithm::TripleDes => blocks(&mut rules, Algorithm::TripleDes, 21),
        key::Algorithm::Hmac(hash, bytes) => {
            rules.algorithm = Some(Algorithm::Hmac);
            rules.key_size = Some(bits(bytes));
            rules.digest = [digest(hash)?].into();
            rules.min_mac_length = Some(MIN_MAC_BITS);
            rules.purpose.retain(|purpose| *purpose == KeyPurpose::Sign);
        }
    }
    Ok(rules)
}

fn elliptic(rules: &mut Authorizations, curve: EcCurve) {
    rules.algorithm = Some(Algorithm::Ec);
    rules.ec_curve = Some(curve);
    rules.digest = [Digest::None].into();
}

fn blocks(rules: &mut Authorizations, algorithm: Algorithm, bytes: usize) {
    rules.algorithm = Some(algorithm);
    rules.key_size = Some(bits(bytes));
    rules.block_mode = [BlockMode::Ecb, BlockMode::Cbc].into();
    rules.padding = [PaddingMode::None, PaddingMode::Pkcs7].into();
    // Callers of PKCS #11 bring the initial vector.
    rules.caller_nonce = true;
    rules.purpose.retain(|it| matches!(it, KeyPurpose::Encrypt | KeyPurpose::Decrypt));
}

fn bits(bytes: usize) -> u32 {
    u32::try_from(bytes * 8).unwrap_or(u32::MAX)
}

const fn ec_curve(curve: Curve) -> Result<EcCurve> {
    Ok(match curve {
        Curve::P224 => EcCurve::P224,
        Curve::P256 => EcCurve::P256,
        Curve::P384 => EcCurve::P384,
        Curve::P521 => EcCurve::P521,
        Curve::Secp256k1 => return Err(Rv(CKR_CURVE_NOT_SUPPORTED)),
    })
}

const fn digest(hash: Hash) -> Result<Digest> {
    Ok(match hash {
        Hash::LegacyMd5 => Digest::Md5,
        Hash::LegacySha1 => Digest::Sha1,
        Hash::Sha224 => Digest::Sha2_224,
        Hash::Sha256 => Digest::Sha2_256,
        Hash::Sha384 => Digest::Sha2_384,
        Hash::Sha512 => Digest::Sha2_512,
        Hash::Sha512_224 | Hash::Sha512_256 => return Err(Rv(CKR_MECHANISM_INVALID)),
    })
}

/// What a private key works only with.
pub(super) fn application_data(secret: &TokenSecret) -> keymint::Bytes {
    secret.expose().into()
}

/// What an operation is: its purpose, how, and what is authenticated only.
pub(super) struct Wanted {
    pub(super) purpose: KeyPurpose,
    pub(super) params: Authorizations,
    pub(super) aad: Vec<u8>,
}

/// An operation in KeyMint's words.
pub(super) fn wanted(operation: &Operation) -> Result<Wanted> {
    let padded = |padding| Authorizations {
        digest: [Digest::None].into(),
        padding: [padding].into(),
        ..Authorizations::default()
    };
    let bare = || Authorizations { digest: [Digest::None].into(), ..Authorizations::default() };
    let decrypting =
        |padding| Authorizations { padding: [padding].into(), ..Authorizations::default() };
    let mut aad = Vec::new();
    let (purpose, params) = match operation {
        Operation::RsaSignPkcs1 => (KeyPurpose::Sign, padded(PaddingMode::RsaPkcs1Sign)),
        Operation::RsaSignBare => (KeyPurpose::Sign, padded(PaddingMode::None)),
        Operation::RsaDecryptPkcs1 => {
            (KeyPurpose::Decrypt, decrypting(PaddingMode::RsaPkcs1Encrypt))
        }
        Operation::RsaDecryptBare => (KeyPurpose::Decrypt, decrypting(PaddingMode::None)),
        Operation::Ecdsa | Operation::Ed25519 => (KeyPurpose::Sign, bare()),
        Operation::Agree => (KeyPurpose::AgreeKey, Authorizations::default()),
        Operation::Hmac(hash) => (
            KeyPurpose::Sign,
            Authorizations {
                digest: [digest(*hash)?].into(),
                mac_length: Some(bits(hash.bytes())),
                ..Authorizations::default()
            },
        ),
        Operation::Cipher { direction, mode } => {
            let purpose = match direction {
                Direction::Encrypt => KeyPurpose::Encrypt,
                Direction::Decrypt => KeyPurpose::Decrypt,
            };
            if let Mode::Gcm { aad: data, .. } = mode {
                aad.clone_from(data);
            }
            (purpose, block_mode(mode))
        }
    };
    Ok(Wanted { purpose, params, aad })
}

fn block_mode(mode: &Mode) -> Authorizations {
    let (block_mode, padding, nonce, tag_bytes) = match mode {
        Mode::Ecb => (BlockMode::Ecb, PaddingMode::None, None, None),
        Mode::Cbc { iv, padded: true } => (BlockMode::Cbc, PaddingMode::Pkcs7, Some(iv), None),
        Mode::Cbc { iv, padded: false } => (BlockMode::Cbc, PaddingMode::None, Some(iv), None),
        Mode::Ctr { iv } => (BlockMode::Ctr, PaddingMode::None, Some(iv), None),
        Mode::Gcm { iv, tag_bytes, .. } => {
            (BlockMode::Gcm, PaddingMode::None, Some(iv), Some(*tag_bytes))
        }
    };
    Authorizations {
        block_mode: [block_mode].into(),
        padding: [padding].into(),
        nonce: nonce.map(|iv| iv.as_slice().into()),
        mac_length: tag_bytes.map(bits),
        ..Authorizations::default()
    }
}
