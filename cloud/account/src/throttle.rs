//! Slowing down guesses: a delay that grows with each failure, for the account (in the database,
//! so a restart resets nothing) and for the network address (in memory).
//!
//! A try is counted before it is checked, so that many at once are worth no more than in a row.

use crate::{Accounts, Error};
use effects::UnixMillis;
use sqlx::Row as _;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

/// Tries on one account before the first delay.
const FREE_FOR_ACCOUNT: u32 = 10;
/// Tries from one address before the first delay.
const FREE_FOR_SOURCE: u32 = 50;
/// The longest delay: a stranger cannot lock an owner out for longer.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Failures this old are forgotten.
const MEMORY: Duration = Duration::from_secs(24 * 3600);
/// Addresses remembered at once.
const SOURCES: usize = 10_000;

/// How long to wait after this many failures.
fn delay(failures: u32, free: u32) -> Duration {
    if failures < free {
        return Duration::ZERO;
    }
    let seconds = 1_u64 << (failures - free).min(20);
    Duration::from_secs(seconds).min(LONGEST)
}

/// What is left of the delay, or the new count.
fn admit(failures: u32, last: UnixMillis, free: u32, now: UnixMillis) -> Result<u32, Duration> {
    let failures = if now.since(last) >= MEMORY { 0 } else { failures };
    let wait = delay(failures, free).saturating_sub(now.since(last));
    if wait.is_zero() { Ok(failures + 1) } else { Err(wait) }
}

/// The addresses that failed.
#[derive(Default)]
pub(crate) struct Sources(Mutex<HashMap<IpAddr, (u32, UnixMillis)>>);

impl Sources {
    fn admit(&self, source: IpAddr, now: UnixMillis) -> Result<(), Duration> {
        let mut sources = self.entries();
        let (failures, last) = sources.get(&source).copied().unwrap_or((0, now));
        let failures = admit(failures, last, FREE_FOR_SOURCE, now)?;
        if sources.len() >= SOURCES {
            sources.retain(|_, (_, last)| now.since(*last) < Duration::from_secs(60));
        }
        sources.insert(source, (failures, now));
        Ok(())
    }

    fn take_back(&self, source: IpAddr) {
        if let Some((failures, _)) = self.entries().get_mut(&source) {
            *failures = failures.saturating_sub(1);
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, (u32, UnixMillis)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Accounts {
    /// Counts a try against `who` (a subject, or the index of an unknown login), or refuses it.
    pub(crate) async fn admit_try(&self, who: &str, source: IpAddr) -> Result<(), Error> {
        let now = self.clock.now();
        let throttled = |retry_after| Error::Throttled { retry_after };
        self.sources.admit(source, now).map_err(throttled)?;
        let mut transaction = self.begin().await?;
        let row = sqlx::query("SELECT failures, last_ms FROM account_failures WHERE who = $1")
            .bind(who)
            .fetch_optional(&mut *transaction)
            .await?;
        let (failures, last) = row.map_or((0, now), |row| {
            (row.get::<u32, _>("failures"), UnixMillis(row.get::<i64, _>("last_ms") as u64))
        });
        let failures = admit(failures, last, FREE_FOR_ACCOUNT, now).map_err(throttled)?;
        sqlx::query(
            "INSERT INTO account_failures (who, failures, last_ms) VALUES ($1, $2, $3) \
             ON CONFLICT (who) DO UPDATE SET failures = excluded.failures, last_ms = excluded.last_ms",
        )
        .bind(who)
        .bind(failures)
        .bind(now.0 as i64)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// The try was a right one: nothing counts against this account any more.
    pub(crate) async fn forgive(&self, who: &str, source: IpAddr) -> Result<(), Error> {
        self.sources.take_back(source);
        sqlx::query("DELETE FROM account_failures WHERE who = $1")
            .bind(who)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_a_quarter_of_an_hour() {
        assert_eq!(delay(9, 10), Duration::ZERO);
        assert_eq!(delay(10, 10), Duration::from_secs(1));
        assert_eq!(delay(13, 10), Duration::from_secs(8));
        assert_eq!(delay(u32::MAX, 10), LONGEST);
    }

    #[test]
    fn a_day_later_failures_are_forgotten() {
        let at = UnixMillis(0);
        assert!(admit(30, at, 10, UnixMillis(1000)).is_err());
        assert_eq!(admit(30, at, 10, at.plus(MEMORY)), Ok(1));
    }
}
