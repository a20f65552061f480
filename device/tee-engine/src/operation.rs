//! Operations: begun with a key, fed in pieces, finished once.

use crate::key::Key;
use crate::material::Material;
use crate::names::{hash, padding};
use crate::public::{PublicKey, rsa_encryption, rsa_signature};
use crate::{failed, parameters};
use crypto::cipher::{self, Direction, Gcm, Mode, Stream};
use crypto::hash::{Digest, Hasher};
use crypto::mac::{Cmac, Hmac};
use std::sync::Arc;
use tee_api::TeeError;
use tee_api::engine::{Cipher, Hash, Input, KeyType, Operation, Scheme, Usage};

/// The most bytes of a GCM nonce.
const MAX_NONCE_BYTES: usize = 128;

/// An operation in progress. A refusal ends it: what comes after is refused too.
pub struct Running(Work);

enum Work {
    Digest(Hasher),
    Mac(Mac),
    VerifyMac(Mac),
    Stream(Stream),
    Seal(Gcm, usize),
    Open(Gcm, usize),
    Sign(Arc<Key>, Scheme, Message),
    Verify(Arc<Key>, Scheme, Message),
    Encrypt(Arc<Key>, Cipher),
    Decrypt(Arc<Key>, Cipher),
}

enum Mac {
    Hmac(Hmac),
    Cmac(Cmac),
}

/// What a signature is over.
enum Message {
    /// Hashed as it comes.
    Hashed(Hasher),
    /// One piece; of a digest its length is known.
    Whole(Option<usize>),
}

impl Running {
    /// Begins. Key type, usage, lengths of vectors, nonces and tags are checked here.
    pub fn begin(key: Option<&Arc<Key>>, operation: &Operation) -> Result<Self, TeeError> {
        let key = match (key, operation) {
            (None, Operation::Digest(of)) => return Ok(Self(Work::Digest(Hasher::new(hash(*of))))),
            (Some(key), _) => key,
            (None, _) => return Err(parameters("the operation needs a key")),
        };
        key.allow(match operation {
            Operation::Digest(_) => return Err(parameters("a digest takes no key")),
            Operation::Mac => Usage::MAC,
            Operation::VerifyMac | Operation::Verify(_) => Usage::VERIFY,
            Operation::Encrypt(_) => Usage::ENCRYPT,
            Operation::Decrypt(_) => Usage::DECRYPT,
            Operation::Sign(_) => Usage::SIGN,
        })?;
        Ok(Self(match operation {
            Operation::Digest(_) => unreachable!("refused above"),
            Operation::Mac => Work::Mac(Mac::new(key)?),
            Operation::VerifyMac => Work::VerifyMac(Mac::new(key)?),
            Operation::Encrypt(with) => cipher_work(key, with, Direction::Encrypt)?,
            Operation::Decrypt(with) => cipher_work(key, with, Direction::Decrypt)?,
            Operation::Sign(scheme) => {
                Work::Sign(Arc::clone(key), *scheme, Message::of(key, *scheme)?)
            }
            Operation::Verify(scheme) => {
                Work::Verify(Arc::clone(key), *scheme, Message::of(key, *scheme)?)
            }
        }))
    }

    /// How long the tag is that a decryption with GCM checks.
    pub(crate) const fn tag_bytes_to_check(&self) -> Option<usize> {
        match &self.0 {
            Work::Open(_, bytes) => Some(*bytes),
            _ => None,
        }
    }

    /// Appends to GCM's associated data, before any text.
    pub fn associate(&mut self, data: &[u8]) -> Result<(), TeeError> {
        match &mut self.0 {
            Work::Seal(gcm, _) | Work::Open(gcm, _) => gcm
                .associate(data)
                .map_err(|_| TeeError::BadState("associated data comes before the text".into())),
            _ => Err(parameters("only GCM takes associated data")),
        }
    }

    /// Takes a piece; appends what comes out to `out`. What comes out of a GCM decryption is not
    /// checked yet: nobody may act on it before [`Running::finish`] agreed.
    pub fn update(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), TeeError> {
        match &mut self.0 {
            Work::Digest(hasher)
            | Work::Sign(_, _, Message::Hashed(hasher))
            | Work::Verify(_, _, Message::Hashed(hasher)) => hasher.update(data),
            Work::Mac(mac) | Work::VerifyMac(mac) => mac.update(data),
            Work::Stream(stream) => stream.update(data, out).map_err(failed)?,
            Work::Seal(gcm, _) | Work::Open(gcm, _) => gcm.update(data, out).map_err(failed)?,
            Work::Sign(..) | Work::Verify(..) | Work::Encrypt(..) | Work::Decrypt(..) => {
                return Err(TeeError::BadState(
                    "this takes its input in one piece, at the end".into(),
                ));
            }
        }
        Ok(())
    }

