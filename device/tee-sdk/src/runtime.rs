//! The main loop of a TA process.

use crate::context::{Context, TrustedOs};
use crate::question::{Continuation, KeyContinuation, Question, Step};
use crate::{TrustedApplication, sandbox};
use board::channel::{self, ChannelError};
use rustix::fd::{FromRawFd, OwnedFd};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use std::process::ExitCode;
use tee_api::engine::Handle;
use tee_api::ta::{CHANNEL_FD, FromTa, Syscall, SyscallReply, ToTa};
use tee_api::{Protocol, TaId, TeeError, ui};

/// Runs the TA of this process until the trusted OS closes its channel.
///
/// The trusted OS locked the process in before its first instruction; this takes away what only
/// the start of a program needs.
#[must_use]
pub fn run<T: TrustedApplication>() -> ExitCode {
    // SAFETY: the trusted OS starts a TA with its channel on this descriptor, and nothing else
    // in this process takes it.
    let socket = unsafe { OwnedFd::from_raw_fd(CHANNEL_FD) };
    let channel = Channel { socket, cancelled: false };
    if let Err(error) = sandbox::enter_as_ta() {
        eprintln!("{}: {error}", <T::Protocol as Protocol>::NAME);
        return ExitCode::FAILURE;
    }
    give_large_blocks_back();
    match serve::<T>(channel) {
        ChannelError::Closed => ExitCode::SUCCESS,
        error => {
            eprintln!("{}: {error}", <T::Protocol as Protocol>::NAME);
            ExitCode::FAILURE
        }
    }
}

/// A block from this size on is a mapping of its own, which goes when it is freed. The C library
/// would keep large ones in the heap after a while, where small ones break them up: what is used
/// at most at a time would say nothing about the memory that is taken.
const LARGE_BYTES: libc::c_int = 128 * 1024;

fn give_large_blocks_back() {
    // SAFETY: sets a number of the allocator, before any second thread exists.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
}

/// The user who runs the board: as the trusted OS and this TA do. To the TEE they are what root is
/// on a machine of its own.
#[must_use]
pub fn own_user() -> u32 {
    // SAFETY: reads what the kernel left in this process's memory when it started.
    unsafe { libc::getauxval(libc::AT_UID) as u32 }
}

/// Gives memory that was freed back to the kernel, after work that took much of it.
pub fn return_freed_memory() {
    // SAFETY: the C library's allocator may be told so at any time; nothing in use moves.
    unsafe { libc::malloc_trim(0) };
}

/// The one way out.
struct Channel {
    socket: OwnedFd,
    /// Whether the request that is worked on was withdrawn.
    cancelled: bool,
}

impl Channel {
    /// Waits for the answer to a system call.
    fn answer(&mut self) -> Result<SyscallReply, TeeError> {
        loop {
            match channel::receive(&self.socket).map_err(lost)? {
                ToTa::Answer(reply) => return Ok(reply),
                ToTa::Cancel => self.cancelled = true,
                _ => {
                    let reason = "a request where an answer was due";
                    return Err(TeeError::Communication(reason.into()));
                }
            }
        }
    }

    /// Waits for the next request. What is withdrawn here was done already.
    fn request(&mut self) -> Result<ToTa, ChannelError> {
        self.cancelled = false;
        loop {
            match channel::receive(&self.socket)? {
                ToTa::Cancel => {}
                request => return Ok(request),
            }
        }
    }
}

impl TrustedOs for Channel {
    fn call(&mut self, _: TaId, syscall: Syscall) -> Result<SyscallReply, TeeError> {
        channel::send(&self.socket, &FromTa::Syscall(syscall)).map_err(lost)?;
        self.answer()
    }

    fn is_cancelled(&mut self) -> bool {
        if !self.cancelled {
            // While a request is worked on nothing else comes by itself; where the channel is
            // broken, nobody waits either.
            self.cancelled = !matches!(channel::try_receive::<ToTa>(&self.socket), Ok(None));
        }
        self.cancelled
    }
}

fn lost(error: ChannelError) -> TeeError {
    TeeError::Communication(error.to_string())
}

fn serve<T: TrustedApplication>(mut channel: Channel) -> ChannelError {
    let mut instance = Instance::<T>::default();
    loop {
        let served = channel.request().and_then(|request| {
            let reply = instance.handle(&mut channel, request);
            channel::send(&channel.socket, &reply)
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
    /// Commands that wait for a key.
    making: BTreeMap<u32, KeyContinuation<T>>,
    next_question: u32,
}

impl<T: TrustedApplication> Default for Instance<T> {
    fn default() -> Self {
        let (waiting, making) = (BTreeMap::new(), BTreeMap::new());
        Self { ta: T::default(), waiting, making, next_question: 1 }
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
            ToTa::Made { question, key } => self.resume_with(&mut context, question, key),
            ToTa::Answer(_) | ToTa::Cancel => {
                Err(TeeError::BadState("nothing was asked or begun".into()))
            }
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

    fn resume_with(
        &mut self,
        context: &mut Context<'_>,
        question: u32,
        key: Result<Handle, TeeError>,
    ) -> Result<Step<T>, TeeError> {
        let key = key.map(Context::given_key);
        let then = self.making.remove(&question);
        let then = then.ok_or_else(|| TeeError::BadState("no such key was to be made".into()))?;
        then(&mut self.ta, context, key?)
    }

    fn question(&mut self) -> u32 {
        let question = self.next_question;
        self.next_question = self.next_question.wrapping_add(1);
        question
    }

    fn outcome(&mut self, step: Result<Step<T>, TeeError>) -> FromTa {
        match step {
            Ok(Step::Ask(Question(ask), then)) => {
                let question = self.question();
                self.waiting.insert(question, then);
                FromTa::Ask { question, ask }
            }
            Ok(Step::Generate(attributes, then)) => {
                let question = self.question();
                self.making.insert(question, then);
                FromTa::Generate { question, attributes }
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
