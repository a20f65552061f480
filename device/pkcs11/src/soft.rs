//! Keys in this process: those of session objects, which live no longer than the session.

use crate::error::{Result, Rv, ensure, fail};
use crate::key::{Algorithm, Key, Mode, Operation, Stream};
use crypto::cipher::{self, Direction, Gcm, Padding};
use crypto::curve25519::{Ed25519, X25519, x25519_from_spki};
use crypto::hash::Hash;
use crypto::mac::Hmac;
use crypto::rsa::{Encryption, Floor, Signature};
use crypto::{ec, rsa};
use cryptoki_sys::*;
use zeroize::Zeroizing;

/// A key in this process.
pub struct SoftKey {
    material: Material,
    /// PKCS #8 DER of a private key, the bytes of a secret one.
    value: Zeroizing<Vec<u8>>,
}

enum Material {
    Rsa(rsa::PrivateKey),
    Ec(ec::PrivateKey),
    Ed25519(Ed25519),
    X25519(X25519),
    Cipher(cipher::Key),
    Hmac,
}

impl SoftKey {
    /// A fresh key.
    pub fn generate(algorithm: Algorithm) -> Result<Self> {
        let value = match algorithm {
            Algorithm::Rsa(1024) => rsa::PrivateKey::generate_legacy_1024()?.to_pkcs8()?,
            Algorithm::Rsa(bits) => rsa::PrivateKey::generate(bits)?.to_pkcs8()?,
            Algorithm::Ec(curve) => ec::PrivateKey::generate(curve)?.to_pkcs8()?,
            Algorithm::Ed25519 => Ed25519::generate()?.to_pkcs8()?,
            Algorithm::X25519 => X25519::generate()?.to_pkcs8()?,
            Algorithm::TripleDes => random(24),
            Algorithm::Aes(bytes) | Algorithm::Hmac(_, bytes) => random(bytes),
        };
        Self::import(algorithm, &value)
    }

    /// A key that exists: PKCS #8 DER of a private key, the bytes of a secret one.
    pub fn import(algorithm: Algorithm, value: &[u8]) -> Result<Self> {
        let material = match algorithm {
            Algorithm::Rsa(_) => {
                Material::Rsa(rsa::PrivateKey::from_pkcs8(value, Floor::Legacy1024)?)
            }
            Algorithm::Ec(_) => Material::Ec(ec::PrivateKey::from_pkcs8(value)?),
            Algorithm::Ed25519 => Material::Ed25519(Ed25519::from_pkcs8(value)?),
            Algorithm::X25519 => Material::X25519(X25519::from_pkcs8(value)?),
            Algorithm::Aes(_) => Material::Cipher(cipher::Key::aes(value)?),
            Algorithm::TripleDes => {
                let bytes = value.try_into().map_err(|_| Rv(CKR_KEY_SIZE_RANGE))?;
                Material::Cipher(cipher::Key::legacy_triple_des(bytes))
            }
            Algorithm::Hmac(..) => Material::Hmac,
        };
        Ok(Self { material, value: Zeroizing::new(value.to_vec()) })
    }

    /// SubjectPublicKeyInfo DER of the public half; `None` for secret keys.
    pub fn public(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(match &self.material {
            Material::Rsa(key) => key.public().to_spki()?,
            Material::Ec(key) => key.public().to_spki()?,
            Material::Ed25519(key) => key.to_spki()?,
            Material::X25519(key) => key.to_spki()?,
            Material::Cipher(_) | Material::Hmac => return Ok(None),
        }))
    }
}

fn random(bytes: usize) -> Zeroizing<Vec<u8>> {
    let mut value = Zeroizing::new(vec![0; bytes]);
    crypto::random(&mut value);
    value
}

