//! A thin issuer of identities (SPEC S3.3.2).
//!
//! A clerk registers a person whose identity was checked, and hands over a proof, on paper say. Who
//! has the proof and the account opens the identity with a key that an enrolled secure element made
//! inside and attests; the document is issued for that key alone. Deregistering is the key's last
//! word: from then on nothing is issued for it.
//!
//! Proofs and challenges are used up by one conditional `UPDATE`: of two that try, one wins. What is
//! known of persons rests sealed, and is forgotten with the identity. No HTTP here: routes are the
//! server's.

mod authority;
mod challenge;
mod element;
mod error;
mod identity;
mod person;
mod schema;

pub use challenge::LIFETIME as CHALLENGE_LIFETIME;
pub use error::{Error, Refusal};
pub use identity::DOCUMENT_LIFETIME;
pub use person::PROOF_LIFETIME;

use authority::Authority;
use effects::{Clock, Entropy};
use sqlx::SqlitePool;
use std::sync::Arc;
use std::time::Duration;

/// Seals what only this service may read, bound to its place.
pub trait Sealer: Send + Sync {
    /// Seals.
    fn seal(&self, table: &str, column: &str, row: &str, plaintext: &[u8]) -> Vec<u8>;
    /// Opens; `None` where it was altered or moved.
    fn open(&self, table: &str, column: &str, row: &str, sealed: &[u8]) -> Option<Vec<u8>>;
}

/// What the service stands on.
pub struct Foundation {
    /// The database; the service's tables are made where they are missing.
    pub pool: SqlitePool,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Randomness for challenges, proofs, names and salts.
    pub entropy: Arc<dyn Entropy>,
    /// Seals persons' data and the issuer's keys.
    pub sealer: Arc<dyn Sealer>,
}

/// The issuer.
pub struct Issuer {
    on: Foundation,
    authority: Authority,
}

impl Issuer {
    /// Opens the service. The first time it makes the authority that readers trust.
    pub async fn open(on: Foundation) -> Result<Self, Error> {
        schema::create(&on.pool).await?;
        let authority = Authority::load(&on).await?;
        Ok(Self { on, authority })
    }

    /// The authority's certificate, DER: what readers trust.
    #[must_use]
    pub fn authority(&self) -> &[u8] {
        self.authority.certificate.as_der()
    }

    /// Milliseconds since 1970, as the database keeps them.
    fn now_ms(&self) -> i64 {
        i64::try_from(self.on.clock.now().0).unwrap_or(i64::MAX)
    }

    fn after_ms(&self, duration: Duration) -> i64 {
        self.now_ms().saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The database keeps digests of what must not be read out of it.
fn digest(secret: &[u8]) -> Vec<u8> {
    crypto::digest::sha256(secret).to_vec()
}
