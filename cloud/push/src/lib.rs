//! Push (SPEC S5.4): messages to applications on devices, and the log of events that each
//! device's link reads.
//!
//! A device is known by the irreversible hashes that it made of its identifiers; they map to a
//! random id, the only one used from there on. A message is sealed under its registration's
//! content key the moment it is accepted; no plaintext is stored. It is deleted when the device
//! acknowledges it, after seven days otherwise; a device absent for 90 days loses all that waits.

mod error;
mod events;
mod links;
mod messages;
mod registrations;
mod schema;

pub use error::Error;
pub use events::Queued;
pub use links::Link;

use effects::{Clock, Entropy};
use sqlx::SqlitePool;
use std::sync::Arc;
use std::time::Duration;

/// How long an undelivered message is kept.
pub const MESSAGE_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a device may be absent before all that waits for it is dropped.
pub const ABSENCE: Duration = Duration::from_secs(90 * 24 * 3600);
/// How often a silent link shows that it is alive.
pub const HEARTBEAT: Duration = Duration::from_secs(45);

/// Seals what rests in the database; each value bound to its table, column and row.
pub trait Sealer: Send + Sync {
    /// Seals.
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8>;
    /// Opens; `None` where it does not belong there.
    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// The push service.
pub struct Push {
    pool: SqlitePool,
    sealer: Arc<dyn Sealer>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    links: links::Links,
}

impl Push {
    /// Opens the service on its tables.
    pub async fn open(
        pool: SqlitePool,
        sealer: Arc<dyn Sealer>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        schema::create(&pool).await?;
        Ok(Self { pool, sealer, clock, entropy, links: links::Links::default() })
    }

    fn random_id(&self) -> String {
        let bytes: [u8; 16] = effects::random_array(&*self.entropy);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
