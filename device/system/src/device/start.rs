//! The start: from the TEE's word on the userdata partition to a device that answers.

use super::factory::serial_number;
use super::update::{UpdateParts, Updates};
use super::{Device, Images, Live, keys};
use crate::error::Error;
use crate::modem::Modem;
use crate::record::{Inbox, Record};
use crate::tee::Tee;
use crate::userdata::{self, OpenError, Partition, Userdata};
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use device_link::find::{Alarm, Reports};
use device_link::session::Cloud;
use effects::{Clock, Entropy, durable, random_array};
use http_link::Connector;
use keyattest::x509::{Certificate, oid};
use keyattest::{KeyDescription, VerifiedBootState};
use keystore::Keystore;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tee_api::TeeError;
use tee_api::gatekeeper::Command;
use tee_api::keymint;
use tokio::sync::watch;

/// Where things lie.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The user's data: `/data`.
    pub data: PathBuf,
}

impl Folders {
    /// The system's own files.
    pub(super) fn system(&self) -> PathBuf {
        self.data.join("system")
    }

    /// Where packages of the system's updates lie.
    #[must_use]
    pub fn update(&self) -> PathBuf {
        self.data.join("update")
    }

    /// The TEE's files, sealed: the TEE says when one goes.
    #[must_use]
    pub fn tee(&self) -> PathBuf {
        self.data.join("tee")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.system().join("userdata.journal")
    }

    pub(super) fn make_system(&self) -> Result<(), Error> {
        let system = self.system();
        let made = std::fs::create_dir_all(&system).and_then(|()| durable::sync_folder_of(&system));
        made.map_err(Error::io("the system's folder"))
    }
}

/// What a device is put together from.
pub struct Parts {
    /// The TEE.
    pub tee: Arc<dyn Tee>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// The cloud, where the system knows one.
    pub cloud: Option<Cloud>,
    /// The modem.
    pub modem: Modem,
    /// How the Key Center is reached.
    pub way: Connector,
    /// The userdata partition.
    pub partition: Partition,
    /// Where things lie.
    pub folders: Folders,
    /// How often the device was powered on.
    pub boot_no: u64,
    /// SHA-256 of the key that signed vbmeta, hexadecimal; `None` where nobody did.
    pub boot_key: Option<String>,
    /// The system on the flash is known to be corrupt.
    pub corrupt: bool,
    /// What it boots from.
    pub images: Arc<dyn Images>,
    /// How it is updated, or why it can't be.
    pub update: Result<UpdateParts, String>,
}

/// What was booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booted {
    /// `green`, `yellow`, `orange`, `red`, or `unknown`.
    pub state: &'static str,
    /// Whether the bootloader was locked; `None` in the factory.
    pub locked: Option<bool>,
    /// SHA-256 of the key that signed vbmeta, hexadecimal; `None` where nobody did.
    pub key: Option<String>,
    /// The system on the flash is known to be corrupt. What the TEE attests stays as it is: all
    /// that anybody gets to read is what was signed.
    pub corrupt: bool,
}

