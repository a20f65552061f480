//! A device on the bench.

use crate::daemon::{self, Sockets};
use crate::device::{Device, Folders, Parts};
use crate::fake_cloud::{FakeCloud, start_modem};
use crate::fake_tee::FakeTee;
use crate::fake_updates::FakeInstaller;
use crate::modem::Modem;
use crate::tee::Tee;
use crate::userdata::Partition;
use device_link::session::{Cloud, ServerTime};
use effects::{Clock as _, ManualClock, SystemClock, SystemEntropy, UnixMillis};
use http_link::{Client, Connector, Error as HttpError};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tee_api::gatekeeper::USERDATA_BYTES;
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) const SERIAL: &str = "HF-0001";
/// Everything around a device, and the device.
pub(crate) struct Bench {
    folder: TempDir,
    pub(crate) tee: Arc<FakeTee>,
    pub(crate) cloud: Arc<FakeCloud>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) device: Arc<Device>,
    daemon: JoinHandle<()>,
    boots: u64,
    pub(crate) installer: Arc<FakeInstaller>,
    /// The build that the slot holds which boots next.
    build: &'static str,
}

impl Bench {
    /// A new device, powered on.
    pub(crate) async fn new() -> Self {
        Self::with(FakeTee::deployed(SERIAL)).await
    }

    /// A device with this TEE, powered on.
    pub(crate) async fn with(tee: Arc<FakeTee>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["run", "data"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("userdata"), vec![0; USERDATA_BYTES]).unwrap();
        // The cloud's clock is right; the device's own is decades behind.
        let now = SystemClock::default().now();
        let cloud = FakeCloud::start(&folder.path().join("cloud.sock"), now.0, SERIAL);
        start_modem(&folder.path().join("run/radio.sock"));
        tee.trusts(cloud.ticket_key());
        let clock = Arc::new(ManualClock::new(UnixMillis(1_000_000)));
        let installer = Arc::new(FakeInstaller::default());
        let device = start(folder.path(), &tee, &clock, 1, (&installer, "b1"));
        let daemon = serve(&device, folder.path());
        let (boots, build) = (1, "b1");
        let bench = Self { folder, tee, cloud, clock, device, daemon, boots, installer, build };
        bench.answers().await;
        bench
    }

    /// Off and on again.
    pub(crate) async fn reboot(&mut self) {
        self.daemon.abort();
        let _ = (&mut self.daemon).await;
        self.tee.reboot();
        self.boots += 1;
        let slot = (&self.installer, self.build);
        self.device = start(self.folder.path(), &self.tee, &self.clock, self.boots, slot);
        self.daemon = serve(&self.device, self.folder.path());
        self.answers().await;
    }

    /// What boots next.
    pub(crate) const fn runs(&mut self, build: &'static str) {
        self.build = build;
    }

    /// Set up by its owner: screen lock, account, find-device, open.
    pub(crate) async fn in_use() -> Self {
        let bench = Self::new().await;
        bench.tee.types(&["123456", "123456", "123456"]);
        for (path, body) in [
            ("/v1/lock/enrol", serde_json::json!(null)),
            ("/v1/lock/unlock", serde_json::json!(null)),
            ("/v1/account/bind", serde_json::json!({"token": "user-a1"})),
            ("/v1/find/enable", serde_json::json!(null)),
        ] {
            bench.api().post(path).json(&body).send().await.unwrap();
        }
        bench.until("the link is up", |device| device.is_connected()).await;
        bench
    }

    /// The local API.
    pub(crate) fn api(&self) -> Client {
        Client::unix(&self.run().join("holdfast.sock"))
    }

    /// The phone's screen.
    pub(crate) fn screen(&self) -> Client {
        Client::unix(&self.run().join("screen.sock"))
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// `GET /v1/status`.
    pub(crate) async fn status(&self) -> serde_json::Value {
        self.api().get("/v1/status").send_json().await.unwrap()
    }

    /// Waits until something that tasks do in the background has happened.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Device) -> bool) {
        let waiting = async {
            while !holds(&self.device) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "never happened: {what}");
    }

    async fn answers(&self) {
        self.status().await;
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.daemon.abort();
    }
}

fn start(
    folder: &Path,
    tee: &Arc<FakeTee>,
    clock: &Arc<ManualClock>,
    boot_no: u64,
    (installer, build): (&Arc<FakeInstaller>, &str),
) -> Arc<Device> {
    let flash = folder.join("userdata");
    let flash = File::options().read(true).write(true).open(flash).unwrap();
    let client = Client::unix(&folder.join("cloud.sock"));
    let (images, tee): (_, Arc<dyn Tee>) = (tee.clone(), tee.clone());
    Device::start(Parts {
        tee,
        clock: clock.clone(),
        entropy: Arc::new(SystemEntropy),
        cloud: Some(Cloud::new(client, Arc::new(ServerTime::new(clock.clone())))),
        modem: Modem::new(&folder.join("run/radio.sock")),
        way: Connector::Proxy(folder.join("run/radio.sock")),
        partition: Partition::new(flash, 0, USERDATA_BYTES),
        folders: Folders { data: folder.join("data") },
        boot_no,
        boot_key: Some("ab".repeat(32)),
        corrupt: false,
        images,
        update: Ok(installer.parts(build)),
    })
    .unwrap()
}

fn serve(device: &Arc<Device>, folder: &Path) -> JoinHandle<()> {
    let run = folder.join("run");
    for socket in ["holdfast.sock", "screen.sock"] {
        let _ = std::fs::remove_file(run.join(socket));
    }
    let sockets = Sockets::bind(&run).unwrap();
    let run = daemon::run(device.clone(), sockets, || {}, std::future::pending());
    tokio::spawn(async move {
        let _ending = run.await;
    })
}

/// The status and the word of a refusal.
pub(crate) fn refusal<T>(answer: Result<T, HttpError>) -> (u16, String) {
    match answer {
        Err(HttpError::Refused(refusal)) => (refusal.status, refusal.error),
        Err(other) => panic!("no refusal: {other}"),
        Ok(_) => panic!("no refusal"),
    }
}
