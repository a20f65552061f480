//! KeyMint's rules about algorithms, as data: what a key of each can be, and how it is used.
//!
//! - [`creation`]: the parameters of a new key;
//! - [`operation`]: the parameters of an operation, against what its key obeys.

pub(crate) mod creation;
pub(crate) mod operation;

use keymint::{Algorithm, Authorizations, BlockMode, Digest, EcCurve, ErrorCode, KeyPurpose};
use keymint::{MlDsaVariant, PaddingMode};
use tee_sdk::engine::{Attributes, Curve, Hash, KeyType, Usage};

/// What there is of an algorithm.
pub(crate) struct AlgorithmRules {
    pub(crate) algorithm: Algorithm,
    /// A key pair, which has a certificate.
    pub(crate) is_pair: bool,
    /// What its keys may be made for.
    pub(crate) declarable: &'static [KeyPurpose],
    /// What an operation can be: of key pairs the private half's alone.
    pub(crate) usable: &'static [KeyPurpose],
    /// Paddings that an operation can name.
    pub(crate) paddings: &'static [PaddingMode],
    /// Digests that an operation can name.
    pub(crate) digests: &'static [Digest],
}

use KeyPurpose::{AgreeKey, AttestKey, Decrypt, Encrypt, Sign, Verify, WrapKey};

const ALGORITHMS: [AlgorithmRules; 6] = [
    AlgorithmRules {
        algorithm: Algorithm::Rsa,
        is_pair: true,
        declarable: &[Encrypt, Decrypt, Sign, Verify, WrapKey, AttestKey],
        usable: &[Decrypt, Sign],
        paddings: &[
            PaddingMode::None,
            PaddingMode::RsaOaep,
            PaddingMode::RsaPss,
            PaddingMode::RsaPkcs1Encrypt,
            PaddingMode::RsaPkcs1Sign,
        ],
        digests: Digest::ALL,
    },
    AlgorithmRules {
        algorithm: Algorithm::Ec,
        is_pair: true,
        declarable: &[Sign, Verify, AgreeKey, AttestKey],
        usable: &[Sign, AgreeKey],
        paddings: &[],
        digests: Digest::ALL,
    },
    AlgorithmRules {
        algorithm: Algorithm::MlDsa,
        is_pair: true,
        declarable: &[Sign, Verify],
        usable: &[Sign],
        paddings: &[],
        digests: &[],
    },
    AlgorithmRules {
        algorithm: Algorithm::Aes,
        is_pair: false,
        declarable: &[Encrypt, Decrypt],
        usable: &[Encrypt, Decrypt],
        paddings: &[PaddingMode::None, PaddingMode::Pkcs7],
        digests: &[],
    },
    AlgorithmRules {
        algorithm: Algorithm::TripleDes,
        is_pair: false,
        declarable: &[Encrypt, Decrypt],
        usable: &[Encrypt, Decrypt],
        paddings: &[PaddingMode::None, PaddingMode::Pkcs7],
        digests: &[],
    },
    AlgorithmRules {
        algorithm: Algorithm::Hmac,
        is_pair: false,
        declarable: &[Sign, Verify],
        usable: &[Sign, Verify],
        paddings: &[],
        digests: &[
            Digest::Md5,
            Digest::Sha1,
            Digest::Sha2_224,
            Digest::Sha2_256,
            Digest::Sha2_384,
            Digest::Sha2_512,
        ],
    },
];

/// The rules of an algorithm.
pub(crate) fn of(algorithm: Algorithm) -> &'static AlgorithmRules {
    ALGORITHMS
        .iter()
        .find(|rules| rules.algorithm == algorithm)
        .expect("every algorithm has its row")
}

/// A mode of a block cipher.
pub(crate) struct ModeRules {
    pub(crate) algorithm: Algorithm,
    pub(crate) mode: BlockMode,
    pub(crate) paddings: &'static [PaddingMode],
    /// Bytes of the nonce or initial vector; 0 for none.
    pub(crate) nonce_bytes: usize,
}

const MODES: [ModeRules; 6] = [
    mode(Algorithm::Aes, BlockMode::Ecb, true, 0),
    mode(Algorithm::Aes, BlockMode::Cbc, true, 16),
    mode(Algorithm::Aes, BlockMode::Ctr, false, 16),
    mode(Algorithm::Aes, BlockMode::Gcm, false, 12),
    mode(Algorithm::TripleDes, BlockMode::Ecb, true, 0),
    mode(Algorithm::TripleDes, BlockMode::Cbc, true, 8),
];

const fn mode(
    algorithm: Algorithm,
    mode: BlockMode,
    whole_blocks: bool,
    nonce_bytes: usize,
) -> ModeRules {
    const ANY: &[PaddingMode] = &[PaddingMode::None, PaddingMode::Pkcs7];
    const NONE: &[PaddingMode] = &[PaddingMode::None];
    ModeRules { algorithm, mode, paddings: if whole_blocks { ANY } else { NONE }, nonce_bytes }
}

