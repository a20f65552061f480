//! The bootloader's lock, as Android has it: the TEE asks the person, and the data is the price.

use super::{Device, Prompt};
use crate::error::Error;
use avb::RsaPublicKeyBlob;
use serde::Serialize;
use tee_api::TeeError;
use tee_api::boot::Trust;
use tee_api::gatekeeper::{Command, Reply};

/// The images that this device boots.
pub trait Images: Send + Sync {
    /// Whether they would boot under `trust` once the bootloader is locked: the colour that the
    /// boot would have, or the reason why not.
    fn would_boot_locked(&self, trust: &Trust) -> Result<&'static str, String>;
}

/// `GET /v1/bootloader`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bootloader {
    /// Only what is signed boots, from the next power-on.
    pub locked: bool,
    /// SHA-256 of the user's own key, hexadecimal; `null` where only the maker's counts.
    pub custom_key: Option<String>,
}

impl Device {
    /// How the bootloader is locked, from the next power-on.
    pub fn bootloader(&self) -> Result<Bootloader, Error> {
        let lock = self.trust()?.lock;
        let custom_key = lock.custom_key.map(|key| board::argument::hex(&key));
        Ok(Bootloader { locked: !lock.unlocked, custom_key })
    }

    /// Unlocks the bootloader. Blocks until the person agreed on the trusted screen; then the
    /// device is erased, and must restart. Answers how often it was erased.
    pub fn unlock_bootloader(&self) -> Result<u64, Error> {
        self.set_boot_lock(false)
    }

    /// Locks the bootloader, if what it would boot then is good; else as unlocking.
    pub fn lock_bootloader(&self) -> Result<u64, Error> {
        let trust = self.trust()?;
        if trust.lock.unlocked {
            self.images.would_boot_locked(&trust).map_err(Error::WouldNotBoot)?;
        }
        self.set_boot_lock(true)
    }

    /// Trusts the user's own key beside the maker's: an AVB public-key blob, as `avbtool
    /// extract_public_key` writes it; `None` takes it away. Answers its SHA-256.
    pub fn set_custom_key(&self, blob: Option<&[u8]>) -> Result<Option<[u8; 32]>, Error> {
        self.refuse_if_erased()?;
        let decode = |blob: &[u8]| {
            RsaPublicKeyBlob::decode(blob)
                .map(|key| key.digest())
                .map_err(|error| Error::BadRequest(format!("no AVB public-key blob: {error}")))
        };
        let key = blob.map(decode).transpose()?;
        self.tee.do_gatekeeper(Command::SetCustomKey { key })?;
        Ok(key)
    }

    fn set_boot_lock(&self, locked: bool) -> Result<u64, Error> {
        self.refuse_if_erased()?;
        let erasures = self.prompting(Prompt::Bootloader, || {
            match self.tee.gatekeeper(Command::SetBootLock { locked })? {
                Reply::Erased { erasures } => Ok(erasures),
                _ => Err(unexpected()),
            }
        })?;
        self.after_erasure();
        Ok(erasures)
    }

    fn trust(&self) -> Result<Trust, Error> {
        match self.tee.gatekeeper(Command::Trust)? {
            Reply::Trust(trust) => Ok(trust),
            _ => Err(unexpected()),
        }
    }
}

fn unexpected() -> Error {
    TeeError::Communication("gatekeeper gave an answer that is not due".into()).into()
}
