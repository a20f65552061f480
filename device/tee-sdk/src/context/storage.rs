//! Secure storage: this TA's own objects.

use super::Context;
use board::channel;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use tee_api::TeeError;
use tee_api::ta::Syscall;
use zeroize::Zeroizing;

/// Changes to secure storage that happen all or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    put: Vec<(String, ByteBuf)>,
    delete: Vec<String>,
}

impl Batch {
    /// Creates or replaces an object.
    #[must_use]
    pub fn put(mut self, name: &str, value: &[u8]) -> Self {
        self.put.push((name.to_owned(), ByteBuf::from(value)));
        self
    }

    /// Creates or replaces an object that holds `record` as CBOR.
    pub fn put_record<T: Serialize>(self, name: &str, record: &T) -> Result<Self, TeeError> {
        Ok(self.put(name, &encode(record)?))
    }

    /// Deletes an object; a missing one is no error.
    #[must_use]
    pub fn delete(mut self, name: &str) -> Self {
        self.delete.push(name.to_owned());
        self
    }
}

impl Context<'_> {
    /// An object of this TA's secure storage; `None` where there is none of that name.
    pub fn storage_get(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, TeeError> {
        match self.bytes(Syscall::StorageGet { name: name.to_owned() }) {
            Ok(value) => Ok(Some(value)),
            Err(TeeError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates or replaces an object, atomically and durably. Names have at most 64 bytes,
    /// values at most 16 KiB.
    pub fn storage_put(&mut self, name: &str, value: &[u8]) -> Result<(), TeeError> {
        self.done(Syscall::StoragePut { name: name.to_owned(), value: ByteBuf::from(value) })
    }

    /// An object that holds a record; `None` where there is none of that name, `Security` where
    /// it holds something else.
    pub fn record_get<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, TeeError> {
        let bytes = self.storage_get(name)?;
        let decode = |bytes: Zeroizing<Vec<u8>>| {
            channel::decode(&bytes)
                .map_err(|error| TeeError::Security(format!("object {name}: {error}")))
        };
        bytes.map(decode).transpose()
    }

    /// Creates or replaces an object that holds `record` as CBOR, atomically and durably.
    pub fn record_put<T: Serialize>(&mut self, name: &str, record: &T) -> Result<(), TeeError> {
        self.storage_put(name, &encode(record)?)
    }

    /// Deletes objects, all or none; the space is overwritten. Missing ones are no error.
    pub fn storage_delete(&mut self, names: &[&str]) -> Result<(), TeeError> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        self.done(Syscall::StorageDelete { names })
    }

    /// Puts and deletes objects, all or none, durably; the space of what went is overwritten.
    pub fn storage_commit(&mut self, batch: Batch) -> Result<(), TeeError> {
        self.done(Syscall::StorageCommit { put: batch.put, delete: batch.delete })
    }
}

fn encode<T: Serialize>(record: &T) -> Result<Zeroizing<Vec<u8>>, TeeError> {
    channel::encode(record)
        .map(Zeroizing::new)
        .map_err(|error| TeeError::Resources(format!("a record: {error}")))
}
