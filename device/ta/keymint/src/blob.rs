//! Key blobs: a private key, sealed so that only this device can open it, and only while it runs
//! what it ran when the key was made.
//!
//! ```text
//! blob = 1 | derivation input [32] | AES-256-GCM(KEK, CBOR(content))
//! KEK  = HKDF-SHA-256(ikm: this TA's key from the HUK, salt: derivation input,
//!                     info: "holdfast-key-blob-v1" | verified boot key [32] | locked | state)
//! ```
//! The root of trust goes into the *derivation* of the key, as KeyMint demands: under another
//! boot key or boot state the key that opens the blob does not exist. The derivation input is
//! fresh for each blob, so no KEK is used twice. A key that was made under newer software is
//! refused by older (rollback); one made under older software goes on working after an update.

use crate::keymint::crypto_failed;
use crypto::aead;
use crypto::secret::Secret;
use crypto::sign::{Curve, EcdsaKey};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};
use tee_api::boot::{BootInfo, BootState};
use tee_sdk::{Context, TeeError};
use zeroize::{Zeroize, Zeroizing};

const VERSION: u8 = 1;
const DERIVATION_INPUT_BYTES: usize = 32;
const HEADER_BYTES: usize = 1 + DERIVATION_INPUT_BYTES;

/// What was booted when the key was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Versions {
    os_version: u32,
    os_patch_level: u32,
    boot_patch_level: u32,
}

#[derive(Serialize)]
struct Content<'key> {
    versions: Versions,
    private_key: &'key Bytes,
}

#[derive(Deserialize)]
struct OpenContent {
    versions: Versions,
    private_key: ByteBuf,
}

impl Drop for OpenContent {
    fn drop(&mut self) {
        self.private_key.zeroize();
    }
}

/// Seals `key` to this device and to what it runs.
pub(crate) fn seal(
    context: &mut Context<'_>,
    boot_info: &BootInfo,
    key: &EcdsaKey,
) -> Result<ByteBuf, TeeError> {
    let content =
        Content { versions: Versions::of(boot_info), private_key: Bytes::new(key.to_pkcs8()) };
    // Large enough from the start: a vector that grows leaves copies behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(key.to_pkcs8().len() + 256));
    ciborium::into_writer(&content, &mut *plaintext)
        .map_err(|error| TeeError::Resources(error.to_string()))?;
    let input: [u8; DERIVATION_INPUT_BYTES] = context.random()?;
    let kek = derive(context, boot_info, &input)?;
    let sealed = aead::Key::aes_256_gcm(kek.expose()).seal(&[VERSION], &plaintext);
    Ok(ByteBuf::from([&[VERSION], &input[..], &sealed].concat()))
}

/// Opens a blob. Whatever is wrong with it, the answer is the same.
pub(crate) fn open(
    context: &mut Context<'_>,
    boot_info: &BootInfo,
    blob: &[u8],
) -> Result<EcdsaKey, TeeError> {
    let (header, sealed) = blob.split_at_checked(HEADER_BYTES).ok_or_else(invalid)?;
    let (version, input) = header.split_first().ok_or_else(invalid)?;
    if *version != VERSION {
        return Err(invalid());
    }
    let kek = derive(context, boot_info, input)?;
    let plaintext = aead::Key::aes_256_gcm(kek.expose())
        .open(&[VERSION], sealed)
        .map(Zeroizing::new)
        .map_err(|_| invalid())?;
    let content: OpenContent = ciborium::from_reader(&plaintext[..]).map_err(|_| invalid())?;
    content.versions.check(&Versions::of(boot_info))?;
    EcdsaKey::from_pkcs8(Curve::P256, &content.private_key).map_err(crypto_failed)
}

fn derive(
    context: &mut Context<'_>,
    boot_info: &BootInfo,
    input: &[u8],
) -> Result<Secret<32>, TeeError> {
    let root = context.derive_key("key-blob", &[])?;
    let state = match boot_info.boot_state {
        BootState::Green => 0,
        BootState::Yellow => 1,
        BootState::Orange => 2,
        BootState::Red => 3,
    };
    let root_of_trust: [&[u8]; 3] = [
        b"holdfast-key-blob-v1",
        &boot_info.verified_boot_key,
        &[u8::from(boot_info.device_locked), state],
    ];
    Ok(crypto::kdf::hkdf_sha256(root.expose(), input, &root_of_trust))
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
