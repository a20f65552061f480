//! Bytes that are wiped when dropped and never printed.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret of `N` bytes: wiped on drop, no `Debug` of its content, no `Clone` by accident.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// Takes `bytes` over.
    #[must_use]
    pub const fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// A fresh random secret.
    #[must_use]
    pub fn random() -> Self {
        Self(crate::random_array())
    }

    /// From a slice of exactly `N` bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, crate::Error> {
        bytes.try_into().map(Self).map_err(|_| crate::Error::MalformedKey)
    }

    /// The bytes, where an algorithm needs them.
    #[must_use]
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// A second copy, said aloud.
    #[must_use]
    pub const fn duplicate(&self) -> Self {
        Self(self.0)
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret<{N}>(..)")
    }
}
