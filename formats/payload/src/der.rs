//! DER elements (X.690): as much of them as keys, certificates and CMS need.

/// Tags that occur here.
pub mod tag {
    /// `INTEGER`.
    pub const INTEGER: u8 = 0x02;
    /// `BIT STRING`.
    pub const BIT_STRING: u8 = 0x03;
    /// `OCTET STRING`.
    pub const OCTET_STRING: u8 = 0x04;
    /// `NULL`.
    pub const NULL: u8 = 0x05;
    /// `OBJECT IDENTIFIER`.
    pub const OID: u8 = 0x06;
    /// `SEQUENCE`.
    pub const SEQUENCE: u8 = 0x30;
    /// `SET`.
    pub const SET: u8 = 0x31;
    /// `[0]`, constructed.
    pub const CONTEXT_0: u8 = 0xa0;
    /// `[1]`, constructed.
    pub const CONTEXT_1: u8 = 0xa1;
}

/// Why bytes are not the DER that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An element ends behind its container.
    #[error("{0} is cut short")]
    Truncated(&'static str),
    /// A length in a form that DER forbids, or of more than four bytes.
    #[error("the length of {0} is not DER")]
    Length(&'static str),
    /// Another element is due.
    #[error("{place} has tag {found:#04x}, not {expected:#04x}")]
    Tag {
        /// Which element.
        place: &'static str,
        /// What stands there.
        found: u8,
        /// What should.
        expected: u8,
    },
    /// Something stands behind the last element.
    #[error("{0} is followed by other bytes")]
    Trailing(&'static str),
}

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its identifier octet.
    pub tag: u8,
    /// The content.
    pub value: &'a [u8],
    /// Identifier, length and content.
    pub raw: &'a [u8],
}

/// Reads elements from the front of a byte string.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The elements in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The tag of the next element.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// The next element, whatever it is; `place` names it in errors.
    pub fn any(&mut self, place: &'static str) -> Result<Element<'a>, Error> {
        let (&tag, rest) = self.bytes.split_first().ok_or(Error::Truncated(place))?;
        let (length, header) = length(rest, place)?;
        let content = &rest[header..];
        let value = content.get(..length).ok_or(Error::Truncated(place))?;
        let raw = &self.bytes[..1 + header + length];
        self.bytes = &content[length..];
        Ok(Element { tag, value, raw })
    }

    /// The next element, which must have this tag.
    pub fn expect(&mut self, expected: u8, place: &'static str) -> Result<Element<'a>, Error> {
        let element = self.any(place)?;
        if element.tag != expected {
            return Err(Error::Tag { place, found: element.tag, expected });
        }
        Ok(element)
    }

    /// The next element where it has this tag.
    pub fn optional(&mut self, tag: u8, place: &'static str) -> Result<Option<Element<'a>>, Error> {
        if self.peek() == Some(tag) { self.any(place).map(Some) } else { Ok(None) }
    }

    /// The elements inside the next one, which must have this tag.
    pub fn enter(&mut self, tag: u8, place: &'static str) -> Result<Self, Error> {
        Ok(Self::new(self.expect(tag, place)?.value))
    }

    /// Refuses what is left.
    pub const fn finish(self, place: &'static str) -> Result<(), Error> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Error::Trailing(place)) }
    }
}

/// The length and how many bytes say it.
fn length(bytes: &[u8], place: &'static str) -> Result<(usize, usize), Error> {
    let (&first, rest) = bytes.split_first().ok_or(Error::Truncated(place))?;
    if first < 0x80 {
        return Ok((usize::from(first), 1));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return Err(Error::Length(place));
    }
    let digits = rest.get(..count).ok_or(Error::Truncated(place))?;
    let length = digits.iter().fold(0_usize, |sum, &digit| sum << 8 | usize::from(digit));
    let shortest = digits[0] != 0 && length >= 0x80;
    if shortest { Ok((length, 1 + count)) } else { Err(Error::Length(place)) }
}

/// An element around `content`.
#[must_use]
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let digits = content.len().to_be_bytes();
    let skip = digits.iter().take_while(|&&digit| digit == 0).count();
    if content.len() < 0x80 {
        out.push(digits[digits.len() - 1]);
    } else {
        let digits = &digits[skip..];
        out.push(0x80 | u8::try_from(digits.len()).expect("a usize has 8 bytes at most"));
        out.extend(digits);
    }
    out.extend(content);
    out
}

/// An element around other elements.
#[must_use]
pub fn container(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    element(tag, &parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_length_come_back() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let raw = element(tag::OCTET_STRING, &vec![7; length]);
            let mut reader = Reader::new(&raw);
            let element = reader.expect(tag::OCTET_STRING, "test").unwrap();
            assert_eq!((element.value.len(), element.raw), (length, &raw[..]));
            assert_eq!(reader.finish("test"), Ok(()));
            for short in 0..raw.len().min(300) {
                assert!(Reader::new(&raw[..short]).any("test").is_err());
            }
        }
    }

    #[test]
    fn refuses_lengths_that_are_not_the_shortest() {
        for bytes in [&[4, 0x80][..], &[4, 0x81, 5], &[4, 0x82, 0, 0x90], &[4, 0x85, 1, 1, 1, 1, 1]]
        {
            assert_eq!(Reader::new(bytes).any("test"), Err(Error::Length("test")));
        }
    }
}