    /// Takes the last piece and ends. `tag` is what is checked: a MAC, a signature, GCM's tag;
    /// whatever checks needs one, whatever does not takes none.
    pub fn finish(
        mut self,
        data: &[u8],
        tag: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), TeeError> {
        let whole = matches!(
            &self.0,
            Work::Sign(_, _, Message::Whole(_))
                | Work::Verify(_, _, Message::Whole(_))
                | Work::Encrypt(..)
                | Work::Decrypt(..)
        );
        if !whole {
            self.update(data, out)?;
        }
        match (self.0, tag) {
            (Work::Digest(hasher), None) => out.extend_from_slice(&hasher.finish()),
            (Work::Mac(mac), None) => out.extend_from_slice(&mac.finish()),
            (Work::VerifyMac(mac), Some(tag)) => verify_mac(&mac.finish(), tag)?,
            (Work::Stream(stream), None) => stream.finish(out).map_err(failed)?,
            (Work::Seal(gcm, bytes), None) => {
                out.extend_from_slice(&gcm.tag().map_err(failed)?[..bytes]);
            }
            (Work::Open(gcm, bytes), Some(tag)) if tag.len() == bytes => {
                gcm.verify(tag).map_err(failed)?;
            }
            (Work::Open(..), Some(_)) => return Err(parameters("the tag has another length")),
            (Work::Sign(key, scheme, message), None) => {
                out.extend(sign(&key, scheme, &message.end(data)?)?);
            }
            (Work::Verify(key, scheme, message), Some(signature)) => {
                PublicKey::of(&key)?.verify(scheme, &message.end(data)?, signature)?;
            }
            (Work::Encrypt(key, with), None) => {
                out.extend(PublicKey::of(&key)?.encrypt(&with, data)?)
            }
            (Work::Decrypt(key, with), None) => out.extend_from_slice(&decrypt(&key, &with, data)?),
            (_, None) => return Err(parameters("what is to be checked is missing")),
            (_, Some(_)) => return Err(parameters("nothing is checked here")),
        }
        Ok(())
    }
}

impl Mac {
    fn new(key: &Key) -> Result<Self, TeeError> {
        match (key.attributes.key_type, &key.material) {
            (KeyType::Hmac { hash: of, .. }, Material::Symmetric(bytes)) => {
                Hmac::new(hash(of), bytes).map(Self::Hmac).map_err(failed)
            }
            _ => Cmac::new(&block_key(key)?).map(Self::Cmac).map_err(failed),
        }
    }

    fn update(&mut self, data: &[u8]) {
        match self {
            Self::Hmac(mac) => mac.update(data),
            Self::Cmac(mac) => mac.update(data),
        }
    }

    fn finish(self) -> Digest {
        match self {
            Self::Hmac(mac) => mac.finish(),
            Self::Cmac(mac) => mac.finish(),
        }
    }
}

/// A shortened tag counts where it has at least half of the whole one's bytes (RFC 2104, 5).
fn verify_mac(whole: &[u8], tag: &[u8]) -> Result<(), TeeError> {
    if !(whole.len().div_ceil(2)..=whole.len()).contains(&tag.len()) {
        return Err(parameters("a MAC has at least half of its bytes, and no more than all"));
    }
    if crypto::constant_time_eq(&whole[..tag.len()], tag) {
        Ok(())
    } else {
        Err(failed(crypto::Error::Authentication))
    }
}

/// The key of a block cipher.
fn block_key(key: &Key) -> Result<cipher::Key, TeeError> {
    let other = || parameters("the key is not one of a block cipher");
    let Material::Symmetric(bytes) = &key.material else { return Err(other()) };
    match key.attributes.key_type {
        KeyType::LegacyTripleDes => {
            let bytes = bytes[..].try_into().map_err(|_| other())?;
            Ok(cipher::Key::legacy_triple_des(bytes))
        }
        KeyType::Aes128 | KeyType::Aes192 | KeyType::Aes256 => {
            cipher::Key::aes(bytes).map_err(failed)
        }
        _ => Err(other()),
    }
}

