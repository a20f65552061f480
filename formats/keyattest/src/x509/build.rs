//! [`CertificateParams`] to a signed certificate.

use super::{Extension, Name, SerialNumber, SignatureAlgorithm, Spki, oid};
use crate::asn1::{self, bit_string, boolean, element, explicit, octets, sequence, unsigned};
use crate::types::value;
use crate::{EncodeError, KeyDescription, ProvisioningInfo};
use der::asn1::{GeneralizedTime, UtcTime};
use der::{DateTime, Encode, Tag, TagNumber};
use std::collections::BTreeSet;
use std::time::Duration;

/// From when to when a certificate is valid: seconds since 1970, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: u64,
    /// Last second.
    pub not_after: u64,
}

impl Validity {
    /// From 1970 to 9999-12-31T23:59:59Z, which says "no end" (RFC 5280, 4.1.2.5). An attested
    /// key's certificate: the device has no clock that anyone believes.
    pub const UNBOUNDED: Self = Self { not_before: 0, not_after: 253_402_300_799 };

    /// From `not_before` on, for that many days.
    #[must_use]
    pub const fn days(not_before: u64, days: u32) -> Self {
        Self { not_before, not_after: not_before + days as u64 * 86_400 }
    }
}

/// What a certificate says. Start with the constructor for its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateParams {
    /// Unique with the issuer; the basis of revocation.
    pub serial: SerialNumber,
    /// Must be the issuer's subject, byte for byte.
    pub issuer: Name,
    /// Who it is about.
    pub subject: Name,
    /// When it is valid.
    pub validity: Validity,
    /// The key it is about.
    pub public_key: Spki,
    /// In this order.
    pub extensions: Vec<Extension>,
}

/// `KeyUsage` (RFC 5280, 4.2.1.3): what the certified key may do. Join with `|`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyUsage(u8);

impl KeyUsage {
    /// Signs what is no certificate.
    pub const DIGITAL_SIGNATURE: Self = Self(0b1000_0000);
    /// Decrypts keys.
    pub const KEY_ENCIPHERMENT: Self = Self(0b0010_0000);
    /// Decrypts data.
    pub const DATA_ENCIPHERMENT: Self = Self(0b0001_0000);
    /// Agrees on keys.
    pub const KEY_AGREEMENT: Self = Self(0b0000_1000);
    /// Signs certificates.
    pub const CERTIFICATE_SIGNING: Self = Self(0b0000_0100);
    /// Signs revocation lists.
    pub const CRL_SIGNING: Self = Self(0b0000_0010);

    /// What KeyMint puts into the certificate of a key with these purposes (`KeyCreationResult`).
    #[must_use]
    pub fn of_purposes(purposes: &BTreeSet<u64>) -> Self {
        const USAGES: [(u64, KeyUsage); 5] = [
            (value::PURPOSE_SIGN, KeyUsage::DIGITAL_SIGNATURE),
            (value::PURPOSE_DECRYPT, KeyUsage::DATA_ENCIPHERMENT),
            (value::PURPOSE_WRAP_KEY, KeyUsage::KEY_ENCIPHERMENT),
            (value::PURPOSE_AGREE_KEY, KeyUsage::KEY_AGREEMENT),
            (value::PURPOSE_ATTEST_KEY, KeyUsage::CERTIFICATE_SIGNING),
        ];
        let due = USAGES.into_iter().filter(|(purpose, _)| purposes.contains(purpose));
        due.fold(Self::default(), |usage, (_, bit)| usage | bit)
    }

    /// Whether no bit is set. Such an extension is left out.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As a critical extension.
    #[must_use]
    pub fn extension(self) -> Extension {
        // A named bit list: an octet with the number of unused bits, then the bits from the left
        // (X.690, 11.2.2).
        let unused = self.0.trailing_zeros().min(8) as u8;
        let content = if self.is_empty() { vec![0] } else { vec![unused, self.0] };
        Extension { oid: oid::KEY_USAGE, critical: true, value: element(Tag::BitString, &content) }
    }
}

