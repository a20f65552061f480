//! How the bootloader is locked: an object of the OS in RPMB.
//!
//! The user's own key has rollback indexes of its own, beside the maker's: they begin at zero
//! with each new key, and neither owner can lower or raise those of the other.

use crate::boot::{LOCATIONS, OS};
use crate::storage::{Changes, SecureStorage, StorageError};
use board::channel;
use tee_api::TeeError;
use tee_api::boot::BootLock;
use zeroize::Zeroizing;

const OBJECT: &str = "boot-lock";

/// As it is stored; locked, and without a key of the user's, as long as nothing was.
pub(crate) fn load(storage: &SecureStorage) -> Result<BootLock, StorageError> {
    match storage.get(OS, OBJECT) {
        Ok(bytes) => channel::decode(&bytes)
            .map_err(|error| StorageError::Security(format!("the boot lock: {error}"))),
        Err(StorageError::NotFound(_)) => Ok(BootLock::default()),
        Err(error) => Err(error),
    }
}

/// Locks, or unlocks, from the next power-on.
pub(crate) fn set_locked(storage: &mut SecureStorage, locked: bool) -> Result<(), TeeError> {
    let lock = load(storage)?;
    store(storage, &BootLock { unlocked: !locked, ..lock })
}

/// Trusts `key` beside the maker's, or none.
pub(crate) fn set_custom_key(
    storage: &mut SecureStorage,
    key: Option<[u8; 32]>,
) -> Result<(), TeeError> {
    let lock = load(storage)?;
    if !lock.unlocked {
        return Err(TeeError::BadState("unlock the bootloader first".into()));
    }
    if lock.custom_key == key {
        return Ok(());
    }
    store(storage, &BootLock { custom_key: key, custom_rollback_indexes: Vec::new(), ..lock })
}

/// Raises the indexes of the user's key, where it is `key`; lower ones stay as they are.
pub(crate) fn raise(
    storage: &mut SecureStorage,
    key: &[u8; 32],
    to: &[(u32, u64)],
) -> Result<(), TeeError> {
    let mut lock = load(storage)?;
    if lock.custom_key.as_ref() != Some(key) {
        return Ok(());
    }
    let old = lock.custom_rollback_indexes.clone();
    lock.custom_rollback_indexes.resize(LOCATIONS, 0);
    for &(location, index) in to {
        let stored = lock
            .custom_rollback_indexes
            .get_mut(location as usize)
            .ok_or_else(|| TeeError::BadParameters(format!("rollback location {location}")))?;
        *stored = (*stored).max(index);
    }
    if lock.custom_rollback_indexes == old { Ok(()) } else { store(storage, &lock) }
}

fn store(storage: &mut SecureStorage, lock: &BootLock) -> Result<(), TeeError> {
    let bytes = channel::encode(lock).map_err(|error| TeeError::Resources(error.to_string()))?;
    let put = vec![(OBJECT.to_owned(), Zeroizing::new(bytes))];
    storage.commit(OS, &Changes { put, delete: Vec::new() }).map_err(TeeError::from)
}
