//! The master key: seals every key, token and audit entry before it is stored.

use crypto::aead;
use crypto::kdf::hkdf_sha256;
use crypto::mac::HmacSha256;
use crypto::secret::Secret;

/// Seals and opens what is stored, each thing bound to its place.
pub struct Seal {
    storage: aead::Key,
    names: HmacSha256,
    chain: HmacSha256,
}

/// What is stored at a place was not sealed for it under this master key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the stored {0} was altered or is sealed under another master key")]
pub struct Altered(pub String);

impl Seal {
    /// From the master key.
    #[must_use]
    pub fn new(master: &Secret<32>) -> Self {
        let derive = |purpose: &str| -> Secret<32> {
            hkdf_sha256(master.expose(), b"holdfast-keycenter-v1", &[purpose.as_bytes()])
        };
        Self {
            storage: aead::Key::aes_256_gcm(derive("storage").expose()),
            names: HmacSha256::new(derive("credentials").expose()),
            chain: HmacSha256::new(derive("audit").expose()),
        }
    }

    /// Seals `plaintext` for the place `table`/`id`.
    #[must_use]
    pub fn seal(&self, table: &str, id: &str, plaintext: &[u8]) -> Vec<u8> {
        self.storage.seal(place(table, id).as_bytes(), plaintext)
    }

    /// Opens what was sealed for the place.
    pub fn open(
        &self,
        table: &str,
        id: &str,
        sealed: &[u8],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Altered> {
        let place = place(table, id);
        let opened = self.storage.open(place.as_bytes(), sealed);
        opened.map(Into::into).map_err(|_| Altered(place))
    }

    /// The form in which a credential is stored: nobody who reads the table can use it.
    #[must_use]
    pub fn fingerprint(&self, kind: &str, credential: &str) -> Vec<u8> {
        self.names.tag(&[kind.as_bytes(), b"\0", credential.as_bytes()]).to_vec()
    }

    /// The link of the audit chain behind `previous`.
    #[must_use]
    pub fn link(&self, previous: &[u8], seq: i64, entry: &[u8]) -> [u8; 32] {
        self.chain.tag(&[previous, &seq.to_be_bytes(), entry])
    }
}

fn place(table: &str, id: &str) -> String {
    format!("{table}/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_at_the_place_it_was_sealed_for() {
        let seal = Seal::new(&Secret::new([1; 32]));
        let sealed = seal.seal("key", "a", b"secret");
        assert_eq!(&seal.open("key", "a", &sealed).unwrap()[..], b"secret");
        assert!(seal.open("key", "b", &sealed).is_err());
        assert!(seal.open("token", "a", &sealed).is_err());
        assert!(Seal::new(&Secret::new([2; 32])).open("key", "a", &sealed).is_err());
    }

    #[test]
    fn a_fingerprint_depends_on_the_master_key_and_the_kind() {
        let seal = Seal::new(&Secret::new([1; 32]));
        let one = seal.fingerprint("token", "x");
        assert_ne!(one, seal.fingerprint("secret", "x"));
        assert_ne!(one, Seal::new(&Secret::new([2; 32])).fingerprint("token", "x"));
    }
}
