//! What TAs work on: queues, system calls, results, and death.

use super::Os;
use crate::syscalls::Answer;
use crate::ta::{Job, Task};
use board::channel::{self, ChannelError};
use rustix::io::Errno;
use serde_bytes::ByteBuf;
use tee_api::TeeError;
use tee_api::ree::Reply;
use tee_api::ta::{FromTa, SyscallReply, ToTa};
use tee_engine::Engine;

impl Os {
    /// Queues `job` and lets the TA work where it is free.
    pub(super) fn submit(&mut self, ta: usize, job: Job) {
        self.tas[ta].queue.push_back(job);
        self.pump(ta);
    }

    pub(super) fn pump(&mut self, at: usize) {
        let ta = &self.tas[at];
        if ta.current.is_some() || ta.queue.is_empty() {
            return;
        }
        if ta.channel.is_none() && self.start(at).is_err() {
            return self.bury(at);
        }
        let ta = &mut self.tas[at];
        let (Some(channel), Some(mut job)) = (&ta.channel, ta.queue.pop_front()) else { return };
        let sent = channel::send(channel, &job.message());
        ta.current = Some(job);
        if sent.is_err() {
            self.bury(at);
        }
    }

    pub(super) fn start(&mut self, at: usize) -> Result<(), ChannelError> {
        let started = self.spawner.start(at)?;
        rustix::io::ioctl_fionbio(&started.channel, true)?;
        let ta = &mut self.tas[at];
        ta.channel = Some(started.channel);
        ta.proven = false;
        self.log.process(&ta.name, started.pid);
        Ok(())
    }

    pub(super) fn serve_ta(&mut self, at: usize) {
        let ta = &mut self.tas[at];
        let Some(channel) = &ta.channel else { return };
        match (channel::receive(channel), &ta.current) {
            (Err(ChannelError::Os(Errno::AGAIN)), _) => {}
            (Ok(FromTa::Done(result)), Some(_)) => {
                ta.proven = true;
                if let Some(job) = ta.current.take() {
                    self.finish(at, job, result);
                }
                self.pump(at);
            }
            (Ok(FromTa::Syscall(syscall)), Some(_)) => match self.syscall(at, syscall) {
                Ok(Answer::Now(reply)) => self.answer(at, reply),
                Ok(Answer::Later) => {}
                Err(refused) => self.answer(at, SyscallReply::Refused(refused)),
            },
            (Ok(FromTa::Ask { question, ask }), Some(_)) => {
                self.ask(at, question, ask);
                self.pump(at);
            }
            // It panicked, or it does not keep to the protocol.
            _ => self.bury(at),
        }
    }

    /// Answers the system call that the TA at `at` waits in.
    pub(crate) fn answer(&mut self, at: usize, reply: SyscallReply) {
        let channel = self.tas[at].channel.as_ref();
        let sent = channel.is_some_and(|fd| channel::send(fd, &ToTa::Answer(reply)).is_ok());
        if !sent {
            self.bury(at);
        }
    }

    fn finish(&mut self, ta: usize, job: Job, result: Result<ByteBuf, TeeError>) {
        let connection = job.connection.and_then(|id| self.connections.get_mut(&id));
        let reply = match (job.task, result) {
            (Task::Close, _) => Reply::Closed,
            (_, Err(error)) => Reply::Refused(error),
            (Task::Invoke(_) | Task::Resume { .. }, Ok(bytes)) => Reply::Done(bytes),
            (Task::Open(_), Ok(_)) => {
                let session = job.session;
                match connection {
                    Some(connection) => connection.sessions.insert(session, Some(ta)),
                    // Who asked is gone: the session must not stay.
                    None => {
                        let close = Job { connection: None, session, task: Task::Close };
                        self.tas[ta].queue.push_back(close);
                        return;
                    }
                };
                Reply::Opened { session }
            }
        };
        if let Some(id) = job.connection {
            self.reply(id, &reply);
        }
    }

    /// A TA died. Its sessions are dead; who waits only for a new session gets one from the
    /// next process, unless that would die the same way.
    fn bury(&mut self, at: usize) {
        let ta = &mut self.tas[at];
        ta.channel = None;
        // Its keys go with it.
        ta.engine = Engine::new();
        eprintln!("tee-os: {} died", ta.name);
        let mut lost: Vec<Job> = ta.current.take().into_iter().collect();
        let (opens, rest): (Vec<Job>, Vec<Job>) =
            ta.queue.drain(..).partition(|job| ta.proven && matches!(job.task, Task::Open(_)));
        ta.queue.extend(opens);
        lost.extend(rest);
        lost.extend(std::mem::take(&mut ta.asking).into_values());
        let proven = std::mem::take(&mut ta.proven);
        self.files.forget_ta(at);
        self.prompts.withdraw(|(ta, _)| ta == at);
        for connection in self.connections.values_mut() {
            let sessions = connection.sessions.values_mut();
            sessions.filter(|ta| **ta == Some(at)).for_each(|ta| *ta = None);
        }
        for job in lost {
            self.finish(at, job, Err(TeeError::TargetDead));
        }
        // One that never answered anything starts again when it is next called, not in a loop.
        if proven && self.tas[at].channel.is_none() && self.start(at).is_ok() {
            self.pump(at);
        }
    }

    /// Ends what connection `id` wanted of the TA at `at`. What the TA began it hears the end
    /// of: a question is turned away, a session is closed.
    pub(super) fn forget(&mut self, at: usize, id: u64) {
        let ta = &mut self.tas[at];
        ta.queue.retain(|job| {
            let begun = matches!(job.task, Task::Close | Task::Resume { .. });
            begun || job.connection != Some(id)
        });
        let mut questions = Vec::new();
        for (&question, job) in &ta.asking {
            if job.connection == Some(id) {
                questions.push(question);
            }
        }
        let jobs = ta.current.iter_mut().chain(&mut ta.queue).chain(ta.asking.values_mut());
        jobs.filter(|job| job.connection == Some(id)).for_each(|job| job.connection = None);
        self.prompts.withdraw(|(ta, question)| ta == at && questions.contains(&question));
        for question in questions {
            self.resume(at, question, Err(TeeError::Cancelled));
        }
    }
}
