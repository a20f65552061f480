//! Key blobs: a key, wrapped so that only this device can use it, only while it runs what it ran
//! when the key was made, and only for who knows what the key was bound to.
//!
//! ```text
//! blob   = 2 | length of header: u16, big-endian | header | AES-256-GCM(KEK, key; 2 | header)
//! header = CBOR [hardware-enforced, software-enforced, id [16], input [32], slot [16] or null]
//! KEK    = from the HUK, for this TA, and all of:
//!          header | verified boot key | locked | boot state | application id | application data
//!          | factory-reset secret | deletion secret of the slot
//! ```
//! Everything goes into the *derivation* of the KEK, as KeyMint demands: under another boot key,
//! for another application, with one authorization changed the key that opens the blob does not
//! exist. The input is fresh for each blob, so no KEK is used twice. The id stays with the key
//! through upgrades.
//!
//! Neither KEK nor key is ever in this process: the engine of the trusted OS derives the one and
//! unwraps the other.

use crate::failure::{Failure, Outcome, as_code};
use crate::secrets::{self, Secrets, Slot};
use keymint::{Authorizations, ErrorCode};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};
use tee_api::boot::{BootInfo, BootState};
use tee_sdk::engine::{Attributes, Key, KeyType, Usage, Wrapping};
use tee_sdk::{Context, Zeroizing};

const VERSION: u8 = 2;
/// The largest blob that is looked at.
const MAX_BYTES: usize = 16 * 1024;
const KEK: Attributes = Attributes::new(KeyType::Aes256, Usage::WRAP.union(Usage::UNWRAP));
const LABEL: &str = "key blob 2";

/// What a blob says in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    /// What the TEE enforces.
    #[serde(rename = "h")]
    pub(crate) hardware: Authorizations,
    /// What the keystore service enforces.
    #[serde(rename = "s")]
    pub(crate) software: Authorizations,
    /// Names the key, also after an upgrade.
    #[serde(rename = "k", with = "serde_bytes")]
    pub(crate) id: [u8; 16],
    #[serde(rename = "i", with = "serde_bytes")]
    input: [u8; 32],
    /// The secret without which the key does not open.
    #[serde(rename = "d")]
    pub(crate) slot: Option<ByteBuf>,
}

impl Header {
    /// Of a new key.
    pub(crate) fn new(
        context: &mut Context<'_>,
        hardware: Authorizations,
        software: Authorizations,
        slot: Option<Slot>,
    ) -> Outcome<Self> {
        let (id, input) = (context.random()?, context.random()?);
        Ok(Self { hardware, software, id, input, slot: slot.map(ByteBuf::from) })
    }

    /// The same key in another blob.
    pub(crate) fn renewed(
        &self,
        context: &mut Context<'_>,
        hardware: Authorizations,
        slot: Option<Slot>,
    ) -> Outcome<Self> {
        let software = self.software.clone();
        let slot = slot.map(ByteBuf::from);
        Ok(Self { hardware, software, id: self.id, input: context.random()?, slot })
    }

    /// The slot, where the key has one.
    pub(crate) fn slot(&self) -> Outcome<Option<Slot>> {
        let slot = self.slot.as_ref().map(|slot| slot[..].try_into());
        slot.transpose().map_err(|_| invalid())
    }
}

/// Whatever is wrong with a blob.
fn invalid() -> Failure {
    ErrorCode::InvalidKeyBlob.into()
}

/// Wraps `key` for this device, what it runs, and who knows `hidden`: application id and data.
pub(crate) fn seal(
    context: &mut Context<'_>,
    secrets: &mut Secrets,
    key: &Key,
    header: &Header,
    hidden: &Authorizations,
) -> Outcome<ByteBuf> {
    let mut encoded = vec![VERSION, 0, 0];
    ciborium::into_writer(header, &mut encoded).map_err(|_| ErrorCode::UnknownError)?;
    let length = u16::try_from(encoded.len() - 3).map_err(|_| ErrorCode::InvalidInputLength)?;
    encoded[1..3].copy_from_slice(&length.to_be_bytes());
    let kek = derive(context, secrets, &encoded, header, hidden)?;
    let wrapped = kek.wrap(context, key, bound_to(&encoded))?;
    encoded.extend(wrapped);
    Ok(ByteBuf::from(encoded))
}

