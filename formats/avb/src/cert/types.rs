//! The structures of `avb_cert_types.h`.

use crypto::digest::sha256;

/// Bytes of a public key blob of RSA-4096.
pub const PUBLIC_KEY_BYTES: usize = 1032;
/// Bytes of a signature by RSA-4096.
pub const SIGNATURE_BYTES: usize = 512;
/// Bytes of the permanent attributes.
pub const PERMANENT_ATTRIBUTES_BYTES: usize = 4 + PUBLIC_KEY_BYTES + 16;
/// Bytes of a certificate.
pub const CERTIFICATE_BYTES: usize = 4 + PUBLIC_KEY_BYTES + 32 + 32 + 8 + SIGNATURE_BYTES;
/// Bytes of the certificates that a vbmeta image carries.
pub const PUBLIC_KEY_METADATA_BYTES: usize = 4 + 2 * CERTIFICATE_BYTES;
/// Bytes of an unlock challenge.
pub const UNLOCK_CHALLENGE_BYTES: usize = 4 + 32 + 16;
/// Bytes of an unlock credential.
pub const UNLOCK_CREDENTIAL_BYTES: usize = 4 + 2 * CERTIFICATE_BYTES + SIGNATURE_BYTES;

/// What is fixed for all devices of a product (`AvbCertPermanentAttributes`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermanentAttributes {
    /// 1.
    pub version: u32,
    /// The public key blob of the product root key.
    pub product_root_public_key: [u8; PUBLIC_KEY_BYTES],
    /// Names the product.
    pub product_id: [u8; 16],
}

impl PermanentAttributes {
    /// SHA-256 of the structure: what fuses hold.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.encode())
    }
}

/// What a certified key may do: SHA-256 of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    /// It signs vbmeta images.
    Signing,
    /// It signs certificates.
    IntermediateAuthority,
    /// It signs unlock challenges.
    Unlock,
}

impl Usage {
    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signing => "com.google.android.things.vboot",
            Self::IntermediateAuthority => "com.google.android.things.vboot.ca",
            Self::Unlock => "com.google.android.things.vboot.unlock",
        }
    }

    /// SHA-256 of the name: what a certificate holds.
    #[must_use]
    pub fn digest(self) -> [u8; 32] {
        sha256(self.name().as_bytes())
    }
}

/// What a certificate says (`AvbCertCertificateSignedData`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateData {
    /// 1.
    pub version: u32,
    /// The public key blob of the certified key.
    pub public_key: [u8; PUBLIC_KEY_BYTES],
    /// Whom it is for: SHA-256 of the product ID in certificates of PSK and PUK.
    pub subject: [u8; 32],
    /// What it is for: [`Usage::digest`].
    pub usage: [u8; 32],
    /// Rises with each new key: a rollback index of keys.
    pub key_version: u64,
}

/// A certificate (`AvbCertCertificate`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What is signed.
    pub signed_data: CertificateData,
    /// The signature by the key above.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// The certificates that a vbmeta image carries (`AvbCertPublicKeyMetadata`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeyMetadata {
    /// 1.
    pub version: u32,
    /// The intermediate key, certified by the root key.
    pub product_intermediate_key_certificate: Certificate,
    /// The signing key, certified by the intermediate key.
    pub product_signing_key_certificate: Certificate,
}

/// What a locked device asks to be signed before it unlocks (`AvbCertUnlockChallenge`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlockChallenge {
    /// 1.
    pub version: u32,
    /// SHA-256 of the product ID.
    pub product_id_hash: [u8; 32],
    /// Random, and good for one answer.
    pub challenge: [u8; 16],
}

/// The answer to an unlock challenge (`AvbCertUnlockCredential`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlockCredential {
    /// 1.
    pub version: u32,
    /// The intermediate key, certified by the root key.
    pub product_intermediate_key_certificate: Certificate,
    /// The unlock key, certified by the intermediate key.
    pub product_unlock_key_certificate: Certificate,
    /// The signature of the unlock key over the challenge.
    pub challenge_signature: [u8; SIGNATURE_BYTES],
}
