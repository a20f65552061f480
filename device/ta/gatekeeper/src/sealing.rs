//! What a space's synthetic password is sealed under: a secret that somebody knows, and a key that
//! only this TA on this board has.
//!
//! What is typed is hardened by Argon2id (RFC 9106). The flash image alone, or another board, gives
//! an attacker nothing to try PINs on. The board's key and the one that seals stay in the engine of
//! the trusted OS.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use crypto::secret::Secret;
use serde_bytes::ByteBuf;
use tee_sdk::engine::{Attributes, Derivation, Hash, Key, KeyType, Usage};
use tee_sdk::{Context, TeeError};
use zeroize::Zeroize;

/// One salt for all locks: what is typed is hardened once, whichever space it opens.
pub(crate) const SALT: &str = "lock-salt";
/// Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const DEVICE_SECRET: Attributes = Attributes::new(KeyType::Secret { bytes: 32 }, Usage::DERIVE);
const SEALING_KEY: Attributes =
    Attributes::new(KeyType::Aes256, Usage::ENCRYPT.union(Usage::DECRYPT));

/// The key of somebody who knows something.
pub(crate) struct Knower(Key);

impl Knower {
    /// Whoever typed this.
    pub(crate) fn of(context: &mut Context<'_>, typed: &str) -> Result<Self, TeeError> {
        let salt = salt(context)?;
        let hardened = harden(typed, &salt)?;
        let device = context.derive_from_huk("screen-lock", &salt, DEVICE_SECRET)?;
        let derivation = Derivation::Hkdf {
            hash: Hash::Sha256,
            salt: ByteBuf::from(*hardened.expose()),
            info: ByteBuf::from(*b"screen-lock"),
        };
        device.derive(context, derivation, SEALING_KEY).map(Self)
    }

    /// Whoever has a secret that nobody guesses.
    pub(crate) fn with(context: &mut Context<'_>, secret: &Secret<32>) -> Result<Self, TeeError> {
        let device = context.derive_from_huk("screen-lock/escrow", &[], DEVICE_SECRET)?;
        let derivation = Derivation::Hkdf {
            hash: Hash::Sha256,
            salt: ByteBuf::from(*secret.expose()),
            info: ByteBuf::from(*b"screen-lock/escrow"),
        };
        device.derive(context, derivation, SEALING_KEY).map(Self)
    }

    /// Seals `secret` for `purpose`.
    pub(crate) fn seal(
        &self,
        context: &mut Context<'_>,
        purpose: &[u8],
        secret: &[u8],
    ) -> Result<ByteBuf, TeeError> {
        self.0.seal(context, purpose, secret).map(ByteBuf::from)
    }

    /// What was sealed, if this is who can open it.
    pub(crate) fn open(
        &self,
        context: &mut Context<'_>,
        purpose: &[u8],
        sealed: &[u8],
    ) -> Result<Option<Secret<32>>, TeeError> {
        let opened = match self.0.open(context, purpose, sealed) {
            Err(TeeError::Security(_)) => return Ok(None),
            other => other?,
        };
        Secret::from_slice(&opened)
            .map(Some)
            .map_err(|_| TeeError::Security("a screen-lock record is malformed".into()))
    }
}

fn salt(context: &mut Context<'_>) -> Result<[u8; 16], TeeError> {
    if let Some(salt) = context.storage_get(SALT)? {
        let malformed = |_| TeeError::Security("the screen lock's salt is malformed".into());
        return salt[..].try_into().map_err(malformed);
    }
    let salt = context.random()?;
    context.storage_put(SALT, &salt)?;
    Ok(salt)
}

fn harden(typed: &str, salt: &[u8; 16]) -> Result<Secret<32>, TeeError> {
    let failed = |error: argon2::Error| TeeError::Resources(format!("argon2: {error}"));
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).map_err(failed)?;
    let mut memory = vec![Block::new(); params.block_count()];
    let mut out = [0; 32];
    let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(typed.as_bytes(), salt, &mut out, &mut memory);
    let secret = Secret::new(out);
    out.zeroize();
    memory.iter_mut().for_each(Zeroize::zeroize);
    drop(memory);
    tee_sdk::return_freed_memory();
    done.map_err(failed).map(|()| secret)
}
