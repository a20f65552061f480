//! Work on all cores, in any order.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `work` for every item, on as many threads as there are cores; the first error ends it.
pub(super) fn each<T: Sync, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..cores.min(items.len()) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    if let Err(error) = work(item) {
                        stop.store(true, Ordering::Relaxed);
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_or_the_first_error_ends_it() {
        let sum = AtomicUsize::new(0);
        let numbers: Vec<usize> = (0..100).collect();
        let add = |number: &usize| -> Result<(), ()> {
            sum.fetch_add(*number, Ordering::Relaxed);
            Ok(())
        };
        assert_eq!(each(&numbers, add), Ok(()));
        assert_eq!(sum.into_inner(), 4950);
        let fails = |number: &usize| if *number == 7 { Err("seven") } else { Ok(()) };
        assert_eq!(each(&numbers, fails), Err("seven"));
        assert_eq!(each(&[], |(): &()| Err("none")), Ok(()));
    }
}
