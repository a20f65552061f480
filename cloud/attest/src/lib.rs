//! Which device is this, and in what state: the cloud's side of attestation (SPEC S2.1.2).
//!
//! A maker's root is registered once, each device that leaves the factory is enrolled with its
//! certificate. Whoever wants to know asks for a [`Challenge`], gives it to the device, and
//! brings back the chain that the device made. [`Attest::verify`] says what it proves of a device
//! of ours; [`Attest::verdict`] holds it against a relying party's [`Policy`], which may also want
//! phones under Google's roots, and signs the [`Verdict`].
//!
//! Nothing is proved by a chain that ends in another root than those, that a revocation list names
//! (or might name: a list that is too old refuses all that it is for), that answers no fresh
//! challenge, or that comes from a device which should be enrolled and is not.
//!
//! Everything is in the database, so that any number of cloud processes share it: a challenge is
//! used up by a single conditional `UPDATE`, and of two that try, one wins.
//!
//! No HTTP here: routes are the server's. Alarms and privileged acts go to the [`Audit`] log.

mod alarm;
mod challenge;
mod error;
mod examine;
mod policy;
mod provision;
mod registry;
mod relying;
mod schema;
mod signing;
mod statement;
mod status;
mod verdict;

pub use alarm::{Alarm, AlarmKind};
pub use challenge::{Challenge, LIFETIME as CHALLENGE_LIFETIME};
pub use error::{Error, Refusal};
pub use policy::{KeyPolicy, PackagePolicy, Policy, RootOwner, Violation};
pub use provision::{LIFETIME as CERTIFICATE_LIFETIME, Provisioned};
pub use registry::{Device, Maker};
pub use relying::{RelyingParty, StoredPolicy};
pub use statement::DeviceStatement;
pub use status::ForeignList;
pub use verdict::{Asked, LIFETIME as VERDICT_LIFETIME, SignedVerdict, Verdict};

use effects::{Clock, Entropy};
use futures_util::future::BoxFuture;
use keyattest::x509::Spki;
use sqlx::SqlitePool;
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// What the service stands on.
pub struct Foundation {
    /// The database; the service's tables are made where they are missing.
    pub pool: SqlitePool,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Randomness for challenges, serial numbers and credentials.
    pub entropy: Arc<dyn Entropy>,
    /// Seals private keys in the database.
    pub sealer: Arc<dyn Sealer>,
    /// Where alarms and privileged acts are recorded.
    pub audit: Arc<dyn Audit>,
    /// Roots besides those of makers, Google and our own provisioning.
    pub roots: Vec<Spki>,
    /// How old Google's revocation list may be.
    pub list_max_age: Duration,
}

/// Seals what only this service may read, bound to its place.
pub trait Sealer: Send + Sync {
    /// Seals.
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8>;
    /// Opens; `None` where it was altered or moved.
    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// The audit log.
pub trait Audit: Send + Sync {
    /// Records durably what `actor` did.
    fn record<'a>(
        &'a self,
        actor: &'a str,
        action: &'a str,
        detail: &'a str,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

/// The attestation service.
pub struct Attest {
    pool: SqlitePool,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sealer: Arc<dyn Sealer>,
    audit: Arc<dyn Audit>,
    roots: Vec<Spki>,
    google: ForeignList,
    held_roots: RwLock<Option<examine::HeldRoots>>,
}

impl Attest {
    /// Opens the service.
    pub async fn open(on: Foundation) -> Result<Self, Error> {
        schema::create(&on.pool).await?;
        let google = ForeignList::new(on.list_max_age);
        let attest = Self {
            pool: on.pool,
            clock: on.clock,
            entropy: on.entropy,
            sealer: on.sealer,
            audit: on.audit,
            roots: on.roots,
            google,
            held_roots: RwLock::default(),
        };
        attest.prepare_signing_key().await?;
        attest.prepare_authorities().await?;
        Ok(attest)
    }

    /// Google's revocation list, as it was last taken over.
    #[must_use]
    pub const fn google_list(&self) -> &ForeignList {
        &self.google
    }

    /// Milliseconds since 1970, as the database keeps them.
    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now().0).unwrap_or(i64::MAX)
    }
}

/// The database keeps digests of what must not be read out of it.
fn digest(secret: &[u8]) -> Vec<u8> {
    crypto::digest::sha256(secret).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
