//! Public halves: what verifies and encrypts, and is no secret.

use crate::key::{Key, curve_of};
use crate::material::{Material, ml_dsa};
use crate::names::{hash, rsa};
use crate::{failed, parameters};
use crypto::curve25519;
use crypto::ml_dsa::Parameters;
use crypto::rsa::{Encryption, Signature};
use tee_api::TeeError;
use tee_api::engine::{Cipher, KeyType, Scheme};

/// A public key that verifies or encrypts.
pub struct PublicKey(Half);

enum Half {
    Rsa(crypto::rsa::PublicKey),
    Ec(crypto::ec::PublicKey),
    Ed25519([u8; curve25519::PUBLIC_BYTES]),
    MlDsa(Parameters, Vec<u8>),
}

/// How the facade signs with RSA.
pub(crate) fn rsa_signature(scheme: Scheme) -> Option<Signature> {
    Some(match scheme {
        Scheme::RsaPkcs1 { hash: of, .. } => Signature::Pkcs1(hash(of)),
        Scheme::RsaPkcs1Bare => Signature::Pkcs1Bare,
        Scheme::RsaPss { hash: of, mask, salt_bytes, .. } => {
            Signature::Pss { hash: hash(of), mask: hash(mask), salt: salt_bytes.into() }
        }
        Scheme::RsaBare => Signature::Bare,
        _ => return None,
    })
}

/// How the facade encrypts with RSA.
pub(crate) fn rsa_encryption(cipher: &Cipher) -> Option<Encryption<'_>> {
    Some(match cipher {
        Cipher::RsaOaep { hash: of, mask, label } => {
            Encryption::Oaep { hash: hash(*of), mask: hash(*mask), label }
        }
        Cipher::LegacyRsaPkcs1 => Encryption::LegacyPkcs1,
        Cipher::RsaBare => Encryption::Bare,
        _ => return None,
    })
}

impl PublicKey {
    /// From SubjectPublicKeyInfo, of ML-DSA from the raw key.
    pub fn parse(key_type: KeyType, bytes: &[u8]) -> Result<Self, TeeError> {
        let other = || parameters("the public key is of another type");
        let half = match (key_type, rsa(key_type), curve_of(key_type), ml_dsa(key_type)) {
            (_, Some((bits, floor)), ..) => {
                let key = crypto::rsa::PublicKey::from_spki(bytes, floor).map_err(failed)?;
                if key.bits() != bits {
                    return Err(other());
                }
                Half::Rsa(key)
            }
            (_, _, Some(curve), _) => {
                let key = crypto::ec::PublicKey::from_spki(bytes).map_err(failed)?;
                if key.curve() != curve {
                    return Err(other());
                }
                Half::Ec(key)
            }
            (_, _, _, Some(set)) if bytes.len() == set.public_key_bytes() => {
                Half::MlDsa(set, bytes.to_vec())
            }
            (KeyType::Ed25519, ..) => {
                Half::Ed25519(curve25519::ed25519_from_spki(bytes).map_err(failed)?)
            }
            _ => return Err(other()),
        };
        Ok(Self(half))
    }

    pub(crate) fn of(key: &Key) -> Result<Self, TeeError> {
        Self::parse(key.attributes.key_type, &encode(key)?)
    }

    /// Checks a signature over `input`: the message's digest where the scheme hashes, else the
    /// message.
    pub(crate) fn verify(
        &self,
        scheme: Scheme,
        input: &[u8],
        signature: &[u8],
    ) -> Result<(), TeeError> {
        match (&self.0, scheme, rsa_signature(scheme)) {
            (Half::Rsa(key), _, Some(how)) => key.verify(how, input, signature),
            (Half::Ec(key), Scheme::Ecdsa { .. } | Scheme::EcdsaBare, _) => {
                key.verify(input, signature)
            }
            (Half::Ed25519(key), Scheme::Ed25519, _) => {
                curve25519::ed25519_verify(key, input, signature)
            }
            (Half::MlDsa(set, key), Scheme::MlDsa, _) => {
                crypto::ml_dsa::verify(*set, key, input, signature)
            }
            _ => return Err(parameters("the key is not one of this scheme")),
        }
        .map_err(failed)
    }

    /// Encrypts a short text with RSA.
    pub(crate) fn encrypt(&self, cipher: &Cipher, text: &[u8]) -> Result<Vec<u8>, TeeError> {
        match (&self.0, rsa_encryption(cipher)) {
            (Half::Rsa(key), Some(how)) => key.encrypt(how, text).map_err(failed),
            _ => Err(parameters("the key is not one of this cipher")),
        }
    }
}

/// A key pair's public half: SubjectPublicKeyInfo, of ML-DSA the raw key.
pub(crate) fn encode(key: &Key) -> Result<Vec<u8>, TeeError> {
    match &key.material {
        Material::Symmetric(_) => return Err(parameters("a symmetric key has no public half")),
        Material::Rsa(key) => key.public().to_spki(),
        Material::Ec(key) => key.public().to_spki(),
        Material::Ed25519(key) => key.to_spki(),
        Material::X25519(key) => key.to_spki(),
        Material::MlDsa(key) => Ok(key.public_key().to_vec()),
    }
    .map_err(failed)
}
