//! Accounts (SPEC S5.1.1, S5.1.3), their sessions, the devices bound to them, and the password
//! rule of lost mode (S2.5.2).
//!
//! Inside the cloud an account is its [`Subject`], a random id. The account id that people and
//! devices know, the phone number and the e-mail address are personal data: sealed under a data
//! key of the Key Center, found through blind indexes, and in no log.
//!
//! What it stands on comes in as parameters: the database, the Key Center ([`KeyCenter`]), the
//! post, clock and entropy, and who holds a device locked ([`ActivationLock`]).

mod assertion;
pub mod audit;
mod closing;
pub mod contact;
mod devices;
mod error;
pub mod keycenter;
pub mod lost_rule;
pub mod outbox;
pub mod password;
mod passwords;
pub mod pii;
mod reset;
mod schema;
mod sessions;
mod sign_in;
mod sign_up;
mod store;
mod throttle;

pub use devices::{Attested, DeviceRecord};
pub use error::Error;
pub use keycenter::KeyCenter;
pub use sessions::{Caller, SessionKind, SessionView, Touch, WEB_IDLE};
pub use sign_in::{SignInView, Who};

use crypto::sign::EcdsaKey;
use effects::{Clock, Entropy};
use futures_util::future::BoxFuture;
use sqlx::SqlitePool;
use std::sync::Arc;

/// An account inside the cloud: random, and no part of what anyone outside sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(pub String);

/// Asks whoever runs find-device whether a device may not change hands.
pub trait ActivationLock: Send + Sync {
    /// Whether find-device holds this device to its account.
    fn holds<'a>(&'a self, device_id: &'a str) -> BoxFuture<'a, Result<bool, Error>>;
}

/// What the account service stands on.
pub struct Foundation {
    /// The database.
    pub pool: SqlitePool,
    /// The Key Center.
    pub key_center: Arc<dyn KeyCenter>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Messages to people.
    pub post: Arc<dyn outbox::Post>,
    /// Find-device's say.
    pub lock: Arc<dyn ActivationLock>,
    /// How many passwords are hashed at once.
    pub cores: usize,
}

/// The account service.
pub struct Accounts {
    pool: SqlitePool,
    key_center: Arc<dyn KeyCenter>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    post: Arc<dyn outbox::Post>,
    lock: Arc<dyn ActivationLock>,
    hasher: password::Hasher,
    sources: throttle::Sources,
    pii: Arc<pii::Pii>,
    assertion_key: EcdsaKey,
    /// A record that no password matches: an unknown login costs what a known one does.
    nobody: String,
}
