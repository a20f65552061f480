//! The store of blocks and snapshots: its rules, its HTTP interface, and its life over crashes.

mod crash;
mod hostile;
mod http;
mod snapshots;
mod sweeping;

use axum::body::Bytes;
use cloud_sync::{Error, Foundation, Sync};
use effects::{ManualClock, UnixMillis};
use futures_util::{StreamExt as _, stream};
use snapshot::block::{BlockId, DataKey, IdKey, join_ids};
use snapshot::fetch::FetchReader;
use snapshot::pack::{Pack, PackWriter};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use wire::sync::Advance;

const ACCOUNT: &str = "account-1";
const WRAPPED: &str = "vault:v1:d3JhcHBlZA==";
const HOUR: Duration = Duration::from_hours(1);

struct Bench {
    folder: TempDir,
    clock: Arc<ManualClock>,
    pool: SqlitePool,
    sync: Arc<Sync>,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(UnixMillis(1_800_000_000_000)));
        let pool = pool(folder.path()).await;
        let sync = open(folder.path(), &pool, &clock).await;
        Self { folder, clock, pool, sync }
    }

    /// Starts again on what is on the disk.
    async fn restart(&mut self) {
        self.sync = open(self.folder.path(), &self.pool, &self.clock).await;
    }

    async fn put(&self, pack: &Pack) -> Result<(), Error> {
        self.put_for(ACCOUNT, pack).await
    }

    async fn put_for(&self, account: &str, pack: &Pack) -> Result<(), Error> {
        let pieces: Vec<_> = pack.bytes.chunks(7000).map(Bytes::copy_from_slice).collect();
        let pieces = stream::iter(pieces).map(Ok::<_, std::io::Error>);
        self.sync.put_pack(account, pack.id, pieces).await
    }

    async fn missing(&self, ids: &[BlockId]) -> Vec<BlockId> {
        let missing = self.sync.missing(ACCOUNT, &join_ids(ids)).await.unwrap();
        snapshot::block::split_ids(&missing).unwrap()
    }

    /// The plaintexts of blocks, as a device opens them.
    async fn fetch(&self, ids: &[BlockId]) -> Result<Vec<Vec<u8>>, Error> {
        let pieces = self.sync.blocks(ACCOUNT, ids).await?;
        let pieces: Vec<_> = pieces.map(Result::unwrap).collect().await;
        Ok(opened(&pieces.concat(), ids))
    }

    async fn advance(&self, follows: u64, packs: &[&Pack]) -> Result<u64, Error> {
        let advance = snapshot_of(follows, packs);
        self.sync.advance(ACCOUNT, "device-1", advance).await.map(|head| head.generation)
    }

    fn pack_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.path().join("blocks")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

async fn pool(folder: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("cloud.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10));
    SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap()
}

async fn open(folder: &Path, pool: &SqlitePool, clock: &Arc<ManualClock>) -> Arc<Sync> {
    let folder = folder.join("blocks");
    let foundation = Foundation { pool: pool.clone(), folder, clock: clock.clone() };
    Arc::new(Sync::open(foundation).await.unwrap())
}

fn ids_key() -> IdKey {
    IdKey::new(&[1; 32])
}

fn data_key() -> DataKey {
    DataKey::new(&[2; 32], ACCOUNT)
}

fn name(plaintext: &[u8]) -> BlockId {
    ids_key().name(plaintext)
}

fn pack(plaintexts: &[&[u8]]) -> Pack {
    let mut writer = PackWriter::new(WRAPPED).unwrap();
    for plaintext in plaintexts {
        writer.push(&data_key(), &name(plaintext), plaintext);
    }
    writer.finish()
}

fn snapshot_of(follows: u64, packs: &[&Pack]) -> Advance {
    Advance {
        follows,
        manifest: packs.iter().take(1).map(|pack| pack.blocks[0].to_string()).collect(),
        packs: packs.iter().map(|pack| pack.id.to_string()).collect(),
        files: 3,
        bytes: 4,
    }
}

fn opened(answer: &[u8], ids: &[BlockId]) -> Vec<Vec<u8>> {
    let mut reader = FetchReader::new(answer).unwrap();
    let mut plaintexts = Vec::new();
    while let Some(mut fetched) = reader.next_block().unwrap() {
        assert_eq!((fetched.id, fetched.wrapped_key.as_str()), (ids[plaintexts.len()], WRAPPED));
        let plaintext = data_key().open(&fetched.id, &mut fetched.sealed).unwrap();
        plaintexts.push(plaintext.to_vec());
    }
    plaintexts
}
