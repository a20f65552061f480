//! The device's attestation key: made in the factory, certified by the maker, never replaced.

use crate::keymint::crypto_failed;
use crypto::sign::{Curve, EcdsaKey};
use keyattest::verify_issued;
use serde_bytes::ByteBuf;
use tee_sdk::{Context, TeeError};

/// The private key, PKCS#8.
const KEY_OBJECT: &str = "device-key";
/// The certificates, CBOR array of DER, device first.
const CHAIN_OBJECT: &str = "device-chain";

/// Makes the device's key, once, and gives its public half.
pub(crate) fn generate(context: &mut Context<'_>) -> Result<ByteBuf, TeeError> {
    only_in_factory(context)?;
    let key = match load_key(context)? {
        Some(key) => key,
        None => {
            let key = EcdsaKey::generate(Curve::P256).map_err(crypto_failed)?;
            context.storage_put(KEY_OBJECT, key.to_pkcs8())?;
            key
        }
    };
    key.public_key_spki().map(ByteBuf::from).map_err(crypto_failed)
}

/// Keeps the maker's certificates and leaves the factory for good.
///
/// The chain must be sound, for this key and for this board's serial number. Which makers are to
/// be believed is the business of who verifies: the device cannot know.
pub(crate) fn install(context: &mut Context<'_>, chain: &[ByteBuf]) -> Result<(), TeeError> {
    only_in_factory(context)?;
    let key = load_key(context)?
        .ok_or_else(|| TeeError::BadState("generate the device's key first".into()))?;
    let path = verify_issued(chain)
        .map_err(|refusal| TeeError::BadParameters(format!("the device chain: {refusal}")))?;
    if path.device.public_key().as_der() != key.public_key_spki().map_err(crypto_failed)? {
        return Err(TeeError::BadParameters("the certificate is for another key".into()));
    }
    let serial = context.serial()?;
    if path.device.subject().serial_number().as_deref() != Some(&serial) {
        return Err(TeeError::BadParameters(
            "the certificate is for a board with another serial number".into(),
        ));
    }
    let mut encoded = Vec::new();
    ciborium::into_writer(chain, &mut encoded)
        .map_err(|error| TeeError::Resources(error.to_string()))?;
    context.storage_put(CHAIN_OBJECT, &encoded)?;
    context.leave_factory()
}

/// The device's certificates, device first, root last.
pub(crate) fn chain(context: &mut Context<'_>) -> Result<Vec<ByteBuf>, TeeError> {
    if context.in_factory()? {
        return Err(not_provisioned());
    }
    let encoded = context.storage_get(CHAIN_OBJECT)?.ok_or_else(not_provisioned)?;
    ciborium::from_reader(&encoded[..])
        .map_err(|_| TeeError::Security("the stored device chain was altered".into()))
}

/// The device's key, to sign statements with.
pub(crate) fn key(context: &mut Context<'_>) -> Result<EcdsaKey, TeeError> {
    load_key(context)?.ok_or_else(not_provisioned)
}

fn load_key(context: &mut Context<'_>) -> Result<Option<EcdsaKey>, TeeError> {
    let Some(pkcs8) = context.storage_get(KEY_OBJECT)? else { return Ok(None) };
    EcdsaKey::from_pkcs8(Curve::P256, &pkcs8)
        .map(Some)
        .map_err(|_| TeeError::Security("the stored device key was altered".into()))
}

fn only_in_factory(context: &mut Context<'_>) -> Result<(), TeeError> {
    if context.in_factory()? {
        Ok(())
    } else {
        Err(TeeError::Denied("the device has left the factory".into()))
    }
}

fn not_provisioned() -> TeeError {
    TeeError::BadState("the device has no certificate yet: the factory installs it".into())
}
