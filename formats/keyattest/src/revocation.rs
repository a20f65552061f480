//! Lists of certificates that their issuers took back, in the form of Google's attestation service:
//!
//! ```json
//! {"entries": {"cc66e9a9": {"status": "REVOKED", "reason": "KEY_COMPROMISE"}}}
//! ```
//!
//! How old a list may be is for its reader to say: a list carries no date.

use crate::x509::SerialNumber;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt;

/// The longest serial number in a list, in digits: 20 bytes are 49 decimal digits.
const DIGITS_MAX: usize = 64;

/// How an issuer sees a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevocationStatus {
    /// Taken back for good.
    Revoked,
    /// Not to be trusted for the time being.
    Suspended,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// For good or for now. Both are refused.
    pub status: RevocationStatus,
    /// As the list gives it: `KEY_COMPROMISE`, `SOFTWARE_FLAW`…
    pub reason: Option<String>,
}

/// Why a list cannot be used. Who cannot read a list must refuse what it might name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// Longer than anybody's list.
    #[error("the revocation list has more than 32 MiB")]
    TooLarge,
    /// No JSON object with `entries`.
    #[error("the revocation list is not JSON with an object `entries`: {0}")]
    Malformed(String),
    /// A key that is no serial number.
    #[error("the revocation list names {0:?}, which is no serial number")]
    SerialNumber(String),
    /// An entry without a status, or with one that nobody knows.
    #[error("the revocation list gives {0} no status that is known")]
    Status(String),
}

/// A list by serial number. Real lists mix hexadecimal with decimal numbers: a text of decimal
/// digits alone is taken for both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevocationList {
    /// Big-endian, without leading zeros.
    by_number: HashMap<Vec<u8>, Revocation>,
    entries: usize,
}

impl RevocationList {
    /// Reads a list. An entry that is not understood is an error: it might be the one that counts.
    pub fn from_json(json: &[u8]) -> Result<Self, ListError> {
        if json.len() > Self::MAX_BYTES {
            return Err(ListError::TooLarge);
        }
        let written: Written = serde_json::from_slice(json)
            .map_err(|error| ListError::Malformed(error.to_string()))?;
        let mut list = Self::default();
        for (serial, entry) in &written.entries.0 {
            let status = match entry.get("status").and_then(Value::as_str) {
                Some("REVOKED") => RevocationStatus::Revoked,
                Some("SUSPENDED") => RevocationStatus::Suspended,
                _ => return Err(ListError::Status(serial.clone())),
            };
            let reason = entry.get("reason").and_then(Value::as_str).map(str::to_owned);
            list.insert(serial, Revocation { status, reason })?;
        }
        Ok(list)
    }

    /// The largest list that is read, in bytes. Google's has about 50 KiB.
    pub const MAX_BYTES: usize = 32 << 20;

    /// Adds an entry, with the serial number as the list writes it. The first of two entries for
    /// one number stays, unless the second revokes what the first only suspends.
    pub fn insert(&mut self, serial: &str, revocation: Revocation) -> Result<(), ListError> {
        let digits = serial.trim();
        let readings = [16, 10].map(|base| number(digits, base));
        if readings.iter().all(Option::is_none) {
            return Err(ListError::SerialNumber(serial.chars().take(DIGITS_MAX).collect()));
        }
        self.entries += 1;
        for number in readings.into_iter().flatten() {
            let stands = self.by_number.entry(number).or_insert_with(|| revocation.clone());
            if revocation.status == RevocationStatus::Revoked {
                stands.status = RevocationStatus::Revoked;
            }
        }
        Ok(())
    }

    /// What the list says about a certificate.
    #[must_use]
    pub fn look_up(&self, serial: &SerialNumber) -> Option<Revocation> {
        self.by_number.get(serial.as_bytes()).cloned()
    }

    /// How many entries it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

/// A list as it is written. `entries` stands there once: of two, one would be overlooked.
#[derive(Deserialize)]
struct Written {
    entries: Entries,
}

/// Entries with their keys, each as often as it stands there.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Entries(all))
            }
        }

        deserializer.deserialize_map(All)
    }
}

