//! Randomness from the board.

use super::Context;
use tee_api::TeeError;
use tee_api::ta::Syscall;

impl Context<'_> {
    /// `N` random bytes from the board's generator; at most 256.
    pub fn random<const N: usize>(&mut self) -> Result<[u8; N], TeeError> {
        let count = u16::try_from(N)
            .map_err(|_| TeeError::BadParameters("at most 256 random bytes at once".into()))?;
        self.bytes(Syscall::Random { bytes: count })?[..]
            .try_into()
            .map_err(|_| TeeError::Communication(format!("not {N} random bytes")))
    }
}
