//! The device: its state, and what can be done with it. Local API and the phone's screen call
//! these functions and hold no logic of their own.
//!
//! What lasts is in the TEE, in the userdata partition ([`crate::userdata`]), in the inbox
//! ([`crate::record`]) and in the areas; what is here besides ([`Live`]) is gone with the power.
//! Every change that a person could see raises the [`Device::revision`].

mod account;
mod activation;
mod applications;
mod bootloader;
mod clock;
mod confirm;
mod erase;
mod events;
mod factory;
mod files;
mod keys;
mod lock;
mod provision;
mod push;
mod start;
mod status;
mod sync;
mod update;

pub use account::Binding;
pub use applications::{Application, ApplicationId};
pub use bootloader::{Bootloader, Images};
pub use clock::Time;
pub use confirm::Confirmed;
pub use events::Events;
pub use factory::Identifiers;
pub use files::{Content, Entry, EntryKind, Listing, Others, Skipped, Transfer};
pub use lock::{LockChange, LockView};
pub use push::Registered;
pub use start::{BootError, Booted, Folders, Parts};
pub use status::{Find, Prompt, Status, Summary, View};
pub use sync::{Direction, Run};
pub use update::{
    Course, Installer, Job, Judged, Kind, Moved, NotWritten, UpdateParts, UpdateView,
};

use crate::error::Error;
use crate::modem::Modem;
use crate::record::Inbox;
use crate::tee::Tee;
use crate::userdata::{Partition, Userdata};
use ::keystore::Keystore;
use device_link::find::{Alarm, Reports};
use device_link::session::{Cloud, DeviceSession};
use effects::{Clock, Entropy};
use http_link::Connector;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tee_api::gatekeeper;
use tokio::sync::watch;

/// The device.
pub struct Device {
    tee: Arc<dyn Tee>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    cloud: Option<Cloud>,
    modem: Modem,
    /// How the Key Center is reached.
    way: Connector,
    folders: Folders,
    boot_no: u64,
    booted: Booted,
    images: Arc<dyn Images>,
    updates: Result<update::Updates, String>,
    partition: Arc<Partition>,
    userdata: Mutex<Userdata>,
    inbox: Mutex<Inbox>,
    /// Closed while there is no key for it, or where it can't be opened.
    keystore: Mutex<Result<Arc<Keystore>, ::keystore::Error>>,
    live: Mutex<Live>,
    /// Held while the cloud is asked for certificates.
    provisioning: tokio::sync::Mutex<()>,
    /// Rises whenever the area is closed by force: what began before must not go on.
    epoch: watch::Sender<u64>,
    session: watch::Sender<Option<Arc<DeviceSession>>>,
    revision: watch::Sender<u64>,
    ending: watch::Sender<Option<Ending>>,
}

/// Why the daemon ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The keys were destroyed; the device must restart.
    Erased,
    /// An update waits for recovery; the device must restart.
    Restarts,
}

/// What is gone with the power.
struct Live {
    /// Serial number; `None` in the factory.
    serial: Option<String>,
    /// What gatekeeper said last.
    lock: gatekeeper::Status,
    /// The screen is locked.
    locked: bool,
    /// When it was unlocked last, on the clock that never goes back.
    unlocked_at: Option<Duration>,
    /// The credential-encrypted area, while its key is in memory.
    area: Option<vault::Area>,
    /// A prompt stands on the trusted screen.
    prompt: Option<Prompt>,
    /// Said on the lock screen: what came of the last try.
    notice: Option<String>,
    alarm: Alarm,
    reports: Reports,
    connected: bool,
    /// A run of sync goes.
    syncing: bool,
    /// Whose device it is, as far as the cloud tells a stranger.
    owner_hint: Option<String>,
    erased: bool,
}

impl Device {
    /// The revision of what can be seen; changes with every change.
    #[must_use]
    pub fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Becomes `Some` when the daemon must end.
    #[must_use]
    pub fn ending(&self) -> watch::Receiver<Option<Ending>> {
        self.ending.subscribe()
    }

    /// The device's session at the cloud: `None` while it is not bound.
    #[must_use]
    pub fn session(&self) -> watch::Receiver<Option<Arc<DeviceSession>>> {
        self.session.subscribe()
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Where random bytes come from.
    #[must_use]
    pub fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    fn cloud(&self) -> Result<&Cloud, Error> {
        self.cloud.as_ref().ok_or(Error::NoCloud)
    }

    fn bound_session(&self) -> Result<Arc<DeviceSession>, Error> {
        self.session.borrow().clone().ok_or(Error::NotBound)
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn userdata(&self) -> MutexGuard<'_, Userdata> {
        self.userdata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that can be seen changed.
    fn touch(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }

    /// Asks gatekeeper how the locks stand, and remembers it.
    fn refresh(&self) -> Result<gatekeeper::Status, Error> {
        let lock = self.tee.status()?;
        let before = std::mem::replace(&mut self.live().lock, lock.clone());
        if before != lock {
            self.touch();
        }
        Ok(lock)
    }

    fn refuse_if_erased(&self) -> Result<(), Error> {
        if self.live().erased { Err(Error::Erased) } else { Ok(()) }
    }
}

/// Runs `work`, which may block, on a thread for such.
pub async fn blocking<T: Send + 'static>(
    device: &Arc<Device>,
    work: impl FnOnce(&Device) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let device = device.clone();
    tokio::task::spawn_blocking(move || work(&device))
        .await
        .unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
}
