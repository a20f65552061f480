//! Jobs that wait for a key that takes long to make.

use super::Os;
use crate::ta::Task;
use tee_api::TeeError;
use tee_api::engine::{Attributes, Handle};

/// Keys that one TA has made at the same time. Whoever wants more waits for it to have room.
const MOST: usize = 8;

impl Os {
    /// The TA's current job waits for a key from now on.
    pub(super) fn make(&mut self, at: usize, question: u32, attributes: Attributes) {
        let ta = &mut self.tas[at];
        ta.proven = true;
        let Some(job) = ta.current.take() else { return };
        // Whoever wants it may be gone already.
        let heard =
            if job.caller.is_none() || job.cancelled { Err(TeeError::Cancelled) } else { Ok(()) };
        let room = if ta.making.len() < MOST {
            Ok(())
        } else {
            Err(TeeError::Resources("as many keys as can be are being made".into()))
        };
        ta.making.insert(question, job);
        let ordered = heard.and(room).and_then(|()| self.order_key(at, question, attributes));
        if let Some(key) = ordered.transpose() {
            self.made(at, question, key);
        }
    }

    /// A job that waited for its key goes on, before all others.
    pub(crate) fn made(&mut self, at: usize, question: u32, key: Result<Handle, TeeError>) {
        let ta = &mut self.tas[at];
        if let Some(mut job) = ta.making.remove(&question) {
            job.task = Task::Made { question, key };
            ta.queue.push_front(job);
            self.pump(at);
        }
    }
}
