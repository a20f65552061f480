//! The keystore, as a part of the device: opened with it, told when it is unlocked and locked,
//! gone with an erasure.

use super::{Device, Folders};
use crate::error::Error;
use crate::tee::Tee;
use crypto::secret::Secret;
use effects::{Clock, Entropy};
use keystore::{Caller, Keystore, Parts};
use keystore_client::KeystoreCode;
use keystore_client::api::OperationId;
use std::sync::{Arc, PoisonError};
use tee_api::TeeError;
use tee_api::clock::SecureTime;
use tee_api::keymint::{Command, Reply};

/// The TEE, as the keystore sees it.
struct Door(Arc<dyn Tee>);

impl keystore::Tee for Door {
    fn keymint(&self, command: Command) -> Result<Reply, TeeError> {
        self.0.keymint(command)
    }

    fn time(&self) -> Result<SecureTime, TeeError> {
        self.0.time()
    }

    fn secure_user_id(&self) -> Result<Option<u64>, TeeError> {
        Ok(self.0.status()?.secure_user_id)
    }
}

/// Opens the keystore. A device whose keystore can't be opened is a device all the same.
pub(super) fn open(
    folders: &Folders,
    device_key: &Secret<32>,
    tee: &Arc<dyn Tee>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Arc<Keystore>, keystore::Error> {
    let (tee, clock, entropy) = (Arc::new(Door(tee.clone())), clock.clone(), entropy.clone());
    let parts = Parts { tee, clock, entropy };
    let opened = Keystore::open(&folders.system().join("keys.db"), device_key, parts);
    if let Err(error) = &opened {
        tracing::error!(%error, "the keystore stays closed");
    }
    opened.map(Arc::new)
}

/// No key opens it.
pub(super) fn closed() -> keystore::Error {
    let reason = "the keystore is closed: the device was erased, or waits for its owner's account";
    keystore::Error::Refused { code: KeystoreCode::Closed.into(), reason: reason.into() }
}

impl Device {
    /// The keystore.
    pub fn keystore(&self) -> Result<Arc<Keystore>, Error> {
        let keystore = self.keystore.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(keystore.clone()?)
    }

    /// Asks the person to prove themselves for an operation of the caller's.
    pub fn authenticate_for(&self, caller: &Caller, id: OperationId) -> Result<(), Error> {
        let keystore = self.keystore()?;
        keystore.must_own(caller, id)?;
        let token = self.authenticate(id.0)?;
        Ok(keystore.authenticated(&token)?)
    }

    pub(super) fn set_keystore(&self, keystore: Result<Arc<Keystore>, keystore::Error>) {
        *self.keystore.lock().unwrap_or_else(PoisonError::into_inner) = keystore;
    }

    pub(super) fn keystore_unlocked(&self, synthetic: &Secret<32>, token: &[u8]) {
        let told = self.keystore().and_then(|it| Ok(it.unlocked(synthetic, token)?));
        if let Err(error) = told {
            tracing::warn!(%error, "the keystore was not unlocked");
        }
    }

    pub(super) fn keystore_locked(&self) {
        if let Ok(keystore) = self.keystore() {
            keystore.locked();
        }
    }
}
