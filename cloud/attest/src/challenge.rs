//! Challenges: random, short-lived, answered once.

use crate::{Attest, Error, Refusal, digest, ms};
use effects::{UnixMillis, random_array};
use std::time::Duration;

/// How long a challenge can be answered.
pub const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How long a lapsed challenge is remembered, so that a late answer gets the right reason.
const MEMORY: Duration = Duration::from_secs(24 * 3600);
/// How long a relying party's own challenge is remembered.
const OWN_MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);
/// The shortest challenge that a relying party may make itself.
const OWN_MIN_BYTES: usize = 16;
/// How many challenges may wait for an answer: anyone may ask for one.
const MAX_WAITING: i64 = 100_000;

/// What a device is to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Random.
    pub bytes: [u8; 32],
    /// The moment from which it is no longer good.
    pub expires_at: UnixMillis,
}

impl From<Challenge> for wire::attest::Challenge {
    fn from(challenge: Challenge) -> Self {
        Self { challenge: challenge.bytes.to_vec().into(), expires_at_ms: challenge.expires_at.0 }
    }
}

impl Attest {
    /// A fresh challenge, good for [`LIFETIME`] and one answer.
    pub async fn challenge(&self) -> Result<Challenge, Error> {
        self.forget_challenges().await?;
        let waiting: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM attest_challenges WHERE expires_at_ms > $1 \
             AND used_at_ms IS NULL",
        )
        .bind(self.now_ms())
        .fetch_one(&self.pool)
        .await?;
        if waiting >= MAX_WAITING {
            return Err(Refusal::TooManyChallenges.into());
        }
        let bytes = random_array(&*self.entropy);
        let expires_at = self.clock.now().plus(LIFETIME);
        sqlx::query(
            "INSERT INTO attest_challenges (challenge_hash, expires_at_ms) VALUES ($1, $2)",
        )
        .bind(digest(&bytes))
        .bind(self.now_ms().saturating_add(ms(LIFETIME)))
        .execute(&self.pool)
        .await?;
        Ok(Challenge { bytes, expires_at })
    }

    /// Uses a challenge up. Of any number of callers, in any number of processes, one succeeds.
    pub(crate) async fn use_up(&self, challenge: &[u8]) -> Result<(), Error> {
        let hash = digest(challenge);
        let used = sqlx::query(
            "UPDATE attest_challenges SET used_at_ms = $2 \
             WHERE challenge_hash = $1 AND used_at_ms IS NULL AND expires_at_ms > $2",
        )
        .bind(&hash)
        .bind(self.now_ms())
        .execute(&self.pool)
        .await?;
        if used.rows_affected() == 1 {
            return Ok(());
        }
        let used: Option<Option<i64>> = sqlx::query_scalar(
            "SELECT used_at_ms FROM attest_challenges WHERE challenge_hash = $1",
        )
        .bind(&hash)
        .fetch_optional(&self.pool)
        .await?;
        Err(match used {
            Some(Some(_)) => Refusal::ChallengeReplayed,
            Some(None) => Refusal::ChallengeExpired,
            None => Refusal::ChallengeUnknown,
        }
        .into())
    }

    /// Uses a challenge up that a relying party made itself. It is remembered for
    /// [`OWN_MEMORY`]; until then the same is a replay.
    pub(crate) async fn use_up_own(&self, challenge: &[u8]) -> Result<(), Error> {
        if challenge.len() < OWN_MIN_BYTES {
            let reason = "a challenge of your own has at least 16 random bytes";
            return Err(Refusal::Invalid { field: "challenge", reason }.into());
        }
        let noted = sqlx::query(
            "INSERT INTO attest_challenges (challenge_hash, expires_at_ms, used_at_ms) \
             VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(digest(challenge))
        .bind(self.now_ms().saturating_add(ms(OWN_MEMORY)))
        .bind(self.now_ms())
        .execute(&self.pool)
        .await?;
        match noted.rows_affected() {
            1 => Ok(()),
            _ => Err(Refusal::ChallengeReplayed.into()),
        }
    }

    async fn forget_challenges(&self) -> Result<(), Error> {
        let before = self.now_ms().saturating_sub(ms(MEMORY));
        sqlx::query("DELETE FROM attest_challenges WHERE expires_at_ms < $1")
            .bind(before)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
