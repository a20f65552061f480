//! Distinguished names.

use crate::asn1::{self, Element, element, sequence};
use crate::{DecodeError, EncodeError};
use der::Tag;
use der::asn1::ObjectIdentifier;
use std::fmt;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const TITLE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.12");

/// A distinguished name, in DER. Two names are equal when their bytes are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// `CN=common_name, O=organization`.
    pub fn authority(common_name: &str, organization: &str) -> Result<Self, EncodeError> {
        Ok(Self(sequence(&[
            attribute(ORGANIZATION, text(organization, "organization")?),
            attribute(COMMON_NAME, text(common_name, "common name")?),
        ])))
    }

    /// `serialNumber=serial, title=TEE`: how the certificates of Android's factories are named,
    /// the intermediate's and the device's.
    pub fn factory(serial: &str) -> Result<Self, EncodeError> {
        Ok(Self(sequence(&[
            attribute(SERIAL_NUMBER, printable(serial, "serial number")?),
            attribute(TITLE, text("TEE", "title")?),
        ])))
    }

    /// A name in DER, as a caller gives it (`CERTIFICATE_SUBJECT`).
    pub fn from_der(der: &[u8]) -> Result<Self, DecodeError> {
        Self::parse(asn1::only(der, "name")?, "name")
    }

    /// `CN=Android Keystore Key`: the name of every attested key.
    #[must_use]
    pub fn attested_key() -> Self {
        let name = text("Android Keystore Key", "common name").expect("it has 20 characters");
        Self(sequence(&[attribute(COMMON_NAME, name)]))
    }

    pub(crate) fn parse(element: Element<'_>, place: &'static str) -> Result<Self, DecodeError> {
        let mut names = element.sequence(place)?;
        while let Some(rdn) = names.next_or_end(place)? {
            let mut attributes = rdn.set(place)?;
            while let Some(attribute) = attributes.next_or_end(place)? {
                let mut parts = attribute.sequence(place)?;
                parts.next(place)?.oid(place)?;
                parts.next(place)?;
                parts.finish()?;
            }
        }
        Ok(Self(element.raw.to_vec()))
    }

    /// The DER bytes.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// The first `serialNumber` (2.5.4.5).
    #[must_use]
    pub fn serial_number(&self) -> Option<String> {
        self.attribute(SERIAL_NUMBER)
    }

    /// The first `title` (2.5.4.12): `TEE` or `StrongBox` in a factory's certificates.
    #[must_use]
    pub fn title(&self) -> Option<String> {
        self.attribute(TITLE)
    }

    /// The first `organizationName` (2.5.4.10).
    #[must_use]
    pub fn organization(&self) -> Option<String> {
        self.attribute(ORGANIZATION)
    }

    /// The first `commonName` (2.5.4.3).
    #[must_use]
    pub fn common_name(&self) -> Option<String> {
        self.attribute(COMMON_NAME)
    }

    fn attribute(&self, wanted: ObjectIdentifier) -> Option<String> {
        self.attributes().ok()?.into_iter().find(|(oid, _)| *oid == wanted).map(|(_, text)| text)
    }

    fn attributes(&self) -> Result<Vec<(ObjectIdentifier, String)>, DecodeError> {
        let place = "name";
        let mut found = Vec::new();
        let mut names = asn1::only(&self.0, place)?.sequence(place)?;
        while let Some(rdn) = names.next_or_end(place)? {
            let mut attributes = rdn.set(place)?;
            while let Some(attribute) = attributes.next_or_end(place)? {
                let mut parts = attribute.sequence(place)?;
                let oid = parts.next(place)?.oid(place)?;
                let value = parts.next(place)?;
                if matches!(value.tag, Tag::Utf8String | Tag::PrintableString | Tag::Ia5String) {
                    found.push((oid, String::from_utf8_lossy(value.value).into_owned()));
                }
            }
        }
        Ok(found)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attributes = self.attributes().unwrap_or_default();
        let texts: Vec<_> = attributes.iter().map(|(oid, text)| format!("{oid}={text}")).collect();
        write!(f, "Name({})", texts.join(", "))
    }
}

fn attribute(oid: ObjectIdentifier, value: Vec<u8>) -> Vec<u8> {
    element(Tag::Set, &sequence(&[asn1::oid(oid), value]))
}

/// RFC 5280 allows at most 64 characters in each of these attributes.
fn text(value: &str, what: &'static str) -> Result<Vec<u8>, EncodeError> {
    if value.is_empty() || value.chars().count() > 64 {
        return Err(EncodeError::Name(what));
    }
    Ok(element(Tag::Utf8String, value.as_bytes()))
}

fn printable(value: &str, what: &'static str) -> Result<Vec<u8>, EncodeError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
    if value.is_empty() || value.len() > 64 || !value.bytes().all(allowed) {
        return Err(EncodeError::Name(what));
    }
    Ok(element(Tag::PrintableString, value.as_bytes()))
}
