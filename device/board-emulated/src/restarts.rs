//! An end to restarts: a device that does nothing else stops and says so.

use std::time::Duration;

/// The most restarts by itself in a row.
const MOST: u32 = 8;
/// Who was up as long as this has proved that it does more than to restart.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// Counts restarts that nobody pressed a button for.
#[derive(Debug, Default)]
pub struct Restarts(u32);

impl Restarts {
    /// What the display says once there were too many.
    pub const TOO_MANY: &str = "the device restarted by itself 8 times in a row and was never up \
                                for a minute; press the power button to try again";

    /// Whether the device may restart once more by itself; `up` = how long its system was up,
    /// if it came up at all.
    pub fn allow(&mut self, up: Option<Duration>) -> bool {
        if up.is_some_and(|up| up >= GOOD_RUN) {
            self.0 = 0;
        }
        self.0 += 1;
        self.0 <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_only_restarts_comes_to_an_end() {
        let mut restarts = Restarts::default();
        let short = Some(Duration::from_secs(1));
        assert!((0..MOST).all(|turn| restarts.allow(short.filter(|_| turn % 2 == 0))));
        assert!(!restarts.allow(short));
        assert!(restarts.allow(Some(GOOD_RUN)), "it was up for a minute");
        assert!(Restarts::TOO_MANY.contains(&MOST.to_string()));
    }
}
