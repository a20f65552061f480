//! Making an element: its first state, sealed to its board.

use crate::binding::Binding;
use crate::piv;
use crate::store::{Storage, Store, StoreError};
use effects::UnixMillis;

/// Makes an element with the PIN, the PUK and the management key that every new one has, a serial
/// number, and the key that attests.
pub fn make(
    storage: Box<dyn Storage>,
    binding: Box<dyn Binding>,
    now: UnixMillis,
) -> Result<Store, StoreError> {
    let serial = u32::from_be_bytes(crypto::random_array()) & 0x7FFF_FFFF;
    let mut state = piv::factory_state(serial, generalized_time(now));
    piv::self_signed(&mut state).map_err(std::io::Error::other)?;
    Store::create(storage, binding, state)
}

/// X.509's GeneralizedTime (RFC 5280, 4.1.2.5.2).
fn generalized_time(now: UnixMillis) -> String {
    let seconds = now.seconds();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of the Gregorian calendar, so many days after 1970-01-01. Years are counted
/// from March, so that the leap day is the last one.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, due) in [
            (0, "19700101000000Z"),
            (951_782_400, "20000229000000Z"),
            (1_767_225_599, "20251231235959Z"),
            (4_107_542_400, "21000301000000Z"),
        ] {
            assert_eq!(generalized_time(UnixMillis(seconds * 1000)), due);
        }
    }
}
