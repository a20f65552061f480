//! BER-TLV data objects (ISO/IEC 7816-4, 5.2.2; X.690, 8.1): tags of up to three bytes, definite
//! lengths of up to three.

/// A tag as the number that its bytes make, big-endian: `0x53`, `0x7F49`, `0x5FC105`.
pub type Tag = u32;

/// What is wrong with a data object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlvError {
    /// The bytes end inside an object.
    #[error("a data object is cut short")]
    Short,
    /// A tag of more than three bytes.
    #[error("a tag has more than 3 bytes")]
    Tag,
    /// An indefinite length, or one of more than three bytes.
    #[error("a length is indefinite or has more than 3 bytes")]
    Length,
    /// Another object was due.
    #[error("the data object {expected:X} was due, {found:X} is there")]
    Unexpected {
        /// What was due.
        expected: Tag,
        /// What is there.
        found: Tag,
    },
    /// Something follows the last object that may be there.
    #[error("something follows the last data object")]
    Trailing,
}

/// Reads data objects one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Over these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next object; none at the end.
    pub fn next_object(&mut self) -> Result<Option<(Tag, &'a [u8])>, TlvError> {
        if self.is_empty() {
            return Ok(None);
        }
        let tag = self.tag()?;
        let length = self.length()?;
        let (value, rest) = self.0.split_at_checked(length).ok_or(TlvError::Short)?;
        self.0 = rest;
        Ok(Some((tag, value)))
    }

    /// The next object, which has this tag.
    pub fn expect(&mut self, tag: Tag) -> Result<&'a [u8], TlvError> {
        match self.next_object()? {
            Some((found, value)) if found == tag => Ok(value),
            Some((found, _)) => Err(TlvError::Unexpected { expected: tag, found }),
            None => Err(TlvError::Short),
        }
    }

    /// The next object where it has this tag; else nothing is read.
    pub fn take(&mut self, tag: Tag) -> Result<Option<&'a [u8]>, TlvError> {
        let mut ahead = *self;
        match ahead.next_object()? {
            Some((found, value)) if found == tag => {
                *self = ahead;
                Ok(Some(value))
            }
            _ => Ok(None),
        }
    }

    /// Refuses anything that is left.
    pub const fn finish(self) -> Result<(), TlvError> {
        if self.is_empty() { Ok(()) } else { Err(TlvError::Trailing) }
    }

    fn byte(&mut self) -> Result<u8, TlvError> {
        let (first, rest) = self.0.split_first().ok_or(TlvError::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    fn tag(&mut self) -> Result<Tag, TlvError> {
        let first = self.byte()?;
        let mut tag = Tag::from(first);
        if first & 0x1F != 0x1F {
            return Ok(tag);
        }
        for _ in 0..2 {
            let next = self.byte()?;
            tag = tag << 8 | Tag::from(next);
            if next & 0x80 == 0 {
                return Ok(tag);
            }
        }
        Err(TlvError::Tag)
    }

    fn length(&mut self) -> Result<usize, TlvError> {
        let count = match self.byte()? {
            short @ 0..=0x7F => return Ok(short.into()),
            long @ 0x81..=0x83 => long & 0x7F,
            _ => return Err(TlvError::Length),
        };
        (0..count).try_fold(0, |length, _| Ok(length << 8 | usize::from(self.byte()?)))
    }
}

/// The one object in `bytes`, which has this tag and nothing behind it.
pub fn only(bytes: &[u8], tag: Tag) -> Result<&[u8], TlvError> {
    let mut reader = Reader::new(bytes);
    let value = reader.expect(tag)?;
    reader.finish()?;
    Ok(value)
}

/// Appends an object.
///
/// # Panics
/// Where the value has 16 MiB or more: no length of three bytes says that.
pub fn put(out: &mut Vec<u8>, tag: Tag, value: &[u8]) {
    put_bytes(out, tag);
    match value.len() {
        short @ 0..=0x7F => out.push(short as u8),
        long => {
            let bytes = u32::try_from(long).ok().filter(|long| *long < 1 << 24);
            let bytes = bytes.expect("a value has less than 16 MiB").to_be_bytes();
            let from = bytes.iter().position(|byte| *byte != 0).unwrap_or_default();
            out.push(0x80 | (4 - from) as u8);
            out.extend_from_slice(&bytes[from..]);
        }
    }
    out.extend_from_slice(value);
}

/// Appends a tag's bytes.
fn put_bytes(out: &mut Vec<u8>, tag: Tag) {
    let bytes = tag.to_be_bytes();
    let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(3);
    out.extend_from_slice(&bytes[from..]);
}

/// An object.
#[must_use]
pub fn object(tag: Tag, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 7);
    put(&mut out, tag, value);
    out
}

/// An object whose value is `parts`, one after the other.
#[must_use]
pub fn joined(tag: Tag, parts: &[&[u8]]) -> Vec<u8> {
    object(tag, &parts.concat())
}

/// A tag as the host names it in a tag list (`5C`): exactly one, without anything behind it.
pub fn one_tag(bytes: &[u8]) -> Result<Tag, TlvError> {
    let mut reader = Reader::new(bytes);
    let tag = reader.tag()?;
    reader.finish()?;
    Ok(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_tags_of_one_to_three_bytes() {
        let bytes = [0x53, 1, 9, 0x7F, 0x49, 0, 0x5F, 0xC1, 0x05, 0x81, 1, 8];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.take(0x7F49), Ok(None));
        assert_eq!(reader.expect(0x53), Ok(&[9][..]));
        assert_eq!(reader.expect(0x7F49), Ok(&[][..]));
        assert_eq!(reader.take(0x5FC105), Ok(Some(&[8][..])));
        assert_eq!(reader.next_object(), Ok(None));
        assert_eq!(one_tag(&[0x5F, 0xC1, 0x05]), Ok(0x5FC105));
        assert_eq!(one_tag(&[0x5F, 0xC1]), Err(TlvError::Short));
        assert_eq!(one_tag(&[0x7E, 0]), Err(TlvError::Trailing));
    }

    #[test]
    fn refuses_what_is_cut_short_or_indefinite() {
        for (bytes, error) in [
            (&[0x53][..], TlvError::Short),
            (&[0x53, 2, 1], TlvError::Short),
            (&[0x53, 0x82, 1], TlvError::Short),
            (&[0x53, 0x80, 0, 0], TlvError::Length),
            (&[0x53, 0x84, 0, 0, 0, 0], TlvError::Length),
            (&[0x5F, 0xFF, 0xFF, 1, 0], TlvError::Tag),
            (&[0x5F], TlvError::Short),
        ] {
            assert_eq!(Reader::new(bytes).next_object(), Err(error), "{bytes:?}");
        }
        assert_eq!(only(&[0x53, 0, 0], 0x53), Err(TlvError::Trailing));
        let unexpected = TlvError::Unexpected { expected: 0x53, found: 0x54 };
        assert_eq!(only(&[0x54, 0], 0x53), Err(unexpected));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tag in prop::sample::select(vec![0x53_u32, 0x7F49, 0x5FC105]), value in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let bytes = object(tag, &value);
            prop_assert_eq!(only(&bytes, tag), Ok(&value[..]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(Some(_)) = reader.next_object() {}
        }
    }
}
