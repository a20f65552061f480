//! The secure clock.

use super::{Context, unexpected};
use tee_api::TeeError;
use tee_api::clock::{Answer, Call, SecureTime};
use tee_api::ta::{Syscall, SyscallReply};

impl Context<'_> {
    /// What time it is, and how far to trust that. No two answers are the same, and the later
    /// one is the larger, across power-off too.
    pub fn secure_time(&mut self) -> Result<SecureTime, TeeError> {
        self.time(Call::Now)
    }

    /// A nonce for the next time token. Gatekeeper only.
    pub fn time_nonce(&mut self) -> Result<[u8; 32], TeeError> {
        match self.clock(Call::Nonce)? {
            Answer::Nonce(nonce) => Ok(nonce),
            Answer::Time(_) => Err(TeeError::Communication("a time where a nonce was due".into())),
        }
    }

    /// Sets the clock to what a token says whose signature was checked. Gatekeeper only.
    pub fn set_time(&mut self, nonce: [u8; 32], unix_ms: u64) -> Result<SecureTime, TeeError> {
        self.time(Call::Set { nonce, unix_ms })
    }

    fn time(&mut self, call: Call) -> Result<SecureTime, TeeError> {
        match self.clock(call)? {
            Answer::Time(time) => Ok(time),
            Answer::Nonce(_) => Err(TeeError::Communication("a nonce where a time was due".into())),
        }
    }

    fn clock(&mut self, call: Call) -> Result<Answer, TeeError> {
        match self.call(Syscall::Clock(call))? {
            SyscallReply::Clock(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }
}
