//! The kernel's monotonic clock, asked by system call: this process reads no counter of the
//! processor ([`tee_sdk::sandbox::deny_clock`]).

use std::time::Duration;

/// Since some moment before this process began.
pub(crate) fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` into `time`, which outlives the call.
    let done =
        unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut time) };
    debug_assert_eq!(done, 0, "every kernel has this clock");
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}
