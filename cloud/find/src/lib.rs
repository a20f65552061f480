//! Find device and activation lock (SPEC S2.5.1, S2.5.2), the server's side.
//!
//! Off until the device's user turns it on; from then on the account holds the device. What the
//! owner wants done goes down the device's link; what came of it, and every position, rests
//! sealed. Activation and the end of lost mode need the owner's password; what this service then
//! signs is a ticket that the device's gatekeeper redeems.
//!
//! Who owns what, whose password is right, and how a command travels come in as traits
//! ([`Owners`], [`Carrier`]).

mod activation;
mod commands;
mod error;
mod schema;
mod state;
mod tickets;

pub use activation::{Bound, Owners};
pub use commands::CommandView;
pub use error::Error;
pub use state::State;

use crypto::sign::EcdsaKey;
use effects::Clock;
use futures_util::future::BoxFuture;
use sqlx::SqlitePool;
use std::sync::Arc;
use wire::find::Command;

/// An answer that takes a moment.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// Seals what rests in the database; each value bound to its table, column and row.
pub trait Sealer: Send + Sync {
    /// Seals.
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8>;
    /// Opens; `None` where it does not belong there.
    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// Brings commands to devices.
pub trait Carrier: Send + Sync {
    /// Takes a command; once it returns, the command survives a crash.
    fn carry<'a>(
        &'a self,
        device_id: &'a str,
        command_id: u64,
        command: &'a Command,
    ) -> Answer<'a, ()>;
    /// Takes back every command that the device has not acknowledged.
    fn withdraw<'a>(&'a self, device_id: &'a str) -> Answer<'a, ()>;
}

/// What find-device stands on.
pub struct Foundation {
    /// The database.
    pub pool: SqlitePool,
    /// Seals what rests.
    pub sealer: Arc<dyn Sealer>,
    /// The way to devices.
    pub carrier: Arc<dyn Carrier>,
    /// The account service.
    pub owners: Arc<dyn Owners>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Find-device.
pub struct Find {
    pool: SqlitePool,
    sealer: Arc<dyn Sealer>,
    carrier: Arc<dyn Carrier>,
    owners: Arc<dyn Owners>,
    clock: Arc<dyn Clock>,
    ticket_key: EcdsaKey,
}

impl Find {
    /// Opens the service; the first time, its ticket key is made. Commands that a crash kept from
    /// the link go out now.
    pub async fn open(foundation: Foundation) -> Result<Self, Error> {
        let Foundation { pool, sealer, carrier, owners, clock } = foundation;
        schema::create(&pool).await?;
        let ticket_key = tickets::ticket_key(&pool, &*sealer).await?;
        let find = Self { pool, sealer, carrier, owners, clock, ticket_key };
        find.send_unsent().await?;
        Ok(find)
    }
}
