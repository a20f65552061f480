//! Find device (SPEC S2.5.1): the rules that have a duration, and the reports to the cloud.
//!
//! Pure but for [`report`]: time comes in, decisions go out.

use crate::session::{DeviceSession, Error};
use std::time::Duration;
use wire::find::{Enable, Position, Report};

/// The alarm ends by itself after this long.
pub const ALARM_LIMIT: Duration = Duration::from_secs(5 * 60);
/// In lost mode the device reports where it is this often.
pub const REPORT_EVERY: Duration = Duration::from_secs(15 * 60);

/// The alarm: sounds from a command until someone dismisses it on the phone, or for
/// [`ALARM_LIMIT`]. Times are of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alarm {
    since: Option<Duration>,
}

impl Alarm {
    /// A command to sound came. One that comes while it sounds makes it sound longer.
    pub const fn sound(&mut self, now: Duration) {
        self.since = Some(now);
    }

    /// Somebody holds the phone and pressed the button.
    pub const fn dismiss(&mut self) {
        self.since = None;
    }

    /// Ends the alarm where its time is over; says whether that was now.
    pub fn end_if_due(&mut self, now: Duration) -> bool {
        let ends = self.since.is_some() && self.remaining(now).is_none();
        if ends {
            self.since = None;
        }
        ends
    }

    /// How much longer it sounds; `None` when it is silent.
    #[must_use]
    pub fn remaining(&self, now: Duration) -> Option<Duration> {
        let until = self.since?.saturating_add(ALARM_LIMIT);
        until.checked_sub(now).filter(|left| !left.is_zero())
    }
}

/// When the next position report of a lost device is due. Times are of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reports {
    last: Option<Duration>,
}

impl Reports {
    /// How long until the next report is due; zero when it is due now.
    #[must_use]
    pub fn due_in(&self, now: Duration) -> Duration {
        self.last.map_or(Duration::ZERO, |last| (last + REPORT_EVERY).saturating_sub(now))
    }

    /// A report was made or tried: the next is due a period later.
    pub const fn reported(&mut self, now: Duration) {
        self.last = Some(now);
    }

    /// Lost mode ended: the next loss begins with a report at once.
    pub const fn stop(&mut self) {
        self.last = None;
    }
}

/// Turns find-device on for the device's account.
pub async fn enable(session: &DeviceSession) -> Result<(), Error> {
    let enable = Enable { enabled: true, password: None };
    session.send(|client| client.post("/v1/devices/self/find").json(&enable)).await.map(drop)
}

/// Tells the cloud what came of a command, or where the device is.
pub async fn report(session: &DeviceSession, report: &Report) -> Result<(), Error> {
    session.send(|client| client.post("/v1/devices/self/reports").json(report)).await.map(drop)
}

/// A command was done.
#[must_use]
pub const fn done(command_id: u64, position: Option<Position>) -> Report {
    Report { command_id: Some(command_id), failed: None, position }
}

/// A command could not be done.
#[must_use]
pub const fn failed(command_id: u64, reason: String) -> Report {
    Report { command_id: Some(command_id), failed: Some(reason), position: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn s2_5_1_the_alarm_sounds_until_dismissed_or_for_five_minutes() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.remaining(MINUTE), None);
        alarm.sound(MINUTE);
        assert_eq!(alarm.remaining(MINUTE * 3), Some(MINUTE * 3));
        assert_eq!(alarm.remaining(MINUTE * 6), None);
        alarm.sound(MINUTE * 7);
        assert!(alarm.remaining(MINUTE * 8).is_some());
        alarm.dismiss();
        assert_eq!(alarm.remaining(MINUTE * 8), None);
    }

    #[test]
    fn s2_5_1_a_lost_device_reports_at_once_and_then_every_quarter_of_an_hour() {
        let mut reports = Reports::default();
        assert_eq!(reports.due_in(MINUTE), Duration::ZERO);
        reports.reported(MINUTE);
        assert_eq!(reports.due_in(MINUTE * 2), MINUTE * 14);
        assert_eq!(reports.due_in(MINUTE * 16), Duration::ZERO);
        reports.stop();
        assert_eq!(reports.due_in(MINUTE * 17), Duration::ZERO);
    }
}
