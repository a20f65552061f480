//! Certificates (RFC 5280), as far as attestation chains use them.
//!
//! Parsing ([`Certificate::parse`]) keeps the exact bytes of what is compared or signed: names,
//! public key, to-be-signed part. Building ([`build_certificate`]) takes a closure that signs, so
//! the issuer's key may live anywhere.
//!
//! The certificates of a device, from the root down:
//! [`CertificateParams::root`], [`CertificateParams::intermediate`],
//! [`CertificateParams::device`] (made by the maker) and [`CertificateParams::attested`] (made by
//! the device for each key); from a server, [`CertificateParams::provisioning_intermediate`],
//! [`CertificateParams::intermediate`], [`CertificateParams::provisioned`]. Names follow Android's factory provisioning, so that Google's
//! verifier takes them for what they are.

mod build;
mod name;
mod parse;
mod spki;

pub use build::{CertificateParams, KeyUsage, Validity, build_certificate};
pub use name::Name;
pub use parse::{Certificate, Extension};
pub use spki::{SerialNumber, SignatureAlgorithm, Spki};

use der::asn1::ObjectIdentifier;

/// The largest certificate that is looked at, in bytes. Those with ML-DSA have 8 KiB.
const CERTIFICATE_MAX_BYTES: usize = 64 * 1024;
/// The most extensions that a certificate may have.
const EXTENSIONS_MAX: usize = 32;

/// Object identifiers.
pub mod oid {
    use super::ObjectIdentifier;

    /// Android's `KeyDescription`.
    pub const KEY_DESCRIPTION: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.1.17");
    /// Android's provisioning info: CBOR about a remotely provisioned chain.
    pub const PROVISIONING_INFO: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.1.30");
    /// `subjectKeyIdentifier`.
    pub const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
    /// `keyUsage`.
    pub const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
    /// `basicConstraints`.
    pub const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
    /// `authorityKeyIdentifier`.
    pub const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier =
        ObjectIdentifier::new_unwrap("2.5.29.35");
}
