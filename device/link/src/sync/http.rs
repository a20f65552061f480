//! The real cloud and the real Key Center behind sync.

use super::{CloudStore, DataKeys, StoreError};
use crate::session::{DeviceSession, Error};
use bytes::Bytes;
use crypto::secret::Secret;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use http_link::{Client, Connector, Request};
use keycenter_client::{Assertions, Credential, KeyCenter};
use snapshot::block::{BlockId, PackId, join_ids, split_ids};
use std::future::Future;
use std::io::{self, Read};
use std::sync::Arc;
use tokio::runtime::Handle;
use wire::sync::{Advance, Head, IDS_AT_ONCE, Root};

/// A pack whose connection broke is sent so often in all.
const ATTEMPTS: u32 = 3;

/// The cloud, over a device's session. Its methods must not be called from async code.
pub struct HttpStore {
    session: Arc<DeviceSession>,
    runtime: Handle,
}

impl HttpStore {
    /// The cloud behind `session`; requests run in `runtime`.
    #[must_use]
    pub const fn new(session: Arc<DeviceSession>, runtime: Handle) -> Self {
        Self { session, runtime }
    }

    fn wait<T>(&self, asking: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
        self.runtime.block_on(asking).map_err(failed)
    }

    /// What is there, or nothing.
    fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Option<T>, StoreError> {
        let asked = self.runtime.block_on(self.session.ask(|client| client.get(path)));
        found(asked, 404)
    }

    /// Whether it was taken, or the place was taken already.
    fn put(&self, build: impl Fn(&Client) -> Request) -> Result<bool, StoreError> {
        let sent = self.runtime.block_on(self.session.send(build));
        Ok(found(sent, 409)?.is_some())
    }
}

impl CloudStore for HttpStore {
    fn root(&self) -> Result<Option<Root>, StoreError> {
        self.get("/v1/sync/root")
    }

    fn create_root(&self, root: &Root) -> Result<bool, StoreError> {
        self.put(|client| client.put("/v1/sync/root").json(root))
    }

    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.get("/v1/sync/head")
    }

    fn advance(&self, advance: &Advance) -> Result<bool, StoreError> {
        self.put(|client| client.put("/v1/sync/head").json(advance))
    }

    fn missing(&self, ids: &[BlockId]) -> Result<Vec<BlockId>, StoreError> {
        let question = Bytes::from(join_ids(ids));
        let limit_bytes = question.len();
        let answer = self.wait(async {
            let build = |client: &Client| client.post("/v1/sync/missing").bytes(question.clone());
            Ok(self.session.send(build).await?.bytes(limit_bytes).await?)
        })?;
        split_ids(&answer).map_err(|error| StoreError(error.into()))
    }

    fn put_pack(&self, id: &PackId, bytes: Vec<u8>) -> Result<(), StoreError> {
        let (path, bytes) = (format!("/v1/sync/packs/{id}"), Bytes::from(bytes));
        let mut attempt = 1;
        loop {
            let build = |client: &Client| client.put(&path).bytes(bytes.clone());
            match self.runtime.block_on(self.session.send(build)) {
                Err(error) if error.refusal().is_none() && attempt < ATTEMPTS => attempt += 1,
                sent => return sent.map(drop).map_err(failed),
            }
        }
    }

    fn blocks(&self, ids: &[BlockId]) -> Result<Box<dyn Read + Send>, StoreError> {
        debug_assert!(ids.len() <= IDS_AT_ONCE, "the caller asks for so many at most");
        let question = Bytes::from(join_ids(ids));
        let build = |client: &Client| client.post("/v1/sync/blocks").bytes(question.clone());
        let pieces = self.wait(self.session.send(build))?.stream();
        let (runtime, piece) = (self.runtime.clone(), Bytes::new());
        Ok(Box::new(Body { runtime, pieces: pieces.boxed(), piece }))
    }
}

fn failed(error: Error) -> StoreError {
    StoreError(Box::new(error))
}

/// `None` where the cloud refused with `status`.
fn found<T>(answer: Result<T, Error>, status: u16) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.refusal().is_some_and(|refusal| refusal.status == status) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// An answer's body, read from outside of the runtime.
struct Body {
    runtime: Handle,
    pieces: BoxStream<'static, Result<Bytes, http_link::Error>>,
    piece: Bytes,
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.pieces.next()) {
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let length = out.len().min(self.piece.len());
        out[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

/// The data keys of an account at the Key Center, which wants to see an owner's assertion.
pub struct KeyCenterKeys {
    keycenter: KeyCenter,
    key_name: String,
    runtime: Handle,
}

impl KeyCenterKeys {
    /// Asks the cloud where the Key Center is and what it wants to see. `way` is how the device
    /// reaches it. Must not be called from async code.
    pub fn connect(
        session: Arc<DeviceSession>,
        account_id: &str,
        way: Connector,
        runtime: Handle,
    ) -> Result<Self, StoreError> {
        let assertion = runtime.block_on(session.owner_assertion()).map_err(failed)?;
        let client = Client::new(&assertion.keycenter_url, assertion.keycenter_ca.as_bytes(), way);
        let client = client.map_err(|error| StoreError(Box::new(error)))?;
        let credential = Credential::Owner(Arc::new(OwnersDevice(session)));
        let keycenter = KeyCenter::new(client, credential);
        Ok(Self { keycenter, key_name: format!("user-{account_id}"), runtime })
    }
}

impl DataKeys for KeyCenterKeys {
    fn fresh(&self) -> Result<(Secret<32>, String), StoreError> {
        let key = self.runtime.block_on(self.keycenter.data_key(&self.key_name));
        let key = key.map_err(|error| StoreError(Box::new(error)))?;
        Ok((key.plaintext, key.wrapped))
    }

    fn unwrap(&self, wrapped: &str) -> Result<Secret<32>, StoreError> {
        let unwrapping = self.keycenter.unwrap_data_key(&self.key_name, wrapped);
        let key = self.runtime.block_on(unwrapping);
        Ok(key.map_err(|error| StoreError(Box::new(error)))?.plaintext)
    }
}

/// Fetches a fresh assertion for every sign-in at the Key Center.
struct OwnersDevice(Arc<DeviceSession>);

impl Assertions for OwnersDevice {
    fn assertion(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async {
            let assertion = self.0.owner_assertion().await;
            assertion.map(|assertion| assertion.jwt).map_err(|error| error.to_string())
        })
    }
}
