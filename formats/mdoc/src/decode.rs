//! Reading CBOR fields by name; unknown ones are passed over, as the standard wants.

use crate::MAX_BYTES;
use crate::error::DecodeError;
use ciborium::Value;

/// The tag of CBOR inside a byte string (RFC 8949, 3.4.5.1).
const EMBEDDED: u64 = 24;
/// The tag of a date and time as text (3.4.1).
const DATE: u64 = 0;

/// One value and nothing behind it.
pub(crate) fn value(bytes: &[u8], what: &'static str) -> Result<Value, DecodeError> {
    if bytes.len() > MAX_BYTES {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).map_err(|_| DecodeError::Cbor(what))?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Cbor(what)) }
}

/// A value as bytes.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).expect("a value can be written to memory");
    out
}

/// Bytes as embedded CBOR.
pub(crate) fn embed(content: &[u8]) -> Value {
    Value::Tag(EMBEDDED, Box::new(Value::Bytes(content.to_vec())))
}

/// The content of embedded CBOR.
pub(crate) fn embedded(value: Value, field: &'static str) -> Result<Vec<u8>, DecodeError> {
    match value {
        Value::Tag(EMBEDDED, inner) => byte_string(*inner, field),
        _ => Err(DecodeError::Field(field)),
    }
}

pub(crate) fn byte_string(value: Value, field: &'static str) -> Result<Vec<u8>, DecodeError> {
    value.into_bytes().map_err(|_| DecodeError::Field(field))
}

pub(crate) fn text(value: Value, field: &'static str) -> Result<String, DecodeError> {
    value.into_text().map_err(|_| DecodeError::Field(field))
}

pub(crate) fn array(value: Value, field: &'static str) -> Result<Vec<Value>, DecodeError> {
    value.into_array().map_err(|_| DecodeError::Field(field))
}

pub(crate) fn number(value: &Value, field: &'static str) -> Result<u64, DecodeError> {
    let number = value.as_integer().and_then(|it| u64::try_from(it).ok());
    number.ok_or(DecodeError::Field(field))
}

/// Seconds since 1970.
pub(crate) fn date(value: Value, field: &'static str) -> Result<u64, DecodeError> {
    let Value::Tag(DATE, inner) = value else { return Err(DecodeError::Field(field)) };
    let time: Result<der::DateTime, _> = text(*inner, field)?.parse();
    time.map(|time| time.unix_duration().as_secs()).map_err(|_| DecodeError::Field(field))
}

/// Seconds since 1970 as a date; none after the year 9999.
pub(crate) fn to_date(seconds: u64) -> Option<Value> {
    let time = der::DateTime::from_unix_duration(std::time::Duration::from_secs(seconds)).ok()?;
    Some(Value::Tag(DATE, Box::new(Value::Text(time.to_string()))))
}

/// A map, from which fields are taken.
pub(crate) struct Map(Vec<(Value, Value)>);

impl Map {
    pub(crate) fn from(value: Value, field: &'static str) -> Result<Self, DecodeError> {
        value.into_map().map(Self).map_err(|_| DecodeError::Field(field))
    }

    /// A field that may be missing, and may not be there twice.
    pub(crate) fn optional(
        &mut self,
        key: &Value,
        field: &'static str,
    ) -> Result<Option<Value>, DecodeError> {
        let Some(at) = self.0.iter().position(|(its, _)| its == key) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(at);
        if self.0.iter().any(|(its, _)| its == key) {
            return Err(DecodeError::Twice(field));
        }
        Ok(Some(value))
    }

    pub(crate) fn take(&mut self, field: &'static str) -> Result<Value, DecodeError> {
        let key = Value::Text(field.to_owned());
        self.optional(&key, field)?.ok_or(DecodeError::Field(field))
    }

    pub(crate) fn take_number(
        &mut self,
        key: i64,
        field: &'static str,
    ) -> Result<Value, DecodeError> {
        self.optional(&Value::from(key), field)?.ok_or(DecodeError::Field(field))
    }

    pub(crate) fn entries(self) -> Vec<(Value, Value)> {
        self.0
    }
}

/// A map with names as keys.
pub(crate) fn map(entries: Vec<(&str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect())
}
