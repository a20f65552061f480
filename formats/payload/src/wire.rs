//! Protocol Buffers on the wire: varints, fixed numbers and length-delimited fields.
//!
//! Small enough to write by hand, and so what a message does not know is kept as bytes: a payload
//! that is signed again loses nothing.

use crate::error::DecodeError;

/// A field as it stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
    /// Key and value, byte for byte.
    pub raw: &'a [u8],
}

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: a string, bytes or a message.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

impl<'a> Field<'a> {
    /// The number; of another wire type it is malformed.
    pub const fn varint(&self, message: &'static str) -> Result<u64, DecodeError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(DecodeError::WireType { message, field: self.number }),
        }
    }

    /// A number that must fit 32 bits.
    pub fn uint32(&self, message: &'static str) -> Result<u32, DecodeError> {
        u32::try_from(self.varint(message)?)
            .map_err(|_| DecodeError::Range { message, field: self.number })
    }

    /// The bytes.
    pub const fn bytes(&self, message: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(DecodeError::WireType { message, field: self.number }),
        }
    }

    /// The text, which must be UTF-8.
    pub fn text(&self, message: &'static str) -> Result<String, DecodeError> {
        let text = std::str::from_utf8(self.bytes(message)?);
        text.map(str::to_owned).map_err(|_| DecodeError::Utf8 { message, field: self.number })
    }
}

/// Reads fields from the front of a message.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    message: &'static str,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The fields in `bytes`; `message` names it in errors.
    #[must_use]
    pub const fn new(message: &'static str, bytes: &'a [u8]) -> Self {
        Self { message, bytes }
    }

    const fn truncated(&self) -> DecodeError {
        DecodeError::Truncated { message: self.message }
    }

    /// The next field, `None` at the end.
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let start = self.bytes;
        let key = self.take_varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|&number| number != 0);
        let number = number.ok_or(DecodeError::Key { message: self.message, key })?;
        let value = match key & 7 {
            0 => Value::Varint(self.take_varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.take_varint()?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| self.truncated())?)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(DecodeError::Key { message: self.message, key }),
        };
        let raw = &start[..start.len() - self.bytes.len()];
        Ok(Some(Field { number, value, raw }))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or_else(|| self.truncated())?;
        self.bytes = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N)?.try_into().expect("take gives as many bytes as asked for"))
    }

    fn take_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            let digit = u64::from(byte & 0x7f);
            if shift == 63 && digit > 1 {
                break;
            }
            value |= digit << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint { message: self.message })
    }
}

/// Writes fields.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty message.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// The message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// A number.
    pub fn varint(&mut self, field: u32, value: u64) -> &mut Self {
        self.raw_varint(u64::from(field) << 3);
        self.raw_varint(value);
        self
    }

    /// A number, where there is one.
    pub fn optional(&mut self, field: u32, value: Option<u64>) -> &mut Self {
        if let Some(value) = value {
            self.varint(field, value);
        }
        self
    }

    /// A number of 32 bits in four bytes.
    pub fn fixed32(&mut self, field: u32, value: u32) -> &mut Self {
        self.raw_varint(u64::from(field) << 3 | 5);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// Bytes, a text or a message.
    pub fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        self.raw_varint(u64::from(field) << 3 | 2);
        self.raw_varint(value.len() as u64);
        self.bytes.extend(value);
        self
    }

    /// Fields that were kept as they stood.
    pub fn raw(&mut self, fields: &[u8]) -> &mut Self {
        self.bytes.extend(fields);
        self
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_come_back(number in 1_u32..1 << 29, value: u64, fixed: u32, bytes: Vec<u8>) {
            let mut writer = Writer::new();
            writer.varint(number, value).bytes(number, &bytes).fixed32(number, fixed);
            let message = writer.finish();
            let mut reader = Reader::new("test", &message);
            for expected in [Value::Varint(value), Value::Bytes(&bytes), Value::Fixed32(fixed)] {
                let field = reader.next_field().unwrap().unwrap();
                prop_assert_eq!((field.number, field.value), (number, expected));
            }
            prop_assert_eq!(reader.next_field(), Ok(None));
        }
    }

    #[test]
    fn refuses_numbers_that_overflow() {
        let mut reader = Reader::new("test", &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]);
        assert!(matches!(reader.next_field(), Err(DecodeError::Varint { .. })));
        let mut reader = Reader::new("test", &[0, 0]);
        assert!(matches!(reader.next_field(), Err(DecodeError::Key { .. })));
    }
}
