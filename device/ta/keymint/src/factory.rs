//! The device's attestation key: made in the factory, certified by the maker, never replaced.

use crate::keymint::SIGNING_KEY;
use keyattest::verify_issued;
use serde_bytes::ByteBuf;
use tee_sdk::engine::Key;
use tee_sdk::{Context, TeeError};

/// The private key, sealed by the engine.
const KEY_OBJECT: &str = "device-key";
/// The certificates, CBOR array of DER, device first.
const CHAIN_OBJECT: &str = "device-chain";

/// Makes the device's key, once, and gives its public half.
pub(crate) fn generate(context: &mut Context<'_>) -> Result<ByteBuf, TeeError> {
    only_in_factory(context)?;
    let key = match context.storage_get_key(KEY_OBJECT)? {
        Some(key) => key,
        None => {
            let key = context.generate_key(SIGNING_KEY)?;
            context.storage_put_key(KEY_OBJECT, &key)?;
            key
        }
    };
    key.public_key(context).map(ByteBuf::from)
}

/// Keeps the maker's certificates and leaves the factory for good.
///
/// The chain must be sound, for this key and for this board's serial number. Which makers are to
/// be believed is the business of who verifies: the device cannot know.
pub(crate) fn install(context: &mut Context<'_>, chain: &[ByteBuf]) -> Result<(), TeeError> {
    only_in_factory(context)?;
    let key = context
        .storage_get_key(KEY_OBJECT)?
        .ok_or_else(|| TeeError::BadState("generate the device's key first".into()))?;
    let path = verify_issued(chain)
        .map_err(|refusal| TeeError::BadParameters(format!("the device chain: {refusal}")))?;
    if path.device.public_key().as_der() != key.public_key(context)? {
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
pub(crate) fn key(context: &mut Context<'_>) -> Result<Key, TeeError> {
    context.storage_get_key(KEY_OBJECT)?.ok_or_else(not_provisioned)
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
