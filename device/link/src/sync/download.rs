//! Blocks come from the cloud: opened, and checked against their names.

use super::{CloudStore, DataKeys, SyncError};
use crypto::aead::NONCE_BYTES;
use snapshot::block::{BlockId, DataKey};
use snapshot::fetch::{FetchReader, Fetched};
use snapshot::manifest::Manifest;
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use wire::sync::Head;

/// Unwrapped data keys are kept up to this many.
const KEYS: usize = 256;

/// The data keys of an account, each unwrapped once.
pub(super) struct Keyring<'k> {
    keys: &'k dyn DataKeys,
    account_id: &'k str,
    unwrapped: Mutex<HashMap<String, Arc<DataKey>>>,
}

impl<'k> Keyring<'k> {
    pub(super) fn new(keys: &'k dyn DataKeys, account_id: &'k str) -> Self {
        Self { keys, account_id, unwrapped: Mutex::default() }
    }

    fn key(&self, wrapped: &str) -> Result<Arc<DataKey>, SyncError> {
        let mut unwrapped = self.unwrapped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = unwrapped.get(wrapped) {
            return Ok(Arc::clone(key));
        }
        let key = self.keys.unwrap(wrapped)?;
        let key = Arc::new(DataKey::new(key.expose(), self.account_id));
        if unwrapped.len() == KEYS {
            unwrapped.clear();
        }
        unwrapped.insert(wrapped.to_owned(), Arc::clone(&key));
        Ok(key)
    }

    /// Opens a block that was to be `id`.
    pub(super) fn open(&self, id: &BlockId, fetched: Fetched) -> Result<Opened, SyncError> {
        if fetched.id != *id {
            return Err(SyncError::Answer("blocks in another order than asked for"));
        }
        let key = self.key(&fetched.wrapped_key)?;
        let mut buffer = fetched.sealed;
        let length = key.open(id, &mut buffer)?.len();
        Ok(Opened { buffer, length })
    }
}

/// An opened block, in the buffer that it came in.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) buffer: Vec<u8>,
    length: usize,
}

impl Opened {
    pub(super) fn plain(&self) -> &[u8] {
        &self.buffer[NONCE_BYTES..][..self.length]
    }
}

/// Reads the next block of a stream into `buffer`; an end is an error.
pub(super) fn next<R: Read>(
    stream: &mut FetchReader<R>,
    buffer: Vec<u8>,
) -> Result<Fetched, SyncError> {
    stream.next_block_in(buffer)?.ok_or(SyncError::Answer("fewer blocks than asked for"))
}

/// The manifest of the snapshot `head`.
pub(super) fn fetch_manifest(
    store: &dyn CloudStore,
    keyring: &Keyring<'_>,
    head: &Head,
) -> Result<Manifest, SyncError> {
    let names: Result<Vec<BlockId>, _> = head.manifest.iter().map(|name| name.parse()).collect();
    let names = names.map_err(|_| SyncError::Answer("a head with malformed block names"))?;
    let mut encoded = Vec::new();
    for names in names.chunks(wire::sync::IDS_AT_ONCE) {
        let mut stream = FetchReader::new(store.blocks(names)?)?;
        for name in names {
            let fetched = next(&mut stream, Vec::new())?;
            encoded.extend_from_slice(keyring.open(name, fetched)?.plain());
        }
    }
    Ok(Manifest::decode(&encoded)?)
}
