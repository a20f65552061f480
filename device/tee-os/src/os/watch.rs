//! CPU time: a TA that computes for longer than its image allows is ended.
//!
//! What counts is the process's own CPU clock, which stands still while the TA waits: for the
//! disk, for another TA, for the processor. While TAs work a timer ticks; it looks at who still
//! works on what it worked on a tick ago. Work that is done between two ticks costs nothing.

use super::Os;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::time::Duration;

/// How often the timer looks.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A stretch of work, as it was first seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Which one of its TA.
    stretch: u64,
    /// The process's CPU time then.
    cpu: Duration,
}

/// The timer.
pub(crate) struct Watch {
    timer: OwnedFd,
    ticks: bool,
}

impl Watch {
    /// A timer that stands still.
    pub(crate) fn new() -> Result<Self, Errno> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self { timer: timerfd_create(TimerfdClockId::Monotonic, flags)?, ticks: false })
    }

    /// Ticks from now on; where it does already, this costs nothing.
    pub(super) fn start(&mut self) {
        if !self.ticks {
            self.ticks = self.set(TICK).is_ok();
        }
    }

    fn stop(&mut self) {
        self.ticks = self.set(NEVER).is_err();
    }

    fn set(&self, every: Timespec) -> Result<(), Errno> {
        let spec = Itimerspec { it_interval: every, it_value: every };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec).map(drop)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

impl Os {
    /// Ends who computed for too long.
    pub(super) fn tick(&mut self) {
        // How many ticks went by is of no interest.
        let _ = rustix::io::read(&self.watch, &mut [0; 8]);
        let mut works = false;
        for at in 0..self.tas.len() {
            works |= self.tas[at].current.is_some();
            if self.computed_too_long(at) {
                eprintln!("tee-os: {} computed for too long", self.tas[at].name());
                self.bury(at);
            }
        }
        if !works {
            self.watch.stop();
        }
    }

    fn computed_too_long(&mut self, at: usize) -> bool {
        let ta = &mut self.tas[at];
        let (Some(process), true) = (&ta.process, ta.current.is_some()) else { return false };
        // A process that is gone is buried when its channel says so.
        let Some(cpu) = cpu_time(process.pid) else { return false };
        let stretch = ta.stretch;
        let since = ta.seen.filter(|seen| seen.stretch == stretch).map(|seen| seen.cpu);
        if since.is_none() {
            ta.seen = Some(Seen { stretch, cpu });
        }
        since.is_some_and(|since| cpu.saturating_sub(since) > ta.program.limits.cpu)
    }
}

/// The CPU time of a process, all its threads.
fn cpu_time(pid: i32) -> Option<Duration> {
    // As clock_getcpuclockid(3) makes it: the inverted number, then the kind of clock.
    let clock = (!pid << 3) | 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one `timespec`, which outlives it.
    let done = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).ok()?;
    (done == 0).then(|| Duration::new(seconds, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_cpu_time_of_a_process_and_of_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        let before = cpu_time(own).unwrap();
        let work = (0..2_000_000_u64).fold(0, |sum, it| std::hint::black_box(sum ^ it));
        assert!(cpu_time(own).unwrap() > before, "{work}");
        // Larger than any process's number (proc(5), pid_max).
        assert_eq!(cpu_time(1 << 23), None);
    }
}
