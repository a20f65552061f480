//! Which device is this, and in what state: the cloud's side of attestation (SPEC S2.1.2).
//!
//! A maker's root is registered once, each device that leaves the factory is enrolled with its
//! certificate. Whoever wants to know asks for a [`Challenge`], gives it to the device, and
//! brings back the chain that the device made: [`Attest::verify`] says what it proves. Only a
//! chain that ends in a registered root, comes from an enrolled device that nobody revoked, and
//! answers a challenge of ours that was never answered before, proves anything.
//!
//! Challenges are in the database, so that any number of cloud processes share them: one is used
//! up by a single conditional `UPDATE`, and of two that try, one wins.
//!
//! No HTTP here, and no audit log: both are the server's.

mod challenge;
mod error;
mod registry;
mod schema;
mod statement;

pub use challenge::{Challenge, LIFETIME as CHALLENGE_LIFETIME};
pub use error::{Error, Refusal};
pub use registry::{Device, Maker};
pub use statement::DeviceStatement;

use effects::{Clock, Entropy};
use sqlx::SqlitePool;
use std::sync::Arc;

/// The attestation service.
pub struct Attest {
    pool: SqlitePool,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Attest {
    /// Over `pool`, whose tables are made by [`Attest::migrate`].
    #[must_use]
    pub fn new(pool: SqlitePool, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { pool, clock, entropy }
    }

    /// Makes the tables that are not there yet. Again does nothing.
    pub async fn migrate(&self) -> Result<(), Error> {
        Ok(schema::create(&self.pool).await?)
    }

    /// Milliseconds since 1970, as the database keeps them.
    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now().0).unwrap_or(i64::MAX)
    }
}
