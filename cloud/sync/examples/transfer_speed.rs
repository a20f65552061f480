//! How fast one client stores packs and fetches their blocks: through TLS and HTTP, into a folder
//! where each pack is durable before it is acknowledged.
//!
//! `cargo run -p cloud-sync --example transfer_speed -- [MiB] [MiB a pack]`

use axum::response::Response;
use cloud_sync::{Authenticator, Caller, Foundation, Sync, routes};
use effects::SystemClock;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_link::serve::{Limits, serve_tls};
use http_link::tls::Identity;
use http_link::{Client, Connector};
use snapshot::block::{BlockId, DataKey, IdKey, join_ids};
use snapshot::pack::{Pack, PackWriter};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Anyone;

impl Authenticator for Anyone {
    fn authenticate<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Caller, Response>> {
        let caller = Caller { account: "bench".into(), device_id: Some("device".into()) };
        Box::pin(std::future::ready(Ok(caller)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let total = arguments.next().transpose()?.unwrap_or(1024);
    let each = arguments.next().transpose()?.unwrap_or(60);
    let folder = tempfile::tempdir_in(".")?;
    let client = start(folder.path()).await?;
    let packs: Vec<_> = (0..total.div_ceil(each) as u64).collect();
    let (mut up, mut ids) = (Duration::ZERO, Vec::new());
    for number in &packs {
        let pack = pack(*number, each);
        ids.extend_from_slice(&pack.blocks);
        let start = Instant::now();
        put(&client, pack).await?;
        up += start.elapsed();
    }
    let start = Instant::now();
    fetch(&client, &ids).await?;
    let back = start.elapsed();
    let mib = packs.len() * each;
    let speed = |time: Duration| (mib << 20) as f64 / 1e6 / time.as_secs_f64();
    println!("{mib} MiB in packs of {each} MiB, one after another:");
    println!("stored {:.0} MB/s, fetched {:.0} MB/s", speed(up), speed(back));
    Ok(())
}

async fn start(folder: &std::path::Path) -> Result<Client, Box<dyn std::error::Error>> {
    let clock = Arc::new(SystemClock::default());
    let options = SqliteConnectOptions::new()
        .filename(folder.join("cloud.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePool::connect_with(options).await?;
    let foundation = Foundation { pool, folder: folder.join("blocks"), clock: clock.clone() };
    let app = routes(Arc::new(Sync::open(foundation).await?), Arc::new(Anyone));
    let identity = Arc::new(Identity::load_or_make(folder, &[], clock)?);
    let ca = std::fs::read(identity.ca_path())?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("https://localhost:{}", listener.local_addr()?.port());
    tokio::spawn(serve_tls(listener, identity, app, Limits::default(), std::future::pending()));
    Ok(Client::new(&url, &ca, Connector::Tcp)?)
}

/// A pack of different blocks of 1 MiB less their heads.
fn pack(number: u64, mib: usize) -> Pack {
    let (ids, key) = (IdKey::new(&[1; 32]), DataKey::new(&[2; 32], "bench"));
    let mut writer = PackWriter::new("vault:v1:d3JhcHBlZA==").expect("a good wrapped key");
    let mut block = vec![7; (1 << 20) - 64];
    for part in 0..mib as u64 {
        block[..16].copy_from_slice(&[number.to_be_bytes(), part.to_be_bytes()].concat());
        writer.push(&key, &ids.name(&block), &block);
    }
    writer.finish()
}

async fn put(client: &Client, pack: Pack) -> Result<(), http_link::Error> {
    let bytes = bytes::Bytes::from(pack.bytes);
    let length = bytes.len() as u64;
    let pieces: Vec<_> = (0..bytes.len())
        .step_by(1 << 18)
        .map(|at| Ok(bytes.slice(at..bytes.len().min(at + (1 << 18)))))
        .collect();
    let request = client.put(&format!("/v1/sync/packs/{}", pack.id)).bearer("anyone");
    request.stream(Some(length), stream::iter(pieces).boxed()).send().await.map(drop)
}

async fn fetch(client: &Client, ids: &[BlockId]) -> Result<(), http_link::Error> {
    let request = client.post("/v1/sync/blocks").bearer("anyone").bytes(join_ids(ids));
    let mut pieces = request.send().await?.stream();
    while pieces.try_next().await?.is_some() {}
    Ok(())
}
