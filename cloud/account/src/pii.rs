//! Personal data at rest: AES-128-GCM under a data key of the Key Center (S5.1.3). Each value is
//! bound to its table, column and row, so that none can be moved to another place.

use crate::Error;
use crypto::aead::Key;
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;

/// Where a sealed value stands.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The table.
    pub table: &'a str,
    /// The column.
    pub column: &'a str,
    /// What identifies the row.
    pub row: &'a str,
}

impl<'a> Place<'a> {
    /// A place.
    #[must_use]
    pub const fn new(table: &'a str, column: &'a str, row: &'a str) -> Self {
        Self { table, column, row }
    }

    fn associated_data(&self) -> Vec<u8> {
        [self.table, self.column, self.row].join("\0").into_bytes()
    }
}

/// Seals and opens personal data.
pub struct Pii {
    key: Key,
    audit_key: Secret<32>,
}

impl Pii {
    /// Over the data key that the Key Center unwrapped.
    #[must_use]
    pub fn new(data_key: &Secret<32>) -> Self {
        let sealing = hkdf_sha256::<16>(data_key.expose(), b"", &[b"holdfast personal data v1"]);
        Self {
            key: Key::aes_128_gcm(sealing.expose()),
            audit_key: hkdf_sha256(data_key.expose(), b"", &[b"holdfast audit chain v1"]),
        }
    }

    /// Seals `plaintext` for its place.
    #[must_use]
    pub fn seal(&self, place: Place<'_>, plaintext: &[u8]) -> Vec<u8> {
        self.key.seal(&place.associated_data(), plaintext)
    }

    /// Opens what was sealed for this place.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        self.key
            .open(&place.associated_data(), sealed)
            .map_err(|_| Error::Damaged("a sealed value does not open at its place"))
    }

    /// Opens text.
    pub fn open_text(&self, place: Place<'_>, sealed: &[u8]) -> Result<String, Error> {
        String::from_utf8(self.open(place, sealed)?)
            .map_err(|_| Error::Damaged("a sealed text is not UTF-8"))
    }

    /// The key of the audit chain: derived, so that who holds only the database cannot forge it.
    pub(crate) const fn audit_key(&self) -> &[u8; 32] {
        self.audit_key.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_1_3_a_value_moved_to_another_place_does_not_open() {
        let pii = Pii::new(&Secret::new([1; 32]));
        let home = Place::new("accounts", "email", "1");
        let sealed = pii.seal(home, b"a@example.org");
        assert_eq!(pii.open_text(home, &sealed).unwrap(), "a@example.org");
        for other in [
            Place { table: "devices", ..home },
            Place { column: "phone", ..home },
            Place { row: "2", ..home },
        ] {
            assert!(pii.open(other, &sealed).is_err());
        }
    }
}
