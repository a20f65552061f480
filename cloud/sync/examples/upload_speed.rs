//! How fast one client stores packs: through TLS and HTTP into a folder, each durable before it
//! is acknowledged.
//!
//! `cargo run -p cloud-sync --example upload_speed -- [MiB] [MiB a pack]`

use axum::response::Response;
use cloud_sync::{Authenticator, Caller, Foundation, Sync, routes};
use effects::SystemClock;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use http_link::serve::{Limits, serve_tls};
use http_link::tls::Identity;
use http_link::{Client, Connector};
use snapshot::block::{DataKey, IdKey, PackId};
use snapshot::pack::PackWriter;
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
    let mut spent = Duration::ZERO;
    for number in &packs {
        let (id, bytes) = pack(*number, each);
        let start = Instant::now();
        put(&client, &id, bytes).await?;
        spent += start.elapsed();
    }
    let mib = packs.len() * each;
    let speed = (mib << 20) as f64 / 1e6 / spent.as_secs_f64();
    println!("{mib} MiB in packs of {each} MiB, one after another: {speed:.0} MB/s");
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
fn pack(number: u64, mib: usize) -> (PackId, bytes::Bytes) {
    let (ids, key) = (IdKey::new(&[1; 32]), DataKey::new(&[2; 32], "bench"));
    let mut writer = PackWriter::new("vault:v1:d3JhcHBlZA==").expect("a good wrapped key");
    let mut block = vec![7; (1 << 20) - 64];
    for part in 0..mib as u64 {
        block[..16].copy_from_slice(&[number.to_be_bytes(), part.to_be_bytes()].concat());
        writer.push(&key, &ids.name(&block), &block);
    }
    let pack = writer.finish();
    (pack.id, pack.bytes.into())
}

async fn put(client: &Client, id: &PackId, bytes: bytes::Bytes) -> Result<(), http_link::Error> {
    let length = bytes.len() as u64;
    let pieces: Vec<_> = (0..bytes.len())
        .step_by(1 << 18)
        .map(|at| Ok(bytes.slice(at..bytes.len().min(at + (1 << 18)))))
        .collect();
    let request = client.put(&format!("/v1/sync/packs/{id}")).bearer("anyone");
    request.stream(Some(length), stream::iter(pieces).boxed()).send().await.map(drop)
}
