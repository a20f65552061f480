//! The secure clock of a trusted OS in memory: it runs with the test's clock, is right from the
//! moment of the token, and keeps the rules that a TA can see. How exact it is, and what becomes
//! of it when power goes at a bad moment, is the real one's to test.

use super::FakeOs;
use std::time::Duration;
use tee_api::TeeError;
use tee_api::clock::{Answer, Call, SecureTime, TimeTrust};

/// Where the clock of a new device begins: 2026-01-01T00:00:00Z.
const EARLIEST_MS: u64 = 1_767_225_600_000;

/// The clock; readings of the board's counter come in as `uptime_ms`.
pub(super) struct FakeClock {
    /// What time it was at power-on.
    begin_ms: u64,
    /// The reading at which a token came in.
    set_at: Option<u64>,
    nonce: Option<[u8; 32]>,
    last: (u64, u64),
}

impl FakeClock {
    pub(super) const fn new() -> Self {
        Self { begin_ms: EARLIEST_MS, set_at: None, nonce: None, last: (0, 0) }
    }

    pub(super) fn power_cycle(&mut self) {
        *self = Self { begin_ms: self.last.0 + 1, set_at: None, nonce: None, last: self.last };
    }

    pub(super) fn answer(&mut self, call: Call, uptime_ms: u64) -> Result<Answer, TeeError> {
        match call {
            Call::Now => Ok(Answer::Time(self.now(uptime_ms))),
            Call::Nonce => {
                let nonce = crypto::random_array();
                self.nonce = Some(nonce);
                Ok(Answer::Nonce(nonce))
            }
            Call::Set { nonce, unix_ms } => {
                if self.nonce.take_if(|due| *due == nonce).is_none() {
                    return Err(TeeError::Security("no such nonce".into()));
                }
                self.begin_ms = unix_ms.saturating_sub(uptime_ms);
                self.set_at = Some(uptime_ms);
                Ok(Answer::Time(self.now(uptime_ms)))
            }
        }
    }

    fn now(&mut self, uptime_ms: u64) -> SecureTime {
        let unix_ms = (self.begin_ms + uptime_ms).max(self.last.0);
        let tick = if unix_ms == self.last.0 { self.last.1 + 1 } else { 0 };
        self.last = (unix_ms, tick);
        let trust = self.set_at.map(|at| TimeTrust { error_ms: 1, age_ms: uptime_ms - at });
        SecureTime { unix_ms, tick, trust }
    }
}

impl FakeOs {
    /// Sets the secure clock as a time token does that came back at once.
    pub fn set_secure_time(&self, unix_ms: u64) {
        let mut state = self.state();
        let uptime_ms = millis(state.uptime);
        state.clock.begin_ms = unix_ms.saturating_sub(uptime_ms);
        state.clock.set_at = Some(uptime_ms);
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
