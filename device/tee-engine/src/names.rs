//! The messages' names of algorithms, as the facade has them.

use tee_api::engine::{Curve, Hash, KeyType, Padding, Usage};

pub(crate) const fn hash(of: Hash) -> crypto::hash::Hash {
    use crypto::hash::Hash as Ours;
    match of {
        Hash::LegacyMd5 => Ours::LegacyMd5,
        Hash::LegacySha1 => Ours::LegacySha1,
        Hash::Sha224 => Ours::Sha224,
        Hash::Sha256 => Ours::Sha256,
        Hash::Sha384 => Ours::Sha384,
        Hash::Sha512 => Ours::Sha512,
        Hash::Sha512_224 => Ours::Sha512_224,
        Hash::Sha512_256 => Ours::Sha512_256,
    }
}

pub(crate) const fn curve(of: Curve) -> crypto::ec::Curve {
    use crypto::ec::Curve as Ours;
    match of {
        Curve::P224 => Ours::P224,
        Curve::P256 => Ours::P256,
        Curve::P384 => Ours::P384,
        Curve::P521 => Ours::P521,
        Curve::Secp256k1 => Ours::Secp256k1,
    }
}

pub(crate) const fn padding(of: Padding) -> crypto::cipher::Padding {
    match of {
        Padding::None => crypto::cipher::Padding::None,
        Padding::Pkcs7 => crypto::cipher::Padding::Pkcs7,
    }
}

/// Bytes of a symmetric key; `None` of a key pair.
pub(crate) fn symmetric_bytes(of: KeyType) -> Option<usize> {
    match of {
        KeyType::Aes128 => Some(16),
        KeyType::Aes192 | KeyType::LegacyTripleDes => Some(24),
        KeyType::Aes256 => Some(32),
        KeyType::Hmac { bytes, .. } | KeyType::Secret { bytes } => Some(bytes.into()),
        _ => None,
    }
}

/// Bits and floor of an RSA key.
pub(crate) const fn rsa(of: KeyType) -> Option<(u32, crypto::rsa::Floor)> {
    use crypto::rsa::Floor::{Bits2048, Legacy1024};
    match of {
        KeyType::LegacyRsa1024 => Some((1024, Legacy1024)),
        KeyType::Rsa2048 => Some((2048, Bits2048)),
        KeyType::Rsa3072 => Some((3072, Bits2048)),
        KeyType::Rsa4096 => Some((4096, Bits2048)),
        _ => None,
    }
}

/// What a key of this type can be used for at all.
pub(crate) fn possible_usage(of: KeyType) -> Usage {
    let ciphers = Usage::ENCRYPT | Usage::DECRYPT;
    let macs = Usage::MAC | Usage::VERIFY;
    let signatures = Usage::SIGN | Usage::VERIFY;
    let usage = match of {
        KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => {
            ciphers | macs | Usage::WRAP | Usage::UNWRAP
        }
        KeyType::LegacyTripleDes => ciphers | macs,
        KeyType::Hmac { .. } => macs,
        KeyType::Secret { .. } | KeyType::X25519 => Usage::DERIVE,
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 | KeyType::LegacyRsa1024 => {
            signatures | ciphers
        }
        KeyType::Ec(_) => signatures | Usage::DERIVE,
        KeyType::Ed25519 | KeyType::MlDsa65 | KeyType::MlDsa87 => signatures,
    };
    usage | Usage::EXTRACTABLE
}
