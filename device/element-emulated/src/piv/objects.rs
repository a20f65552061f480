//! Data objects: GET DATA and PUT DATA (SP 800-73-5, part 2, 3.1.2 and 3.3.2; part 1, table 3).

use super::{Answer, PROVIDER, Piv, malformed};
use crate::state::OBJECTS_BYTES;
use iso7816::tlv::{self, Reader, Tag};
use iso7816::{Command, Status};
use serde_bytes::ByteBuf;

/// Card holder unique identifier.
pub const CHUID: Tag = 0x5F_C102;
/// Card capability container.
pub const CAPABILITIES: Tag = 0x5F_C107;
/// Printed information; here tools keep a management key that the PIN protects.
pub const PRINTED: Tag = 0x5F_C109;
/// The attestation key's certificate.
pub const ATTESTATION_CERTIFICATE: Tag = 0x5F_FF01;
/// The first of the sixteen objects that hold an identity. They are read after the PIN only.
pub const IDENTITY: Tag = 0x5F_FF40;
/// The discovery object.
const DISCOVERY: Tag = 0x7E;
/// The biometric information templates group template.
const BIT_GROUP: Tag = 0x7F61;

/// Who may read an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Anybody,
    AfterPin,
}

/// The rule of an object; none where there is no such object.
const fn reading(tag: Tag) -> Option<Reading> {
    Some(match tag {
        // Fingerprints, facial image, printed information, iris images.
        0x5F_C103 | 0x5F_C108 | PRINTED | 0x5F_C121 => Reading::AfterPin,
        IDENTITY..=0x5F_FF4F => Reading::AfterPin,
        DISCOVERY | BIT_GROUP | 0x5F_C101..=0x5F_C123 | 0x5F_FF00..=0x5F_FFFF => Reading::Anybody,
        _ => return None,
    })
}

impl Piv {
    /// GET DATA: `5C`, the tag. The answer is `53` and the content; two objects have tags of their
    /// own.
    pub(super) fn get_data(&mut self, command: &Command<'_>) -> Answer {
        super::parameters(command, 0x3F, 0xFF)?;
        let tag = tlv::only(command.data, 0x5C).and_then(tlv::one_tag).map_err(malformed)?;
        if tag == DISCOVERY {
            return Ok(discovery());
        }
        let rule = reading(tag).ok_or(Status::NOT_FOUND)?;
        if rule == Reading::AfterPin && !self.session.pin {
            return Err(Status::SECURITY_NOT_SATISFIED);
        }
        let content = self.state().objects.get(&tag).ok_or(Status::NOT_FOUND)?;
        Ok(tlv::object(if tag == BIT_GROUP { BIT_GROUP } else { 0x53 }, content))
    }

    /// PUT DATA: `5C`, the tag, `53`, the content. Empty content deletes the object.
    pub(super) fn put_data(&mut self, command: &Command<'_>) -> Answer {
        super::parameters(command, 0x3F, 0xFF)?;
        self.require_management()?;
        let mut reader = Reader::new(command.data);
        let (tag, content) = match reader.take(BIT_GROUP).map_err(malformed)? {
            Some(content) => (BIT_GROUP, content),
            None => {
                let tag = reader.expect(0x5C).and_then(tlv::one_tag).map_err(malformed)?;
                (tag, reader.expect(0x53).map_err(malformed)?)
            }
        };
        reader.finish().map_err(malformed)?;
        if tag == DISCOVERY || reading(tag).is_none() {
            return Err(Status::NOT_FOUND);
        }
        self.put_object(tag, content)
    }

    fn put_object(&mut self, tag: Tag, content: &[u8]) -> Answer {
        let there = self.state().objects.get(&tag).map_or(0, |object| object.len());
        if self.state().objects_bytes() - there + content.len() > OBJECTS_BYTES {
            return Err(Status::NO_SPACE);
        }
        let content = ByteBuf::from(content);
        self.commit(|state| {
            if content.is_empty() {
                state.objects.remove(&tag);
            } else {
                state.objects.insert(tag, content);
            }
        })?;
        Ok(Vec::new())
    }
}

/// The discovery object (part 1, 3.3.2): the application's name, and that its own PIN is all there
/// is to know.
fn discovery() -> Vec<u8> {
    let parts = [tlv::object(0x4F, &super::AID), tlv::object(0x5F2F, &[0x40, 0x00])];
    tlv::object(DISCOVERY, &parts.concat())
}

/// A certificate, as it is kept in a data object (part 1, table 10): the certificate, that it is not
/// compressed, no error check.
#[must_use]
pub fn certificate_object(der: &[u8]) -> Vec<u8> {
    [tlv::object(0x70, der), tlv::object(0x71, &[0]), tlv::object(0xFE, &[])].concat()
}

/// The certificate in such an object.
pub(super) fn certificate_in(object: &[u8]) -> Result<&[u8], Status> {
    Reader::new(object).expect(0x70).map_err(malformed)
}

/// A CHUID with a fresh identifier (part 1, 3.1.2): a FASC-N of nobody, a random GUID, an end far
/// away, no signature.
pub(super) fn chuid() -> Vec<u8> {
    const FASC_N: [u8; 25] = [
        0xD4, 0xE7, 0x39, 0xDA, 0x73, 0x9C, 0xED, 0x39, 0xCE, 0x73, 0x9D, 0x83, 0x68, 0x58, 0x21,
        0x08, 0x42, 0x10, 0x84, 0x21, 0xC8, 0x42, 0x10, 0xC3, 0xEB,
    ];
    let mut guid = crypto::random_array::<16>();
    // Version 4, variant 1 (RFC 9562, 5.4).
    guid[6] = guid[6] & 0x0F | 0x40;
    guid[8] = guid[8] & 0x3F | 0x80;
    [
        tlv::object(0x30, &FASC_N),
        tlv::object(0x34, &guid),
        tlv::object(0x35, b"20991231"),
        tlv::object(0x3E, &[]),
        tlv::object(0xFE, &[]),
    ]
    .concat()
}

/// A card capability container (part 1, 3.1.1) with a fresh card identifier.
pub(super) fn capabilities() -> Vec<u8> {
    let mut identifier = AID_OF_CAPABILITIES.to_vec();
    identifier.extend_from_slice(&crypto::random_array::<14>());
    let parts: [(Tag, &[u8]); 13] = [
        (0xF0, &identifier),
        (0xF1, &[0x21]),
        (0xF2, &[0x21]),
        (0xF3, &[]),
        (0xF4, &[0x00]),
        (0xF5, &[0x10]),
        (0xF6, &[]),
        (0xF7, &[]),
        (0xFA, &[]),
        (0xFB, &[]),
        (0xFC, &[]),
        (0xFD, &[]),
        (0xFE, &[]),
    ];
    parts.iter().flat_map(|(tag, content)| tlv::object(*tag, content)).collect()
}

/// What a card identifier begins with (GSC-IS): the provider, and that it is a Java card or alike.
const AID_OF_CAPABILITIES: [u8; PROVIDER + 2] = [0xA0, 0x00, 0x00, 0x01, 0x16, 0xFF, 0x02];
