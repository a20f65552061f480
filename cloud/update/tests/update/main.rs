//! The update service on a real database and folder, with a clock that the tests move and an
//! audit log that is a list.

mod hostile;
mod offers;
mod reports;

use bytes::Bytes;
use cloud_update::{Audit, Error, Foundation, Standing, Update};
use crypto::digest::sha256;
use effects::{ManualClock, SystemEntropy, UnixMillis};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use wire::update::{Announcement, Answer, Check, NewPackage, Offer, Reason, Release, Rollout};

const MAKER: &str = "maker";

/// What was recorded.
#[derive(Default)]
struct List(Mutex<Vec<String>>);

impl Audit for List {
    fn record<'a>(
        &'a self,
        actor: &'a str,
        action: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.0.lock().unwrap().push(format!("{actor} {action}"));
        Box::pin(async { Ok(()) })
    }
}

struct Bench {
    folder: TempDir,
    pool: SqlitePool,
    audit: Arc<List>,
    clock: Arc<ManualClock>,
    update: Update,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("cloud.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options);
        let pool = pool.await.unwrap();
        let audit = Arc::new(List::default());
        let clock = Arc::new(ManualClock::new(UnixMillis(1_800_000_000_000)));
        let update = open(&folder, &pool, &audit, &clock).await;
        Self { folder, pool, audit, clock, update }
    }

    /// Starts again on what is on the disk.
    async fn restart(&mut self) {
        self.update = open(&self.folder, &self.pool, &self.audit, &self.clock).await;
    }

    /// Announces and uploads a full package that is made of `build`'s name.
    async fn publish(&self, build: &str, timestamp: u64, percentage: u8) -> Release {
        let request = announcement(build, timestamp, percentage);
        let release = self.update.announce(MAKER, &request).await.unwrap();
        self.upload(&release.packages[0].package_id, build.as_bytes()).await.unwrap()
    }

    async fn upload(&self, package_id: &str, bytes: &[u8]) -> Result<Release, Error> {
        self.upload_pieces(package_id, bytes.chunks(3).map(|piece| Ok(piece.to_vec()))).await
    }

    async fn upload_pieces(
        &self,
        package_id: &str,
        pieces: impl IntoIterator<Item = Result<Vec<u8>, &'static str>>,
    ) -> Result<Release, Error> {
        let pieces: Vec<_> = pieces.into_iter().map(|piece| piece.map(Bytes::from)).collect();
        self.update.upload(MAKER, package_id, stream::iter(pieces)).await
    }

    async fn check(&self, device: &str, build: &str, timestamp: u64) -> Answer {
        self.update.check(device, &in_order(), &has(build, timestamp)).await.unwrap()
    }

    async fn offer(&self, device: &str, build: &str, timestamp: u64) -> Offer {
        match self.check(device, build, timestamp).await {
            Answer::Update(offer) => offer,
            Answer::Nothing { reason } => panic!("nothing: {reason:?}"),
        }
    }

    async fn bytes(&self, offer: &Offer) -> Vec<u8> {
        let id = offer.url.strip_prefix("/v1/updates/packages/").unwrap();
        let download = self.update.download(&in_order(), id).await.unwrap();
        let pieces: Vec<_> = download.stream(0, download.size).collect().await;
        pieces.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat()
    }

    /// The files of packages, those on their way in too.
    fn files(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("updates");
        let names = [folder.clone(), folder.join(".incoming")]
            .map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        names.into_iter().flatten().filter(|path| path.is_file()).collect()
    }
}

async fn open(
    folder: &TempDir,
    pool: &SqlitePool,
    audit: &Arc<List>,
    clock: &Arc<ManualClock>,
) -> Update {
    let foundation = Foundation {
        pool: pool.clone(),
        folder: folder.path().join("updates"),
        audit: audit.clone(),
        clock: clock.clone(),
        entropy: Arc::new(SystemEntropy),
    };
    Update::open(foundation).await.unwrap()
}

fn package(bytes: &[u8], source_build: Option<&str>) -> NewPackage {
    NewPackage {
        source_build: source_build.map(str::to_owned),
        size: bytes.len() as u64,
        sha256: sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn announcement(build: &str, timestamp: u64, percentage: u8) -> Announcement {
    Announcement {
        model: "hf1".into(),
        channel: "stable".into(),
        build: build.into(),
        timestamp,
        security_patch: "2026-11-05".into(),
        rollout: Rollout { percentage, failure_percentage: 5, minimum_outcomes: 20 },
        package: package(build.as_bytes(), None),
    }
}

fn in_order() -> Standing {
    Standing {
        locked: true,
        boot_state: "green".into(),
        patch_level: 202_610,
        maker: Some(MAKER.into()),
    }
}

fn has(build: &str, timestamp: u64) -> Check {
    Check {
        model: "hf1".into(),
        channel: "stable".into(),
        build: build.into(),
        timestamp,
        security_patch: "2026-10-05".into(),
    }
}

const fn nothing(reason: Reason) -> Answer {
    Answer::Nothing { reason }
}
