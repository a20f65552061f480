//! How those who make and check hardware auth tokens agree on a key (`ISharedSecret`): what each
//! brings, and in which order it counts.
//!
//! ```text
//! key   = CKDF(common key, label = LABEL, context = seed | nonce of each, in their order)
//! check = HMAC-SHA-256(key, CHECK)
//! ```
//! CKDF is the counter mode of SP 800-108 with AES-CMAC. All who have the common key and took the
//! same parameters have the same check. The computing is done where the common key is.

use crate::Bytes;
use serde::{Deserialize, Serialize};

/// What a participant brings (`SharedSecretParameters`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedSecretParameters {
    /// Always the same of one participant: 32 bytes, or none.
    pub seed: Bytes,
    /// Another one after each power-on: 32 bytes.
    pub nonce: Bytes,
}

impl SharedSecretParameters {
    /// The label of the key.
    pub const LABEL: &[u8] = b"KeymasterSharedMac";
    /// What the check is over.
    pub const CHECK: &[u8] = b"Keymaster HMAC Verification";
    /// The most participants.
    pub const MOST: usize = 16;
    /// Bytes of a seed and of a nonce.
    pub const BYTES: usize = 32;

    /// Whether seed and nonce have a length that there is.
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        (self.seed.is_empty() || self.seed.len() == Self::BYTES) && self.nonce.len() == Self::BYTES
    }

    /// What the key is bound to: each participant's seed and nonce, sorted.
    #[must_use]
    pub fn context(participants: &[Self]) -> Vec<u8> {
        let mut sorted: Vec<&Self> = participants.iter().collect();
        sorted.sort();
        sorted.iter().flat_map(|it| it.seed.iter().chain(it.nonce.iter())).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(seed: &[u8], nonce: u8) -> SharedSecretParameters {
        SharedSecretParameters { seed: Bytes::from(seed), nonce: Bytes(vec![nonce; 32]) }
    }

    #[test]
    fn the_order_of_participants_is_that_of_their_bytes() {
        let all = [parameters(&[2; 32], 1), parameters(&[], 9), parameters(&[2; 32], 0)];
        let context = SharedSecretParameters::context(&all);
        assert_eq!(context.len(), 32 + 64 + 64);
        assert_eq!((context[0], context[32], context[64], context[128]), (9, 2, 0, 1));
        let mut turned = all.clone();
        turned.reverse();
        assert_eq!(SharedSecretParameters::context(&turned), context);
    }

    #[test]
    fn lengths_are_those_of_the_interface() {
        assert!(parameters(&[], 1).is_well_formed() && parameters(&[1; 32], 1).is_well_formed());
        assert!(!parameters(&[1; 31], 1).is_well_formed());
        let short = SharedSecretParameters { nonce: Bytes(vec![0; 31]), ..parameters(&[], 1) };
        assert!(!short.is_well_formed());
    }
}
