//! Who wants attention: one `epoll` set over all descriptors of the trusted OS.

use crate::uptime;
use board::look::look;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::time::Duration;

/// The most that are served before the kernel is asked again.
const BATCH: usize = 32;
/// How long [`Events::ready_soon`] looks: longer than a program takes from one call to the next.
const SOON: Duration = Duration::from_micros(30);
/// A source's kind stands in the upper bits of the kernel's word for it, its number below.
const KIND_SHIFT: u32 = 56;

/// Who wants attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Power is gone.
    PowerGone,
    /// The bootloaders ask something.
    Boot,
    /// A program of the system connects.
    Connect,
    /// The trusted screen says something.
    Screen,
    /// Nobody starts TAs any more.
    SpawnerGone,
    /// It is time to look at who computes for how long.
    Tick,
    /// A worker has made something.
    Made,
    /// The TA at this place says something.
    Ta(usize),
    /// A program of the system says something.
    Connection(u64),
}

impl Event {
    const fn word(self) -> u64 {
        let (kind, number) = match self {
            Self::PowerGone => (0, 0),
            Self::Boot => (1, 0),
            Self::Connect => (2, 0),
            Self::Screen => (3, 0),
            Self::SpawnerGone => (4, 0),
            Self::Tick => (5, 0),
            Self::Made => (6, 0),
            Self::Ta(at) => (7, at as u64),
            Self::Connection(id) => (8, id),
        };
        (kind << KIND_SHIFT) | number
    }

    const fn from_word(word: u64) -> Self {
        let number = word & ((1 << KIND_SHIFT) - 1);
        match word >> KIND_SHIFT {
            0 => Self::PowerGone,
            1 => Self::Boot,
            2 => Self::Connect,
            3 => Self::Screen,
            4 => Self::SpawnerGone,
            5 => Self::Tick,
            6 => Self::Made,
            7 => Self::Ta(number as usize),
            _ => Self::Connection(number),
        }
    }
}

/// The set. A descriptor leaves it when it is closed.
pub(crate) struct Events(OwnedFd);

impl Events {
    /// An empty set.
    pub(crate) fn new() -> Result<Self, Errno> {
        epoll::create(CreateFlags::CLOEXEC).map(Self)
    }

    /// From now on `event` comes while there is something to read from `fd`, or its end.
    pub(crate) fn watch(&self, fd: impl AsFd, event: Event) -> Result<(), Errno> {
        epoll::add(&self.0, fd, EventData::new_u64(event.word()), EventFlags::IN)
    }

    /// Who wants attention within microseconds: who calls once mostly calls again.
    pub(crate) fn ready_soon(&self) -> Result<Option<Ready>, Errno> {
        let there = || match self.ready(Some(Duration::ZERO)) {
            Ok(ready) if ready.is_empty() => None,
            some => Some(some),
        };
        look(SOON, uptime::now, there).transpose()
    }

    /// Who wants attention; waits for so long, or until there is somebody.
    pub(crate) fn ready(&self, patience: Option<Duration>) -> Result<Ready, Errno> {
        let mut events = [MaybeUninit::uninit(); BATCH];
        let timeout = patience.map(timespec);
        let (events, _) = match epoll::wait(&self.0, &mut events, timeout.as_ref()) {
            Err(Errno::INTR) => (&mut [][..], &mut [][..]),
            other => other?,
        };
        let mut ready = Ready { events: [Event::PowerGone; BATCH], next: 0, count: events.len() };
        for (place, event) in ready.events.iter_mut().zip(events) {
            *place = Event::from_word(event.data.u64());
        }
        Ok(ready)
    }
}

fn timespec(duration: Duration) -> Timespec {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec: seconds, tv_nsec: duration.subsec_nanos().into() }
}

/// Those who want attention now.
pub(crate) struct Ready {
    events: [Event; BATCH],
    next: usize,
    count: usize,
}

impl Ready {
    /// Whether there are any.
    pub(crate) const fn is_empty(&self) -> bool {
        self.next == self.count
    }
}

impl Iterator for Ready {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let event = self.events[..self.count].get(self.next).copied();
        self.next += usize::from(event.is_some());
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_survives_its_word() {
        let some = [
            Event::PowerGone,
            Event::Tick,
            Event::Made,
            Event::Ta(0),
            Event::Ta(31),
            Event::Connection(1 << 55),
        ];
        for event in some {
            assert_eq!(Event::from_word(event.word()), event);
        }
    }
}
