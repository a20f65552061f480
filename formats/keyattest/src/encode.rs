//! [`KeyDescription`] to strict DER.

use crate::EncodeError;
use crate::asn1::unsigned;
use crate::asn1::{boolean, element, enumerated, explicit, null, octets, sequence, set_of};
use crate::types::{
    AttestationApplicationId, AuthorizationList, KeyDescription, KeyOrigin, Package, RootOfTrust,
};
use der::Tag;
use std::collections::BTreeSet;

/// The longest challenge that KeyMint takes, in bytes.
const CHALLENGE_MAX_BYTES: usize = 128;

impl KeyDescription {
    /// Encodes the extension's value. Refuses what its attestation version does not have.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        if self.attestation_challenge.len() > CHALLENGE_MAX_BYTES {
            return Err(EncodeError::Challenge(self.attestation_challenge.len()));
        }
        Ok(sequence(&[
            unsigned(self.attestation_version.into()),
            enumerated(self.attestation_security_level as u64),
            unsigned(self.key_mint_version.into()),
            enumerated(self.key_mint_security_level as u64),
            octets(&self.attestation_challenge),
            octets(&self.unique_id),
            list(&self.software_enforced, self.attestation_version)?,
            list(&self.hardware_enforced, self.attestation_version)?,
        ]))
    }
}

fn list(list: &AuthorizationList, version: u32) -> Result<Vec<u8>, EncodeError> {
    let mut content = Vec::new();
    for (tag, value) in list.entries() {
        let Some(value) = value else { continue };
        if !AuthorizationList::versions(tag).contains(&version) {
            return Err(EncodeError::TagNotInVersion { tag, version });
        }
        content.extend(explicit(tag, &value));
    }
    if let Some(root) = &list.root_of_trust
        && root.verified_boot_hash.is_some() != (version >= 3)
    {
        return Err(EncodeError::VerifiedBootHash);
    }
    Ok(element(Tag::Sequence, &content))
}

/// A type that an authorization can have.
pub(crate) trait Authorization {
    /// The value, where it is in the list at all.
    fn encode(&self) -> Option<Vec<u8>>;
}

impl Authorization for bool {
    fn encode(&self) -> Option<Vec<u8>> {
        self.then(null)
    }
}

impl Authorization for Option<u64> {
    fn encode(&self) -> Option<Vec<u8>> {
        self.map(unsigned)
    }
}

impl Authorization for BTreeSet<u64> {
    fn encode(&self) -> Option<Vec<u8>> {
        (!self.is_empty()).then(|| set_of(self.iter().copied().map(unsigned).collect()))
    }
}

impl Authorization for Option<Vec<u8>> {
    fn encode(&self) -> Option<Vec<u8>> {
        self.as_deref().map(octets)
    }
}

impl Authorization for Option<KeyOrigin> {
    fn encode(&self) -> Option<Vec<u8>> {
        self.map(|origin| unsigned(origin as u64))
    }
}

impl Authorization for Option<RootOfTrust> {
    fn encode(&self) -> Option<Vec<u8>> {
        self.as_ref().map(|root| {
            let mut fields = vec![
                octets(&root.verified_boot_key),
                boolean(root.device_locked),
                enumerated(root.verified_boot_state as u64),
            ];
            fields.extend(root.verified_boot_hash.as_deref().map(octets));
            sequence(&fields)
        })
    }
}

impl Authorization for Option<AttestationApplicationId> {
    fn encode(&self) -> Option<Vec<u8>> {
        self.as_ref().map(|id| {
            let packages = id.packages.iter().filter_map(Authorization::encode);
            let digests = id.signature_digests.iter().map(|digest| octets(digest));
            octets(&sequence(&[set_of(packages.collect()), set_of(digests.collect())]))
        })
    }
}

impl Authorization for Package {
    fn encode(&self) -> Option<Vec<u8>> {
        Some(sequence(&[octets(self.name.as_bytes()), unsigned(self.version)]))
    }
}
