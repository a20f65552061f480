//! Who a trusted application is: its UUID together with who signed it.
//!
//! Anybody may choose any UUID, so a UUID alone names nobody. Two images with one UUID by
//! different signers are different trusted applications, which share nothing.

use crate::TaId;
use crypto::digest::sha256;
use serde::{Deserialize, Serialize};

/// Separates owners from everything else that is hashed in this system.
const OWNER_DOMAIN: &[u8] = b"holdfast trusted application\0";

/// Who signed a trusted application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signer {
    /// The board's maker: any of its root keys. One may be revoked and the next one take over;
    /// the trusted application stays who it is.
    Maker,
    /// Somebody whom the maker admitted: SHA-256 of their AVB public-key blob.
    Key([u8; 32]),
}

/// Who a trusted application is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Its UUID.
    pub uuid: TaId,
    /// Who vouches for it.
    pub signer: Signer,
}

impl Identity {
    /// The maker's trusted application `uuid`.
    #[must_use]
    pub const fn of_maker(uuid: TaId) -> Self {
        Self { uuid, signer: Signer::Maker }
    }

    /// What everything that belongs to this trusted application alone is bound to: its keys,
    /// its objects, its quotas.
    #[must_use]
    pub fn owner(&self) -> [u8; 32] {
        let signer: &[&[u8]] = match &self.signer {
            Signer::Maker => &[b"maker"],
            Signer::Key(digest) => &[b"key", digest],
        };
        sha256(&[OWNER_DOMAIN, &self.uuid.0, &signer.concat()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_1_1_one_uuid_by_two_signers_is_two_owners() {
        let uuid = TaId([7; 16]);
        let signers = [Signer::Maker, Signer::Key([0; 32]), Signer::Key([1; 32])];
        let mut owners = signers.map(|signer| Identity { uuid, signer }.owner()).to_vec();
        owners.push(Identity::of_maker(TaId([8; 16])).owner());
        owners.sort_unstable();
        owners.dedup();
        assert_eq!(owners.len(), 4);
    }
}
