//! A key of the device's TEE that a vault hangs on.
//!
//! The key is an HMAC key that the TEE made and that never leaves it. What it makes of the vault's
//! id goes into the key that seals the master key: the folder alone, with the password, opens
//! nothing on another machine.

use anyhow::Result;
use crypto::secret::Secret;
use keymint::{Algorithm, Authorizations, Digest, KeyPurpose};
use keystore_client::Keystore;
use keystore_client::api::{KeyRef, NewKey, Use};
use zeroize::Zeroizing;

const MAC_BITS: u32 = 256;

/// The alias of the key of the vault with this id.
pub(super) fn alias(id: &str) -> String {
    format!("vault-{id}")
}

/// Makes the key.
pub(super) fn make(alias: &str) -> Result<()> {
    let rules = Authorizations {
        purpose: [KeyPurpose::Sign].into(),
        algorithm: Some(Algorithm::Hmac),
        key_size: Some(MAC_BITS),
        digest: [Digest::Sha2_256].into(),
        min_mac_length: Some(MAC_BITS),
        no_auth_required: true,
        ..Authorizations::default()
    };
    Keystore::of_this_device().generate(&NewKey::new(alias, rules))?;
    Ok(())
}

/// What the key makes of the vault's id.
pub(super) fn secret(alias: &str, id: &str) -> Result<Secret<32>> {
    let params = Authorizations {
        digest: [Digest::Sha2_256].into(),
        mac_length: Some(MAC_BITS),
        ..Authorizations::default()
    };
    let input = format!("holdfast vault {id}").into_bytes().into();
    let made = Keystore::of_this_device().use_key(&Use {
        params,
        input,
        ..Use::of(KeyRef::alias(alias), KeyPurpose::Sign)
    })?;
    Ok(Secret::from_slice(&Zeroizing::new(made.output.into_vec()))?)
}
