//! Keeping a process of the TEE out of swap: what is swapped out lies on a disk that others read.
//!
//! Locking all memory needs a limit that has no end (`RLIMIT_MEMLOCK`): below one, the first
//! allocation beyond it would end the process. Root takes the limit away; for others the person
//! who runs the board has to.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes the limit away where this process may. Programs that it starts inherit that, so the
/// trusted OS does it before all else.
pub fn allow_locking() {
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
}

/// Locks all memory of this process, that of now and each page that it will touch. Whether that
/// was done.
#[must_use]
pub fn lock_all_memory() -> bool {
    let endless = getrlimit(Resource::Memlock).current.is_none();
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    endless && mlockall(all).is_ok()
}

/// Whether this machine swaps, as its kernel tells before the process shuts its eyes. Where it
/// does not tell, it may.
#[must_use]
pub fn is_on() -> bool {
    // The first line is a heading.
    std::fs::read_to_string("/proc/swaps").map_or(true, |swaps| swaps.lines().count() > 1)
}
