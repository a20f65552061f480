//! DER elements (X.690), in and out: what the modules above this one are written in.

use crate::DecodeError;
use der::asn1::ObjectIdentifier;
use der::{Encode, Header, Length, Reader, SliceReader, Tag, TagNumber};

/// One element: tag, content, and both with the length between them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: Tag,
    pub(crate) value: &'a [u8],
    pub(crate) raw: &'a [u8],
}

/// The elements of a constructed one, in order.
pub(crate) struct Elements<'a> {
    rest: SliceReader<'a>,
    place: &'static str,
}

/// Reads `bytes` as exactly one element.
pub(crate) fn only<'a>(bytes: &'a [u8], place: &'static str) -> Result<Element<'a>, DecodeError> {
    let mut elements = Elements::of(bytes, place)?;
    let element = elements.next(place)?;
    elements.finish()?;
    Ok(element)
}

impl<'a> Elements<'a> {
    pub(crate) fn of(bytes: &'a [u8], place: &'static str) -> Result<Self, DecodeError> {
        let rest = SliceReader::new(bytes).map_err(|source| DecodeError::Der { place, source })?;
        Ok(Self { rest, place })
    }

    /// The next element, which must be there.
    pub(crate) fn next(&mut self, place: &'static str) -> Result<Element<'a>, DecodeError> {
        self.next_or_end(place)?.ok_or(DecodeError::Missing { place })
    }

    /// The next element, if there is one.
    pub(crate) fn next_or_end(
        &mut self,
        place: &'static str,
    ) -> Result<Option<Element<'a>>, DecodeError> {
        if self.rest.is_finished() {
            return Ok(None);
        }
        let malformed = |source| DecodeError::Der { place, source };
        let header = Header::peek(&self.rest).map_err(malformed)?;
        let raw = self.rest.tlv_bytes().map_err(malformed)?;
        let length = usize::try_from(header.length()).map_err(malformed)?;
        Ok(Some(Element { tag: header.tag(), value: &raw[raw.len() - length..], raw }))
    }

    /// The next element if it has this tag.
    pub(crate) fn next_if(
        &mut self,
        tag: Tag,
        place: &'static str,
    ) -> Result<Option<Element<'a>>, DecodeError> {
        match Tag::peek(&self.rest) {
            Ok(found) if found == tag => self.next_or_end(place),
            _ => Ok(None),
        }
    }

    /// Refuses what was not read.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        let place = self.place;
        if self.rest.is_finished() { Ok(()) } else { Err(DecodeError::Trailing { place }) }
    }
}

impl<'a> Element<'a> {
    /// The content, where the tag is `tag`.
    pub(crate) fn expect(self, tag: Tag, place: &'static str) -> Result<&'a [u8], DecodeError> {
        if self.tag == tag {
            Ok(self.value)
        } else {
            Err(DecodeError::Type { place, found: self.tag })
        }
    }

    pub(crate) fn sequence(self, place: &'static str) -> Result<Elements<'a>, DecodeError> {
        Elements::of(self.expect(Tag::Sequence, place)?, place)
    }

    pub(crate) fn set(self, place: &'static str) -> Result<Elements<'a>, DecodeError> {
        Elements::of(self.expect(Tag::Set, place)?, place)
    }

    pub(crate) fn octets(self, place: &'static str) -> Result<&'a [u8], DecodeError> {
        self.expect(Tag::OctetString, place)
    }

    /// An INTEGER that is not negative and fits.
    pub(crate) fn unsigned(self, place: &'static str) -> Result<u64, DecodeError> {
        unsigned_content(self.expect(Tag::Integer, place)?, place)
    }

    /// An ENUMERATED.
    pub(crate) fn enumerated(self, place: &'static str) -> Result<u64, DecodeError> {
        unsigned_content(self.expect(Tag::Enumerated, place)?, place)
    }

    pub(crate) fn oid(self, place: &'static str) -> Result<ObjectIdentifier, DecodeError> {
        ObjectIdentifier::from_bytes(self.expect(Tag::ObjectIdentifier, place)?)
            .map_err(|_| DecodeError::Range { place })
    }

    /// The octets of a BIT STRING of whole octets.
    pub(crate) fn bit_string(self, place: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.expect(Tag::BitString, place)? {
            [0, octets @ ..] => Ok(octets),
            _ => Err(DecodeError::Range { place }),
        }
    }
}

fn unsigned_content(content: &[u8], place: &'static str) -> Result<u64, DecodeError> {
    let magnitude = magnitude(content, place)?;
    if magnitude.len() > 8 {
        return Err(DecodeError::Range { place });
    }
    Ok(magnitude.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// The octets of an INTEGER's content that is not negative, without a leading zero.
pub(crate) fn magnitude<'a>(
    content: &'a [u8],
    place: &'static str,
) -> Result<&'a [u8], DecodeError> {
    match content {
        [0] => Ok(&[]),
        [0, next, ..] if *next & 0x80 != 0 => Ok(&content[1..]),
        [first, ..] if *first != 0 && *first & 0x80 == 0 => Ok(content),
        _ => Err(DecodeError::Range { place }),
    }
}

/// The tag of `[number]` around something (EXPLICIT).
pub(crate) const fn context(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

/// One element.
pub(crate) fn element(tag: Tag, content: &[u8]) -> Vec<u8> {
    let length = Length::try_from(content.len()).expect("what we encode is below 4 GiB");
    let mut out = Header::new(tag, length).to_der().expect("a header fits into memory");
    out.extend_from_slice(content);
    out
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    element(Tag::Sequence, &parts.concat())
}

/// A SET OF: its elements in the order of their encodings (X.690, 11.6).
pub(crate) fn set_of(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    element(Tag::Set, &parts.concat())
}

pub(crate) fn explicit(number: u32, inner: &[u8]) -> Vec<u8> {
    element(context(number), inner)
}

pub(crate) fn octets(content: &[u8]) -> Vec<u8> {
    element(Tag::OctetString, content)
}

pub(crate) fn unsigned(value: u64) -> Vec<u8> {
    element(Tag::Integer, &unsigned_octets(&value.to_be_bytes()))
}

pub(crate) fn enumerated(value: u64) -> Vec<u8> {
    element(Tag::Enumerated, &unsigned_octets(&value.to_be_bytes()))
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    element(Tag::Boolean, &[if value { 0xff } else { 0 }])
}

pub(crate) fn null() -> Vec<u8> {
    element(Tag::Null, &[])
}

pub(crate) fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    element(Tag::ObjectIdentifier, oid.as_bytes())
}

/// A BIT STRING of whole octets.
pub(crate) fn bit_string(octets: &[u8]) -> Vec<u8> {
    element(Tag::BitString, &[&[0], octets].concat())
}

/// The shortest INTEGER content for a big-endian number that is not negative.
pub(crate) fn unsigned_octets(big_endian: &[u8]) -> Vec<u8> {
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    let magnitude = &big_endian[zeros..];
    match magnitude.first() {
        Some(first) if first & 0x80 == 0 => magnitude.to_vec(),
        _ => [&[0], magnitude].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_minimal_and_not_negative() {
        for (content, expected) in [
            (&[0][..], Some(&[][..])),
            (&[1], Some(&[1])),
            (&[0, 0x80], Some(&[0x80])),
            (&[], None),
            (&[0, 1], None),
            (&[0x80], None),
        ] {
            assert_eq!(magnitude(content, "x").ok(), expected, "{content:?}");
        }
    }
}
