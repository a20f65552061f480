//! Sync: the open area as a snapshot in the cloud, and back.

use super::files::{Guarded, Watch};
use super::{Device, Live};
use crate::error::Error;
use device_link::sync::http::{HttpStore, KeyCenterKeys};
use device_link::sync::{self, CloudStore, Listener, Outcome, StoreError, Unseen};
use snapshot::block::{BlockId, PackId};
use std::io::Read;
use tokio::runtime::Handle;
use vault::Area;
use wire::sync::{Advance, Head, Root};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the cloud; what to do about a snapshot that this device has not seen.
    Upload(Unseen),
    /// From the cloud.
    Restore,
}

/// A run that may begin: nobody else syncs, the area is open, the device is bound.
pub struct Run<'d> {
    device: &'d Device,
    area: Area,
    watch: Watch,
    account_id: String,
}

impl Device {
    /// Prepares a run; refuses while another one goes.
    pub fn prepare_sync(&self) -> Result<Run<'_>, Error> {
        let (area, watch) = self.area()?;
        let account = self.userdata().record().account.clone();
        let account_id = account.ok_or(Error::NotBound)?.account_id;
        let mut live = self.live();
        if std::mem::replace(&mut live.syncing, true) {
            return Err(Error::SyncRuns);
        }
        drop(live);
        Ok(Run { device: self, area, watch, account_id })
    }
}

impl Run<'_> {
    /// Runs to its end; blocks. `runtime` carries the requests.
    pub fn go(
        &self,
        direction: Direction,
        runtime: &Handle,
        listener: Listener<'_>,
    ) -> Result<Outcome, Error> {
        let session = self.device.bound_session()?;
        let way = self.device.way.clone();
        let keys = KeyCenterKeys::connect(session.clone(), &self.account_id, way, runtime.clone());
        let keys = keys.map_err(|error| Error::Sync(error.into()))?;
        let store = HttpStore::new(session, runtime.clone());
        let store = WatchedStore { store, watch: self.watch.clone() };
        let ran = match direction {
            Direction::Upload(unseen) => {
                sync::upload(&self.area, &self.account_id, &store, &keys, unseen, listener)
            }
            Direction::Restore => {
                sync::restore(&self.area, &self.account_id, &store, &keys, listener)
            }
        };
        ran.map_err(
            |error| {
                if self.watch.check().is_err() { Error::Locked } else { Error::Sync(error) }
            },
        )
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let Live { syncing, .. } = &mut *self.device.live();
        *syncing = false;
    }
}

/// The cloud, while the area stays open: a run does not outlive the area's key.
struct WatchedStore {
    store: HttpStore,
    watch: Watch,
}

impl WatchedStore {
    fn store(&self) -> Result<&HttpStore, StoreError> {
        self.watch.check().map_err(|error| StoreError(error.into()))?;
        Ok(&self.store)
    }
}

impl CloudStore for WatchedStore {
    fn root(&self) -> Result<Option<Root>, StoreError> {
        self.store()?.root()
    }

    fn create_root(&self, root: &Root) -> Result<bool, StoreError> {
        self.store()?.create_root(root)
    }

    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.store()?.head()
    }

    fn advance(&self, advance: &Advance) -> Result<bool, StoreError> {
        self.store()?.advance(advance)
    }

    fn missing(&self, ids: &[BlockId]) -> Result<Vec<BlockId>, StoreError> {
        self.store()?.missing(ids)
    }

    fn put_pack(&self, id: &PackId, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.store()?.put_pack(id, bytes)
    }

    fn blocks(&self, ids: &[BlockId]) -> Result<Box<dyn Read + Send>, StoreError> {
        let inner = self.store()?.blocks(ids)?;
        Ok(Box::new(Guarded { inner, watch: self.watch.clone() }))
    }
}
