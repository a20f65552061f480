//! The boot log: one JSON record a line.

use board::report::Record;
use rustix::fd::OwnedFd;
use std::cell::Cell;

/// The write end of the boot log. A log that nobody reads any more is no reason to stop.
pub(crate) struct Log {
    pipe: OwnedFd,
    broken: Cell<bool>,
}

impl Log {
    pub(crate) const fn new(pipe: OwnedFd) -> Self {
        Self { pipe, broken: Cell::new(false) }
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

    /// Says which process runs.
    pub(crate) fn process(&self, name: &str, pid: i32) {
        self.record(&Record::Process { name: name.to_owned(), pid });
    }
}
