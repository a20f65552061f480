//! Mobile documents (ISO/IEC 18013-5): what an issuer signs of a person, and what the person's device
//! presents of it.
//!
//! - [`Issuance`] makes an [`IssuerSigned`]: items, each hashed with a random salt, the hashes signed
//!   (mobile security object, 9.1.2.4) together with the device's key;
//! - [`IssuerSigned::disclose`] keeps only the items that the person chose;
//! - [`Presentation`] is that and the device's signature over a session (9.1.3), as a `DeviceResponse`;
//! - [`Presentation::verify`] is the reader's side.
//!
//! Covered: COSE_Sign1 (RFC 9052) with ES256 and ES384 for issuers, ES256 for devices; SHA-256 digests;
//! sessions of OpenID for Verifiable Presentations 1.0 ([`Session`], its appendix B.2.6). Not covered:
//! device engagement and proximity transfer, device MACs, reader authentication, data that the
//! device itself signs.

mod cose;
mod decode;
mod document;
mod error;
mod issue;
mod present;
mod verify;

pub use ciborium::Value;
pub use document::{IssuerSigned, Item, SecurityObject, Validity};
pub use error::{DecodeError, Refusal};
pub use issue::{Issuance, IssueError};
pub use present::{Presentation, Session};
pub use verify::Verified;

/// The largest document that is looked at, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// The type of a mobile driving licence.
pub const DRIVING_LICENCE: &str = "org.iso.18013.5.1.mDL";
/// The namespace of its data elements.
pub const DRIVING_LICENCE_ELEMENTS: &str = "org.iso.18013.5.1";
/// The type of a person's identification data (EU Architecture and Reference Framework).
pub const PERSON_IDENTIFICATION: &str = "eu.europa.ec.eudi.pid.1";
