//! The main loop of a TA process.

use crate::context::{Context, TrustedOs};
use crate::question::{Continuation, Question, Step};
use crate::{TrustedApplication, sandbox};
use board::channel::{self, ChannelError};
use rustix::fd::{FromRawFd, OwnedFd};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::process::ExitCode;
use tee_api::ta::{CHANNEL_FD, FromTa, Syscall, SyscallReply, ToTa};
use tee_api::{Protocol, TaId, TeeError, ui};

/// Runs the TA of this process until the trusted OS closes its channel.
///
/// It locks the process in first; a kernel that can't is no reason to stay out of service, the
/// trusted OS reports that weakness for all its processes.
#[must_use]
pub fn run<T: TrustedApplication>() -> ExitCode {
    // SAFETY: the trusted OS starts a TA with its channel on this descriptor, and nothing else
    // in this process takes it.
    let channel = Channel(unsafe { OwnedFd::from_raw_fd(CHANNEL_FD) });
    if let Err(error) = sandbox::enter_as_ta() {
        eprintln!("{}: {error}", <T::Protocol as Protocol>::NAME);
        return ExitCode::FAILURE;
    }
    match serve::<T>(channel) {
        ChannelError::Closed => ExitCode::SUCCESS,
        error => {
            eprintln!("{}: {error}", <T::Protocol as Protocol>::NAME);
            ExitCode::FAILURE
        }
    }
}

/// Gives memory that was freed back to the kernel, after work that took much of it.
pub fn return_freed_memory() {
    // SAFETY: the C library's allocator may be told so at any time; nothing in use moves.
    unsafe { libc::malloc_trim(0) };
}

struct Channel(OwnedFd);

impl TrustedOs for Channel {
    fn call(&mut self, _: TaId, syscall: Syscall) -> Result<SyscallReply, TeeError> {
        let lost = |error: ChannelError| TeeError::Communication(error.to_string());
        channel::send(&self.0, &FromTa::Syscall(syscall)).map_err(lost)?;
        match channel::receive(&self.0).map_err(lost)? {
            ToTa::Answer(reply) => Ok(reply),
            _ => Err(TeeError::Communication("a request where an answer was due".into())),
        }
    }
}

fn serve<T: TrustedApplication>(mut channel: Channel) -> ChannelError {
    let mut instance = Instance::<T>::default();
    loop {
        let served = channel::receive(&channel.0).and_then(|request| {
            let reply = instance.handle(&mut channel, request);
            channel::send(&channel.0, &reply)
        });
        if let Err(error) = served {
            return error;
        }
    }
}

/// A TA and the border around it: commands and replies are bytes here.
pub struct Instance<T: TrustedApplication> {
    ta: T,
    /// Commands that wait for the person.
    waiting: BTreeMap<u32, Continuation<T>>,
    next_question: u32,
}

impl<T: TrustedApplication> Default for Instance<T> {
    fn default() -> Self {
        Self { ta: T::default(), waiting: BTreeMap::new(), next_question: 1 }
    }
}

impl<T: TrustedApplication> Instance<T> {
    /// Serves one request, with `os` for what it needs.
    pub fn handle(&mut self, os: &mut dyn TrustedOs, request: ToTa) -> FromTa {
        let mut context = Context::new(<T::Protocol as Protocol>::TA, os);
        let step = match request {
            ToTa::Open { session, login } => {
                let opened = self.ta.open(&mut context, session, login);
                return FromTa::Done(opened.map(|()| ByteBuf::new()));
            }
            ToTa::Close { session } => {
                self.ta.close(session);
                return FromTa::Done(Ok(ByteBuf::new()));
            }
            ToTa::Invoke { session, command } => channel::decode(&command)
                .map_err(|error| TeeError::BadParameters(format!("the command: {error}")))
                .and_then(|command| self.ta.begin(&mut context, session, command)),
            ToTa::Answered { question, answer } => self.resume(&mut context, question, answer),
            ToTa::Answer(_) => Err(TeeError::BadState("no answer was due".into())),
        };
        self.outcome(step)
    }

    fn resume(
        &mut self,
        context: &mut Context<'_>,
        question: u32,
        answer: Result<ui::Said, TeeError>,
    ) -> Result<Step<T>, TeeError> {
        let then = self.waiting.remove(&question);
        let then = then.ok_or_else(|| TeeError::BadState("no such question".into()))?;
        then(&mut self.ta, context, answer?)
    }

    fn outcome(&mut self, step: Result<Step<T>, TeeError>) -> FromTa {
        match step {
            Ok(Step::Ask(Question(ask), then)) => {
                let question = self.next_question;
                self.next_question = self.next_question.wrapping_add(1);
                self.waiting.insert(question, then);
                FromTa::Ask { question, ask }
            }
            Ok(Step::Done(reply)) => FromTa::Done(
                channel::encode(&reply)
                    .map(ByteBuf::from)
                    .map_err(|error| TeeError::Resources(format!("the reply: {error}"))),
            ),
            Err(error) => FromTa::Done(Err(error)),
        }
    }
}
