//! Keys on their way: under another key, or in storage.
//!
//! A sealed key is AES-GCM over CBOR of its attributes, origin and bytes: whoever opens it gets
//! just the key that was sealed. AES key wrap (RFC 5649) carries bare bytes, so it takes none
//! that the TA may not have anyway.

use crate::key::Key;
use crate::material::Material;
use crate::{denied, failed, parameters};
use crypto::aead;
use crypto::keywrap::WrappingKey;
use crypto::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};
use tee_api::TeeError;
use tee_api::engine::{Attributes, KeyType, Origin, Usage, Wrapping};
use zeroize::{Zeroize, Zeroizing};

/// In front of the associated data of a key under another key.
const WRAPPED: &[u8] = b"holdfast wrapped key 1";
/// In front of the name of a key in storage.
const STORED: &[u8] = b"holdfast stored key 1";

#[derive(Serialize)]
struct Content<'key> {
    attributes: Attributes,
    origin: Origin,
    engine_only: bool,
    material: &'key Bytes,
}

#[derive(Deserialize)]
struct OpenContent {
    attributes: Attributes,
    origin: Origin,
    engine_only: bool,
    material: ByteBuf,
}

impl Drop for OpenContent {
    fn drop(&mut self) {
        self.material.zeroize();
    }
}

impl Key {
    /// `key` under this one.
    pub fn wrap(&self, key: &Self, wrapping: &Wrapping) -> Result<Vec<u8>, TeeError> {
        self.allow(Usage::WRAP)?;
        let extractable = key.attributes.usage.contains(Usage::EXTRACTABLE);
        if !extractable && !self.engine_only {
            return Err(denied(
                "the trusted application may know this wrapping key: it takes extractable keys only",
            ));
        }
        match wrapping {
            Wrapping::AesGcm { associated } => {
                seal(&self.aead()?, key, &[WRAPPED, associated].concat())
            }
            Wrapping::AesKwp => {
                key.allow(Usage::EXTRACTABLE)?;
                let bytes = key.material.to_bytes()?;
                self.key_wrap()?.wrap_padded(&bytes).map_err(failed)
            }
        }
    }

    /// What [`Key::wrap`] made. `attributes` are for [`Wrapping::AesKwp`], whose keys count as
    /// imported.
    pub fn unwrap(
        &self,
        wrapped: &[u8],
        wrapping: &Wrapping,
        attributes: Option<Attributes>,
    ) -> Result<Self, TeeError> {
        self.allow(Usage::UNWRAP)?;
        match (wrapping, attributes) {
            (Wrapping::AesGcm { associated }, None) => {
                open(&self.aead()?, wrapped, &[WRAPPED, associated].concat())
            }
            (Wrapping::AesKwp, Some(attributes)) => {
                let bytes = self.key_wrap()?.unwrap_padded(wrapped).map_err(failed)?;
                Self::import(attributes, &bytes)
            }
            _ => Err(parameters("attributes come with AES key wrap, and with it only")),
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.material {
            Material::Symmetric(bytes) => bytes,
            _ => &[],
        }
    }

    fn aead(&self) -> Result<aead::Key, TeeError> {
        let other = || parameters("keys travel under AES-128 or AES-256");
        match self.attributes.key_type {
            KeyType::Aes128 => self.bytes().try_into().map(aead::Key::aes_128_gcm),
            KeyType::Aes256 => self.bytes().try_into().map(aead::Key::aes_256_gcm),
            _ => return Err(other()),
        }
        .map_err(|_| other())
    }

    fn key_wrap(&self) -> Result<WrappingKey, TeeError> {
        WrappingKey::new(self.bytes()).map_err(failed)
    }
}

/// As storage may keep it under `name`.
pub(crate) fn store(root: &Secret<32>, key: &Key, name: &str) -> Result<Vec<u8>, TeeError> {
    let under = aead::Key::aes_256_gcm(root.expose());
    seal(&under, key, &[STORED, name.as_bytes()].concat())
}

/// What [`store`] made.
pub(crate) fn load(root: &Secret<32>, sealed: &[u8], name: &str) -> Result<Key, TeeError> {
    let under = aead::Key::aes_256_gcm(root.expose());
    open(&under, sealed, &[STORED, name.as_bytes()].concat())
}

fn seal(under: &aead::Key, key: &Key, associated: &[u8]) -> Result<Vec<u8>, TeeError> {
    let material = key.material.to_bytes()?;
    // Large enough from the start: a vector that grows leaves copies behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(material.len() + 256));
    let content = Content {
        attributes: key.attributes,
        origin: key.origin,
        engine_only: key.engine_only,
        material: Bytes::new(&material),
    };
    ciborium::into_writer(&content, &mut *plaintext)
        .map_err(|error| TeeError::Resources(error.to_string()))?;
    Ok(under.seal(associated, &plaintext))
}

/// Whatever is wrong with it, the answer is the same.
fn open(under: &aead::Key, sealed: &[u8], associated: &[u8]) -> Result<Key, TeeError> {
    let invalid = || {
        TeeError::Security(
            "this is no key that was wrapped here: it was altered, or it belongs to another \
             device, another trusted application or another state"
                .into(),
        )
    };
    let plaintext = under.open(associated, sealed).map(Zeroizing::new).map_err(|_| invalid())?;
    let mut rest = &plaintext[..];
    let content: OpenContent = ciborium::from_reader(&mut rest).map_err(|_| invalid())?;
    if !rest.is_empty() {
        return Err(invalid());
    }
    let material =
        Material::parse(content.attributes.key_type, &content.material).map_err(|_| invalid())?;
    Ok(Key {
        attributes: content.attributes,
        origin: content.origin,
        engine_only: content.engine_only,
        material,
    })
}