fn cipher_work(key: &Arc<Key>, with: &Cipher, direction: Direction) -> Result<Work, TeeError> {
    let mode = match with {
        Cipher::Ecb(of) => Mode::Ecb(padding(*of)),
        Cipher::Cbc { iv, padding: of } => Mode::Cbc(iv, padding(*of)),
        Cipher::Ctr { counter } => Mode::Ctr(counter),
        Cipher::Gcm { nonce, tag_bytes } => return gcm(key, nonce, *tag_bytes, direction),
        Cipher::RsaOaep { .. } | Cipher::LegacyRsaPkcs1 | Cipher::RsaBare => {
            if !matches!(key.material, Material::Rsa(_)) {
                return Err(parameters("the key is not one of RSA"));
            }
            let (key, with) = (Arc::clone(key), with.clone());
            return Ok(match direction {
                Direction::Encrypt => Work::Encrypt(key, with),
                Direction::Decrypt => Work::Decrypt(key, with),
            });
        }
    };
    Stream::new(&block_key(key)?, direction, mode).map(Work::Stream).map_err(failed)
}

fn gcm(key: &Key, nonce: &[u8], tag_bytes: u8, direction: Direction) -> Result<Work, TeeError> {
    if !(12..=16).contains(&tag_bytes) || !(1..=MAX_NONCE_BYTES).contains(&nonce.len()) {
        return Err(parameters("GCM takes a nonce of 1 to 128 bytes and a tag of 12 to 16"));
    }
    let gcm = Gcm::new(&block_key(key)?, direction, nonce).map_err(failed)?;
    Ok(match direction {
        Direction::Encrypt => Work::Seal(gcm, tag_bytes.into()),
        Direction::Decrypt => Work::Open(gcm, tag_bytes.into()),
    })
}

impl Message {
    /// What the scheme takes, where `key` is one of it.
    fn of(key: &Key, scheme: Scheme) -> Result<Self, TeeError> {
        let fits = match scheme {
            Scheme::Ecdsa { .. } | Scheme::EcdsaBare => matches!(key.material, Material::Ec(_)),
            Scheme::Ed25519 => matches!(key.material, Material::Ed25519(_)),
            Scheme::MlDsa => matches!(key.material, Material::MlDsa(_)),
            _ => matches!(key.material, Material::Rsa(_)),
        };
        if !fits {
            return Err(parameters("the key is not one of this scheme"));
        }
        Ok(match scheme {
            Scheme::RsaPkcs1 { hash, input }
            | Scheme::RsaPss { hash, input, .. }
            | Scheme::Ecdsa { hash, input } => Self::hashed(hash, input),
            Scheme::RsaPkcs1Bare
            | Scheme::RsaBare
            | Scheme::EcdsaBare
            | Scheme::Ed25519
            | Scheme::MlDsa => Self::Whole(None),
        })
    }

    fn hashed(of: Hash, input: Input) -> Self {
        match input {
            Input::Message => Self::Hashed(Hasher::new(hash(of))),
            Input::Digest => Self::Whole(Some(hash(of).bytes())),
        }
    }

    /// What is signed: the digest of what came, or the one piece.
    fn end(self, data: &[u8]) -> Result<Vec<u8>, TeeError> {
        match self {
            Self::Hashed(hasher) => Ok(hasher.finish().to_vec()),
            Self::Whole(Some(bytes)) if bytes != data.len() => {
                Err(parameters("the digest has another length than its hash function"))
            }
            Self::Whole(_) => Ok(data.to_vec()),
        }
    }
}

fn sign(key: &Key, scheme: Scheme, input: &[u8]) -> Result<Vec<u8>, TeeError> {
    match (&key.material, rsa_signature(scheme)) {
        (Material::Rsa(key), Some(how)) => key.sign(how, input),
        (Material::Ec(key), None) => key.sign(input),
        (Material::Ed25519(key), None) => key.sign(input).map(|signature| signature.to_vec()),
        (Material::MlDsa(key), None) => key.sign(input),
        _ => return Err(parameters("the key is not one of this scheme")),
    }
    .map_err(failed)
}

fn decrypt(key: &Key, with: &Cipher, text: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, TeeError> {
    match (&key.material, rsa_encryption(with)) {
        (Material::Rsa(key), Some(how)) => key.decrypt(how, text).map_err(failed),
        _ => Err(parameters("the key is not one of this cipher")),
    }
}
