//! Private keys and what they do: signing, decrypting, agreeing on a secret (SP 800-73-5, part 2,
//! appendix A.3 and A.4).

use super::authenticate::{Ask, response};
use super::slots::{self, Algorithm, PinPolicy, TouchPolicy};
use super::{Answer, Piv};
use crate::presence::TOUCH_WITHIN;
use crate::state::{Key, SecretBytes};
use crypto::hash::Hash;
use crypto::rsa::{self, Floor};
use crypto::{Error, ec};
use iso7816::Status;
use iso7816::tlv;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A private key, parsed.
pub(crate) enum PrivateKey {
    /// RSA.
    Rsa(rsa::PrivateKey),
    /// On a curve.
    Ec(ec::Curve, ec::PrivateKey),
}

impl PrivateKey {
    /// A fresh one.
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        match (algorithm.rsa_bits(), curve(algorithm)) {
            (Some(bits), _) => rsa::PrivateKey::generate(bits).map(Self::Rsa),
            (_, Some(curve)) => ec::PrivateKey::generate(curve).map(|key| Self::Ec(curve, key)),
            (None, None) => Err(Error::MalformedKey),
        }
    }

    /// From what is remembered.
    pub(crate) fn parse(key: &Key) -> Result<Self, Error> {
        match curve(key.algorithm) {
            Some(curve) => ec::PrivateKey::from_pkcs8(&key.pkcs8.0).map(|key| Self::Ec(curve, key)),
            None => rsa::PrivateKey::from_pkcs8(&key.pkcs8.0, Floor::Bits2048).map(Self::Rsa),
        }
    }

    /// As it is remembered.
    pub(crate) fn to_pkcs8(&self) -> Result<SecretBytes, Error> {
        Ok(SecretBytes(match self {
            Self::Rsa(key) => key.to_pkcs8()?,
            Self::Ec(_, key) => key.to_pkcs8()?,
        }))
    }

    /// Its public half as SubjectPublicKeyInfo.
    pub(crate) fn to_spki(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Rsa(key) => key.public().to_spki(),
            Self::Ec(_, key) => key.public().to_spki(),
        }
    }

    /// Its public half as data objects (SP 800-73-5, part 2, table 11): modulus and exponent, or a
    /// point.
    pub(crate) fn public_objects(&self) -> Result<Vec<u8>, Error> {
        Ok(match self {
            Self::Rsa(key) => {
                let (n, e) = key.public().numbers();
                [tlv::object(0x81, &n), tlv::object(0x82, &e)].concat()
            }
            Self::Ec(_, key) => tlv::object(0x86, &key.public().to_point()?),
        })
    }

    /// Signs a message as certificates are signed: the hash that fits the key.
    pub(crate) fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Rsa(key) => {
                let digest = Hash::Sha256.digest(message);
                key.sign(rsa::Signature::Pkcs1(Hash::Sha256), &digest)
            }
            Self::Ec(ec::Curve::P384, key) => key.sign(&Hash::Sha384.digest(message)),
            Self::Ec(_, key) => key.sign(&Hash::Sha256.digest(message)),
        }
    }

    /// The bare operation on a number as long as the modulus, or ECDSA over a digest no longer than
    /// the curve's order.
    fn challenge(&self, data: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        match self {
            Self::Rsa(key) if data.len() == key.public().bytes() => {
                key.sign(rsa::Signature::Bare, data).map(Zeroizing::new)
            }
            Self::Ec(curve, key) if (1..=curve.bytes()).contains(&data.len()) => {
                key.sign(data).map(Zeroizing::new)
            }
            _ => Err(Error::Length),
        }
    }

    /// The x coordinate of the common point.
    fn agree(&self, point: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        match self {
            Self::Ec(curve, key) if point.len() == 1 + 2 * curve.bytes() => {
                key.agree(&ec::PublicKey::from_point(*curve, point)?)
            }
            _ => Err(Error::MalformedKey),
        }
    }
}

/// The curve of an algorithm.
pub(super) const fn curve(algorithm: Algorithm) -> Option<ec::Curve> {
    match algorithm {
        Algorithm::P256 => Some(ec::Curve::P256),
        Algorithm::P384 => Some(ec::Curve::P384),
        _ => None,
    }
}

impl Piv {
    pub(super) fn use_private_key(&mut self, algorithm: u8, slot: u8, ask: &Ask<'_>) -> Answer {
        slots::private(slot)?;
        let key = self.state().keys.get(&slot).ok_or(Status::REFERENCE_NOT_FOUND)?;
        if Algorithm::from_number(algorithm) != Some(key.algorithm) {
            return Err(Status::WRONG_PARAMETERS);
        }
        // What attests is not for signing what others say.
        if slot == slots::ATTESTATION {
            return Err(Status::CONDITIONS_NOT_SATISFIED);
        }
        let (pin, touch) = (key.pin, key.touch);
        self.require_pin(pin)?;
        self.require_touch_by(touch)?;
        let key = self.parsed(slot)?;
        if pin == PinPolicy::Always {
            self.session.pin_fresh = false;
        }
        let outcome = match ask {
            Ask::Challenge(data) => key.challenge(data),
            Ask::Exponentiation(point) => key.agree(point),
        };
        Ok(response(&outcome.map_err(|_| Status::WRONG_DATA)?))
    }

    const fn require_pin(&self, policy: PinPolicy) -> Result<(), Status> {
        let proved = match policy {
            PinPolicy::Never => true,
            PinPolicy::Once => self.session.pin,
            PinPolicy::Always => self.session.pin_fresh,
        };
        if proved { Ok(()) } else { Err(Status::SECURITY_NOT_SATISFIED) }
    }

    fn require_touch_by(&mut self, policy: TouchPolicy) -> Result<(), Status> {
        let now = self.clock.monotonic();
        let recent = self.touched.is_some_and(|at| now.saturating_sub(at) < TOUCH_WITHIN);
        match policy {
            TouchPolicy::Never => Ok(()),
            TouchPolicy::Cached if recent => Ok(()),
            TouchPolicy::Cached | TouchPolicy::Always => self.require_touch(),
        }
    }

    /// The key in a slot, parsed once.
    pub(super) fn parsed(&mut self, slot: u8) -> Result<Arc<PrivateKey>, Status> {
        if let Some(key) = self.parsed.get(&slot) {
            return Ok(key.clone());
        }
        let key = self.state().keys.get(&slot).ok_or(Status::REFERENCE_NOT_FOUND)?;
        let key = Arc::new(PrivateKey::parse(key).map_err(|_| Status::NO_DIAGNOSIS)?);
        self.parsed.insert(slot, key.clone());
        Ok(key)
    }
}
