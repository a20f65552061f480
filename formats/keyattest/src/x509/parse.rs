//! DER to [`Certificate`].

use super::{
    CERTIFICATE_MAX_BYTES, EXTENSIONS_MAX, Name, SerialNumber, SignatureAlgorithm, Spki, oid,
};
use crate::DecodeError;
use crate::asn1::{self, Element, Elements, context};
use der::asn1::{GeneralizedTime, ObjectIdentifier, UtcTime};
use der::{Decode, Tag};

/// A certificate. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    tbs: Vec<u8>,
    serial: SerialNumber,
    algorithm: Option<SignatureAlgorithm>,
    issuer: Name,
    not_before: u64,
    not_after: u64,
    subject: Name,
    public_key: Spki,
    extensions: Vec<Extension>,
    signature: Vec<u8>,
}

/// An extension of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Which.
    pub oid: ObjectIdentifier,
    /// Whether who does not know it must refuse the certificate.
    pub critical: bool,
    /// The DER inside.
    pub value: Vec<u8>,
}

impl Certificate {
    /// Parses one certificate and nothing after it.
    pub fn parse(der: &[u8]) -> Result<Self, DecodeError> {
        if der.len() > CERTIFICATE_MAX_BYTES {
            return Err(DecodeError::Range { place: "Certificate" });
        }
        let mut parts = asn1::only(der, "Certificate")?.sequence("Certificate")?;
        let tbs = parts.next("tbsCertificate")?;
        let algorithm = parts.next("signatureAlgorithm")?;
        let signature = parts.next("signatureValue")?.bit_string("signatureValue")?;
        parts.finish()?;
        let mut certificate = Self::parse_tbs(tbs, algorithm)?;
        certificate.der = der.to_vec();
        certificate.signature = signature.to_vec();
        Ok(certificate)
    }

    fn parse_tbs(tbs: Element<'_>, algorithm: Element<'_>) -> Result<Self, DecodeError> {
        let mut fields = tbs.sequence("tbsCertificate")?;
        version_3(&mut fields)?;
        let serial = SerialNumber::parse(fields.next("serialNumber")?)?;
        if fields.next("signature")?.raw != algorithm.raw {
            return Err(DecodeError::AlgorithmMismatch);
        }
        let issuer = Name::parse(fields.next("issuer")?, "issuer")?;
        let (not_before, not_after) = validity(fields.next("validity")?)?;
        let subject = Name::parse(fields.next("subject")?, "subject")?;
        let public_key = Spki::parse(fields.next("subjectPublicKeyInfo")?)?;
        let extensions = match fields.next_if(context(3), "extensions")? {
            Some(outer) => extensions(outer)?,
            None => Vec::new(),
        };
        fields.finish()?;
        Ok(Self {
            der: Vec::new(),
            tbs: tbs.raw.to_vec(),
            serial,
            algorithm: SignatureAlgorithm::from_identifier(algorithm.raw),
            issuer,
            not_before,
            not_after,
            subject,
            public_key,
            extensions,
            signature: Vec::new(),
        })
    }

    /// The whole certificate.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// Its number with its issuer.
    #[must_use]
    pub const fn serial(&self) -> &SerialNumber {
        &self.serial
    }

    /// Who signed it.
    #[must_use]
    pub const fn issuer(&self) -> &Name {
        &self.issuer
    }

    /// Who it is about.
    #[must_use]
    pub const fn subject(&self) -> &Name {
        &self.subject
    }

    /// The key it is about.
    #[must_use]
    pub const fn public_key(&self) -> &Spki {
        &self.public_key
    }

    /// First and last second of its validity.
    #[must_use]
    pub const fn validity(&self) -> (u64, u64) {
        (self.not_before, self.not_after)
    }

    /// All extensions.
    #[must_use]
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The value of one extension.
    #[must_use]
    pub fn extension(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        self.extensions.iter().find(|e| e.oid == oid).map(|e| &e.value[..])
    }

    /// Whether it carries an attestation.
    #[must_use]
    pub fn has_attestation(&self) -> bool {
        self.extension(oid::KEY_DESCRIPTION).is_some()
    }

    /// Whether issuer and subject are the same.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether it is issued and signed by its own key: a root's.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        self.is_issued_by(self)
    }

    /// Whether `issuer` is who this certificate says it is signed by, and did sign it.
    #[must_use]
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject && self.verify_with(&issuer.public_key) == Some(Ok(()))
    }

    /// Verifies the signature with the issuer's key. `None`: the algorithm does not count, or
    /// does not go with the key.
    pub(crate) fn verify_with(&self, issuer: &Spki) -> Option<Result<(), crypto::Error>> {
        issuer.verify(self.algorithm?, &self.tbs, &self.signature)
    }
}

/// Only version 3 has extensions, and all certificates of a chain have some.
fn version_3(fields: &mut Elements<'_>) -> Result<(), DecodeError> {
    let place = "version";
    let outer = fields.next(place)?.expect(context(0), place)?;
    match asn1::only(outer, place)?.unsigned(place)? {
        2 => Ok(()),
        _ => Err(DecodeError::Range { place }),
    }
}

fn validity(element: Element<'_>) -> Result<(u64, u64), DecodeError> {
    let mut times = element.sequence("validity")?;
    let not_before = time(times.next("notBefore")?, "notBefore")?;
    let not_after = time(times.next("notAfter")?, "notAfter")?;
    times.finish()?;
    Ok((not_before, not_after))
}

/// Seconds since 1970. Times before that are read as 1970: no rule here needs more.
fn time(element: Element<'_>, place: &'static str) -> Result<u64, DecodeError> {
    let malformed = |source| DecodeError::Der { place, source };
    match element.tag {
        Tag::UtcTime => {
            let time = UtcTime::from_der(element.raw).map_err(malformed)?;
            Ok(time.to_unix_duration().as_secs())
        }
        Tag::GeneralizedTime => {
            let time = GeneralizedTime::from_der(element.raw).map_err(malformed)?;
            Ok(time.to_unix_duration().as_secs())
        }
        found => Err(DecodeError::Type { place, found }),
    }
}

fn extensions(outer: Element<'_>) -> Result<Vec<Extension>, DecodeError> {
    let mut list = asn1::only(outer.value, "extensions")?.sequence("extensions")?;
    let mut found: Vec<Extension> = Vec::new();
    while let Some(element) = list.next_or_end("extensions")? {
        if found.len() == EXTENSIONS_MAX {
            return Err(DecodeError::Range { place: "extensions" });
        }
        let extension = extension(element)?;
        if found.iter().any(|other| other.oid == extension.oid) {
            return Err(DecodeError::DuplicateExtension(extension.oid));
        }
        found.push(extension);
    }
    Ok(found)
}

fn extension(element: Element<'_>) -> Result<Extension, DecodeError> {
    let mut fields = element.sequence("extension")?;
    let oid = fields.next("extnID")?.oid("extnID")?;
    let critical = match fields.next_if(Tag::Boolean, "critical")? {
        None => false,
        Some(flag) => match flag.value {
            [0xff] => true,
            // The default, which DER leaves out; factories wrote it.
            [0] => false,
            _ => return Err(DecodeError::Range { place: "critical" }),
        },
    };
    let value = fields.next("extnValue")?.octets("extnValue")?.to_vec();
    fields.finish()?;
    Ok(Extension { oid, critical, value })
}
