//! Key blobs: a private key, wrapped so that only this device can use it, and only while it runs
//! what it ran when the key was made.
//!
//! ```text
//! blob  = 1 | derivation input [32] | terms [13] | AES-256-GCM(KEK, key; 1 | terms)
//! KEK   = from the HUK for this TA, bound to: derivation input | verified boot key [32] | locked
//!         | state | (rollback-resistant) deletion secret [32]
//! terms = OS version, OS patch level, boot patch level: u32 each, big-endian
//!         | rules: bit 0 a person must confirm what is signed, bit 1 rollback-resistant
//! ```
//! The root of trust goes into the *derivation* of the key, as KeyMint demands: under another
//! boot key or boot state the key that opens the blob does not exist. The derivation input is
//! fresh for each blob, so no KEK is used twice. A key that was made under newer software is
//! refused by older (rollback); one made under older software goes on working after an update.
//!
//! The deletion secret of a rollback-resistant key is an object in secure storage, in the system's
//! files, named after the derivation input. Without it the KEK does not exist, so a copy of the
//! blob is worth nothing once the object is deleted; and secure storage notices whoever brings an
//! older state back.
//!
//! Neither KEK nor private key is ever in this process: the engine of the trusted OS derives the
//! one and unwraps the other.

use crate::keymint::KeyRules;
use serde_bytes::ByteBuf;
use tee_api::boot::{BootInfo, BootState};
use tee_sdk::engine::{Attributes, Key, KeyType, Usage, Wrapping};
use tee_sdk::{Context, Placement, TeeError, Zeroizing};

const VERSION: u8 = 1;
const DERIVATION_INPUT_BYTES: usize = 32;
const DELETION_SECRET_BYTES: usize = 32;
const VERSIONS_BYTES: usize = 12;
const TERMS_BYTES: usize = VERSIONS_BYTES + 1;
const CONFIRMATION: u8 = 1;
const ROLLBACK_RESISTANCE: u8 = 2;
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
    /// What it obeys.
    pub(crate) rules: KeyRules,
}

/// The parts of a blob, none of them believed yet.
struct Parts<'a> {
    input: &'a [u8; DERIVATION_INPUT_BYTES],
    terms: &'a [u8; TERMS_BYTES],
    wrapped: &'a [u8],
}

/// Wraps `key`, which obeys `rules`, for this device and what it runs.
pub(crate) fn seal(
    context: &mut Context<'_>,
    boot_info: &BootInfo,
    key: &Key,
    rules: KeyRules,
) -> Result<ByteBuf, TeeError> {
    let mut terms = [rules_byte(rules); TERMS_BYTES];
    terms[..VERSIONS_BYTES].copy_from_slice(&Versions::of(boot_info).to_bytes());
    let input: [u8; DERIVATION_INPUT_BYTES] = context.random()?;
    if rules.rollback_resistance {
        let secret: [u8; DELETION_SECRET_BYTES] = context.random()?;
        context.storage(Placement::Ree).put(&deletion_object(&input), &secret)?;
    }
    let kek = derive(context, boot_info, rules, &input)?;
    let wrapped = kek.wrap(context, key, bound_to(&terms))?;
    Ok(ByteBuf::from([&[VERSION], &input[..], &terms, &wrapped].concat()))
}

/// Deletes a rollback-resistant key. Whoever has the blob may.
pub(crate) fn delete(context: &mut Context<'_>, blob: &[u8]) -> Result<(), TeeError> {
    let parts = split(blob)?;
    if !rules_of(parts.terms)?.rollback_resistance {
        return Ok(());
    }
    context.storage(Placement::Ree).delete(&deletion_object(parts.input))
}

/// Unwraps a blob. Whatever is wrong with it, the answer is the same.
pub(crate) fn open(
    context: &mut Context<'_>,
    boot_info: &BootInfo,
    blob: &[u8],
) -> Result<Opened, TeeError> {
    let Parts { input, terms, wrapped } = split(blob)?;
    let rules = rules_of(terms)?;
    let kek = derive(context, boot_info, rules, input)?;
    let key = kek.unwrap(context, wrapped, bound_to(terms), None).map_err(|error| match error {
        TeeError::Security(_) => invalid(),
        other => other,
    })?;
    let (versions, _) = terms.split_first_chunk().ok_or_else(invalid)?;
    Versions::from_bytes(versions).check(&Versions::of(boot_info))?;
    Ok(Opened { key, rules })
}

fn split(blob: &[u8]) -> Result<Parts<'_>, TeeError> {
    let (version, rest) = blob.split_first().ok_or_else(invalid)?;
    let (input, rest) = rest.split_first_chunk().ok_or_else(invalid)?;
    let (terms, wrapped) = rest.split_first_chunk().ok_or_else(invalid)?;
    if *version == VERSION { Ok(Parts { input, terms, wrapped }) } else { Err(invalid()) }
}

fn rules_byte(rules: KeyRules) -> u8 {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    bit(rules.confirmation, CONFIRMATION) | bit(rules.rollback_resistance, ROLLBACK_RESISTANCE)
}

fn rules_of(terms: &[u8; TERMS_BYTES]) -> Result<KeyRules, TeeError> {
    let byte = terms[VERSIONS_BYTES];
    let rules = KeyRules {
        confirmation: byte & CONFIRMATION != 0,
        rollback_resistance: byte & ROLLBACK_RESISTANCE != 0,
    };
    if rules_byte(rules) == byte { Ok(rules) } else { Err(invalid()) }
}

fn bound_to(terms: &[u8; TERMS_BYTES]) -> Wrapping {
    Wrapping::AesGcm { associated: ByteBuf::from([&[VERSION], &terms[..]].concat()) }
}

/// The name of the object with the deletion secret.
fn deletion_object(input: &[u8]) -> String {
    let digits: String = input.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("deletion secret {digits}")
}

/// Nothing, for a key that can't be deleted.
fn deletion_secret(
    context: &mut Context<'_>,
    rules: KeyRules,
    input: &[u8],
) -> Result<Zeroizing<Vec<u8>>, TeeError> {
    if !rules.rollback_resistance {
        return Ok(Zeroizing::new(Vec::new()));
    }
    context.storage(Placement::Ree).get(&deletion_object(input))?.ok_or_else(invalid)
}

fn derive(
    context: &mut Context<'_>,
    boot_info: &BootInfo,
    rules: KeyRules,
    input: &[u8],
) -> Result<Key, TeeError> {
    let secret = deletion_secret(context, rules, input)?;
    let state = match boot_info.boot_state {
        BootState::Green => 0,
        BootState::Yellow => 1,
        BootState::Orange => 2,
        BootState::Red => 3,
    };
    let root_of_trust = [u8::from(boot_info.device_locked), state];
    let bound = [input, &boot_info.verified_boot_key, &root_of_trust, &secret].concat();
    context.derive_from_huk("key-blob", &Zeroizing::new(bound), KEK)
}

/// KeyMint's `INVALID_KEY_BLOB`.
fn invalid() -> TeeError {
    TeeError::Security(
        "the key blob is not of this device in this state: it was altered, or made by another \
         device or under another root of trust, or the key was deleted"
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
