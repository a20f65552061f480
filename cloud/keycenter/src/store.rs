//! What is kept: one SQLite file whose every value is sealed under the master key.

use crate::root_key::{self, RootKey, SoftwareHsm};
use crate::seal::{Altered, Seal};
use crypto::secret::Secret;
use effects::UnixMillis;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// How often a checkpoint is tried, 10 ms apart.
const CHECKPOINT_TRIES: u32 = 50;
/// The version of the tables.
const SCHEMA: i64 = 1;
/// Deleted rows are overwritten: a key that was deleted is gone from the file.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS master_key (
    id INTEGER PRIMARY KEY CHECK (id = 1), schema INTEGER NOT NULL, wrapped BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS record (
    kind TEXT NOT NULL, name TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, name));
CREATE TABLE IF NOT EXISTS token (
    fingerprint BLOB PRIMARY KEY, expires_ms INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS spent_assertion (
    fingerprint BLOB PRIMARY KEY, expires_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY, body BLOB NOT NULL, link BLOB NOT NULL);
";

/// Why something was not stored or not found as it was left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// SQLite refused.
    #[error("the Key Center's database: {0}")]
    Database(#[from] sqlx::Error),
    /// A stored value does not open.
    #[error(transparent)]
    Altered(#[from] Altered),
    /// A stored value opens to something else than it should.
    #[error("the stored {0} has not the form that is due")]
    Form(String),
    /// The root key.
    #[error(transparent)]
    RootKey(#[from] root_key::Error),
    /// The database was written by another version.
    #[error(
        "the database {path} has version {found}, this program works with {SCHEMA}; use the \
         program that made it"
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Key,
    Policy,
    Role,
    Config,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Policy => "policy",
            Self::Role => "role",
            Self::Config => "config",
        }
    }
}

/// The opened store.
pub struct Store {
    pub(crate) pool: SqlitePool,
    pub(crate) seal: Seal,
}

impl Store {
    /// Opens the database in `folder`, or makes it; the root key there opens it.
    pub async fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("keycenter.db");
        let pool = SqlitePoolOptions::new()
            .max_connections(3)
            .min_connections(0)
            .idle_timeout(Duration::from_secs(30))
            .connect_with(options(&path))
            .await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        let seal = Seal::new(&open_master_key(&pool, &path, &folder.join("root-key.pem")).await?);
        Ok(Self { pool, seal })
    }

    pub(crate) async fn load<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
    ) -> Result<Option<T>, Error> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT body FROM record WHERE kind = $1 AND name = $2")
                .bind(kind.name())
                .bind(name)
                .fetch_optional(&self.pool)
                .await?;
        let Some((sealed,)) = row else { return Ok(None) };
        let opened = self.seal.open(kind.name(), name, &sealed)?;
        let form = |_| Error::Form(format!("{}/{name}", kind.name()));
        ciborium::from_reader(&opened[..]).map(Some).map_err(form)
    }

    pub(crate) async fn save(
        &self,
        kind: Kind,
        name: &str,
        value: &impl Serialize,
    ) -> Result<(), Error> {
        let sealed = self.seal.seal(kind.name(), name, &to_cbor(value));
        sqlx::query(
            "INSERT INTO record (kind, name, body) VALUES ($1, $2, $3)
             ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body",
        )
        .bind(kind.name())
        .bind(name)
        .bind(sealed)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Destroys a record: also what the journal holds of it.
    pub(crate) async fn destroy(&self, kind: Kind, name: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM record WHERE kind = $1 AND name = $2")
            .bind(kind.name())
            .bind(name)
            .execute(&self.pool)
            .await?;
        self.empty_journal().await
    }

    /// Moves the journal into the main file and cuts it to nothing. A reader at work delays it.
    async fn empty_journal(&self) -> Result<(), Error> {
        for _ in 0..CHECKPOINT_TRIES {
            let (busy, _, _): (i64, i64, i64) =
                sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.pool).await?;
            if busy == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tracing::warn!("a deleted record stays in the journal until the next checkpoint");
        Ok(())
    }

    /// The names of all records of a kind, sorted.
    pub(crate) async fn names(&self, kind: Kind) -> Result<Vec<String>, Error> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT name FROM record WHERE kind = $1 ORDER BY name")
                .bind(kind.name())
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    pub(crate) async fn put_token(
        &self,
        fingerprint: &[u8],
        expires: UnixMillis,
        value: &impl Serialize,
    ) -> Result<(), Error> {
        let sealed = self.seal.seal("token", &hex(fingerprint), &to_cbor(value));
        sqlx::query(
            "INSERT INTO token (fingerprint, expires_ms, body) VALUES ($1, $2, $3)
             ON CONFLICT (fingerprint) DO UPDATE
             SET body = excluded.body, expires_ms = excluded.expires_ms",
        )
        .bind(fingerprint)
        .bind(expires.0 as i64)
        .bind(sealed)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(crate) async fn token<T: DeserializeOwned>(
        &self,
        fingerprint: &[u8],
    ) -> Result<Option<T>, Error> {
        let row: Option<(Vec<u8>,)> =
            sqlx::query_as("SELECT body FROM token WHERE fingerprint = $1")
                .bind(fingerprint)
                .fetch_optional(&self.pool)
                .await?;
        let Some((sealed,)) = row else { return Ok(None) };
        let opened = self.seal.open("token", &hex(fingerprint), &sealed)?;
        let form = |_| Error::Form("token".to_owned());
        ciborium::from_reader(&opened[..]).map(Some).map_err(form)
    }

    pub(crate) async fn remove_token(&self, fingerprint: &[u8]) -> Result<(), Error> {
        sqlx::query("DELETE FROM token WHERE fingerprint = $1")
            .bind(fingerprint)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Notes that an assertion was used. False where it had been used before.
    pub(crate) async fn spend(
        &self,
        fingerprint: &[u8],
        expires: UnixMillis,
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "INSERT INTO spent_assertion (fingerprint, expires_ms) VALUES ($1, $2)
             ON CONFLICT (fingerprint) DO NOTHING",
        )
        .bind(fingerprint)
        .bind(expires.0 as i64)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Removes tokens and notes of assertions that have expired.
    pub(crate) async fn sweep(&self, now: UnixMillis) -> Result<(), Error> {
        for table in ["token", "spent_assertion"] {
            sqlx::query(&format!("DELETE FROM {table} WHERE expires_ms < $1"))
                .bind(now.0 as i64)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }
}

/// Durable with each commit; a small cache, since the file is small.
fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .pragma("secure_delete", "ON")
        .pragma("cache_size", "-256")
        .statement_cache_capacity(32)
}

/// The root key is needed here and nowhere else: it is out of memory again once this is done.
async fn open_master_key(
    pool: &SqlitePool,
    path: &Path,
    root_path: &Path,
) -> Result<Secret<32>, Error> {
    let row: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT schema, wrapped FROM master_key").fetch_optional(pool).await?;
    let root = SoftwareHsm::load(root_path)?;
    match (row, root) {
        (Some((SCHEMA, wrapped)), Some(root)) => {
            let master = root.unwrap(&wrapped)?;
            tracing::info!(root_key = root.describe(), "unsealed");
            Secret::from_slice(&master).map_err(|_| Error::Form("master key".to_owned()))
        }
        (Some((SCHEMA, _)), None) => Err(root_key::Error::Missing(root_path.into()).into()),
        (Some((found, _)), _) => Err(Error::Schema { path: path.to_path_buf(), found }),
        (None, root) => {
            let root = root.map_or_else(|| SoftwareHsm::make(root_path), Ok)?;
            let master = Secret::random();
            sqlx::query("INSERT INTO master_key (id, schema, wrapped) VALUES (1, $1, $2)")
                .bind(SCHEMA)
                .bind(root.wrap(master.expose())?)
                .execute(pool)
                .await?;
            tracing::info!(root_key = root.describe(), "a master key was made");
            Ok(master)
        }
    }
}

fn to_cbor(value: &impl Serialize) -> Zeroizing<Vec<u8>> {
    // Large enough from the start, so that growing leaves no copies of a key behind.
    let mut out = Zeroizing::new(Vec::with_capacity(4096));
    ciborium::into_writer(value, &mut *out).expect("our own types can be written as CBOR");
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
