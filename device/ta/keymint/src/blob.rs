//! Key blobs: a private key, wrapped so that only this device can use it, and only while it runs
//! what it ran when the key was made.
//!
//! ```text
//! blob = 1 | derivation input [32] | terms [13] | AES-256-GCM(KEK, key; 1 | terms)
//! KEK  = from the HUK for this TA, bound to: derivation input | verified boot key [32] | locked
//!        | state
//! terms = OS version, OS patch level, boot patch level: u32 each, big-endian | 1 where a person
//!         must confirm what is signed, else 0
//! ```
//! The root of trust goes into the *derivation* of the key, as KeyMint demands: under another
//! boot key or boot state the key that opens the blob does not exist. The derivation input is
//! fresh for each blob, so no KEK is used twice. A key that was made under newer software is
//! refused by older (rollback); one made under older software goes on working after an update.
//!
//! Neither KEK nor private key is ever in this process: the engine of the trusted OS derives the
//! one and unwraps the other.

use serde_bytes::ByteBuf;
use tee_api::boot::{BootInfo, BootState};
use tee_sdk::engine::{Attributes, Key, KeyType, Usage, Wrapping};
use tee_sdk::{Context, TeeError};

const VERSION: u8 = 1;
const DERIVATION_INPUT_BYTES: usize = 32;
const VERSIONS_BYTES: usize = 12;
const TERMS_BYTES: usize = VERSIONS_BYTES + 1;
const KEK: Attributes = Attributes::new(KeyType::Aes256, Usage::WRAP.union(Usage::UNWRAP));

/// What was booted when the key was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Versions {
    os_version: u32,
    os_patch_level: u32,
    boot_patch_level: u32,
}

/// A key that came out of its blob.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) key: Key,
    /// It signs only what a person confirmed.
    pub(crate) confirmation: bool,
}

/// Wraps `key` for this device and what it runs. It signs only what a person confirmed, where
/// `confirmation` says so.
pub(crate) fn seal(
    context: &mut Context<'_>,
    boot_info: &BootInfo,
    key: &Key,
    confirmation: bool,
) -> Result<ByteBuf, TeeError> {
    let mut terms = [u8::from(confirmation); TERMS_BYTES];
    terms[..VERSIONS_BYTES].copy_from_slice(&Versions::of(boot_info).to_bytes());
    let input: [u8; DERIVATION_INPUT_BYTES] = context.random()?;
    let kek = derive(context, boot_info, &input)?;
    let wrapped = kek.wrap(context, key, bound_to(&terms))?;
    Ok(ByteBuf::from([&[VERSION], &input[..], &terms, &wrapped].concat()))
}

/// Unwraps a blob. Whatever is wrong with it, the answer is the same.
pub(crate) fn open(
    context: &mut Context<'_>,
    boot_info: &BootInfo,
    blob: &[u8],
) -> Result<Opened, TeeError> {
    let (version, rest) = blob.split_first().ok_or_else(invalid)?;
    let (input, rest) = rest.split_at_checked(DERIVATION_INPUT_BYTES).ok_or_else(invalid)?;
    let (terms, wrapped): (&[u8; TERMS_BYTES], _) = rest.split_first_chunk().ok_or_else(invalid)?;
    if *version != VERSION {
        return Err(invalid());
    }
    let kek = derive(context, boot_info, input)?;
    let key = kek.unwrap(context, wrapped, bound_to(terms), None).map_err(|error| match error {
        TeeError::Security(_) => invalid(),
        other => other,
    })?;
    let (versions, confirmation) = terms.split_first_chunk().ok_or_else(invalid)?;
    Versions::from_bytes(versions).check(&Versions::of(boot_info))?;
    Ok(Opened { key, confirmation: confirmation != [0] })
}

fn bound_to(terms: &[u8; TERMS_BYTES]) -> Wrapping {
    Wrapping::AesGcm { associated: ByteBuf::from([&[VERSION], &terms[..]].concat()) }
}

fn derive(context: &mut Context<'_>, boot_info: &BootInfo, input: &[u8]) -> Result<Key, TeeError> {
    let state = match boot_info.boot_state {
        BootState::Green => 0,
        BootState::Yellow => 1,
        BootState::Orange => 2,
        BootState::Red => 3,
    };
    let root_of_trust = [u8::from(boot_info.device_locked), state];
    let bound = [input, &boot_info.verified_boot_key, &root_of_trust].concat();
    context.derive_from_huk("key-blob", &bound, KEK)
}

/// KeyMint's `INVALID_KEY_BLOB`.
fn invalid() -> TeeError {
    TeeError::Security(
        "the key blob is not of this device in this state: it was altered, or made by another \
         device or under another root of trust"
            .into(),
    )
}

impl Versions {
    const fn of(boot_info: &BootInfo) -> Self {
        Self {
            os_version: boot_info.os_version,
            os_patch_level: boot_info.os_patch_level,
            boot_patch_level: boot_info.boot_patch_level,
        }
    }

    fn to_bytes(self) -> [u8; VERSIONS_BYTES] {
        let mut bytes = [0; VERSIONS_BYTES];
        let numbers = [self.os_version, self.os_patch_level, self.boot_patch_level];
        for (place, number) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
            *place = number.to_be_bytes();
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; VERSIONS_BYTES]) -> Self {
        let number = |at: usize| {
            let bytes = bytes[4 * at..].first_chunk().expect("three numbers of four bytes");
            u32::from_be_bytes(*bytes)
        };
        Self { os_version: number(0), os_patch_level: number(1), boot_patch_level: number(2) }
    }

    /// Refuses a key that was made under newer software than runs `now`. The OS version may fall
    /// to 0, as KeyMint allows for generic system images.
    fn check(&self, now: &Self) -> Result<(), TeeError> {
        let os_version_fell = self.os_version > now.os_version && now.os_version != 0;
        if os_version_fell
            || self.os_patch_level > now.os_patch_level
            || self.boot_patch_level > now.boot_patch_level
        {
            return Err(TeeError::Security(
                "the key was made under newer software than runs now: update the system".into(),
            ));
        }
        Ok(())
    }
}
