//! A named key: its versions, its rules, and the ciphertexts that it makes and opens
//! (`vault:v1:` and base64 of nonce, ciphertext and tag).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::{aead, mac};
use effects::{Entropy, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The longest history of a key.
const MAX_VERSIONS: u32 = 10_000;

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    #[serde(rename = "aes128-gcm96")]
    Aes128Gcm96,
    #[serde(rename = "aes256-gcm96")]
    Aes256Gcm96,
    #[serde(rename = "hmac")]
    Hmac,
}

impl Kind {
    const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm96 => 16,
            Self::Aes256Gcm96 | Self::Hmac => 32,
        }
    }

    pub(crate) const fn encrypts(self) -> bool {
        !matches!(self, Self::Hmac)
    }
}

/// One generation of a key.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Version {
    created_s: u64,
    #[serde(with = "serde_bytes")]
    key: Vec<u8>,
    /// For the HMACs of a key that encrypts; an `hmac` key's own is `key`.
    #[serde(with = "serde_bytes")]
    hmac_key: Vec<u8>,
}

/// A named key.
#[derive(Serialize, Deserialize)]
pub(crate) struct KeyRing {
    pub(crate) kind: Kind,
    versions: BTreeMap<u32, Version>,
    pub(crate) min_decryption_version: u32,
    /// 0: the newest.
    pub(crate) min_encryption_version: u32,
    pub(crate) deletion_allowed: bool,
}

impl KeyRing {
    pub(crate) fn new(kind: Kind, entropy: &dyn Entropy, now: UnixMillis) -> Self {
        let mut ring = Self {
            kind,
            versions: BTreeMap::new(),
            min_decryption_version: 1,
            min_encryption_version: 0,
            deletion_allowed: false,
        };
        ring.add_version(entropy, now);
        ring
    }

    /// Adds a version, which seals from now on. False where the history is full.
    pub(crate) fn rotate(&mut self, entropy: &dyn Entropy, now: UnixMillis) -> bool {
        let room = self.latest() < MAX_VERSIONS;
        if room {
            self.add_version(entropy, now);
        }
        room
    }

    fn add_version(&mut self, entropy: &dyn Entropy, now: UnixMillis) {
        let draw = |length| {
            let mut bytes = vec![0; length];
            entropy.fill(&mut bytes);
            bytes
        };
        let (key, hmac_key) = (draw(self.kind.key_bytes()), draw(32));
        let version = Version { created_s: now.seconds(), key, hmac_key };
        self.versions.insert(self.latest() + 1, version);
    }

    pub(crate) fn latest(&self) -> u32 {
        self.versions.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Version numbers and when each was made (seconds since 1970).
    pub(crate) fn history(&self) -> BTreeMap<String, u64> {
        self.versions.iter().map(|(number, v)| (number.to_string(), v.created_s)).collect()
    }

    /// Seals under the version asked for (0: the newest).
    pub(crate) fn encrypt(
        &self,
        version: u32,
        associated_data: &[u8],
        plaintext: &[u8],
    ) -> Result<(String, u32), String> {
        let (number, version) = self.for_sealing(version)?;
        let sealed = self.aead(version)?.seal(associated_data, plaintext);
        Ok((format!("vault:v{number}:{}", STANDARD.encode(sealed)), number))
    }

    /// Opens what [`KeyRing::encrypt`] made.
    pub(crate) fn decrypt(
        &self,
        associated_data: &[u8],
        ciphertext: &str,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
        let (number, sealed) = split(ciphertext, "ciphertext")?;
        let key = self.aead(self.for_opening(number)?)?;
        if sealed.len() < aead::OVERHEAD_BYTES {
            return Err("invalid ciphertext: length is less than overhead".to_owned());
        }
        let opened = key.open(associated_data, &sealed);
        opened.map(Into::into).map_err(|_| "cipher: message authentication failed".to_owned())
    }

    /// HMAC-SHA-256 under the version asked for (0: the newest), as `vault:v1:…`.
    pub(crate) fn hmac(&self, version: u32, input: &[u8]) -> Result<String, String> {
        let (number, version) = self.for_sealing(version)?;
        let tag = mac::hmac_sha256(self.mac_key(version), &[input]);
        Ok(format!("vault:v{number}:{}", STANDARD.encode(tag)))
    }

    /// Whether `tag` is the HMAC of `input`.
    pub(crate) fn verify_hmac(&self, input: &[u8], tag: &str) -> Result<bool, String> {
        let (number, tag) = split(tag, "HMAC to verify")?;
        let version = self.for_opening(number)?;
        Ok(mac::verify_hmac_sha256(self.mac_key(version), &[input], &tag).is_ok())
    }

    fn mac_key<'a>(&self, version: &'a Version) -> &'a [u8] {
        if self.kind.encrypts() { &version.hmac_key } else { &version.key }
    }

    fn aead(&self, version: &Version) -> Result<aead::Key, String> {
        let key = &version.key[..];
        match self.kind {
            Kind::Aes128Gcm96 => key.try_into().map(aead::Key::aes_128_gcm),
            Kind::Aes256Gcm96 => key.try_into().map(aead::Key::aes_256_gcm),
            Kind::Hmac => return Err("key type hmac does not support encryption".to_owned()),
        }
        .map_err(|_| "the stored key has not its type's length".to_owned())
    }

    fn for_sealing(&self, wanted: u32) -> Result<(u32, &Version), String> {
        let number = if wanted == 0 { self.latest() } else { wanted };
        if number < self.min_encryption_version.max(self.min_decryption_version) {
            let text =
                "requested version for encryption is less than the minimum encryption key version";
            return Err(text.to_owned());
        }
        let version = self.versions.get(&number).ok_or_else(|| {
            "requested version for encryption is higher than the latest key version".to_owned()
        });
        Ok((number, version?))
    }

    fn for_opening(&self, number: u32) -> Result<&Version, String> {
        if number < self.min_decryption_version {
            let text = "ciphertext or signature version is disallowed by policy (too old)";
            return Err(text.to_owned());
        }
        let missing = || "invalid ciphertext: version is too new".to_owned();
        self.versions.get(&number).ok_or_else(missing)
    }
}

