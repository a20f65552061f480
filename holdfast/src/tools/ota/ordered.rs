//! Work on all cores whose results are taken in order.

use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

/// What the workers share.
struct Shared<T> {
    next: usize,
    taken: usize,
    stop: bool,
    ready: BTreeMap<usize, Result<T>>,
}

/// How many cores there are.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Does `work` for 0 to `count` on so many `cores`, and gives `take` the results in that order. Few
/// results wait at any time. The first error ends it.
pub(super) fn run<T: Send>(
    count: usize,
    cores: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
    mut take: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let cores = cores.max(1);
    let shared = Mutex::new(Shared { next: 0, taken: 0, stop: false, ready: BTreeMap::new() });
    let changed = Condvar::new();
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(count) {
            scope.spawn(|| {
                loop {
                    let mut state = lock();
                    while !state.stop && state.next < count && state.next >= state.taken + 2 * cores
                    {
                        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                    if state.stop || state.next >= count {
                        return;
                    }
                    let number = state.next;
                    state.next += 1;
                    drop(state);
                    let result = work(number);
                    lock().ready.insert(number, result);
                    changed.notify_all();
                }
            });
        }
        let mut answer = Ok(());
        for number in 0..count {
            let mut state = lock();
            let result = loop {
                if let Some(result) = state.ready.remove(&number) {
                    break result;
                }
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            answer = result.and_then(&mut take);
            let mut state = lock();
            state.taken = number + 1;
            state.stop = answer.is_err();
            drop(state);
            changed.notify_all();
            if answer.is_err() {
                break;
            }
        }
        answer
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_come_in_order_and_the_first_error_ends_it() {
        let mut seen = Vec::new();
        let squares = |number: usize| Ok(number * number);
        super::run(50, 3, squares, |it| {
            seen.push(it);
            Ok(())
        })
        .unwrap();
        assert!(seen.iter().copied().eq((0..50).map(|number| number * number)));
        let failing = |number| if number == 7 { anyhow::bail!("seven") } else { Ok(number) };
        let mut last = 0;
        let answer = super::run(50, 3, failing, |it| {
            last = it;
            Ok(())
        });
        assert_eq!((answer.unwrap_err().to_string().as_str(), last), ("seven", 6));
        super::run(0, 3, squares, |_| Ok(())).unwrap();
    }
}
