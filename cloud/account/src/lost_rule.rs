//! The password rule of lost mode (S2.5.2). Pure: two times and a verdict.
//!
//! Once lost mode is set, for three days the device does not unlock even with the account's right
//! password if that password comes from a reset after the loss or within three days before it.
//! The old password, the one from before that reset, still ends lost mode.

use effects::UnixMillis;
use std::time::Duration;

/// How long before and after a loss a reset counts as suspicious.
pub const PROTECTION: Duration = Duration::from_secs(3 * 24 * 3600);

/// A password record of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The reset that this password descends from; a later change does not wash it off.
    pub reset_at: Option<UnixMillis>,
    /// When a reset replaced it; `None` for the current one.
    pub retired_at: Option<UnixMillis>,
}

/// What a right password is worth on a lost device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It counts.
    Accepted,
    /// It will count from this moment on.
    Until(UnixMillis),
    /// It does not count any more.
    Refused,
}

/// What `record` is worth for a device that was lost at `lost_at`.
#[must_use]
pub fn standing(record: Record, lost_at: UnixMillis, now: UnixMillis) -> Standing {
    let earliest = UnixMillis(lost_at.0.saturating_sub(PROTECTION.as_millis() as u64));
    let suspicious = record.reset_at.is_some_and(|at| at >= earliest);
    let over = lost_at.plus(PROTECTION);
    match record.retired_at {
        None if !suspicious || now >= over => Standing::Accepted,
        None => Standing::Until(over),
        Some(retired) if !suspicious && retired >= earliest => Standing::Accepted,
        Some(_) => Standing::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600 * 1000;
    const LOST: UnixMillis = UnixMillis(100 * DAY);

    fn current(reset_at: Option<u64>, now: u64) -> Standing {
        let record = Record { reset_at: reset_at.map(UnixMillis), retired_at: None };
        standing(record, LOST, UnixMillis(now))
    }

    #[test]
    fn s2_5_2_a_password_reset_around_the_loss_waits_three_days() {
        let over = 103 * DAY;
        for reset_at in [97 * DAY, 100 * DAY, 100 * DAY + 1, 102 * DAY, over - 1] {
            assert_eq!(current(Some(reset_at), over - 1), Standing::Until(UnixMillis(over)));
            assert_eq!(current(Some(reset_at), over), Standing::Accepted);
        }
    }

    #[test]
    fn s2_5_2_a_password_reset_long_before_the_loss_counts_at_once() {
        assert_eq!(current(Some(97 * DAY - 1), 100 * DAY), Standing::Accepted);
        assert_eq!(current(None, 100 * DAY), Standing::Accepted);
    }

    #[test]
    fn s2_5_2_the_old_password_still_counts_however_late() {
        let retired = |at: u64, reset: Option<u64>, now: u64| {
            let record =
                Record { reset_at: reset.map(UnixMillis), retired_at: Some(UnixMillis(at)) };
            standing(record, LOST, UnixMillis(now))
        };
        assert_eq!(retired(101 * DAY, None, 101 * DAY), Standing::Accepted);
        assert_eq!(retired(97 * DAY, None, 150 * DAY), Standing::Accepted);
        assert_eq!(retired(97 * DAY - 1, None, 100 * DAY), Standing::Refused, "replaced before");
        assert_eq!(
            retired(102 * DAY, Some(101 * DAY), 102 * DAY),
            Standing::Refused,
            "the thief's"
        );
    }
}
