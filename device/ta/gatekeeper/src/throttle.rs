//! Wrong PINs: counted before they are checked, and answered with delays that grow as those of
//! Android 16 do.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tee_sdk::{Context, TeeError};

/// Where the count is kept.
pub(crate) const OBJECT: &str = "failures";

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;
/// Seconds to wait after the fifth wrong PIN in a row, the sixth, and so on. After one more
/// than these there are no more guesses.
const WAITS_S: [u64; 15] = [
    MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    90 * MINUTE,
    4 * HOUR,
    12 * HOUR,
    36 * HOUR,
    4 * DAY,
    13 * DAY,
    41 * DAY,
    123 * DAY,
    YEAR,
    3 * YEAR,
    9 * YEAR,
];
/// Wrong PINs that cost no wait.
const FREE: u32 = 4;

/// The wait after so many wrong PINs in a row; `None` where no guess counts any more.
pub(crate) fn wait_after(failures: u32) -> Option<Duration> {
    match failures.checked_sub(FREE + 1) {
        None => Some(Duration::ZERO),
        Some(at) => WAITS_S.get(at as usize).map(|&seconds| Duration::from_secs(seconds)),
    }
}

/// Wrong PINs in a row.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Failures {
    count: u32,
    /// Uptime at the last one, in milliseconds.
    at_ms: u64,
    /// In which boot that was.
    boot: [u8; 8],
}

/// The count as it is stored.
pub(crate) fn load(context: &mut Context<'_>) -> Result<Failures, TeeError> {
    Ok(context.record_get(OBJECT)?.unwrap_or_default())
}

impl Failures {
    /// How many.
    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Whether no guess counts after these.
    pub(crate) fn was_the_last(&self) -> bool {
        wait_after(self.count).is_none()
    }

    /// Milliseconds until the next guess counts; `u64::MAX` where none ever will. Power-off
    /// starts the wait anew: what happened meanwhile nobody knows here.
    pub(crate) fn retry_after_ms(&self, context: &mut Context<'_>) -> Result<u64, TeeError> {
        let Some(wait) = wait_after(self.count) else {
            return Ok(u64::MAX);
        };
        let since = if self.boot == this_boot(context)? { self.at_ms } else { 0 };
        let end = since.saturating_add(wait.as_millis() as u64);
        Ok(end.saturating_sub(now_ms(context)?))
    }

    /// Counts one more, durably. To be called before the PIN is looked at.
    pub(crate) fn count_one(&self, context: &mut Context<'_>) -> Result<Self, TeeError> {
        let counted = Self {
            count: self.count.saturating_add(1),
            at_ms: now_ms(context)?,
            boot: this_boot(context)?,
        };
        context.record_put(OBJECT, &counted)?;
        Ok(counted)
    }
}

/// The right PIN was given.
pub(crate) fn clear(context: &mut Context<'_>) -> Result<(), TeeError> {
    context.storage_delete(&[OBJECT])
}

fn now_ms(context: &mut Context<'_>) -> Result<u64, TeeError> {
    Ok(context.uptime()?.as_millis() as u64)
}

/// A name for the time since power-on.
fn this_boot(context: &mut Context<'_>) -> Result<[u8; 8], TeeError> {
    let [name @ .., _, _, _, _, _, _, _, _] = context.boot_id()?;
    Ok(name)
}
