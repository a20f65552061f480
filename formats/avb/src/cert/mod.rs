//! Keys that certificates vouch for (`libavb_cert`, once `libavb_atx`).
//!
//! A product has a root key (PRK), fixed in its permanent attributes. The root key signs the
//! certificate of an intermediate key (PIK), and that one the certificates of signing keys (PSK),
//! which sign vbmeta images, and of unlock keys (PUK), which sign unlock challenges. The
//! certificates of a vbmeta image travel as its public key metadata.
//!
//! All keys are RSA-4096, all signatures PKCS#1 v1.5 with SHA-512. Integers are little-endian.

mod decode;
mod encode;
mod types;
mod verify;

pub use types::{
    CERTIFICATE_BYTES, Certificate, CertificateData, PERMANENT_ATTRIBUTES_BYTES, PUBLIC_KEY_BYTES,
    PUBLIC_KEY_METADATA_BYTES, PermanentAttributes, PublicKeyMetadata, SIGNATURE_BYTES,
    UNLOCK_CHALLENGE_BYTES, UNLOCK_CREDENTIAL_BYTES, UnlockChallenge, UnlockCredential, Usage,
};
pub use verify::{CertRefusal, KeyVersions, PIK_VERSION_LOCATION, PSK_VERSION_LOCATION, Product};
