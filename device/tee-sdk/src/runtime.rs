//! The main loop of a TA process.

use crate::context::{Context, TrustedOs};
use crate::{TrustedApplication, sandbox};
use board::channel::{self, ChannelError};
use rustix::fd::{FromRawFd, OwnedFd};
use serde_bytes::ByteBuf;
use std::process::ExitCode;
use tee_api::ta::{CHANNEL_FD, FromTa, Login, Syscall, SyscallReply, ToTa};
use tee_api::{Protocol, TaId, TeeError};

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
            channel::send(&channel.0, &FromTa::Done(reply))
        });
        if let Err(error) = served {
            return error;
        }
    }
}

/// A TA and the border around it: commands and replies are bytes here.
#[derive(Debug, Default)]
pub struct Instance<T>(T);

impl<T: TrustedApplication> Instance<T> {
    /// Serves one request, with `os` for what it needs.
    pub fn handle(&mut self, os: &mut dyn TrustedOs, request: ToTa) -> Result<ByteBuf, TeeError> {
        let mut context = Context::new(<T::Protocol as Protocol>::TA, os);
        match request {
            ToTa::Open { session, login } => self.open(&mut context, session, login),
            ToTa::Invoke { session, command } => self.invoke(&mut context, session, &command),
            ToTa::Close { session } => {
                self.0.close(session);
                Ok(ByteBuf::new())
            }
            ToTa::Answer(_) => Err(TeeError::BadState("no answer was due".into())),
        }
    }

    fn open(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        login: Login,
    ) -> Result<ByteBuf, TeeError> {
        self.0.open(context, session, login).map(|()| ByteBuf::new())
    }

    fn invoke(
        &mut self,
        context: &mut Context<'_>,
        session: u32,
        command: &[u8],
    ) -> Result<ByteBuf, TeeError> {
        let command = channel::decode(command)
            .map_err(|error| TeeError::BadParameters(format!("the command: {error}")))?;
        let reply = self.0.invoke(context, session, command)?;
        channel::encode(&reply)
            .map(ByteBuf::from)
            .map_err(|error| TeeError::Resources(format!("the reply: {error}")))
    }
}
