//! Sync, the cloud's side (SPEC S5.2): encrypted blocks in packs, and snapshots of them.
//!
//! It stores what it cannot read: blocks are sealed on the device under data keys of the Key
//! Center. Packs are objects in a folder ([`Foundation::folder`]), durable before they are
//! acknowledged; the database says which block lies where. A head names the newest snapshot
//! and the packs that it needs; packs that no recent head needs are swept ([`Sync::sweep`]).
//!
//! Packs are written through `packs`, which syncs file and folder: the local back end of
//! `object_store` acknowledges what a power cut can still take back.
//!
//! Who calls is resolved by the server's [`Authenticator`].

mod erase;
mod error;
mod fetch;
mod head;
mod packs;
mod routes;
mod schema;
mod upload;

pub use error::Error;
pub use head::Usage;
pub use routes::{Authenticator, Caller, routes};

use crate::packs::PackFolder;
use effects::Clock;
use sqlx::SqlitePool;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{RwLock, Semaphore};

/// Packs that are received at one time; each holds a thread and a few MiB.
const UPLOADS: usize = 16;

/// What sync stands on.
pub struct Foundation {
    /// The database. Its commits are durable.
    pub pool: SqlitePool,
    /// Where packs are kept; no other program writes there.
    pub folder: PathBuf,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The store of all accounts' blocks and snapshots.
pub struct Sync {
    pool: SqlitePool,
    packs: Arc<PackFolder>,
    clock: Arc<dyn Clock>,
    uploads: Semaphore,
    /// Read while a pack's file and row come into being; written while they go.
    removal: RwLock<()>,
}

/// What a thread of its own found; its panic goes on here.
fn joined<T>(outcome: Result<Result<T, Error>, tokio::task::JoinError>) -> Result<T, Error> {
    outcome.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(Error::Stopping),
    })
}

impl Sync {
    /// Opens the store; makes tables and folders that are missing, and removes what uploads
    /// left behind that were cut short.
    pub async fn open(foundation: Foundation) -> Result<Self, Error> {
        let Foundation { pool, folder, clock } = foundation;
        sqlx::raw_sql(schema::TABLES).execute(&pool).await?;
        let packs = Arc::new(PackFolder::open(folder)?);
        let sync =
            Self { pool, packs, clock, uploads: Semaphore::new(UPLOADS), removal: RwLock::new(()) };
        sync.remove_unknown().await?;
        Ok(sync)
    }
}