/// Unwraps a blob. Whatever is wrong with it, the answer is the same.
pub(crate) fn open(
    context: &mut Context<'_>,
    secrets: &mut Secrets,
    blob: &[u8],
    hidden: &Authorizations,
) -> Outcome<(Key, Header)> {
    let (encoded, header, wrapped) = split(blob)?;
    let kek = derive(context, secrets, encoded, &header, hidden)?;
    let key = kek
        .unwrap(context, wrapped, bound_to(encoded), None)
        .map_err(|error| as_code(error, ErrorCode::InvalidKeyBlob))?;
    Ok((key, header))
}

/// What the blob says, none of it believed yet.
pub(crate) fn split(blob: &[u8]) -> Outcome<(&[u8], Header, &[u8])> {
    if blob.len() > MAX_BYTES {
        return Err(invalid());
    }
    let (front, rest) = blob.split_first_chunk::<3>().ok_or_else(invalid)?;
    let length = usize::from(u16::from_be_bytes([front[1], front[2]]));
    if front[0] != VERSION || length > rest.len() {
        return Err(invalid());
    }
    let (encoded, wrapped) = blob.split_at(3 + length);
    let mut cbor = &encoded[3..];
    let header = ciborium::from_reader(&mut cbor).map_err(|_| invalid())?;
    if cbor.is_empty() { Ok((encoded, header, wrapped)) } else { Err(invalid()) }
}

fn bound_to(encoded: &[u8]) -> Wrapping {
    Wrapping::AesGcm { associated: ByteBuf::from(encoded) }
}

/// What the KEK derives from, besides the HUK.
#[derive(Serialize)]
struct Derivation<'a> {
    header: &'a Bytes,
    verified_boot_key: &'a Bytes,
    device_locked: bool,
    boot_state: BootState,
    application_id: Option<&'a keymint::Bytes>,
    application_data: Option<&'a keymint::Bytes>,
    factory_reset_secret: &'a Bytes,
    deletion_secret: &'a Bytes,
}

fn derive(
    context: &mut Context<'_>,
    secrets: &mut Secrets,
    encoded: &[u8],
    header: &Header,
    hidden: &Authorizations,
) -> Outcome<Key> {
    let boot = boot_info(context)?;
    let deletion_secret = match header.slot()? {
        Some(slot) => secrets::of_slot(context, &slot)?.ok_or_else(invalid)?,
        None => Zeroizing::default(),
    };
    let factory_reset_secret = secrets.factory_reset(context)?;
    let derivation = Derivation {
        header: Bytes::new(encoded),
        verified_boot_key: Bytes::new(&boot.verified_boot_key),
        device_locked: boot.device_locked,
        boot_state: boot.boot_state,
        application_id: hidden.application_id.as_ref(),
        application_data: hidden.application_data.as_ref(),
        factory_reset_secret: Bytes::new(&factory_reset_secret),
        deletion_secret: Bytes::new(&deletion_secret),
    };
    let mut bound = Zeroizing::new(Vec::with_capacity(encoded.len() + 1024));
    ciborium::into_writer(&derivation, &mut *bound).map_err(|_| ErrorCode::UnknownError)?;
    Ok(context.derive_from_huk(LABEL, &bound, KEK)?)
}

/// What was booted.
pub(crate) fn boot_info(context: &mut Context<'_>) -> Outcome<BootInfo> {
    context.boot_info().map_err(|error| match error {
        tee_sdk::TeeError::BadState(_) => ErrorCode::KeymintNotConfigured.into(),
        other => other.into(),
    })
}
