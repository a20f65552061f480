//! What TAs work on: queues, system calls, results, and death.

use super::{Event, Os};
use crate::syscalls::Answer;
use crate::ta::{Caller, Job, Process, Task};
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
        if ta.process.is_none() && self.start(at).is_err() {
            return self.bury(at);
        }
        let ta = &mut self.tas[at];
        let (Some(process), Some(mut job)) = (&ta.process, ta.queue.pop_front()) else { return };
        let sent = channel::send(&process.channel, &job.message());
        ta.current = Some(job);
        ta.stretch += 1;
        self.watch.start();
        if sent.is_err() {
            self.bury(at);
        }
    }

    pub(super) fn start(&mut self, at: usize) -> Result<(), ChannelError> {
        let ta = &mut self.tas[at];
        let started = self.spawner.start(&ta.program)?;
        rustix::io::ioctl_fionbio(&started.channel, true)?;
        self.events.watch(&started.channel, Event::Ta(at))?;
        ta.process = Some(Process { channel: started.channel, pid: started.pid });
        ta.proven = false;
        self.log.process(&ta.program.name, started.pid);
        Ok(())
    }

    pub(super) fn serve_ta(&mut self, at: usize) {
        let ta = &mut self.tas[at];
        let Some(process) = &ta.process else { return };
        match (channel::receive(&process.channel), &ta.current) {
            (Err(ChannelError::Os(Errno::AGAIN)), _) => {}
            (Ok(FromTa::Done(result)), Some(_)) if !ta.waiting => {
                ta.proven = true;
                if let Some(job) = ta.current.take() {
                    self.finish(at, job, result);
                }
                self.pump(at);
            }
            (Ok(FromTa::Syscall(syscall)), Some(_)) if !ta.waiting => {
                ta.waiting = true;
                match self.syscall(at, syscall) {
                    Ok(Answer::Now(reply)) => self.answer(at, reply),
                    Ok(Answer::Later) => {}
                    Err(refused) => self.answer(at, SyscallReply::Refused(refused)),
                }
            }
            (Ok(FromTa::Ask { question, ask }), Some(_))
                if !ta.waiting && !ta.asking.contains_key(&question) =>
            {
                self.ask(at, question, ask);
                self.pump(at);
            }
            (Ok(FromTa::Generate { question, attributes }), Some(_))
                if !ta.waiting && !ta.making.contains_key(&question) =>
            {
                self.make(at, question, attributes);
                self.pump(at);
            }
            // It panicked, or it does not keep to the protocol.
            _ => self.bury(at),
        }
    }

    /// Answers the system call that the TA at `at` waits in.
    pub(crate) fn answer(&mut self, at: usize, reply: SyscallReply) {
        let ta = &mut self.tas[at];
        ta.waiting = false;
        let process = ta.process.as_ref();
        let send = |process: &Process| channel::send(&process.channel, &ToTa::Answer(reply));
        if process.is_none_or(|process| send(process).is_err()) {
            self.bury(at);
        }
    }

    /// A job is done, or never will be: tells whoever waits.
    pub(super) fn finish(&mut self, ta: usize, job: Job, result: Result<ByteBuf, TeeError>) {
        match job.caller {
            Some(Caller::Connection(id)) => self.reply_to(id, ta, &job, result),
            Some(Caller::Ta(at)) => self.answer_call(at, ta, &job, result),
            None => self.end_unwanted(ta, &job, result.is_ok()),
        }
    }

    fn reply_to(&mut self, id: u64, ta: usize, job: &Job, result: Result<ByteBuf, TeeError>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return self.end_unwanted(ta, job, result.is_ok());
        };
        let session = job.session;
        let reply = match (&job.task, result) {
            (Task::Close, _) => Reply::Closed,
            (_, Err(error)) => Reply::Refused(error),
            (Task::Open(_), Ok(_)) => {
                connection.sessions.insert(session, Some(ta));
                Reply::Opened { session }
            }
            (Task::Invoke(_) | Task::Resume { .. } | Task::Made { .. }, Ok(bytes)) => {
                Reply::Done(bytes)
            }
        };
        self.reply(id, &reply);
    }

    /// Who asked is gone: a session that began must not stay.
    fn end_unwanted(&mut self, ta: usize, job: &Job, began: bool) {
        if began && matches!(job.task, Task::Open(_)) {
            self.tas[ta].queue.push_back(Job::new(None, job.session, Task::Close));
        }
    }

    /// A TA died, or must. Its sessions are dead; who waits only for a new session gets one from
    /// the next process, unless that would die the same way.
    pub(super) fn bury(&mut self, at: usize) {
        let ta = &mut self.tas[at];
        let proven = std::mem::take(&mut ta.proven);
        if let Some(process) = ta.process.take() {
            eprintln!("tee-os: {} died", ta.program.name);
            // The spawner's own end is noticed elsewhere.
            let _ = self.spawner.kill(process.pid);
        }
        let lost = self.mourn(at, proven);
        for job in lost {
            self.finish(at, job, Err(TeeError::TargetDead));
        }
        // One that never answered anything starts again when it is next called, not in a loop.
        let ta = &self.tas[at];
        if proven && !ta.removed && ta.process.is_none() && self.start(at).is_ok() {
            self.pump(at);
        }
    }

    /// Ends all that hung on the process of the TA at `at`; gives the jobs that it leaves.
    fn mourn(&mut self, at: usize, proven: bool) -> Vec<Job> {
        let ta = &mut self.tas[at];
        let mut lost: Vec<Job> = ta.current.take().into_iter().collect();
        let goes_on = proven && !ta.removed;
        let (opens, rest): (Vec<Job>, Vec<Job>) =
            ta.queue.drain(..).partition(|job| goes_on && matches!(job.task, Task::Open(_)));
        ta.queue.extend(opens);
        lost.extend(rest);
        lost.extend(std::mem::take(&mut ta.asking).into_values());
        lost.extend(std::mem::take(&mut ta.making).into_values());
        let sessions = std::mem::take(&mut ta.sessions);
        ta.calling = None;
        ta.waiting = false;
        // Its keys go with it.
        ta.engine = Engine::new();
        self.workers.forget(at);
        self.files.forget_ta(at);
        self.prompts.withdraw(|(ta, _)| ta == at);
        let connections = self.connections.values_mut().map(|it| &mut it.sessions);
        for sessions in connections.chain(self.tas.iter_mut().map(|ta| &mut ta.sessions)) {
            let with = sessions.values_mut().filter(|ta| **ta == Some(at));
            with.for_each(|ta| *ta = None);
        }
        self.abandon(Caller::Ta(at), sessions);
        lost
    }
}
