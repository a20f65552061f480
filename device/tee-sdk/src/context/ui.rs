//! The trusted screen, besides questions.

use super::{Context, unexpected};
use serde_bytes::ByteBuf;
use tee_api::TeeError;
use tee_api::ta::{Syscall, SyscallReply};
use tee_api::ui::{Answer, Call};

impl Context<'_> {
    /// Whether the person confirmed `message` for this TA and `binding`: see
    /// [`crate::Step::confirm`]. The token is used up. `Denied` where nobody did.
    pub fn redeem(&mut self, message: &[u8], binding: &[u8], token: &[u8]) -> Result<(), TeeError> {
        let bytes = |bytes: &[u8]| ByteBuf::from(bytes);
        let (message, binding, token) = (bytes(message), bytes(binding), bytes(token));
        match self.call(Syscall::Ui(Call::Redeem { message, binding, token }))? {
            SyscallReply::Ui(Answer::Done) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}
