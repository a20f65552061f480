//! System updates, the server's side (SPEC S2.6; nothing for unlocked devices: S2.5.2).
//!
//! A maker announces a release (one build for one model and channel) and uploads its packages: a
//! full one, and deltas by the build that they start from. A package counts once its size and
//! hash are right and it is on the disk. A device that checks is offered the newest release that
//! is newer than what it has, if the staged roll-out has come to it ([`rollout`]); what came of it,
//! it reports. A release stops when its maker says so, or when too many devices fail.
//!
//! The service trusts no package: the device verifies the maker's signature. What it holds back
//! is a matter of policy, not of safety.
//!
//! The caller has resolved who asks; how a device stands comes in as [`Standing`].

mod check;
mod download;
mod error;
mod form;
mod packages;
pub mod range;
mod releases;
mod reports;
pub mod rollout;
mod schema;
mod upload;

pub use check::Standing;
pub use download::Download;
pub use error::Error;

use crate::packages::PackageFolder;
use crate::rollout::RolloutKey;
use effects::{Clock, Entropy, random_array};
use futures_util::future::BoxFuture;
use sqlx::SqlitePool;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Packages that are received at one time; each holds a thread and a few MiB.
const UPLOADS: usize = 4;

/// Writes down who did what, durably.
pub trait Audit: Send + Sync {
    /// `actor` is `maker` or `system`; `detail` is never personal data.
    fn record<'a>(
        &'a self,
        actor: &'a str,
        action: &'a str,
        detail: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// What the service stands on.
pub struct Foundation {
    /// The database. Its commits are durable.
    pub pool: SqlitePool,
    /// Where packages are kept; no other program writes there.
    pub folder: PathBuf,
    /// The audit log.
    pub audit: Arc<dyn Audit>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The update service.
pub struct Update {
    pool: SqlitePool,
    packages: Arc<PackageFolder>,
    audit: Arc<dyn Audit>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    rollout: RolloutKey,
    uploads: Semaphore,
}

impl Update {
    /// Opens the service; makes tables, folder and key that are missing, and removes what uploads
    /// left behind that were cut short.
    pub async fn open(foundation: Foundation) -> Result<Self, Error> {
        let Foundation { pool, folder, audit, clock, entropy } = foundation;
        schema::create(&pool).await?;
        let rollout = RolloutKey::new(rollout_key(&pool, &*entropy).await?);
        let packages = Arc::new(PackageFolder::open(folder)?);
        let uploads = Semaphore::new(UPLOADS);
        let update = Self { pool, packages, audit, clock, entropy, rollout, uploads };
        update.remove_unknown().await?;
        Ok(update)
    }

    /// A random name.
    fn new_id(&self) -> String {
        form::hex(&random_array::<16>(&*self.entropy))
    }

    /// Milliseconds since 1970, as the database keeps them.
    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now().0).unwrap_or(i64::MAX)
    }
}

/// The key that draws lots. It opens nothing: who reads the database sees the roll-outs anyway.
async fn rollout_key(pool: &SqlitePool, entropy: &dyn Entropy) -> Result<[u8; 32], Error> {
    sqlx::query("INSERT INTO update_meta (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind("rollout_key")
        .bind(&random_array::<32>(entropy)[..])
        .execute(pool)
        .await?;
    let key: Vec<u8> = sqlx::query_scalar("SELECT value FROM update_meta WHERE name = $1")
        .bind("rollout_key")
        .fetch_one(pool)
        .await?;
    key.try_into().map_err(|_| Error::Stored("roll-out key"))
}

/// What a thread of its own found; its panic goes on here.
fn joined<T>(outcome: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    outcome.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(Error::Stopping),
    })
}
