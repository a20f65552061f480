//! Time and randomness as parameters.
//!
//! Whatever has a duration in it takes a [`Clock`], so that its test moves the clock instead of
//! sleeping; whatever draws random bytes that a test must foresee takes an [`Entropy`]. Files that
//! must survive a power cut are written with [`durable`].

pub mod durable;

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point of wall time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// This point, `duration` later.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_millis() as u64))
    }

    /// How long ago `earlier` was; zero where it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since 1970, as JWT and X.509 count.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Wall time.
    fn now(&self) -> UnixMillis;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// Gives random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `out`.
    fn fill(&self, out: &mut [u8]);
}

/// `N` random bytes from `entropy`.
pub fn random_array<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut out = [0; N];
    entropy.fill(&mut out);
    out
}

/// The machine's own clock. Its monotonic time goes on while the machine sleeps.
#[derive(Debug)]
pub struct SystemClock {
    start: Duration,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: since_boot() }
    }
}

/// Time since the machine started (`CLOCK_BOOTTIME`).
fn since_boot() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills one `timespec`, which lives through the call. The clock is there
    // since Linux 2.6.39; where it is not, the time stays zero.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(since.as_millis() as u64)
    }

    fn monotonic(&self) -> Duration {
        since_boot().saturating_sub(self.start)
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct ManualClock(Mutex<(UnixMillis, Duration)>);

impl ManualClock {
    /// Stands at `now`.
    #[must_use]
    pub const fn new(now: UnixMillis) -> Self {
        Self(Mutex::new((now, Duration::ZERO)))
    }

    /// Moves wall time and monotonic time on.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        *state = (state.0.plus(by), state.1 + by);
    }

    /// Sets wall time alone, as a user with the clock settings open can.
    pub fn set_wall(&self, now: UnixMillis) {
        self.state().0 = now;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, (UnixMillis, Duration)> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        self.state().0
    }

    fn monotonic(&self) -> Duration {
        self.state().1
    }
}

/// The kernel's generator, `getrandom(2)`.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, mut out: &mut [u8]) {
        use rustix::rand::{GetRandomFlags, getrandom};
        while !out.is_empty() {
            let got = getrandom(&mut *out, GetRandomFlags::empty())
                .expect("the kernel's random number generator answers");
            out = &mut out[got..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_clock_goes_on() {
        let clock = SystemClock::default();
        let first = clock.monotonic();
        while clock.monotonic() == first {}
        assert!(clock.monotonic() > first && first < Duration::from_secs(60));
    }
}
