//! The services of the trusted OS, typed: one file a service.

mod board;
mod calls;
mod clock;
pub(crate) mod engine;
mod random;
mod storage;
mod ui;

pub use calls::Peer;
pub use storage::{Batch, Storage};

use tee_api::ta::{Syscall, SyscallReply};
use tee_api::{TaId, TeeError};
use zeroize::Zeroizing;

/// Answers system calls: the channel to the trusted OS, or [`crate::testing::FakeOs`].
pub trait TrustedOs {
    /// Answers one. A refusal may come as an error or as [`SyscallReply::Refused`].
    fn call(&mut self, caller: TaId, syscall: Syscall) -> Result<SyscallReply, TeeError>;

    /// Whether the request that the TA works on was withdrawn.
    fn is_cancelled(&mut self) -> bool {
        false
    }
}

/// What a TA holds while it serves a request.
pub struct Context<'os> {
    caller: TaId,
    os: &'os mut dyn TrustedOs,
}

impl<'os> Context<'os> {
    /// For the TA `caller`, over `os`.
    pub fn new(caller: TaId, os: &'os mut dyn TrustedOs) -> Self {
        Self { caller, os }
    }

    fn call(&mut self, syscall: Syscall) -> Result<SyscallReply, TeeError> {
        match self.os.call(self.caller, syscall)? {
            SyscallReply::Refused(error) => Err(error),
            reply => Ok(reply),
        }
    }

    fn done(&mut self, syscall: Syscall) -> Result<(), TeeError> {
        match self.call(syscall)? {
            SyscallReply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn bytes(&mut self, syscall: Syscall) -> Result<Zeroizing<Vec<u8>>, TeeError> {
        match self.call(syscall)? {
            SyscallReply::Bytes(bytes) => Ok(Zeroizing::new(bytes.into_vec())),
            other => Err(unexpected(&other)),
        }
    }

    fn text(&mut self, syscall: Syscall) -> Result<String, TeeError> {
        match self.call(syscall)? {
            SyscallReply::Text(text) => Ok(text),
            other => Err(unexpected(&other)),
        }
    }
}

impl Drop for Context<'_> {
    /// A request ends: keys and operations that were dropped meanwhile end in the trusted OS too.
    fn drop(&mut self) {
        // Where the trusted OS is gone, so are they.
        let _ = self.close_dropped();
    }
}

fn unexpected(reply: &SyscallReply) -> TeeError {
    TeeError::Communication(format!("the trusted OS answered with {reply:?}"))
}