impl Key for SoftKey {
    fn perform(&self, operation: &Operation, input: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let out = match (&self.material, operation) {
            (Material::Rsa(key), Operation::RsaSignPkcs1) => {
                key.sign(Signature::Pkcs1Bare, input)?
            }
            (Material::Rsa(key), Operation::RsaSignBare) => key.sign(Signature::Bare, input)?,
            (Material::Rsa(key), Operation::RsaDecryptPkcs1) => {
                return Ok(key.decrypt(Encryption::LegacyPkcs1, input)?);
            }
            (Material::Rsa(key), Operation::RsaDecryptBare) => {
                return Ok(key.decrypt(Encryption::Bare, input)?);
            }
            (Material::Ec(key), Operation::Ecdsa) => {
                ec::to_fixed(key.public().curve(), &key.sign(input)?)?
            }
            (Material::Ec(key), Operation::Agree) => {
                return Ok(key.agree(&ec::PublicKey::from_spki(input)?)?);
            }
            (Material::X25519(key), Operation::Agree) => {
                return Ok(key.agree(&x25519_from_spki(input)?)?);
            }
            (Material::Ed25519(key), Operation::Ed25519) => key.sign(input)?.to_vec(),
            _ => {
                let mut out = Vec::new();
                self.begin(operation)?.finish(input, &mut out)?;
                out
            }
        };
        Ok(Zeroizing::new(out))
    }

    fn begin(&self, operation: &Operation) -> Result<Box<dyn Stream>> {
        match (&self.material, operation) {
            (Material::Hmac, Operation::Hmac(hash)) => hmac(*hash, &self.value),
            (Material::Cipher(key), Operation::Cipher { direction, mode }) => {
                cipher(key, *direction, mode)
            }
            _ => fail(CKR_KEY_TYPE_INCONSISTENT),
        }
    }

    fn value(&self) -> Option<&[u8]> {
        Some(&self.value)
    }
}

fn hmac(hash: Hash, key: &[u8]) -> Result<Box<dyn Stream>> {
    Ok(Box::new(Mac(Hmac::new(hash, key)?)))
}

struct Mac(Hmac);

impl Stream for Mac {
    fn update(&mut self, input: &[u8], _: &mut Vec<u8>) -> Result<()> {
        self.0.update(input);
        Ok(())
    }

    fn finish(mut self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.0.update(input);
        out.extend_from_slice(&self.0.finish());
        Ok(())
    }
}

fn cipher(key: &cipher::Key, direction: Direction, mode: &Mode) -> Result<Box<dyn Stream>> {
    let mode = match mode {
        Mode::Ecb => cipher::Mode::Ecb(Padding::None),
        Mode::Cbc { iv, padded: true } => cipher::Mode::Cbc(iv, Padding::Pkcs7),
        Mode::Cbc { iv, padded: false } => cipher::Mode::Cbc(iv, Padding::None),
        Mode::Ctr { iv } => cipher::Mode::Ctr(iv),
        Mode::Gcm { iv, aad, tag_bytes } => {
            let mut gcm = Gcm::new(key, direction, iv)?;
            gcm.associate(aad)?;
            let tag_bytes = *tag_bytes;
            return Ok(match direction {
                Direction::Encrypt => Box::new(Seal { gcm, tag_bytes }),
                Direction::Decrypt => Box::new(Open { gcm, tag_bytes, held: Vec::new() }),
            });
        }
    };
    Ok(Box::new(Blocks(cipher::Stream::new(key, direction, mode)?)))
}

struct Blocks(cipher::Stream);

impl Stream for Blocks {
    fn update(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        Ok(self.0.update(input, out)?)
    }

    fn finish(mut self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.0.update(input, out)?;
        Ok(self.0.finish(out)?)
    }
}

struct Seal {
    gcm: Gcm,
    tag_bytes: usize,
}

impl Stream for Seal {
    fn update(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        Ok(self.gcm.update(input, out)?)
    }

    fn finish(mut self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.gcm.update(input, out)?;
        out.extend_from_slice(&self.gcm.tag()?[..self.tag_bytes]);
        Ok(())
    }
}

struct Open {
    gcm: Gcm,
    tag_bytes: usize,
    /// What may be the tag.
    held: Vec<u8>,
}

impl Stream for Open {
    fn update(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.held.extend_from_slice(input);
        let text = self.held.len().saturating_sub(self.tag_bytes);
        let tag = self.held.split_off(text);
        let text = std::mem::replace(&mut self.held, tag);
        Ok(self.gcm.update(&text, out)?)
    }

    fn finish(mut self: Box<Self>, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.update(input, out)?;
        ensure(self.held.len() == self.tag_bytes, CKR_ENCRYPTED_DATA_LEN_RANGE)?;
        let Self { gcm, held, .. } = *self;
        Ok(gcm.verify(&held)?)
    }
}
