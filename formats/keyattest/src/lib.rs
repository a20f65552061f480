//! Android key attestation: a key's birth certificate, signed by the device that holds the key.
//!
//! Covered:
//! - the extension `KeyDescription` (OID 1.3.6.1.4.1.11129.2.1.17), attestation versions 1 to
//!   500 ([`KeyDescription::encode`], [`KeyDescription::decode`]), as the Android Open Source
//!   Project documents it under "Key and ID attestation";
//! - the same as JSON, as Google's verifier names things ([`KeyDescription::to_json`]);
//! - the certificates around it (RFC 5280): parsed and built in [`x509`], as text in [`pem`]; signed
//!   with RSA, ECDSA on P-256 and P-384, ML-DSA-65 and -87;
//! - the chain rules of Google's verifier ([`Roots::verify_chain`]), with the roots as a parameter,
//!   its own two in [`google_roots`];
//! - the revocation list of Google's attestation service ([`RevocationList`]);
//! - how a device asks a server for short-lived certificates ([`provisioning`]).
//!
//! Encoding is strict DER. Decoding is strict too, except where Google's verifier is not and
//! real devices need it: each such case is an [`Oddity`] that the caller gets to see. Not
//! covered: attest keys (chains in which an attested key attests another), which Google's verifier
//! refuses as well.
//!
//! Pure: no clock, no files, no randomness.
//!
//! ```
//! use keyattest::{AuthorizationList, KeyDescription, SecurityLevel};
//!
//! let description = KeyDescription {
//!     attestation_version: 300,
//!     attestation_security_level: SecurityLevel::TrustedEnvironment,
//!     key_mint_version: 300,
//!     key_mint_security_level: SecurityLevel::TrustedEnvironment,
//!     attestation_challenge: b"challenge".to_vec(),
//!     unique_id: Vec::new(),
//!     software_enforced: AuthorizationList::default(),
//!     hardware_enforced: AuthorizationList { key_size: Some(256), ..Default::default() },
//! };
//! let der = description.encode()?;
//! let (again, oddities) = KeyDescription::decode(&der)?;
//! assert_eq!((again, oddities.is_empty()), (description, true));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod asn1;
mod decode;
mod encode;
mod error;
mod google;
mod json;
pub mod pem;
pub mod provisioning;
mod revocation;
mod types;
mod verify;
mod wrapped;
pub mod x509;

pub use error::{DecodeError, EncodeError, Refusal};
pub use google::google_roots;
pub use provisioning::{CertificateRequest, ProvisioningInfo};
pub use revocation::{ListError, Revocation, RevocationList, RevocationStatus, list_json};
pub use types::{
    AttestationApplicationId, AuthorizationList, KeyDescription, KeyOrigin, Oddity, Package,
    RootOfTrust, SecurityLevel, VerifiedBootState, value,
};
pub use verify::{
    DevicePath, Provisioning, Revoked, Roots, Statement, verify_chain, verify_issued,
};
pub use wrapped::SecureKeyWrapper;
