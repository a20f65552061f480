//! The secure clock (SPEC S2.1.1): the board's counter, and what time it was at one reading of it.
//!
//! No clock of the machine is ever read. The board counts while it has power and knows nothing
//! of the time that it was off, so after power-on the clock goes on from where it may have been
//! and is not trusted until a signed token says what time it is.
//!
//! **It never goes back.** Before an answer exceeds the *lease*, a later lease is written to
//! RPMB; after power-off the clock begins behind the lease. RPMB is slow and wears out, so a
//! lease is as long as the device has been up, from one second to ten minutes: some ten writes in
//! the first ten minutes, then 144 a day and only where somebody asks; and power-off costs no
//! more than the clock ran since power-on.
//!
//! **A token** answers a nonce. The true time at its arrival is between what it says and that
//! plus its round trip, by the board's counter; the clock takes the middle, and half the round
//! trip is its error. A server whose clock is behind what was proven before is refused. A clock
//! that ran ahead does not go back: it stands until time has caught up, and says so in its error.

use crate::boot::OS;
use crate::os::Os;
use crate::storage::{Changes, SecureStorage, StorageError};
use board::channel;
use serde::{Deserialize, Serialize};
use tee_api::TeeError;
use tee_api::clock::{Answer, Call, SecureTime, TimeTrust};
use zeroize::Zeroizing;

const OBJECT: &str = "clock";
/// Where the clock of a new device begins, and what no token lies before: 2026-01-01T00:00:00Z.
const EARLIEST_MS: u64 = 1_767_225_600_000;
/// What no token lies behind: 2200-01-01T00:00:00Z.
const LATEST_MS: u64 = 7_258_118_400_000;
/// The shortest and the longest lease.
const LEASE_MS: (u64, u64) = (1_000, 600_000);
/// The longest way from nonce to token: it bounds the clock's error, and how long a token that
/// somebody held back is good.
const MAX_ROUND_TRIP_MS: u64 = 60_000;
/// The board's counter is right within 1 in this many: 100 ppm, what a cheap crystal keeps.
const DRIFT: u64 = 10_000;

/// What outlives power-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// No answer said more than this.
    lease_ms: u64,
    /// A token proved that it is at least this late.
    proven_ms: u64,
}

impl Default for Record {
    fn default() -> Self {
        Self { lease_ms: EARLIEST_MS, proven_ms: EARLIEST_MS }
    }
}

/// The clock since power-on. Readings of the board's counter come in as `uptime_ms`.
#[derive(Debug)]
pub(crate) struct SecureClock {
    record: Record,
    /// `(uptime, time)`: what time it was, or may have been, at which reading.
    anchor: (u64, u64),
    set: Option<Set>,
    /// Milliseconds and tick of the last answer.
    last: (u64, u64),
    /// The nonce that the next token must carry, and when it was given out.
    nonce: Option<([u8; 32], u64)>,
}

/// A token that was taken.
#[derive(Debug, Clone, Copy)]
struct Set {
    at_uptime_ms: u64,
    token_ms: u64,
    error_ms: u64,
}

impl SecureClock {
    /// As power comes on.
    const fn new(record: Record) -> Self {
        let begin = record.lease_ms.saturating_add(1);
        Self { record, anchor: (0, begin), set: None, last: (begin, 0), nonce: None }
    }

    fn load(storage: &SecureStorage) -> Result<Self, TeeError> {
        match storage.get(OS, OBJECT) {
            Ok(bytes) => channel::decode(&bytes)
                .map(Self::new)
                .map_err(|error| TeeError::Security(format!("the stored clock: {error}"))),
            Err(StorageError::NotFound(_)) => Ok(Self::new(Record::default())),
            Err(error) => Err(error.into()),
        }
    }

    /// What time it is; `store` keeps a record durably.
    fn now(
        &mut self,
        uptime_ms: u64,
        store: impl FnOnce(&Record) -> Result<(), TeeError>,
    ) -> Result<SecureTime, TeeError> {
        let estimate_ms = self.estimate(uptime_ms);
        let unix_ms = estimate_ms.max(self.last.0);
        if unix_ms > self.record.lease_ms {
            let (shortest, longest) = LEASE_MS;
            let lease_ms = unix_ms.saturating_add(uptime_ms.clamp(shortest, longest));
            let record = Record { lease_ms, proven_ms: self.proven(uptime_ms) };
            store(&record)?;
            self.record = record;
        }
        let tick = if unix_ms == self.last.0 { self.last.1 + 1 } else { 0 };
        self.last = (unix_ms, tick);
        let trust = self.set.map(|set| set.trust(uptime_ms, unix_ms - estimate_ms));
        Ok(SecureTime { unix_ms, tick, trust })
    }

    /// Takes `nonce` as the one that the next token must carry.
    const fn expect(&mut self, nonce: [u8; 32], uptime_ms: u64) {
        self.nonce = Some((nonce, uptime_ms));
    }