impl std::ops::BitOr for KeyUsage {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What an authority may do.
const AUTHORITY: KeyUsage = KeyUsage(KeyUsage::CERTIFICATE_SIGNING.0 | KeyUsage::CRL_SIGNING.0);

impl CertificateParams {
    /// A maker's root: signed by its own key, may have authorities below it.
    #[must_use]
    pub fn root(subject: Name, serial: SerialNumber, validity: Validity, public_key: Spki) -> Self {
        let extensions = vec![
            basic_constraints(None),
            AUTHORITY.extension(),
            subject_key_identifier(&public_key),
        ];
        Self { serial, issuer: subject.clone(), subject, validity, public_key, extensions }
    }

    /// A factory's authority: may sign device certificates. Its subject should be a
    /// [`Name::factory`].
    #[must_use]
    pub fn intermediate(
        issuer: &super::Certificate,
        subject: Name,
        serial: SerialNumber,
        validity: Validity,
        public_key: Spki,
    ) -> Self {
        let authority = [basic_constraints(Some(1)), AUTHORITY.extension()];
        Self::below(issuer, authority, subject, serial, validity, public_key)
    }

    /// A device's attestation key: may sign for the keys inside this device. Its subject is
    /// [`Name::factory`] of the board's serial number.
    #[must_use]
    pub fn device(
        issuer: &super::Certificate,
        subject: Name,
        serial: SerialNumber,
        validity: Validity,
        public_key: Spki,
    ) -> Self {
        let device = [basic_constraints(Some(0)), KeyUsage::CERTIFICATE_SIGNING.extension()];
        Self::below(issuer, device, subject, serial, validity, public_key)
    }

    /// The intermediate authority of remote provisioning: may have one server below it.
    #[must_use]
    pub fn provisioning_intermediate(
        issuer: &super::Certificate,
        subject: Name,
        serial: SerialNumber,
        validity: Validity,
        public_key: Spki,
    ) -> Self {
        let authority = [basic_constraints(Some(2)), AUTHORITY.extension()];
        Self::below(issuer, authority, subject, serial, validity, public_key)
    }

    /// A device's attestation key for some weeks, certified by a server instead of a factory.
    #[must_use]
    pub fn provisioned(
        issuer: &super::Certificate,
        subject: Name,
        serial: SerialNumber,
        validity: Validity,
        public_key: Spki,
        info: &ProvisioningInfo,
    ) -> Self {
        let mut params = Self::device(issuer, subject, serial, validity, public_key);
        let value = info.encode();
        params.extensions.push(Extension { oid: oid::PROVISIONING_INFO, critical: false, value });
        params
    }

    /// A key inside the device, with what the device says about it. The usages are those of the
    /// description's purposes.
    pub fn attested(
        issuer: &super::Certificate,
        public_key: Spki,
        description: &KeyDescription,
    ) -> Result<Self, EncodeError> {
        Self::attested_by(issuer.subject().clone(), public_key, description)
    }

    /// The same, where only the issuer's name is known: an attest key's.
    pub fn attested_by(
        issuer: Name,
        public_key: Spki,
        description: &KeyDescription,
    ) -> Result<Self, EncodeError> {
        let purposes = [&description.software_enforced, &description.hardware_enforced];
        let purposes = purposes.into_iter().flat_map(|list| list.purpose.iter().copied()).collect();
        let statement =
            Extension { oid: oid::KEY_DESCRIPTION, critical: false, value: description.encode()? };
        let mut params = Self::unattested(issuer, public_key, KeyUsage::of_purposes(&purposes));
        params.extensions.push(statement);
        Ok(params)
    }

