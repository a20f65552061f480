//! What runs for the update now, who follows it, and how a download is stopped.

use crate::error::{Error, UpdateRefused};
use device_update::state::Why;
use serde::Serialize;
use tokio::sync::{Notify, watch};

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A package comes from the cloud.
    Download,
    /// A file is copied over and judged.
    Copy,
    /// A package's size and hash are checked.
    Check,
    /// It is written to the other slot.
    Apply,
}

/// A job that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Job {
    /// What it does.
    pub kind: Kind,
    /// How much is done: bytes, or what the work counts in.
    pub done: u64,
    /// Of how much.
    pub of: u64,
}

/// How a job goes, for those who follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// It runs.
    Runs(Job),
    /// It ended; why not well.
    Ended(Option<Why>),
}

/// At most one job.
pub(super) struct Jobs {
    course: watch::Sender<Course>,
    stop: watch::Sender<u64>,
    awake: Notify,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            course: watch::Sender::new(Course::Ended(None)),
            stop: watch::Sender::new(0),
            awake: Notify::new(),
        }
    }
}

impl Jobs {
    pub(super) fn now(&self) -> Option<Job> {
        match *self.course.borrow() {
            Course::Runs(job) => Some(job),
            Course::Ended(_) => None,
        }
    }

    /// The job of this kind that runs; another one that runs is a refusal.
    pub(super) fn running(&self, kind: Kind) -> Result<Option<watch::Receiver<Course>>, Error> {
        match self.now() {
            None => Ok(None),
            Some(job) if job.kind == kind || (job.kind, kind) == (Kind::Check, Kind::Apply) => {
                Ok(Some(self.course.subscribe()))
            }
            Some(_) => Err(busy()),
        }
    }

    /// Takes the one place for a job.
    pub(super) fn begin(&self, kind: Kind) -> Result<watch::Receiver<Course>, Error> {
        let mut free = false;
        let receiver = self.course.subscribe();
        self.course.send_if_modified(|course| {
            free = matches!(course, Course::Ended(_));
            if free {
                *course = Course::Runs(Job { kind, done: 0, of: 0 });
            }
            free
        });
        if free { Ok(receiver) } else { Err(busy()) }
    }

    pub(super) fn refuse_while_any(&self) -> Result<(), Error> {
        if self.now().is_some() { Err(busy()) } else { Ok(()) }
    }

    /// Notes how far it is.
    pub(super) fn moved(&self, kind: Kind, done: u64, of: u64) {
        self.course.send_if_modified(|course| {
            let runs = matches!(course, Course::Runs(_));
            if runs {
                *course = Course::Runs(Job { kind, done, of });
            }
            runs
        });
    }

    /// How the job goes that runs, and the ones after it.
    pub(super) fn course(&self) -> watch::Receiver<Course> {
        self.course.subscribe()
    }

    pub(super) fn end(&self, why: Option<Why>) {
        self.course.send_replace(Course::Ended(why));
    }

    /// Becomes ready when the download is to stop.
    pub(super) fn stopping(&self) -> watch::Receiver<u64> {
        self.stop.subscribe()
    }

    /// Stops a download and waits for its end; other jobs can't be stopped.
    pub(super) async fn stop_download(&self) -> Result<(), Error> {
        match self.now() {
            Some(Job { kind: Kind::Download, .. }) => {}
            Some(_) => return Err(busy()),
            None => return Ok(()),
        }
        let mut course = self.course.subscribe();
        self.stop.send_modify(|count| *count += 1);
        let _ = course.wait_for(|course| matches!(course, Course::Ended(_))).await;
        Ok(())
    }

    pub(super) fn wake(&self) {
        self.awake.notify_one();
    }

    pub(super) async fn wakes(&self) {
        self.awake.notified().await;
    }
}

fn busy() -> Error {
    UpdateRefused::Busy.into()
}