    /// Takes a token. Its nonce is used up, whatever comes of it.
    fn set(
        &mut self,
        nonce: &[u8; 32],
        token_ms: u64,
        uptime_ms: u64,
        store: impl FnOnce(&Record) -> Result<(), TeeError>,
    ) -> Result<(), TeeError> {
        let round_trip_ms = self.round_trip(nonce, uptime_ms)?;
        self.check(token_ms, round_trip_ms, uptime_ms)?;
        let proven_ms = self.record.proven_ms.max(token_ms);
        let record = Record { proven_ms, ..self.record };
        store(&record)?;
        self.record = record;
        self.anchor = (uptime_ms, token_ms + round_trip_ms / 2);
        let error_ms = round_trip_ms.div_ceil(2) + 1;
        self.set = Some(Set { at_uptime_ms: uptime_ms, token_ms, error_ms });
        Ok(())
    }

    /// How long ago `nonce` was given out.
    fn round_trip(&mut self, nonce: &[u8; 32], uptime_ms: u64) -> Result<u64, TeeError> {
        let due = self.nonce.take_if(|(due, _)| crypto::constant_time_eq(due, nonce));
        let (_, given_out_ms) =
            due.ok_or_else(|| refused("its nonce is not the one that was given out last"))?;
        let round_trip_ms = uptime_ms.saturating_sub(given_out_ms);
        if round_trip_ms > MAX_ROUND_TRIP_MS {
            let seconds = round_trip_ms / 1000;
            return Err(refused(&format!("it took {seconds} seconds; at most 60 count")));
        }
        Ok(round_trip_ms)
    }

    fn check(&self, token_ms: u64, round_trip_ms: u64, uptime_ms: u64) -> Result<(), TeeError> {
        if token_ms > LATEST_MS {
            return Err(refused("it says a time after the year 2199"));
        }
        let behind_ms = self.proven(uptime_ms).saturating_sub(token_ms + round_trip_ms);
        if behind_ms > 0 {
            return Err(refused(&format!(
                "the server's clock is {behind_ms} ms behind what was proven before"
            )));
        }
        Ok(())
    }

    /// It is at least this late.
    fn proven(&self, uptime_ms: u64) -> u64 {
        let since = self.set.map_or(0, |set| {
            let age_ms = uptime_ms.saturating_sub(set.at_uptime_ms);
            set.token_ms.saturating_add(age_ms - age_ms.div_ceil(DRIFT))
        });
        since.max(self.record.proven_ms)
    }

    fn estimate(&self, uptime_ms: u64) -> u64 {
        let (anchor_uptime, anchor_ms) = self.anchor;
        anchor_ms.saturating_add(uptime_ms.saturating_sub(anchor_uptime))
    }
}

impl Set {
    /// At `uptime_ms`, of an answer that is `ahead_ms` ahead of the best estimate.
    fn trust(&self, uptime_ms: u64, ahead_ms: u64) -> TimeTrust {
        let age_ms = uptime_ms.saturating_sub(self.at_uptime_ms);
        let drift_ms = age_ms.div_ceil(DRIFT);
        let error_ms = self.error_ms.saturating_add(drift_ms).saturating_add(ahead_ms);
        TimeTrust { error_ms, age_ms }
    }
}

impl Os {
    /// Answers a question to the clock; who may ask it is checked already.
    pub(crate) fn clock(&mut self, call: Call) -> Result<Answer, TeeError> {
        let lost = |error: board::SiliconError| TeeError::Communication(error.to_string());
        let storage = self.storage.as_mut().map_err(|error| error.clone())?;
        let clock = match &mut self.clock {
            Some(clock) => clock,
            none => none.insert(SecureClock::load(storage)?),
        };
        let uptime_ms = self.silicon.uptime_ms().map_err(lost)?;
        let mut store = |record: &Record| save(storage, record);
        match call {
            Call::Now => {}
            Call::Nonce => {
                let nonce = crypto::random_array();
                clock.expect(nonce, uptime_ms);
                return Ok(Answer::Nonce(nonce));
            }
            Call::Set { nonce, unix_ms } => clock.set(&nonce, unix_ms, uptime_ms, &mut store)?,
        }
        clock.now(uptime_ms, store).map(Answer::Time)
    }
}

fn save(storage: &mut SecureStorage, record: &Record) -> Result<(), TeeError> {
    let bytes = channel::encode(record).map_err(|error| TeeError::Resources(error.to_string()))?;
    let put = vec![(OBJECT.to_owned(), Zeroizing::new(bytes))];
    storage.commit(OS, &Changes { put, delete: Vec::new() }).map_err(TeeError::from)
}

fn refused(reason: &str) -> TeeError {
    TeeError::Security(format!("the time token was refused: {reason}"))
}

#[cfg(test)]
mod tests;
