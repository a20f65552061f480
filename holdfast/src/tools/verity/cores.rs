//! Work on all cores.

use anyhow::{Result, anyhow};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};

/// Does the jobs 0 to `count`, in any order, on all cores. `worker` makes what one thread needs,
/// as its buffers, and gives the function that does a job. The first error ends it.
pub(crate) fn on_all_cores<J>(count: u64, worker: impl Fn() -> J + Sync) -> Result<()>
where
    J: FnMut(u64) -> Result<()>,
{
    let next = AtomicU64::new(0);
    let work = || {
        let mut job = worker();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            job(number).inspect_err(|_| next.store(count, Ordering::Relaxed))?;
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let threads = cores.min(count);
    if threads <= 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let panicked = |_| Err(anyhow!("a thread stopped"));
        // All are waited for; the first error counts.
        let ended: Vec<Result<()>> =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(panicked)).collect();
        ended.into_iter().collect()
    })
}
