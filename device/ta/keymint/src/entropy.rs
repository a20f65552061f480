//! Randomness that callers add: it goes into the nonces that this TA chooses, on top of the
//! board's. Keys come from the generator of the trusted OS.

use crate::failure::Outcome;
use crypto::mac::hmac_sha256;
use keymint::{ErrorCode, MAX_ENTROPY_BYTES};
use tee_sdk::{Context, Zeroizing};

/// The longest nonce of a mode, in bytes.
const MAX_NONCE_BYTES: usize = 16;

/// What was added so far.
#[derive(Default)]
pub(crate) struct Entropy {
    pool: Zeroizing<[u8; 32]>,
}

impl Entropy {
    /// Adds bytes, at most [`MAX_ENTROPY_BYTES`].
    pub(crate) fn add(&mut self, data: &[u8]) -> Outcome<()> {
        if data.len() > MAX_ENTROPY_BYTES {
            return Err(ErrorCode::InvalidInputLength.into());
        }
        *self.pool = hmac_sha256(&*self.pool, &[data]);
        Ok(())
    }

    /// A nonce of the board's randomness and of what was added.
    pub(crate) fn nonce(&self, context: &mut Context<'_>, bytes: usize) -> Outcome<Vec<u8>> {
        let fresh: [u8; 32] = context.random()?;
        let mixed = hmac_sha256(&*self.pool, &[&fresh]);
        Ok(mixed[..bytes.min(MAX_NONCE_BYTES)].to_vec())
    }
}
