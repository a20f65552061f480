//! Which system is known to be corrupt: an object of the OS in RPMB, absent where none is.

use crate::boot::OS;
use crate::storage::{Changes, SecureStorage, StorageError};
use tee_api::TeeError;
use zeroize::Zeroizing;

const OBJECT: &str = "corrupt-system";

/// Its vbmeta digest.
pub(crate) fn load(storage: &SecureStorage) -> Result<Option<[u8; 32]>, StorageError> {
    match storage.get(OS, OBJECT) {
        Ok(bytes) => bytes.as_slice().try_into().map(Some).map_err(|_| {
            StorageError::Security("the digest of the corrupt system is malformed".into())
        }),
        Err(StorageError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Remembers `digest`. Writes only what changes: the chip wears.
pub(crate) fn remember(storage: &mut SecureStorage, digest: [u8; 32]) -> Result<(), TeeError> {
    if load(storage)? == Some(digest) {
        return Ok(());
    }
    let put = vec![(OBJECT.to_owned(), Zeroizing::new(digest.to_vec()))];
    storage.commit(OS, &Changes { put, delete: Vec::new() }).map_err(TeeError::from)
}

/// The system with this vbmeta digest proved itself: the device does not go back to another one.
pub(crate) fn forget_all_but(storage: &mut SecureStorage, digest: &[u8]) -> Result<(), TeeError> {
    if load(storage)?.is_none_or(|corrupt| corrupt[..] == *digest) {
        return Ok(());
    }
    let delete = vec![OBJECT.to_owned()];
    storage.commit(OS, &Changes { put: Vec::new(), delete }).map_err(TeeError::from)
}
