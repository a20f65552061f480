//! What libavb_cert accepts (`avb_cert_validate.c`).

use super::{
    Certificate, CertificateData, PermanentAttributes, PublicKeyMetadata, UnlockChallenge,
    UnlockCredential, Usage,
};
use crate::{DecodeError, RsaPublicKeyBlob, key::EXPONENT};
use crypto::{digest::sha256, sign::Hash, sign::rsa_pkcs1_verify};

/// Where the lowest accepted version of the intermediate key is stored.
pub const PIK_VERSION_LOCATION: u32 = 0x1000;
/// Where the lowest accepted version of signing and unlock keys is stored.
pub const PSK_VERSION_LOCATION: u32 = 0x1001;

/// The versions of keys: the lowest that are accepted, or those that were used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyVersions {
    /// Of the intermediate key ([`PIK_VERSION_LOCATION`]).
    pub intermediate: u64,
    /// Of the signing or unlock key ([`PSK_VERSION_LOCATION`]).
    pub signing: u64,
}

/// Why a key is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertRefusal {
    /// A structure is malformed.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// A structure is of a version that nobody knows.
    #[error("the {what} is of version {version}; only 1 is known")]
    Version {
        /// The structure.
        what: &'static str,
        /// Its version.
        version: u32,
    },
    /// The permanent attributes are not those that the fuses name.
    #[error("the permanent attributes are not those of this device")]
    PermanentAttributes,
    /// A certificate is not signed by the key above it.
    #[error("the {0} certificate is not signed by the key above it")]
    Signature(&'static str),
    /// A key is older than the device accepts.
    #[error("the {what} has key version {version}; {minimum} is the lowest that is accepted")]
    Rollback {
        /// The certificate.
        what: &'static str,
        /// Its key version.
        version: u64,
        /// The lowest that is accepted.
        minimum: u64,
    },
    /// A certificate is for another purpose.
    #[error("the {what} certificate is not for {}", .usage.name())]
    Usage {
        /// The certificate.
        what: &'static str,
        /// What it would have to be for.
        usage: Usage,
    },
    /// A certificate is for another product.
    #[error("the {0} certificate is for another product")]
    Product(&'static str),
    /// The image is signed by another key than the certified one.
    #[error("the image is not signed by the key of the PSK certificate")]
    OtherKey,
    /// The challenge is not signed by the unlock key.
    #[error("the unlock challenge is not signed by the key of the PUK certificate")]
    ChallengeSignature,
}

/// A product that a device knows: permanent attributes that were checked against the fuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    attributes: PermanentAttributes,
}

impl Product {
    /// The product of `attributes`, whose SHA-256 must be `digest`.
    pub fn new(attributes: &[u8], digest: &[u8; 32]) -> Result<Self, CertRefusal> {
        let attributes = PermanentAttributes::decode(attributes)?;
        only_version_1("permanent attributes", attributes.version)?;
        if attributes.digest() != *digest {
            return Err(CertRefusal::PermanentAttributes);
        }
        Ok(Self { attributes })
    }

    /// Its permanent attributes.
    #[must_use]
    pub const fn attributes(&self) -> &PermanentAttributes {
        &self.attributes
    }

    /// Whether `public_key` may sign vbmeta images, by the certificates in `metadata`. Gives the
    /// versions of the keys, to be stored once the slot was marked successful.
    ///
    /// `minimum` is what the device has stored.
    pub fn validate_vbmeta_public_key(
        &self,
        public_key: &[u8],
        metadata: &[u8],
        minimum: KeyVersions,
    ) -> Result<KeyVersions, CertRefusal> {
        let metadata = PublicKeyMetadata::decode(metadata)?;
        only_version_1("public key metadata", metadata.version)?;
        let pik = &metadata.product_intermediate_key_certificate;
        let psk = &metadata.product_signing_key_certificate;
        self.check_chain(pik, psk, &PSK, minimum)?;
        if psk.signed_data.public_key != *public_key {
            return Err(CertRefusal::OtherKey);
        }
        Ok(KeyVersions {
            intermediate: pik.signed_data.key_version,
            signing: psk.signed_data.key_version,
        })
    }

    /// A challenge that a device of this product sends before it unlocks. `random` is fresh, and
    /// good for one answer: the caller forgets it after [`Self::validate_unlock_credential`].
    #[must_use]
    pub fn unlock_challenge(&self, random: [u8; 16]) -> UnlockChallenge {
        UnlockChallenge {
            version: 1,
            product_id_hash: sha256(&self.attributes.product_id),
            challenge: random,
        }
    }

    /// Whether `credential` answers the challenge.
    ///
    /// `minimum` is what the device has stored.
    pub fn validate_unlock_credential(
        &self,
        credential: &[u8],
        challenge: &[u8; 16],
        minimum: KeyVersions,
    ) -> Result<(), CertRefusal> {
        let credential = UnlockCredential::decode(credential)?;
        only_version_1("unlock credential", credential.version)?;
        let pik = &credential.product_intermediate_key_certificate;
        let puk = &credential.product_unlock_key_certificate;
        self.check_chain(pik, puk, &PUK, minimum)?;
        let key = &puk.signed_data.public_key;
        if verifies(key, challenge, &credential.challenge_signature) {
            Ok(())
        } else {
            Err(CertRefusal::ChallengeSignature)
        }
    }

    fn check_chain(
        &self,
        intermediate: &Certificate,
        leaf: &Certificate,
        role: &Role,
        minimum: KeyVersions,
    ) -> Result<(), CertRefusal> {
        let root = &self.attributes.product_root_public_key;
        check(intermediate, root, &PIK, minimum.intermediate)?;
        check(leaf, &intermediate.signed_data.public_key, role, minimum.signing)?;
        if leaf.signed_data.subject != sha256(&self.attributes.product_id) {
            return Err(CertRefusal::Product(role.what));
        }
        Ok(())
    }
}

/// What a certificate is for.
struct Role {
    what: &'static str,
    usage: Usage,
}

const PIK: Role = Role { what: "PIK", usage: Usage::IntermediateAuthority };
const PSK: Role = Role { what: "PSK", usage: Usage::Signing };
const PUK: Role = Role { what: "PUK", usage: Usage::Unlock };

fn check(
    certificate: &Certificate,
    authority: &[u8],
    &Role { what, usage }: &Role,
    minimum: u64,
) -> Result<(), CertRefusal> {
    let CertificateData { version, key_version, .. } = certificate.signed_data;
    only_version_1(what, version)?;
    if !verifies(authority, &certificate.signed_data.encode(), &certificate.signature) {
        return Err(CertRefusal::Signature(what));
    }
    if key_version < minimum {
        return Err(CertRefusal::Rollback { what, version: key_version, minimum });
    }
    if certificate.signed_data.usage != usage.digest() {
        return Err(CertRefusal::Usage { what, usage });
    }
    Ok(())
}

const fn only_version_1(what: &'static str, version: u32) -> Result<(), CertRefusal> {
    if version == 1 { Ok(()) } else { Err(CertRefusal::Version { what, version }) }
}

/// Whether the RSA-4096 key of this blob signed `message`.
fn verifies(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = RsaPublicKeyBlob::decode(key) else { return false };
    rsa_pkcs1_verify(Hash::Sha512, key.modulus(), &EXPONENT, message, signature).is_ok()
}