/// Why the device does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The TEE refused.
    #[error("the TEE: {0}")]
    Tee(#[from] TeeError),
    /// The userdata partition was not accepted.
    #[error(transparent)]
    Userdata(#[from] OpenError),
    /// A file could not be read or written.
    #[error(transparent)]
    Io(#[from] Error),
}

impl Device {
    /// Starts the device: the TEE checks the userdata partition, its record is opened (or made,
    /// on a new device), the inbox is opened. The user's files stay closed.
    pub fn start(parts: Parts) -> Result<Arc<Self>, BootError> {
        let Parts { tee, clock, entropy, cloud, modem, way, partition, folders, .. } = parts;
        let lock = tee.status()?;
        let serial = serial_number(&tee.device_chain().unwrap_or_default());
        let booted = Booted { corrupt: parts.corrupt, ..booted(&*tee, parts.boot_key) };
        let partition = Arc::new(partition);
        // Checked at every start, also when nothing opens it.
        userdata::check(&*tee, &partition, &folders.journal())?;
        // While activation is due the TEE gives no key, so there is nothing to open.
        let stores = match lock.activation_due {
            true => {
                // An erasure that a power cut kept from its end comes to it now.
                if !partition.is_void().map_err(Error::io("the userdata partition"))? {
                    folders.make_system()?;
                    userdata::void(&*tee, &partition, &folders.journal()).map_err(Error::from)?;
                }
                Stores {
                    userdata: Userdata::closed(),
                    inbox: Inbox::closed(),
                    keystore: Err(keys::closed()),
                }
            }
            false => Stores::open(&tee, &clock, &entropy, &partition, &folders)?,
        };
        // A device that can't be updated, say for a full disk, is a device all the same.
        let updates = parts.update.and_then(|update| {
            let updates = Updates::open(update, &folders.update(), parts.boot_no);
            updates.map_err(|error| error.to_string())
        });
        if let Err(reason) = &updates {
            tracing::warn!(reason, "no updates");
        }
        let live = Live {
            serial,
            locked: lock.enrolled,
            unlocked_at: None,
            lock,
            area: None,
            prompt: None,
            notice: None,
            alarm: Alarm::default(),
            reports: Reports::default(),
            connected: false,
            syncing: false,
            owner_hint: None,
            erased: false,
        };
        let device = Self {
            tee,
            clock,
            entropy,
            cloud,
            modem,
            way,
            folders,
            boot_no: parts.boot_no,
            booted,
            images: parts.images,
            updates,
            partition,
            userdata: Mutex::new(stores.userdata),
            inbox: Mutex::new(stores.inbox),
            keystore: Mutex::new(stores.keystore),
            live: Mutex::new(live),
            provisioning: tokio::sync::Mutex::default(),
            epoch: watch::Sender::new(0),
            session: watch::Sender::new(None),
            revision: watch::Sender::new(0),
            ending: watch::Sender::new(None),
        };
        let record = device.userdata().record().clone();
        let session = device.cloud.as_ref().and_then(|cloud| device.session_of(cloud, &record));
        device.session.send_replace(session);
        Ok(Arc::new(device))
    }

    /// Opens what was closed while activation was due.
    pub(super) fn open_stores(&self) -> Result<(), Error> {
        if !self.userdata().is_closed() {
            return Ok(());
        }
        let (clock, entropy) = (&self.clock, &self.entropy);
        let stores = Stores::open(&self.tee, clock, entropy, &self.partition, &self.folders);
        let stores = stores.map_err(|error| Error::Internal(error.to_string()))?;
        *self.userdata() = stores.userdata;
        *self.inbox() = stores.inbox;
        self.set_keystore(stores.keystore);
        Ok(())
    }

    /// The device answers: stored rollback indexes may rise to what was booted. The key of the
    /// account, made under other software, comes along.
    pub fn boot_succeeded(&self) -> Result<(), Error> {
        if let Err(error) = self.upgrade_account_key() {
            tracing::warn!(%error, "the key of the account was not upgraded");
        }
        self.tee.do_gatekeeper(Command::BootSuccessful)?;
        // Keys for early boot work no more. Where that can't be said, they go on working.
        match self.tee.keymint(keymint::Command::EarlyBootEnded) {
            Ok(keymint::Reply::Done) => {}
            other => tracing::warn!(?other, "KeyMint was not told that early boot ended"),
        }
        Ok(())
    }
}

/// What opens with the key of the device-encrypted area.
struct Stores {
    userdata: Userdata,
    inbox: Inbox,
    keystore: Result<Arc<Keystore>, keystore::Error>,
}

impl Stores {
    fn open(
        tee: &Arc<dyn Tee>,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
        partition: &Arc<Partition>,
        folders: &Folders,
    ) -> Result<Self, BootError> {
        folders.make_system()?;
        let device_key = Secret::new(tee.device_key()?);
        let inbox_key = hkdf_sha256::<32>(device_key.expose(), b"", &[b"holdfast-inbox"]);
        let keystore = keys::open(folders, &device_key, tee, clock, entropy);
        let fresh = || Record {
            android_id: random_array::<16>(&**entropy).to_vec().into(),
            ..Record::default()
        };
        let journal = folders.journal();
        let userdata = Userdata::open(tee.clone(), partition.clone(), journal, device_key, fresh)?;
        let inbox = Inbox::open(&folders.system().join("inbox"), inbox_key.expose())
            .map_err(Error::io("the inbox"))?;
        Ok(Self { userdata, inbox, keystore })
    }
}

/// What the TEE attests about this start: nobody outside of it could say it as well.
fn booted(tee: &dyn Tee, key: Option<String>) -> Booted {
    let chain = tee.attested_key(b"boot state").map(|(_, chain)| chain).unwrap_or_default();
    let leaf = chain.first().and_then(|leaf| Certificate::parse(leaf).ok());
    let statement = leaf.as_ref().and_then(|leaf| leaf.extension(oid::KEY_DESCRIPTION));
    let statement = statement.and_then(|statement| KeyDescription::decode(statement).ok());
    let root = statement.and_then(|(said, _)| said.hardware_enforced.root_of_trust);
    let state = match root.as_ref().map(|root| root.verified_boot_state) {
        Some(VerifiedBootState::Verified) => "green",
        Some(VerifiedBootState::SelfSigned) => "yellow",
        Some(VerifiedBootState::Unverified) => "orange",
        Some(VerifiedBootState::Failed) => "red",
        None => "unknown",
    };
    Booted { state, locked: root.map(|root| root.device_locked), key, corrupt: false }
}
