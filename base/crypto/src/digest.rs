//! SHA-2 (FIPS 180-4).

use aws_lc_rs::digest::{Context, SHA256, SHA512, digest};

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

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
}
