//! Bytes to values. Each structure has one size; a version other than 1 is read and refused when
//! it is judged, as libavb_cert does.

use super::{
    Certificate, CertificateData, PermanentAttributes, PublicKeyMetadata, UnlockChallenge,
    UnlockCredential,
};
use crate::{DecodeError, decode::Reader};

impl PermanentAttributes {
    /// Reads the attributes, which end where `bytes` end.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole("permanent attributes", bytes, |r| {
            Ok(Self {
                version: u32_le(r)?,
                product_root_public_key: r.array()?,
                product_id: r.array()?,
            })
        })
    }
}

impl Certificate {
    /// Reads a certificate that ends where `bytes` end.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole("certificate", bytes, certificate)
    }
}

impl PublicKeyMetadata {
    /// Reads public key metadata that ends where `bytes` end.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole("public key metadata", bytes, |r| {
            Ok(Self {
                version: u32_le(r)?,
                product_intermediate_key_certificate: certificate(r)?,
                product_signing_key_certificate: certificate(r)?,
            })
        })
    }
}

impl UnlockChallenge {
    /// Reads a challenge that ends where `bytes` end.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole("unlock challenge", bytes, |r| {
            Ok(Self { version: u32_le(r)?, product_id_hash: r.array()?, challenge: r.array()? })
        })
    }
}

impl UnlockCredential {
    /// Reads a credential that ends where `bytes` end.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole("unlock credential", bytes, |r| {
            Ok(Self {
                version: u32_le(r)?,
                product_intermediate_key_certificate: certificate(r)?,
                product_unlock_key_certificate: certificate(r)?,
                challenge_signature: r.array()?,
            })
        })
    }
}

fn certificate(r: &mut Reader<'_>) -> Result<Certificate, DecodeError> {
    let signed_data = CertificateData {
        version: u32_le(r)?,
        public_key: r.array()?,
        subject: r.array()?,
        usage: r.array()?,
        key_version: r.array().map(u64::from_le_bytes)?,
    };
    Ok(Certificate { signed_data, signature: r.array()? })
}

fn u32_le(r: &mut Reader<'_>) -> Result<u32, DecodeError> {
    r.array().map(u32::from_le_bytes)
}

fn whole<T>(
    what: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut r = Reader::new(what, bytes);
    let value = read(&mut r)?;
    match r.remaining() {
        0 => Ok(value),
        extra => Err(DecodeError::TrailingBytes { what, extra }),
    }
}
