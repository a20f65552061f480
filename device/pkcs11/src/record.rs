//! What is kept of objects beside their keys: CBOR. Attributes of private objects are encrypted
//! under the token's secret, which only a PIN gives.

use crate::attributes::Attributes;
use crate::error::{Result, Rv};
use crate::token::TokenSecret;
use crypto::aead;
use cryptoki_sys::*;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What the sealed form is bound to.
const CONTEXT: &[u8] = b"holdfast pkcs11 object v1";

/// The objects of an entry: one, or the two halves of a key pair.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) objects: Vec<Part>,
}

/// An object.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// A public one.
    Open(Attributes),
    /// A private one.
    Sealed(ByteBuf),
    /// One that was destroyed while the other half stays.
    Gone,
}

impl Record {
    /// Of these objects.
    pub(crate) fn of(objects: &[Attributes], secret: Option<&TokenSecret>) -> Result<Self> {
        let parts = objects.iter().map(|attributes| Part::of(attributes, secret));
        Ok(Self { objects: parts.collect::<Result<_>>()? })
    }

    /// As bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        encode(self)
    }

    /// From bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        decode(bytes)
    }
}

impl Part {
    /// An object, sealed if it is private.
    pub(crate) fn of(attributes: &Attributes, secret: Option<&TokenSecret>) -> Result<Self> {
        if !attributes.flag(CKA_PRIVATE) {
            return Ok(Self::Open(attributes.clone()));
        }
        let secret = secret.ok_or(Rv(CKR_USER_NOT_LOGGED_IN))?;
        let key = aead::Key::aes_256_gcm_siv(secret.expose());
        Ok(Self::Sealed(key.seal(CONTEXT, &encode(attributes)?).into()))
    }

    /// The object; `None` where it is not for this caller's eyes.
    pub(crate) fn open(&self, secret: Option<&TokenSecret>) -> Option<Attributes> {
        match (self, secret) {
            (Self::Open(attributes), _) => Some(attributes.clone()),
            (Self::Sealed(sealed), Some(secret)) => {
                let key = aead::Key::aes_256_gcm_siv(secret.expose());
                decode(&key.open(CONTEXT, sealed).ok()?).ok()
            }
            (Self::Sealed(_), None) | (Self::Gone, _) => None,
        }
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(|_| Rv(CKR_GENERAL_ERROR))?;
    Ok(bytes)
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T> {
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).map_err(|_| Rv(CKR_DEVICE_ERROR))?;
    if rest.is_empty() { Ok(value) } else { Err(Rv(CKR_DEVICE_ERROR)) }
}
