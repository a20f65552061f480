//! The highest version of each trusted application that this device has seen: an object of the
//! OS's own. What is older does not run.

use crate::boot::OS;
use crate::storage::{Changes, Owner, SecureStorage, StorageError};
use board::channel;
use serde_bytes::ByteArray;
use std::collections::BTreeMap;
use tee_api::TeeError;
use zeroize::Zeroizing;

const OBJECT: &str = "ta-versions";
/// The most trusted applications whose versions are kept.
const MAX_KEPT: usize = 128;

type Versions = BTreeMap<ByteArray<32>, u64>;

/// The lowest version of `owner`'s that may run.
pub(crate) fn lowest(storage: &SecureStorage, owner: Owner) -> Result<u64, TeeError> {
    Ok(load(storage)?.get(&ByteArray::new(owner)).copied().unwrap_or(0))
}

/// Nothing older than these runs from now on.
pub(crate) fn raise(
    storage: &mut SecureStorage,
    seen: impl IntoIterator<Item = (Owner, u64)>,
) -> Result<(), TeeError> {
    let before = load(storage)?;
    let mut after = before.clone();
    for (owner, version) in seen {
        let lowest = after.entry(ByteArray::new(owner)).or_default();
        *lowest = version.max(*lowest);
    }
    // Version 0 is what an unknown one has, too.
    after.retain(|_, version| *version > 0);
    if after == before {
        return Ok(());
    }
    if after.len() > MAX_KEPT {
        return Err(TeeError::Resources("too many trusted applications were installed".into()));
    }
    let bytes = channel::encode(&after).map_err(|error| TeeError::Resources(error.to_string()))?;
    let put = vec![(OBJECT.to_owned(), Zeroizing::new(bytes))];
    Ok(storage.commit(OS, &Changes { put, delete: Vec::new() })?)
}

fn load(storage: &SecureStorage) -> Result<Versions, TeeError> {
    match storage.get(OS, OBJECT) {
        Ok(bytes) => channel::decode(&bytes)
            .map_err(|error| TeeError::Security(format!("versions of applications: {error}"))),
        Err(StorageError::NotFound(_)) => Ok(Versions::new()),
        Err(error) => Err(error.into()),
    }
}
