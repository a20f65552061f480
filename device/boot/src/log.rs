//! The boot log: one JSON object a line on [`board::fds::LOG`].

use board::report::Record;
use board::verdict::{Check, Identity, Refusal};
use rustix::fd::OwnedFd;

/// The end of the log's pipe that a stage writes.
#[derive(Debug)]
pub struct Log(OwnedFd);

impl Log {
    /// Writes to `pipe` (a stage's [`board::fds::LOG`]).
    #[must_use]
    pub const fn new(pipe: OwnedFd) -> Self {
        Self(pipe)
    }

    /// The pipe, to give it to the next stage.
    #[must_use]
    pub const fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// The same log, for another thread.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Writes `record`. Nobody reading is no reason to stop: the board is gone then, and its
    /// power with it.
    pub fn write(&self, record: &Record) {
        let Ok(mut line) = serde_json::to_vec(record) else { return };
        line.push(b'\n');
        let mut rest = line.as_slice();
        while let Ok(written) = rustix::io::retry_on_intr(|| rustix::io::write(&self.0, rest)) {
            rest = &rest[written..];
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Runs the check of `stage` in `partition` and writes what it came to.
    pub fn check<T>(
        &self,
        stage: &str,
        partition: &str,
        check: impl FnOnce() -> Result<(Identity, T), Refusal>,
    ) -> Result<T, Refusal> {
        let clock = Check::start(stage, partition);
        let outcome = check();
        let line = clock.finish(outcome.as_ref().map(|(identity, _)| identity));
        self.write(&Record::Stage(line));
        outcome.map(|(_, value)| value)
    }

    /// Writes that the program `name` runs as process `pid` of the host, or 0 where that is
    /// not known here.
    pub fn process(&self, name: &str, pid: i32) {
        self.write(&Record::Process { name: name.to_owned(), pid });
    }

    /// Writes what this host lacks.
    pub fn weakness(&self, what: &str, mend: &str) {
        self.write(&Record::Weakness { what: what.to_owned(), mend: mend.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use board::report::Verdict;
    use std::io::Read;

    #[test]
    fn a_refused_stage_is_one_line_with_its_reason() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let log = Log::new(write);
        let refusal = Refusal::new("ERROR_VERIFICATION", "the digest differs");
        let outcome = log.check("bl1", "bl1_a", || Err::<(Identity, ()), _>(refusal.clone()));
        assert_eq!(outcome, Err(refusal));
        drop(log);
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'));
        let Record::Stage(stage) = serde_json::from_str(line).unwrap() else {
            panic!("not a stage: {line}")
        };
        assert_eq!(stage.partition, "bl1_a");
        let Verdict::Refused { code, reason } = stage.verdict else { panic!("not refused") };
        assert_eq!((code.as_str(), reason.as_str()), ("ERROR_VERIFICATION", "the digest differs"));
    }
}
