//! The audit log: who did what with which key, when, and what came of it.
//!
//! Entries are sealed, and chained by an HMAC under a key derived from the master key: one that
//! is altered, removed or put in breaks the chain, and so does a log whose end was cut off,
//! since the chain's head is stored sealed beside it. (Putting back an older copy of the whole
//! database is not seen from inside; for that the head must be kept elsewhere.)
//!
//! Entries that come in together are made durable together.

use crate::seal::Seal;
use crate::store::{Error, Store};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqlitePool;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What the chain begins with.
const GENESIS: [u8; 32] = [0; 32];
/// The most entries that one commit takes.
const BATCH: usize = 256;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When (ms since 1970).
    pub at_ms: u64,
    /// The request's number, random.
    pub request: String,
    /// `begin` before something is changed, `end` before an answer is sent.
    pub stage: Stage,
    /// From where.
    pub remote: String,
    /// Whose token: its accessor, by which nobody can act.
    pub accessor: Option<String>,
    /// The account, where its owner acts.
    pub subject: Option<String>,
    /// HTTP method.
    pub method: String,
    /// What was asked for.
    pub path: String,
    /// How many items the request had.
    pub items: usize,
    /// The answer's status; none yet at the beginning.
    pub status: Option<u16>,
    /// Why it was refused.
    pub errors: Vec<String>,
}

/// When an entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Before a change.
    Begin,
    /// Before the answer.
    End,
}

/// An entry could not be made durable; what it is about must not happen.
#[derive(Debug, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct Unwritten;

type Waiting = (Entry, oneshot::Sender<()>);

/// Takes entries; they are durable when `write` is done.
#[derive(Clone)]
pub struct Audit(mpsc::Sender<Waiting>);

impl Audit {
    /// Checks the log's end and starts its writer.
    pub async fn start(store: &Arc<Store>) -> Result<Self, BrokenChain> {
        let chain = Chain { store: store.clone(), head: load_head(store).await? };
        let (queue, entries) = mpsc::channel(BATCH);
        tokio::spawn(write_all(chain, entries));
        Ok(Self(queue))
    }

    /// Makes `entry` durable.
    pub async fn write(&self, entry: Entry) -> Result<(), Unwritten> {
        let (done, written) = oneshot::channel();
        self.0.send((entry, done)).await.map_err(|_| Unwritten)?;
        written.await.map_err(|_| Unwritten)
    }
}

/// Why a log is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokenChain {
    /// An entry is missing, was put in or altered.
    #[error("the audit log is broken at entry {0}: somebody has altered it")]
    At(i64),
    /// The log does not end where its head says.
    #[error(
        "the audit log ends at entry {found}, but {expected} were written: somebody has cut it"
    )]
    End {
        /// Its last entry.
        found: i64,
        /// The entries written.
        expected: i64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
}

/// The last entry's number and link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    seq: i64,
    #[serde(with = "serde_bytes")]
    link: Vec<u8>,
}

struct Chain {
    store: Arc<Store>,
    head: Head,
}

async fn load_head(store: &Store) -> Result<Head, BrokenChain> {
    let row: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT seq, link FROM audit ORDER BY seq DESC LIMIT 1")
            .fetch_optional(&store.pool)
            .await
            .map_err(Error::from)?;
    let (seq, link) = row.unwrap_or_else(|| (0, GENESIS.to_vec()));
    let expected = sealed_head(&store.pool, &store.seal).await?;
    let expected = expected.unwrap_or_else(|| Head { seq: 0, link: GENESIS.to_vec() });
    match seq == expected.seq {
        true if link == expected.link => Ok(expected),
        true => Err(BrokenChain::At(seq)),
        false => Err(BrokenChain::End { found: seq, expected: expected.seq }),
    }
}

async fn sealed_head(pool: &SqlitePool, seal: &Seal) -> Result<Option<Head>, Error> {
    let row: Option<(Vec<u8>,)> =
        sqlx::query_as("SELECT body FROM record WHERE kind = 'audit' AND name = 'head'")
            .fetch_optional(pool)
            .await?;
    let Some((sealed,)) = row else { return Ok(None) };
    let opened = seal.open("audit", "head", &sealed)?;
    let form = |_| Error::Form("audit/head".to_owned());
    serde_json::from_slice(&opened).map(Some).map_err(form)
}

/// Writes what is waiting, all of it in one commit. Where that fails, those who wait learn it
/// by the loss of their channel.
async fn write_all(mut chain: Chain, mut entries: mpsc::Receiver<Waiting>) {
    let mut waiting = Vec::new();
    while entries.recv_many(&mut waiting, BATCH).await > 0 {
        match chain.append(waiting.iter().map(|(entry, _)| entry)).await {
            Ok(head) => {
                chain.head = head;
                for (_, done) in waiting.drain(..) {
                    let _ = done.send(());
                }
            }
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be written; requests are refused");
                waiting.clear();
            }
        }
    }
}

impl Chain {
    async fn append(&self, entries: impl Iterator<Item = &Entry>) -> Result<Head, Error> {
        let seal = &self.store.seal;
        let mut head = self.head.clone();
        let mut transaction = self.store.pool.begin_with("BEGIN IMMEDIATE").await?;
        for entry in entries {
            let seq = head.seq + 1;
            let body = serde_json::to_vec(entry).expect("an entry can be written as JSON");
            let body = seal.seal("audit", &seq.to_string(), &body);
            let link = seal.link(&head.link, seq, &body).to_vec();
            sqlx::query("INSERT INTO audit (seq, body, link) VALUES ($1, $2, $3)")
                .bind(seq)
                .bind(&body)
                .bind(&link)
                .execute(&mut *transaction)
                .await?;
            head = Head { seq, link };
        }
        let sealed = serde_json::to_vec(&head).expect("a head can be written as JSON");
        sqlx::query(
            "INSERT INTO record (kind, name, body) VALUES ('audit', 'head', $1)
             ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body",
        )
        .bind(seal.seal("audit", "head", &sealed))
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(head)
    }
}

/// Checks the whole chain and gives each entry to `see`, oldest first.
pub async fn verify(store: &Store, mut see: impl FnMut(i64, Entry)) -> Result<i64, BrokenChain> {
    let (mut seq, mut link) = (0, GENESIS.to_vec());
    loop {
        let rows: Vec<(i64, Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT seq, body, link FROM audit WHERE seq > $1 ORDER BY seq LIMIT 1000",
        )
        .bind(seq)
        .fetch_all(&store.pool)
        .await
        .map_err(Error::from)?;
        if rows.is_empty() {
            break;
        }
        for (found, body, stored) in rows {
            let expected = store.seal.link(&link, seq + 1, &body);
            if found != seq + 1 || !crypto::constant_time_eq(&expected, &stored) {
                return Err(BrokenChain::At(seq + 1));
            }
            (seq, link) = (found, stored);
            let opened = store.seal.open("audit", &seq.to_string(), &body);
            let opened = opened.map_err(|_| BrokenChain::At(seq))?;
            see(seq, serde_json::from_slice(&opened).map_err(|_| BrokenChain::At(seq))?);
        }
    }
    load_head(store).await.map(|head| head.seq)
}
