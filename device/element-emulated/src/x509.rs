//! Certificates that the element signs (RFC 5280). DER is BER-TLV with less freedom, so they are
//! written with the same objects as everything else here.

use crate::piv::PrivateKey;
use crypto::{Error, ec};
use iso7816::tlv::{self, Reader, TlvError};

const SEQUENCE: u32 = 0x30;
const SET: u32 = 0x31;
const INTEGER: u32 = 0x02;
const BIT_STRING: u32 = 0x03;
const OCTET_STRING: u32 = 0x04;
const OBJECT_IDENTIFIER: u32 = 0x06;
const UTF8_STRING: u32 = 0x0C;
const GENERALIZED_TIME: u32 = 0x18;
const UTC_TIME: u32 = 0x17;

/// The time without an end (RFC 5280, 4.1.2.5).
const NEVER: &str = "99991231235959Z";

/// id-ce-basicConstraints.
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1D, 0x13];
/// id-at-commonName.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// An extension.
pub(crate) struct Extension<'a> {
    /// The content of its object identifier.
    pub(crate) id: &'a [u8],
    pub(crate) critical: bool,
    /// What its octet string holds.
    pub(crate) value: Vec<u8>,
}

impl Extension<'static> {
    /// The subject certifies others, directly.
    pub(crate) fn authority() -> Self {
        let value = tlv::joined(SEQUENCE, &[&[0x01, 1, 0xFF], &[0x02, 1, 0]]);
        Self { id: &BASIC_CONSTRAINTS, critical: true, value }
    }
}

/// What a certificate says.
pub(crate) struct Certificate<'a> {
    /// Name, DER.
    pub(crate) issuer: &'a [u8],
    /// Name, DER.
    pub(crate) subject: &'a [u8],
    /// GeneralizedTime.
    pub(crate) not_before: &'a str,
    /// SubjectPublicKeyInfo, DER.
    pub(crate) public_key: &'a [u8],
    pub(crate) extensions: Vec<Extension<'a>>,
}

impl Certificate<'_> {
    /// Signs it with a random serial number.
    pub(crate) fn sign(&self, key: &PrivateKey) -> Result<Vec<u8>, Error> {
        let mut serial = crypto::random_array::<16>();
        // Positive, and no zeros in front.
        serial[0] = serial[0] & 0x7F | 0x40;
        let validity = [time(self.not_before), tlv::object(GENERALIZED_TIME, NEVER.as_bytes())];
        let extensions: Vec<u8> = self.extensions.iter().flat_map(extension).collect();
        let algorithm = signature_algorithm(key);
        let signed = tlv::joined(
            SEQUENCE,
            &[
                &tlv::object(0xA0, &tlv::object(INTEGER, &[2])),
                &tlv::object(INTEGER, &serial),
                &algorithm,
                self.issuer,
                &tlv::object(SEQUENCE, &validity.concat()),
                self.subject,
                self.public_key,
                &tlv::object(0xA3, &tlv::object(SEQUENCE, &extensions)),
            ],
        );
        let signature = [&[0][..], &key.sign_message(&signed)?].concat();
        Ok(tlv::joined(SEQUENCE, &[&signed, &algorithm, &tlv::object(BIT_STRING, &signature)]))
    }
}

/// Through 2049 as UTCTime, later as GeneralizedTime (4.1.2.5).
fn time(generalized: &str) -> Vec<u8> {
    match generalized.strip_prefix("20") {
        Some(short) if short < "5" => tlv::object(UTC_TIME, short.as_bytes()),
        _ => tlv::object(GENERALIZED_TIME, generalized.as_bytes()),
    }
}

fn extension(extension: &Extension<'_>) -> Vec<u8> {
    let critical: &[u8] = if extension.critical { &[0x01, 1, 0xFF] } else { &[] };
    let value = tlv::object(OCTET_STRING, &extension.value);
    tlv::joined(SEQUENCE, &[&tlv::object(OBJECT_IDENTIFIER, extension.id), critical, &value])
}

/// How a key of this kind signs: sha256WithRSAEncryption, ecdsa-with-SHA256 or -SHA384.
fn signature_algorithm(key: &PrivateKey) -> Vec<u8> {
    let (id, parameters): (&[u8], &[u8]) = match key {
        PrivateKey::Rsa(_) => (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B], &[5, 0]),
        PrivateKey::Ec(ec::Curve::P384, _) => {
            (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03], &[])
        }
        PrivateKey::Ec(..) => (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02], &[]),
    };
    tlv::joined(SEQUENCE, &[&tlv::object(OBJECT_IDENTIFIER, id), parameters])
}

/// A name with nothing but a common name.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    let attribute = [
        tlv::object(OBJECT_IDENTIFIER, &COMMON_NAME),
        tlv::object(UTF8_STRING, common_name.as_bytes()),
    ];
    tlv::object(SEQUENCE, &tlv::object(SET, &tlv::object(SEQUENCE, &attribute.concat())))
}

/// A positive number.
pub(crate) fn integer(big_endian: &[u8]) -> Vec<u8> {
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    let digits = &big_endian[zeros.min(big_endian.len().saturating_sub(1))..];
    let sign: &[u8] =
        if digits.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
    tlv::joined(INTEGER, &[sign, digits])
}

/// The subject of a certificate, DER.
pub(crate) fn subject_of(certificate: &[u8]) -> Result<&[u8], TlvError> {
    let signed = Reader::new(tlv::only(certificate, SEQUENCE)?).expect(SEQUENCE)?;
    let mut reader = Reader::new(signed);
    reader.take(0xA0)?;
    reader.expect(INTEGER)?;
    for _algorithm_issuer_validity in 0..3 {
        reader.expect(SEQUENCE)?;
    }
    let before = reader.rest();
    reader.expect(SEQUENCE)?;
    Ok(&before[..before.len() - reader.rest().len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positive_and_short() {
        assert_eq!(integer(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
    }

    #[test]
    fn years_up_to_2049_are_short() {
        assert_eq!(time("20491231235959Z")[0], 0x17);
        assert_eq!(time("20500101000000Z")[0], 0x18);
    }
}