    /// A key about which nothing is said but what it may do: self-signed, or without a signature.
    #[must_use]
    pub fn unattested(issuer: Name, public_key: Spki, usage: KeyUsage) -> Self {
        let usage = (!usage.is_empty()).then(|| usage.extension());
        Self {
            serial: SerialNumber::one(),
            issuer,
            subject: Name::attested_key(),
            validity: Validity::UNBOUNDED,
            public_key,
            extensions: usage.into_iter().collect(),
        }
    }

    fn below(
        issuer: &super::Certificate,
        role: [Extension; 2],
        subject: Name,
        serial: SerialNumber,
        validity: Validity,
        public_key: Spki,
    ) -> Self {
        let mut extensions = role.to_vec();
        extensions.push(subject_key_identifier(&public_key));
        extensions.push(authority_key_identifier(issuer.public_key()));
        let issuer = issuer.subject().clone();
        Self { serial, issuer, subject, validity, public_key, extensions }
    }
}

/// Builds a certificate. `sign` gets the bytes to sign and returns the signature that
/// `algorithm` names: for ECDSA the ASN.1 form, as `crypto::sign::EcdsaKey::sign` gives it. A key
/// that cannot sign certifies itself with no octets at all.
pub fn build_certificate<E>(
    params: &CertificateParams,
    algorithm: SignatureAlgorithm,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, EncodeError> {
    let mut fields = vec![
        explicit(0, &unsigned(2)),
        params.serial.encode(),
        algorithm.identifier(),
        params.issuer.as_der().to_vec(),
        validity(params.validity)?,
        params.subject.as_der().to_vec(),
        params.public_key.as_der().to_vec(),
    ];
    if !params.extensions.is_empty() {
        let extensions: Vec<_> = params.extensions.iter().map(extension).collect();
        fields.push(explicit(3, &sequence(&extensions)));
    }
    let tbs = sequence(&fields);
    let signature = sign(&tbs).map_err(|_| EncodeError::Signer)?;
    Ok(sequence(&[tbs, algorithm.identifier(), bit_string(&signature)]))
}

fn validity(validity: Validity) -> Result<Vec<u8>, EncodeError> {
    if validity.not_after < validity.not_before {
        return Err(EncodeError::Validity);
    }
    Ok(sequence(&[time(validity.not_before)?, time(validity.not_after)?]))
}

/// UTCTime up to 2049, GeneralizedTime from 2050 on (RFC 5280, 4.1.2.5).
fn time(seconds: u64) -> Result<Vec<u8>, EncodeError> {
    let time = DateTime::from_unix_duration(Duration::from_secs(seconds))
        .map_err(|_| EncodeError::Validity)?;
    let encoded = match time.year() {
        ..=2049 => UtcTime::from_date_time(time).and_then(|time| time.to_der()),
        _ => GeneralizedTime::from_date_time(time).to_der(),
    };
    encoded.map_err(|_| EncodeError::Validity)
}

fn extension(extension: &Extension) -> Vec<u8> {
    let mut parts = vec![asn1::oid(extension.oid)];
    if extension.critical {
        parts.push(boolean(true));
    }
    parts.push(octets(&extension.value));
    sequence(&parts)
}

/// An authority, with at most so many authorities below it.
fn basic_constraints(path_length: Option<u64>) -> Extension {
    let mut parts = vec![boolean(true)];
    parts.extend(path_length.map(unsigned));
    Extension { oid: oid::BASIC_CONSTRAINTS, critical: true, value: sequence(&parts) }
}

fn subject_key_identifier(key: &Spki) -> Extension {
    Extension {
        oid: oid::SUBJECT_KEY_IDENTIFIER,
        critical: false,
        value: octets(&key.key_identifier()),
    }
}

fn authority_key_identifier(issuer: &Spki) -> Extension {
    let tag = Tag::ContextSpecific { constructed: false, number: TagNumber(0) };
    Extension {
        oid: oid::AUTHORITY_KEY_IDENTIFIER,
        critical: false,
        value: sequence(&[element(tag, &issuer.key_identifier())]),
    }
}
