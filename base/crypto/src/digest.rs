//! SHA-2 and SHA-1 (FIPS 180-4), BLAKE2b (RFC 7693).

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use blake2::Digest as _;
use blake2::digest::consts::U32;

/// SHA-256 of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    digest(&SHA256, data).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// SHA-512 of `data`.
#[must_use]
pub fn sha512(data: &[u8]) -> [u8; 64] {
    digest(&SHA512, data).as_ref().try_into().expect("SHA-512 gives 64 bytes")
}

/// SHA-256 over data that comes in pieces.
#[derive(Clone)]
pub struct Sha256(Context);

impl Sha256 {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Appends `data` to the message.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all that was appended.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

/// SHA-512 over data that comes in pieces.
#[derive(Clone)]
pub struct Sha512(Context);

impl Sha512 {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA512))
    }

    /// Appends `data` to the message.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all that was appended.
    #[must_use]
    pub fn finish(self) -> [u8; 64] {
        self.0.finish().as_ref().try_into().expect("SHA-512 gives 64 bytes")
    }
}

impl Default for Sha512 {
    fn default() -> Self {
        Self::new()
    }
}

/// SHA-1 over data that comes in pieces. Collisions are known: only for formats that ask for it.
#[derive(Clone)]
pub struct LegacySha1(Context);

impl LegacySha1 {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA1_FOR_LEGACY_USE_ONLY))
    }

    /// Appends `data` to the message.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all that was appended.
    #[must_use]
    pub fn finish(self) -> [u8; 20] {
        self.0.finish().as_ref().try_into().expect("SHA-1 gives 20 bytes")
    }
}

impl Default for LegacySha1 {
    fn default() -> Self {
        Self::new()
    }
}

/// BLAKE2b with digests of 32 bytes and without a key, over data that comes in pieces.
#[derive(Clone, Default)]
pub struct Blake2b256(blake2::Blake2b<U32>);

impl Blake2b256 {
    /// An empty message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `data` to the message.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all that was appended.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_agrees_with_fips_180_4_examples() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut pieces = Sha256::new();
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(hex(&sha256(b"abc")), abc);
        assert_eq!(hex(&pieces.finish()), abc);
    }

    #[test]
    fn sha1_and_blake2b_agree_with_known_answers() {
        let mut sha1 = LegacySha1::new();
        sha1.update(b"abc");
        assert_eq!(hex(&sha1.finish()), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let mut blake2b = Blake2b256::new();
        blake2b.update(b"a");
        blake2b.update(b"bc");
        let abc = "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319";
        assert_eq!(hex(&blake2b.finish()), abc);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
}