/// The rules of a mode; `None` where the cipher has none such.
pub(crate) fn of_mode(algorithm: Algorithm, mode: BlockMode) -> Option<&'static ModeRules> {
    MODES.iter().find(|rules| (rules.algorithm, rules.mode) == (algorithm, mode))
}

/// Bits of a curve.
pub(crate) const fn curve_bits(curve: EcCurve) -> u32 {
    match curve {
        EcCurve::P224 => 224,
        EcCurve::P256 | EcCurve::Curve25519 => 256,
        EcCurve::P384 => 384,
        EcCurve::P521 => 521,
    }
}

/// The engine's name of a NIST curve.
pub(crate) const fn nist_curve(curve: EcCurve) -> Option<Curve> {
    match curve {
        EcCurve::P224 => Some(Curve::P224),
        EcCurve::P256 => Some(Curve::P256),
        EcCurve::P384 => Some(Curve::P384),
        EcCurve::P521 => Some(Curve::P521),
        EcCurve::Curve25519 => None,
    }
}

/// The engine's name of a digest.
pub(crate) const fn hash(digest: Digest) -> Option<Hash> {
    match digest {
        Digest::None => None,
        Digest::Md5 => Some(Hash::LegacyMd5),
        Digest::Sha1 => Some(Hash::LegacySha1),
        Digest::Sha2_224 => Some(Hash::Sha224),
        Digest::Sha2_256 => Some(Hash::Sha256),
        Digest::Sha2_384 => Some(Hash::Sha384),
        Digest::Sha2_512 => Some(Hash::Sha512),
    }
}

/// Bits of a digest; 0 for none.
pub(crate) const fn digest_bits(digest: Digest) -> u32 {
    match digest {
        Digest::None => 0,
        Digest::Md5 => 128,
        Digest::Sha1 => 160,
        Digest::Sha2_224 => 224,
        Digest::Sha2_256 => 256,
        Digest::Sha2_384 => 384,
        Digest::Sha2_512 => 512,
    }
}

/// What the engine's key is, of a key that [`creation::check`] let pass.
pub(crate) fn attributes(key: &Authorizations) -> Result<Attributes, ErrorCode> {
    let uses = |purposes: &[KeyPurpose], usage| {
        let any = purposes.iter().any(|purpose| key.purpose.contains(purpose));
        if any { usage } else { Usage::NONE }
    };
    let size = key.key_size.ok_or(ErrorCode::UnsupportedKeySize)?;
    let signs = uses(&[Sign, AttestKey], Usage::SIGN);
    let ciphers = uses(&[Encrypt], Usage::ENCRYPT) | uses(&[Decrypt], Usage::DECRYPT);
    Ok(match key.algorithm.ok_or(ErrorCode::UnsupportedAlgorithm)? {
        Algorithm::Rsa => {
            let decrypts = uses(&[Decrypt, WrapKey], Usage::DECRYPT);
            Attributes::new(rsa(size).ok_or(ErrorCode::UnsupportedKeySize)?, signs | decrypts)
        }
        Algorithm::Ec => {
            let curve = key.ec_curve.ok_or(ErrorCode::UnsupportedEcCurve)?;
            let agrees = uses(&[AgreeKey], Usage::DERIVE);
            match nist_curve(curve) {
                Some(curve) => Attributes::new(KeyType::Ec(curve), signs | agrees),
                None if key.purpose.contains(&AgreeKey) => {
                    Attributes::new(KeyType::X25519, Usage::DERIVE)
                }
                None => Attributes::new(KeyType::Ed25519, signs),
            }
        }
        Algorithm::MlDsa => {
            let key_type = match key.ml_dsa_variant.ok_or(ErrorCode::InvalidArgument)? {
                MlDsaVariant::MlDsa65 => KeyType::MlDsa65,
                MlDsaVariant::MlDsa87 => KeyType::MlDsa87,
            };
            Attributes::new(key_type, signs)
        }
        Algorithm::Aes => Attributes::new(aes(size).ok_or(ErrorCode::UnsupportedKeySize)?, ciphers),
        Algorithm::TripleDes => Attributes::new(KeyType::LegacyTripleDes, ciphers),
        Algorithm::Hmac => {
            let digest = key.digest.first().copied().and_then(hash);
            let hash = digest.ok_or(ErrorCode::UnsupportedDigest)?;
            let bytes = u16::try_from(size / 8).map_err(|_| ErrorCode::UnsupportedKeySize)?;
            Attributes::new(KeyType::Hmac { hash, bytes }, Usage::MAC)
        }
    })
}

const fn rsa(bits: u32) -> Option<KeyType> {
    match bits {
        2048 => Some(KeyType::Rsa2048),
        3072 => Some(KeyType::Rsa3072),
        4096 => Some(KeyType::Rsa4096),
        _ => None,
    }
}

const fn aes(bits: u32) -> Option<KeyType> {
    match bits {
        128 => Some(KeyType::Aes128),
        192 => Some(KeyType::Aes192),
        256 => Some(KeyType::Aes256),
        _ => None,
    }
}
