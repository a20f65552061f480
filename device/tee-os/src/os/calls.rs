//! One TA calls another, and what a caller withdraws.

use super::Os;
use super::requests::find;
use crate::syscalls::Answer;
use crate::ta::{Caller, Job, Sessions, Task};
use board::channel;
use serde_bytes::ByteBuf;
use tee_api::call::{self, Call};
use tee_api::ta::{SyscallReply, ToTa};
use tee_api::{Login, TaId, TeeError};

impl Os {
    /// The TA at `at` calls another one. The answer comes when that one is done.
    pub(crate) fn call(&mut self, at: usize, call: Call) -> Result<Answer, TeeError> {
        let caller = Caller::Ta(at);
        let sessions = Some(&self.tas[at].sessions);
        match call {
            Call::Open { ta } => {
                let callee = self.callee(at, ta)?;
                self.check_wait(at, callee)?;
                let own = &self.tas[at].sessions;
                self.admit(callee, own, own.values().filter(|ta| **ta == Some(callee)).count())?;
                self.tas[at].calling = Some(callee);
                let login = Login::TrustedApplication(self.tas[at].identity);
                self.begin_session(callee, caller, login);
            }
            Call::Invoke { session, command } => {
                let callee = find(sessions, session)?.ok_or(TeeError::TargetDead)?;
                self.check_wait(at, callee)?;
                self.tas[at].calling = Some(callee);
                self.submit(callee, Job::new(Some(caller), session, Task::Invoke(command)));
            }
            Call::Close { session } => {
                if let Some(callee) = find(sessions, session)? {
                    self.submit(callee, Job::new(None, session, Task::Close));
                }
                self.tas[at].sessions.remove(&session);
                return Ok(Answer::Now(SyscallReply::Call(call::Answer::Closed)));
            }
        }
        Ok(Answer::Later)
    }

    /// The TA `uuid`, where the signed list of the TA at `at` has it.
    fn callee(&self, at: usize, uuid: TaId) -> Result<usize, TeeError> {
        let caller = &self.tas[at];
        let identity = caller.identity;
        let allowed = |ta: &crate::ta::Ta| {
            caller.program.calls.iter().any(|callee| callee.is(ta.identity, identity))
        };
        let named = self.tas.iter().enumerate().filter(|(_, ta)| ta.identity.uuid == uuid);
        let mut found: Vec<usize> =
            named.filter(|(_, ta)| !ta.removed && allowed(ta)).map(|(at, _)| at).collect();
        // Of two that the list admits the maker's counts.
        found.sort_by_key(|&at| self.tas[at].identity.signer);
        if let Some(&found) = found.first() {
            return Ok(found);
        }
        let listed = caller.program.calls.iter().any(|callee| callee.names(uuid));
        Err(if listed {
            TeeError::NotFound(format!("trusted application {uuid}"))
        } else {
            TeeError::Denied(format!("{} does not declare that it calls {uuid}", caller.name()))
        })
    }

    /// Refuses what was withdrawn, and a wait that would never end: `callee` waits for `at`
    /// already, itself or through others.
    fn check_wait(&self, at: usize, callee: usize) -> Result<(), TeeError> {
        if self.tas[at].current.as_ref().is_some_and(|job| job.cancelled) {
            return Err(TeeError::Cancelled);
        }
        let mut waits = Some(callee);
        while let Some(next) = waits {
            if next == at {
                let reason = "the other trusted application waits for this one";
                return Err(TeeError::BadState(reason.into()));
            }
            waits = self.tas[next].calling;
        }
        Ok(())
    }

    /// What a call of the TA at `at` came to.
    pub(super) fn answer_call(
        &mut self,
        at: usize,
        callee: usize,
        job: &Job,
        result: Result<ByteBuf, TeeError>,
    ) {
        self.tas[at].calling = None;
        let reply = match (&job.task, result) {
            (_, Err(error)) => SyscallReply::Refused(error),
            (Task::Open(_), Ok(_)) => {
                self.tas[at].sessions.insert(job.session, Some(callee));
                SyscallReply::Call(call::Answer::Opened { session: job.session })
            }
            (Task::Close, Ok(_)) => SyscallReply::Call(call::Answer::Closed),
            (_, Ok(bytes)) => SyscallReply::Call(call::Answer::Done(bytes)),
        };
        self.answer(at, reply);
    }

    /// `caller` withdraws the request that it waits for. What no TA has begun ends at once;
    /// a prompt leaves the screen; a TA that computes is told, and whom it calls as well.
    pub(super) fn cancel(&mut self, caller: Caller) {
        for at in 0..self.tas.len() {
            self.cancel_at(at, caller);
        }
    }

    fn cancel_at(&mut self, at: usize, caller: Caller) {
        let waits = |job: &Job| job.caller == Some(caller);
        let queue = &self.tas[at].queue;
        if let Some(place) = queue.iter().position(|job| waits(job) && !job.is_begun())
            && let Some(job) = self.tas[at].queue.remove(place)
        {
            return self.finish(at, job, Err(TeeError::Cancelled));
        }
        let asking = self.tas[at].asking.iter_mut().filter(|(_, job)| waits(job));
        let questions: Vec<u32> = asking
            .map(|(&question, job)| {
                job.cancelled = true;
                question
            })
            .collect();
        self.prompts.withdraw(|(ta, question)| ta == at && questions.contains(&question));
        for question in questions {
            self.resume(at, question, Err(TeeError::Cancelled));
        }
        let making = self.tas[at].making.iter().filter(|(_, job)| waits(job));
        for question in making.map(|(&question, _)| question).collect::<Vec<_>>() {
            self.made(at, question, Err(TeeError::Cancelled));
        }
        let ta = &mut self.tas[at];
        let Some(job) = ta.current.as_mut().filter(|job| waits(job) && !job.cancelled) else {
            return;
        };
        job.cancelled = true;
        if let Some(process) = &ta.process {
            // One that does not take it hears of it no other way; the call just goes on.
            let _ = channel::send(&process.channel, &ToTa::Cancel);
        }
        if ta.calling.is_some() {
            self.cancel(Caller::Ta(at));
        }
    }

    /// Whoever waited is gone, and so are the sessions that they had.
    pub(super) fn abandon(&mut self, caller: Caller, sessions: Sessions) {
        self.cancel(caller);
        for ta in &mut self.tas {
            ta.jobs().filter(|job| job.caller == Some(caller)).for_each(|job| job.caller = None);
        }
        for (session, ta) in sessions {
            if let Some(ta) = ta {
                self.submit(ta, Job::new(None, session, Task::Close));
            }
        }
    }
}
