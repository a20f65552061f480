//! Challenges: random, short-lived, answered once.

use crate::{Error, Issuer, Refusal, digest};
use std::time::Duration;

/// How long a challenge can be answered.
pub const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How many may wait for an answer: anyone may ask for one.
const MAX_WAITING: i64 = 100_000;

impl Issuer {
    /// A fresh challenge.
    pub async fn challenge(&self) -> Result<[u8; 32], Error> {
        sqlx::query("DELETE FROM eid_challenges WHERE expires_at_ms <= $1")
            .bind(self.now_ms())
            .execute(&self.on.pool)
            .await?;
        let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM eid_challenges")
            .fetch_one(&self.on.pool)
            .await?;
        if waiting >= MAX_WAITING {
            return Err(Refusal::Challenge.into());
        }
        let challenge = effects::random_array(&*self.on.entropy);
        sqlx::query("INSERT INTO eid_challenges (challenge_hash, expires_at_ms) VALUES ($1, $2)")
            .bind(digest(&challenge))
            .bind(self.after_ms(LIFETIME))
            .execute(&self.on.pool)
            .await?;
        Ok(challenge)
    }

    /// Uses a challenge up. Of any number of callers, one succeeds.
    pub(crate) async fn use_up(&self, challenge: &[u8]) -> Result<(), Error> {
        let used = sqlx::query(
            "DELETE FROM eid_challenges WHERE challenge_hash = $1 AND expires_at_ms > $2",
        )
        .bind(digest(challenge))
        .bind(self.now_ms())
        .execute(&self.on.pool)
        .await?;
        if used.rows_affected() == 1 { Ok(()) } else { Err(Refusal::Challenge.into()) }
    }
}
