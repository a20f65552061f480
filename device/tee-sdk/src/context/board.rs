//! What the board tells, and what was booted on it.

use super::{Context, unexpected};
use std::time::Duration;
use tee_api::TeeError;
use tee_api::boot::{BootInfo, Trust};
use tee_api::keymint::SharedSecretParameters;
use tee_api::ta::{Syscall, SyscallReply};

impl Context<'_> {
    /// Time since power-on, from the board's own counter.
    pub fn uptime(&mut self) -> Result<Duration, TeeError> {
        match self.call(Syscall::Uptime)? {
            SyscallReply::Number(ms) => Ok(Duration::from_millis(ms)),
            other => Err(unexpected(&other)),
        }
    }

    /// What was booted; `BadState` before the bootloader said so.
    pub fn boot_info(&mut self) -> Result<BootInfo, TeeError> {
        match self.call(Syscall::BootInfo)? {
            SyscallReply::BootInfo(info) => Ok(info),
            other => Err(unexpected(&other)),
        }
    }

    /// What names this boot: other bytes after each power-on. What a TA must remember of a boot
    /// even if its process ends, it stores with them.
    pub fn boot_id(&mut self) -> Result<[u8; 16], TeeError> {
        self.bytes(Syscall::BootId)?[..]
            .try_into()
            .map_err(|_| TeeError::Communication("not 16 bytes of a boot's name".into()))
    }

    /// What this TEE brings to the agreement on the auth tokens' key. KeyMint only.
    pub fn shared_secret_parameters(&mut self) -> Result<SharedSecretParameters, TeeError> {
        match self.call(Syscall::SharedSecretParameters)? {
            SyscallReply::SharedSecret(parameters) => Ok(parameters),
            other => Err(unexpected(&other)),
        }
    }

    /// Agrees on the auth tokens' key with all `participants`; gives the check. `BadParameters`
    /// where this TEE is not among them. KeyMint only.
    pub fn compute_shared_secret(
        &mut self,
        participants: Vec<SharedSecretParameters>,
    ) -> Result<Vec<u8>, TeeError> {
        let check = self.bytes(Syscall::ComputeSharedSecret { participants })?;
        Ok(check.to_vec())
    }

    /// Whether the board is still in the factory.
    pub fn in_factory(&mut self) -> Result<bool, TeeError> {
        match self.call(Syscall::InFactory)? {
            SyscallReply::Flag(flag) => Ok(flag),
            other => Err(unexpected(&other)),
        }
    }

    /// Blows the life-cycle fuse: the board leaves the factory for good.
    pub fn leave_factory(&mut self) -> Result<(), TeeError> {
        self.done(Syscall::LeaveFactory)
    }

    /// The board's serial number.
    pub fn serial(&mut self) -> Result<String, TeeError> {
        self.text(Syscall::Serial)
    }

    /// What was booted proved itself: the stored rollback indexes rise to it. Gatekeeper only.
    pub fn boot_successful(&mut self) -> Result<(), TeeError> {
        self.done(Syscall::BootSuccessful)
    }

    /// How the bootloader is locked and whose signature counts, at the next power-on.
    pub fn trust(&mut self) -> Result<Trust, TeeError> {
        match self.call(Syscall::Trust)? {
            SyscallReply::Trust(trust) => Ok(trust),
            other => Err(unexpected(&other)),
        }
    }

    /// Locks the bootloader, or unlocks it. Gatekeeper only.
    pub fn set_boot_lock(&mut self, locked: bool) -> Result<(), TeeError> {
        self.done(Syscall::SetBootLock { locked })
    }

    /// Trusts the user's own key beside the maker's, or no key. Gatekeeper only.
    pub fn set_custom_key(&mut self, key: Option<[u8; 32]>) -> Result<(), TeeError> {
        self.done(Syscall::SetCustomKey { key })
    }
}
