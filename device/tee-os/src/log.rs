//! The trusted OS's own log, which no program of the normal world can write: one JSON record a
//! line.

use board::report::{Record, Refusal, RefusalKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use tee_api::TeeError;

/// The write end of the log. A log that nobody reads any more is no reason to stop.
pub(crate) struct Log {
    pipe: OwnedFd,
    broken: Cell<bool>,
    refused: RefCell<BTreeMap<RefusalKind, u64>>,
}

impl Log {
    pub(crate) const fn new(pipe: OwnedFd) -> Self {
        Self { pipe, broken: Cell::new(false), refused: RefCell::new(BTreeMap::new()) }
    }

    /// Writes one record; a line is below `PIPE_BUF`, so lines of several writers never mix.
    pub(crate) fn record(&self, record: &Record) {
        if self.broken.get() {
            return;
        }
        if let Ok(mut line) = serde_json::to_vec(record) {
            line.push(b'\n');
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&self.pipe, &line));
            self.broken.set(written.is_err());
        }
    }

    /// Says aloud what this kernel lacks.
    pub(crate) fn weakness(&self, what: &str, mend: &str) {
        self.record(&Record::Weakness { what: what.to_owned(), mend: mend.to_owned() });
    }

    /// Says that a program of user `uid` was refused something. Where the pipe is full, whoever
    /// reads it is behind: nobody waits for that, and the next record has the count.
    pub(crate) fn refused(&self, kind: RefusalKind, uid: u32) {
        let count = {
            let mut refused = self.refused.borrow_mut();
            let count = refused.entry(kind).or_default();
            *count += 1;
            *count
        };
        if self.has_room() {
            self.record(&Record::Refused(Refusal { kind, uid, count }));
        }
    }

    /// As [`Self::refused`], where `error` is the answer that the program gets.
    pub(crate) fn refused_with(&self, error: &TeeError, uid: u32) {
        if let Some(kind) = kind_of(error) {
            self.refused(kind, uid);
        }
    }

    /// Room for a record: a pipe that can be written takes `PIPE_BUF` bytes.
    fn has_room(&self) -> bool {
        let mut pipe = [PollFd::new(&self.pipe, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut pipe, Some(&now)).is_ok_and(|ready| ready == 1)
    }

    /// Says which process runs.
    pub(crate) fn process(&self, name: &str, pid: i32) {
        self.record(&Record::Process { name: name.to_owned(), pid });
    }
}

/// What kind of refusal an error is; none where a person turned a prompt away.
const fn kind_of(error: &TeeError) -> Option<RefusalKind> {
    Some(match error {
        TeeError::NotFound(_) => RefusalKind::NotFound,
        TeeError::Denied(_) => RefusalKind::Denied,
        TeeError::BadParameters(_) => RefusalKind::Parameters,
        TeeError::BadState(_) => RefusalKind::State,
        TeeError::Security(_) => RefusalKind::Security,
        TeeError::Resources(_) => RefusalKind::Resources,
        TeeError::TargetDead => RefusalKind::Died,
        TeeError::Cancelled => return None,
        _ => RefusalKind::Failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_holds_up_nobody_and_loses_no_count() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let log = Log::new(write);
        for _ in 0..10_000 {
            log.refused_with(&TeeError::Denied(String::new()), 7);
        }
        log.refused_with(&TeeError::Cancelled, 7);
        let mut buffer = vec![0; 1 << 20];
        let got = rustix::io::read(&read, &mut buffer).unwrap();
        assert!(got > 1000);
        log.refused(RefusalKind::Denied, 7);
        let got = rustix::io::read(&read, &mut buffer).unwrap();
        let line: Record = serde_json::from_slice(&buffer[..got]).unwrap();
        let refusal = Refusal { kind: RefusalKind::Denied, uid: 7, count: 10_001 };
        assert_eq!(line, Record::Refused(refusal));
    }
}