/// A list as its readers expect it. Serial numbers are written in lower-case hexadecimal digits.
#[must_use]
pub fn list_json<'a>(entries: impl IntoIterator<Item = (&'a SerialNumber, Revocation)>) -> Value {
    let entry = |(serial, revocation): (&SerialNumber, Revocation)| {
        let status = match revocation.status {
            RevocationStatus::Revoked => "REVOKED",
            RevocationStatus::Suspended => "SUSPENDED",
        };
        let mut entry = json!({ "status": status });
        if let Some(reason) = revocation.reason {
            entry["reason"] = json!(reason);
        }
        (serial.to_hex(), entry)
    };
    let entries: Map<String, Value> = entries.into_iter().map(entry).collect();
    json!({ "entries": entries })
}

/// The number that digits of a base write: big-endian, without leading zeros.
fn number(digits: &str, base: u32) -> Option<Vec<u8>> {
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut little_endian: Vec<u8> = Vec::new();
    for digit in digits.chars() {
        let mut carry = digit.to_digit(base)?;
        for byte in &mut little_endian {
            carry += u32::from(*byte) * base;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            little_endian.push(carry as u8);
        }
    }
    little_endian.reverse();
    Some(little_endian)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVOKED: Revocation = Revocation { status: RevocationStatus::Revoked, reason: None };

    #[test]
    fn finds_a_serial_number_in_either_notation() {
        let serial = SerialNumber::from_bytes(&6_681_152_659_205_225_093_u64.to_be_bytes());
        let serial = serial.unwrap();
        for text in ["6681152659205225093", "5cb838f1fe157a85", "005CB838F1FE157A85"] {
            let mut list = RevocationList::default();
            list.insert(text, REVOKED).unwrap();
            assert_eq!(list.look_up(&serial), Some(REVOKED), "{text}");
        }
    }

    #[test]
    fn numbers_agree_with_u128() {
        for value in [1, 9, 10, 255, 256, 99_999, u128::MAX, u128::from(u64::MAX)] {
            let bytes = value.to_be_bytes();
            let start = bytes.iter().position(|byte| *byte > 0).unwrap();
            for (text, base) in [(value.to_string(), 10), (format!("{value:x}"), 16)] {
                assert_eq!(number(&text, base).as_deref(), Some(&bytes[start..]), "{text}");
            }
        }
    }

    #[test]
    fn refuses_lists_that_it_does_not_understand() {
        let refused = |json: &str| RevocationList::from_json(json.as_bytes()).unwrap_err();
        let twice = r#"{"entries": {"1": {"status": "REVOKED"}}, "entries": {}}"#;
        for json in ["", "{", "[]", "{}", r#"{"entries": []}"#, twice] {
            assert!(matches!(refused(json), ListError::Malformed(_)), "{json}");
        }
        for serial in ["", "0x12", "-1", "zz", &"1".repeat(65)] {
            let json = format!(r#"{{"entries": {{"{serial}": {{"status": "REVOKED"}}}}}}"#);
            assert!(matches!(refused(&json), ListError::SerialNumber(_)), "{serial}");
        }
        for entry in ["{}", r#"{"status": "GOOD"}"#, r#"{"status": 1}"#, "null"] {
            let json = format!(r#"{{"entries": {{"1": {entry}}}}}"#);
            assert_eq!(refused(&json), ListError::Status("1".into()), "{entry}");
        }
    }

    #[test]
    fn of_two_entries_for_one_number_the_graver_counts() {
        let both = r#""1": {"status": "REVOKED"}, "1": {"status": "SUSPENDED"}"#;
        let list = format!(r#"{{"entries": {{{both}}}}}"#);
        let list = RevocationList::from_json(list.as_bytes()).unwrap();
        let found = list.look_up(&SerialNumber::one()).unwrap();
        assert_eq!(found.status, RevocationStatus::Revoked);
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let serial = SerialNumber::from_bytes(&[0, 0xab, 0x0c]).unwrap();
        let revocation = Revocation {
            status: RevocationStatus::Suspended,
            reason: Some("KEY_COMPROMISE".into()),
        };
        let json = list_json([(&serial, revocation.clone())]);
        let expected = r#"{"entries":{"ab0c":{"reason":"KEY_COMPROMISE","status":"SUSPENDED"}}}"#;
        assert_eq!(json.to_string(), expected);
        let list = RevocationList::from_json(json.to_string().as_bytes()).unwrap();
        assert_eq!((list.len(), list.look_up(&serial)), (1, Some(revocation)));
    }
}
