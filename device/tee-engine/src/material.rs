//! The bytes of a key, in the form that its algorithm takes.

use crate::names::{curve, rsa, symmetric_bytes};
use crate::{failed, parameters};
use crypto::curve25519::{Ed25519, X25519};
use crypto::ml_dsa::{MlDsaKey, Parameters};
use tee_api::TeeError;
use tee_api::engine::KeyType;
use zeroize::Zeroizing;

/// The most bytes of a symmetric key.
const MAX_SYMMETRIC_BYTES: usize = 256;

/// A key's bytes. Key pairs live in AWS-LC's memory, which it wipes when it frees.
pub(crate) enum Material {
    Symmetric(Zeroizing<Vec<u8>>),
    Rsa(crypto::rsa::PrivateKey),
    Ec(crypto::ec::PrivateKey),
    Ed25519(Ed25519),
    X25519(X25519),
    MlDsa(MlDsaKey),
}

/// The parameter set of an ML-DSA key.
pub(crate) const fn ml_dsa(of: KeyType) -> Option<Parameters> {
    match of {
        KeyType::MlDsa65 => Some(Parameters::MlDsa65),
        KeyType::MlDsa87 => Some(Parameters::MlDsa87),
        _ => None,
    }
}

impl Material {
    /// Fresh, from the generator of the facade.
    pub(crate) fn generate(key_type: KeyType) -> Result<Self, TeeError> {
        if let Some(length) = symmetric_length(key_type)? {
            let mut bytes = Zeroizing::new(vec![0; length]);
            crypto::random(&mut bytes);
            return Ok(Self::Symmetric(bytes));
        }
        match key_type {
            KeyType::LegacyRsa1024 => {
                crypto::rsa::PrivateKey::generate_legacy_1024().map(Self::Rsa)
            }
            KeyType::Ec(of) => crypto::ec::PrivateKey::generate(curve(of)).map(Self::Ec),
            KeyType::Ed25519 => Ed25519::generate().map(Self::Ed25519),
            KeyType::X25519 => X25519::generate().map(Self::X25519),
            other => match (ml_dsa(other), rsa(other)) {
                (Some(set), _) => MlDsaKey::generate(set).map(Self::MlDsa),
                (_, Some((bits, _))) => crypto::rsa::PrivateKey::generate(bits).map(Self::Rsa),
                _ => Err(crypto::Error::MalformedKey),
            },
        }
        .map_err(failed)
    }

    /// From bytes: those of a symmetric key, PKCS#8 of a key pair. They must be of just this type.
    pub(crate) fn parse(key_type: KeyType, bytes: &[u8]) -> Result<Self, TeeError> {
        if let Some(length) = symmetric_length(key_type)? {
            if bytes.len() != length {
                return Err(parameters("the key has another length than its type"));
            }
            return Ok(Self::Symmetric(Zeroizing::new(bytes.to_vec())));
        }
        let other = || parameters("the key is of another type");
        match key_type {
            KeyType::Ec(of) => {
                let key = crypto::ec::PrivateKey::from_pkcs8(bytes).map_err(failed)?;
                if key.public().curve() == curve(of) { Ok(Self::Ec(key)) } else { Err(other()) }
            }
            KeyType::Ed25519 => Ed25519::from_pkcs8(bytes).map(Self::Ed25519).map_err(failed),
            KeyType::X25519 => X25519::from_pkcs8(bytes).map(Self::X25519).map_err(failed),
            _ => match (ml_dsa(key_type), rsa(key_type)) {
                (Some(set), _) => MlDsaKey::from_pkcs8(set, bytes).map(Self::MlDsa).map_err(failed),
                (_, Some((bits, floor))) => {
                    let key = crypto::rsa::PrivateKey::from_pkcs8(bytes, floor).map_err(failed)?;
                    if key.public().bits() == bits { Ok(Self::Rsa(key)) } else { Err(other()) }
                }
                _ => Err(other()),
            },
        }
    }

    /// In the form of [`Material::parse`].
    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, TeeError> {
        match self {
            Self::Symmetric(bytes) => Ok(bytes.clone()),
            Self::Rsa(key) => key.to_pkcs8().map_err(failed),
            Self::Ec(key) => key.to_pkcs8().map_err(failed),
            Self::Ed25519(key) => key.to_pkcs8().map_err(failed),
            Self::X25519(key) => key.to_pkcs8().map_err(failed),
            Self::MlDsa(key) => Ok(Zeroizing::new(key.to_pkcs8().to_vec())),
        }
    }
}

/// Bytes of a symmetric key of this type; lengths that a caller chose have their limits.
pub(crate) fn symmetric_length(key_type: KeyType) -> Result<Option<usize>, TeeError> {
    match symmetric_bytes(key_type) {
        Some(bytes) if !(1..=MAX_SYMMETRIC_BYTES).contains(&bytes) => {
            Err(parameters("a key has 1 to 256 bytes"))
        }
        bytes => Ok(bytes),
    }
}
