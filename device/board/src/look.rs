//! Looking a while before sleeping.
//!
//! Whoever sleeps must be woken, and waking an idle processor takes longer than many a call. What
//! is due within microseconds is looked for instead; others run meanwhile.

use std::time::Duration;

/// The longest that one look takes where nobody else wants the processor.
const UNDISTURBED: Duration = Duration::from_micros(3);

/// Asks `there` again and again, for so long; `None` once the time is over, or as soon as somebody
/// else has work for this processor. `now` is a clock that only goes forward.
pub fn look<T>(
    so_long: Duration,
    now: impl Fn() -> Duration,
    mut there: impl FnMut() -> Option<T>,
) -> Option<T> {
    let began = now();
    let mut before = began;
    loop {
        if let Some(found) = there() {
            return Some(found);
        }
        std::thread::yield_now();
        let after = now();
        let is_disturbed = after.saturating_sub(before) > UNDISTURBED;
        if is_disturbed || after.saturating_sub(began) >= so_long {
            return None;
        }
        before = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const LONG: Duration = Duration::from_micros(50);

    /// A clock that each look at it moves on.
    fn clock(step: Duration) -> impl Fn() -> Duration {
        let time = Cell::new(Duration::ZERO);
        move || {
            time.set(time.get() + step);
            time.get()
        }
    }

    #[test]
    fn finds_what_comes_meanwhile() {
        let mut looks = 0;
        let found = look(LONG, clock(Duration::from_micros(1)), || {
            looks += 1;
            (looks == 7).then_some("it")
        });
        assert_eq!(found, Some("it"));
    }

    #[test]
    fn ends_with_its_time_and_where_somebody_else_wants_the_processor() {
        let count = |step| {
            let mut looks = 0;
            let found = look(LONG, clock(Duration::from_micros(step)), || {
                looks += 1;
                None::<()>
            });
            assert_eq!(found, None);
            looks
        };
        assert_eq!(count(1), 50);
        assert_eq!(count(4), 1);
    }
}
