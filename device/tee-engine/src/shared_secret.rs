//! The key of hardware auth tokens, as KeyMint's `ISharedSecret` agrees on it.

use crypto::cipher;
use crypto::kdf::{Prf, counter};
use crypto::mac::hmac_sha256;
use crypto::secret::Secret;
use tee_api::TeeError;
use tee_api::keymint::SharedSecretParameters;

/// Who agreed, since power-on.
#[derive(Debug, Clone)]
pub struct Agreement {
    own: SharedSecretParameters,
    participants: Vec<SharedSecretParameters>,
}

impl Agreement {
    /// Nobody else yet. `seed` is always the same, `nonce` another one after each power-on.
    #[must_use]
    pub fn alone(seed: [u8; 32], nonce: [u8; 32]) -> Self {
        let own = SharedSecretParameters { seed: (&seed).into(), nonce: (&nonce).into() };
        Self { participants: vec![own.clone()], own }
    }

    /// What this TEE brings.
    #[must_use]
    pub const fn own(&self) -> &SharedSecretParameters {
        &self.own
    }

    /// From now on `participants` have the key. Refused `BadParameters` where this TEE is not among
    /// them, exactly as it is.
    pub fn join(&mut self, participants: Vec<SharedSecretParameters>) -> Result<(), TeeError> {
        let fits = participants.len() <= SharedSecretParameters::MOST
            && participants.iter().all(SharedSecretParameters::is_well_formed);
        if !fits || !participants.contains(&self.own) {
            return Err(crate::parameters("this TEE is not among the participants"));
        }
        self.participants = participants;
        Ok(())
    }

    /// The key; `common` is what all participants have from their factory.
    pub fn key(&self, common: &Secret<32>) -> Result<Secret<32>, TeeError> {
        agree(common, &self.participants)
    }
}

/// The key of all `participants`, which have `common`: CKDF, the counter mode of SP 800-108 with
/// AES-256-CMAC.
pub fn agree(
    common: &Secret<32>,
    participants: &[SharedSecretParameters],
) -> Result<Secret<32>, TeeError> {
    const BITS: u32 = 256;
    let context = SharedSecretParameters::context(participants);
    let after = [SharedSecretParameters::LABEL, &[0], &context, &BITS.to_be_bytes()].concat();
    let common = cipher::Key::aes(common.expose()).map_err(crate::failed)?;
    let key = counter(Prf::Cmac(&common), 4, &[], &after, 32).map_err(crate::failed)?;
    Secret::from_slice(&key).map_err(crate::failed)
}

/// What participants compare: whoever took other parameters, or has another key, has another one.
#[must_use]
pub fn check(key: &Secret<32>) -> [u8; 32] {
    hmac_sha256(key.expose(), &[SharedSecretParameters::CHECK])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tee_api::keymint::Bytes;

    #[test]
    fn s3_2_the_key_is_that_of_another_implementation() {
        // Computed with pyca/cryptography: KBKDFCMAC (counter mode, 4 bytes of counter and length,
        // counter before the fixed part), and HMAC.
        let common = Secret::new(std::array::from_fn(|at| at as u8));
        let participant = |seed, nonce| SharedSecretParameters {
            seed: Bytes(vec![seed; 32]),
            nonce: Bytes(vec![nonce; 32]),
        };
        let key = agree(&common, &[participant(3, 4), participant(1, 2)]).unwrap();
        assert_eq!(
            hex(key.expose()),
            "ec3470b39a1dc948556b4f25083b0574f7ed4abeb48d3e0b100fc7abe3301f09"
        );
        assert_eq!(
            hex(&check(&key)),
            "a813125d92a215509d831fabb24175d0c64bc9cbebfa4f96fc397c665d3be2dd"
        );
        let other = agree(&common, &[participant(1, 2)]).unwrap();
        assert_ne!(check(&other), check(&key));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
