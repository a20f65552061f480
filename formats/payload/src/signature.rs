//! Signatures over a payload, and who made them.
//!
//! Two messages are signed with the same keys, both as SHA-256 with RSA PKCS#1 v1.5 or ECDSA:
//! the **metadata** (header and manifest), and the **payload** (header, manifest and blobs, without
//! either signature message). Each signature message may hold several signatures; an ECDSA
//! signature is padded with zeros to the longest that its key makes, and a field says its length.

use crate::error::{DecodeError, MakeError};
use crate::key::{PublicKey, SigningKey};
use crate::wire::{Reader, Writer};

/// One signature of a `Signatures` message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The signature and zeros behind it.
    pub data: Vec<u8>,
    /// How many bytes count; absent: all.
    pub unpadded_size: Option<u32>,
}

impl Signature {
    /// The bytes that count; `None` where the message says more than there are.
    #[must_use]
    pub fn unpadded(&self) -> Option<&[u8]> {
        match self.unpadded_size {
            None => Some(&self.data),
            Some(size) => self.data.get(..usize::try_from(size).ok()?),
        }
    }
}

/// Reads a `Signatures` message.
pub fn decode(bytes: &[u8]) -> Result<Vec<Signature>, DecodeError> {
    let mut found = Vec::new();
    let mut fields = Reader::new("Signatures", bytes);
    while let Some(field) = fields.next_field()? {
        if field.number == 1 {
            found.push(decode_one(field.bytes("Signatures")?)?);
        }
    }
    Ok(found)
}

fn decode_one(bytes: &[u8]) -> Result<Signature, DecodeError> {
    const NAME: &str = "Signature";
    let mut it = Signature { data: Vec::new(), unpadded_size: None };
    let mut fields = Reader::new(NAME, bytes);
    while let Some(field) = fields.next_field()? {
        match (field.number, field.value) {
            (2, _) => it.data = field.bytes(NAME)?.to_vec(),
            (3, crate::wire::Value::Fixed32(size)) => it.unpadded_size = Some(size),
            (3, _) => return Err(DecodeError::WireType { message: NAME, field: 3 }),
            _ => {}
        }
    }
    Ok(it)
}

/// A `Signatures` message.
#[must_use]
pub fn encode(signatures: &[Signature]) -> Vec<u8> {
    let mut out = Writer::new();
    for signature in signatures {
        let mut one = Writer::new();
        one.bytes(2, &signature.data);
        if let Some(size) = signature.unpadded_size {
            one.fixed32(3, size);
        }
        out.bytes(1, &one.finish());
    }
    out.finish()
}

/// Which of `keys` made one of the signatures in the message `signatures` over `digest`; `None`:
/// none of them did.
pub fn signer(
    signatures: &[u8],
    digest: &[u8; 32],
    keys: &[PublicKey],
) -> Result<Option<usize>, DecodeError> {
    let signatures = decode(signatures)?;
    let signatures: Vec<&[u8]> = signatures.iter().filter_map(Signature::unpadded).collect();
    Ok(keys.iter().position(|key| signatures.iter().any(|it| key.verifies(digest, it))))
}

/// A `Signatures` message over `digest`, one signature for each key. Its length depends on the
/// keys only.
pub fn sign(keys: &[&SigningKey], digest: &[u8; 32]) -> Result<Vec<u8>, MakeError> {
    let mut signatures = Vec::with_capacity(keys.len());
    for key in keys {
        let mut data = key.sign(digest)?;
        let unpadded = u32::try_from(data.len()).expect("a signature is short");
        data.resize(key.kind()?.max_signature_bytes(), 0);
        signatures.push(Signature { data, unpadded_size: Some(unpadded) });
    }
    Ok(encode(&signatures))
}

/// Bytes of the message that [`sign`] makes.
pub fn signed_bytes(keys: &[&SigningKey]) -> Result<usize, MakeError> {
    let mut blank = Vec::with_capacity(keys.len());
    for key in keys {
        let data = vec![0; key.kind()?.max_signature_bytes()];
        blank.push(Signature { data, unpadded_size: Some(0) });
    }
    Ok(encode(&blank).len())
}
