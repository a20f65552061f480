//! Keys and randomness that only the board has.

use super::Context;
use crypto::secret::Secret;
use serde_bytes::ByteBuf;
use tee_api::TeeError;
use tee_api::ta::Syscall;

impl Context<'_> {
    /// A key from the HUK that only this TA on this board has.
    pub fn derive_key(&mut self, label: &str, context: &[u8]) -> Result<Secret<32>, TeeError> {
        self.key(Syscall::DeriveKey { label: label.to_owned(), context: ByteBuf::from(context) })
    }

    /// `N` random bytes from the board's generator; at most 256.
    pub fn random<const N: usize>(&mut self) -> Result<[u8; N], TeeError> {
        let count = u16::try_from(N)
            .map_err(|_| TeeError::BadParameters("at most 256 random bytes at once".into()))?;
        self.bytes(Syscall::Random { bytes: count })?[..]
            .try_into()
            .map_err(|_| TeeError::Communication(format!("not {N} random bytes")))
    }

    /// The key of hardware auth tokens: the same for all TAs that make or check them, another
    /// one after each power-on.
    pub fn auth_token_key(&mut self) -> Result<Secret<32>, TeeError> {
        self.key(Syscall::AuthTokenKey)
    }
}
