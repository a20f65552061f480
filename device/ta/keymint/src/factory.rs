//! The device's own key and identifiers: put in at the factory, certified by the maker, never
//! replaced.

use keyattest::verify_issued;
use serde_bytes::ByteBuf;
use tee_api::keymint::DeviceIds;
use tee_sdk::engine::{Attributes, Curve, Hash, Input, Key, KeyType, Scheme, Usage};
use tee_sdk::{Context, TeeError};

/// What the device's key is.
const DEVICE_KEY: Attributes = Attributes::new(KeyType::Ec(Curve::P256), Usage::SIGN);
/// How it signs.
pub(crate) const ECDSA_SHA_256: Scheme =
    Scheme::Ecdsa { hash: Hash::Sha256, input: Input::Message };

/// The private key, sealed by the engine.
const KEY_OBJECT: &str = "device-key";
/// The certificates, CBOR array of DER, device first.
const CHAIN_OBJECT: &str = "device-chain";
/// The identifiers that the device may attest; empty once they were destroyed.
const IDS_OBJECT: &str = "device-ids";

/// Makes the device's key, once, and gives its public half.
pub(crate) fn generate(context: &mut Context<'_>) -> Result<ByteBuf, TeeError> {
    only_in_factory(context)?;
    let key = match context.storage_get_key(KEY_OBJECT)? {
        Some(key) => key,
        None => {
            let key = context.generate_key(DEVICE_KEY)?;
            context.storage_put_key(KEY_OBJECT, &key)?;
            key
        }
    };
    key.public_key(context).map(ByteBuf::from)
}

/// Keeps the identifiers that the device may attest. Its serial number is the board's own.
pub(crate) fn set_ids(context: &mut Context<'_>, ids: &DeviceIds) -> Result<(), TeeError> {
    only_in_factory(context)?;
    let serial = context.serial()?;
    if ids.serial.as_ref().is_some_and(|said| said[..] != *serial.as_bytes()) {
        return Err(TeeError::BadParameters("the board has another serial number".into()));
    }
    context.record_put(IDS_OBJECT, &Some(ids))
}

/// The identifiers of the device; `None` where they were destroyed.
pub(crate) fn ids(context: &mut Context<'_>) -> Result<Option<DeviceIds>, TeeError> {
    let stored: Option<Option<DeviceIds>> = context.record_get(IDS_OBJECT)?;
    let mut ids = match stored {
        Some(None) => return Ok(None),
        Some(Some(ids)) => ids,
        None => DeviceIds::default(),
    };
    ids.serial = Some(ByteBuf::from(context.serial()?));
    Ok(Some(ids))
}

/// From now on no identifier is attested, ever.
pub(crate) fn destroy_ids(context: &mut Context<'_>) -> Result<(), TeeError> {
    context.record_put(IDS_OBJECT, &None::<DeviceIds>)
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
