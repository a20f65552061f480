//! Values to bytes.

use super::{
    CERTIFICATE_BYTES, Certificate, CertificateData, PERMANENT_ATTRIBUTES_BYTES,
    PUBLIC_KEY_METADATA_BYTES, PermanentAttributes, PublicKeyMetadata, SIGNATURE_BYTES,
    UNLOCK_CHALLENGE_BYTES, UNLOCK_CREDENTIAL_BYTES, UnlockChallenge, UnlockCredential,
};

impl PermanentAttributes {
    /// The bytes of the attributes.
    #[must_use]
    pub fn encode(&self) -> [u8; PERMANENT_ATTRIBUTES_BYTES] {
        join([&self.version.to_le_bytes(), &self.product_root_public_key, &self.product_id])
    }
}

impl CertificateData {
    /// What the signature of a certificate covers.
    #[must_use]
    pub fn encode(&self) -> [u8; CERTIFICATE_BYTES - SIGNATURE_BYTES] {
        join([
            &self.version.to_le_bytes(),
            &self.public_key,
            &self.subject,
            &self.usage,
            &self.key_version.to_le_bytes(),
        ])
    }
}

impl Certificate {
    /// The bytes of the certificate.
    #[must_use]
    pub fn encode(&self) -> [u8; CERTIFICATE_BYTES] {
        join([&self.signed_data.encode(), &self.signature])
    }
}

impl PublicKeyMetadata {
    /// The bytes of the metadata.
    #[must_use]
    pub fn encode(&self) -> [u8; PUBLIC_KEY_METADATA_BYTES] {
        join([
            &self.version.to_le_bytes(),
            &self.product_intermediate_key_certificate.encode(),
            &self.product_signing_key_certificate.encode(),
        ])
    }
}

impl UnlockChallenge {
    /// The bytes of the challenge.
    #[must_use]
    pub fn encode(&self) -> [u8; UNLOCK_CHALLENGE_BYTES] {
        join([&self.version.to_le_bytes(), &self.product_id_hash, &self.challenge])
    }
}

impl UnlockCredential {
    /// The bytes of the credential.
    #[must_use]
    pub fn encode(&self) -> [u8; UNLOCK_CREDENTIAL_BYTES] {
        join([
            &self.version.to_le_bytes(),
            &self.product_intermediate_key_certificate.encode(),
            &self.product_unlock_key_certificate.encode(),
            &self.challenge_signature,
        ])
    }
}

fn join<const PARTS: usize, const SIZE: usize>(parts: [&[u8]; PARTS]) -> [u8; SIZE] {
    parts.concat().try_into().expect("the fields add up to the structure's size")
}