/// The version and the bytes of `vault:v<version>:<base64>`.
fn split(text: &str, what: &str) -> Result<(u32, Vec<u8>), String> {
    let invalid = |reason: &str| format!("invalid {what}: {reason}");
    let body = text.strip_prefix("vault:v").ok_or_else(|| invalid("no prefix"))?;
    let (number, body) = body.split_once(':').ok_or_else(|| invalid("wrong number of fields"))?;
    let digits = number.bytes().all(|b| b.is_ascii_digit()) && !number.starts_with('0');
    let number = number.parse().ok().filter(|_| digits);
    let number = number.ok_or_else(|| invalid("version number could not be decoded"))?;
    let bytes = STANDARD.decode(body).map_err(|_| invalid("could not decode base64"))?;
    Ok((number, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use effects::SystemEntropy;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn ring(kind: Kind) -> KeyRing {
        KeyRing::new(kind, &SystemEntropy, NOW)
    }

    #[test]
    fn opens_what_any_version_sealed_until_versions_are_retired() {
        for kind in [Kind::Aes128Gcm96, Kind::Aes256Gcm96] {
            let mut ring = ring(kind);
            let (first, _) = ring.encrypt(0, b"ad", b"text").unwrap();
            assert!(ring.rotate(&SystemEntropy, NOW));
            let (second, number) = ring.encrypt(0, b"ad", b"text").unwrap();
            assert!(number == 2 && second.starts_with("vault:v2:"));
            for sealed in [&first, &second] {
                assert_eq!(&ring.decrypt(b"ad", sealed).unwrap()[..], b"text");
                assert!(ring.decrypt(b"other", sealed).is_err());
            }
            ring.min_decryption_version = 2;
            assert!(ring.decrypt(b"ad", &first).unwrap_err().contains("too old"));
            assert!(ring.encrypt(1, b"", b"").is_err() && ring.encrypt(3, b"", b"").is_err());
        }
    }

    #[test]
    fn refuses_malformed_and_foreign_ciphertexts() {
        let (ring, other) = (ring(Kind::Aes256Gcm96), ring(Kind::Aes256Gcm96));
        let (sealed, _) = ring.encrypt(0, b"", b"text").unwrap();
        assert!(other.decrypt(b"", &sealed).is_err());
        for text in [
            "",
            "vault:",
            "vault:v1",
            "vault:v1:",
            "vault:v1:AAAA",
            "vault:v0:AAAA",
            "vault:v01:AAAA",
            "vault:v+1:AAAA",
            "vault:v-1:AAAA",
            "vault:v99999999999:AAAA",
            "vault:v2:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "vault:v1:not base64",
            "valut:v1:AAAA",
            &sealed[..sealed.len() - 4],
            &sealed.replace('+', "-").replace(':', "::"),
        ] {
            assert!(ring.decrypt(b"", text).is_err(), "{text}");
        }
    }

    #[test]
    fn hmacs_verify_and_differ_by_key_and_input() {
        for kind in [Kind::Hmac, Kind::Aes128Gcm96] {
            let ring = ring(kind);
            let tag = ring.hmac(0, b"input").unwrap();
            assert_eq!(ring.verify_hmac(b"input", &tag), Ok(true));
            assert_eq!(ring.verify_hmac(b"other", &tag), Ok(false));
            assert!(ring.verify_hmac(b"input", "rubbish").is_err());
        }
        assert!(ring(Kind::Hmac).encrypt(0, b"", b"").is_err());
    }

    #[test]
    fn the_stored_form_comes_back() {
        let ring = ring(Kind::Aes128Gcm96);
        let (sealed, _) = ring.encrypt(0, b"", b"text").unwrap();
        let mut bytes = Vec::new();
        ciborium::into_writer(&ring, &mut bytes).unwrap();
        let again: KeyRing = ciborium::from_reader(&bytes[..]).unwrap();
        assert_eq!(&again.decrypt(b"", &sealed).unwrap()[..], b"text");
    }
}
