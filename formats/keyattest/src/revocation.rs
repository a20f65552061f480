//! Lists of certificates that their issuers took back, in the form of Google's attestation
//! service: serial numbers as text.

use crate::x509::SerialNumber;
use std::collections::HashMap;

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

/// A list by serial number. Real lists mix hexadecimal with decimal numbers, so both forms of a
/// certificate's number are looked up.
#[derive(Debug, Clone, Default)]
pub struct RevocationList(HashMap<String, Revocation>);

impl RevocationList {
    /// Adds an entry, with the serial number as the list writes it.
    pub fn insert(&mut self, serial: &str, revocation: Revocation) {
        let serial = serial.trim().to_ascii_lowercase();
        self.0.insert(serial.trim_start_matches('0').to_owned(), revocation);
    }

    /// What the list says about a certificate.
    #[must_use]
    pub fn look_up(&self, serial: &SerialNumber) -> Option<Revocation> {
        let serial = serial.as_bytes();
        self.0.get(&hexadecimal(serial)).or_else(|| self.0.get(&decimal(serial))).cloned()
    }
}

fn hexadecimal(big_endian: &[u8]) -> String {
    let digits: String = big_endian.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.trim_start_matches('0').to_owned()
}

fn decimal(big_endian: &[u8]) -> String {
    let mut digits = vec![0_u8];
    for byte in big_endian {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) * 256;
            *digit = (carry % 10) as u8;
            carry /= 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    let text: String = digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect();
    text.trim_start_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_serial_number_in_either_notation() {
        let serial = SerialNumber::from_bytes(&6_681_152_659_205_225_093_u64.to_be_bytes());
        let serial = serial.unwrap();
        for text in ["6681152659205225093", "5cb838f1fe157a85", "0x"] {
            let mut list = RevocationList::default();
            let revocation = Revocation { status: RevocationStatus::Revoked, reason: None };
            list.insert(text, revocation.clone());
            let expected = (text != "0x").then_some(revocation);
            assert_eq!(
                list.look_up(&serial),
                expected,
                "{text} {}",
                hexadecimal(serial.as_bytes())
            );
        }
    }

    #[test]
    fn decimal_agrees_with_u128() {
        for number in [0, 1, 9, 10, 255, 256, 99_999, u128::MAX, u128::from(u64::MAX)] {
            let expected = number.to_string();
            assert_eq!(decimal(&number.to_be_bytes()), expected.trim_start_matches('0'));
        }
    }
}
