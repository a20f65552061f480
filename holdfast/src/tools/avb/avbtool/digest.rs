//! Hash functions by their names.

use anyhow::{Result, bail};
use crypto::digest::{LegacySha1, Sha256, Sha512};

/// A hash over data that comes in pieces.
pub(super) enum Hasher {
    Sha1(LegacySha1),
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// The function that Python's `hashlib` has under `name`, where AVB knows it.
    pub(super) fn new(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "sha1" => Self::Sha1(LegacySha1::new()),
            "sha256" => Self::Sha256(Sha256::new()),
            "sha512" => Self::Sha512(Sha512::new()),
            _ => bail!("unsupported hash type {name}"),
        })
    }

    /// Bytes of a digest.
    pub(super) const fn size(&self) -> usize {
        match self {
            Self::Sha1(_) => 20,
            Self::Sha256(_) => 32,
            Self::Sha512(_) => 64,
        }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Sha1(context) => context.update(data),
            Self::Sha256(context) => context.update(data),
            Self::Sha512(context) => context.update(data),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha1(context) => context.finish().to_vec(),
            Self::Sha256(context) => context.finish().to_vec(),
            Self::Sha512(context) => context.finish().to_vec(),
        }
    }
}
