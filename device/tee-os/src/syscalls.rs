//! What TAs ask the OS for.

use crate::os::Os;
use crate::storage::SecureStorage;
use crate::{boot, boot_lock};
use board::{LifeCycle, SiliconError};
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use serde_bytes::ByteBuf;
use tee_api::clock;
use tee_api::gatekeeper::Gatekeeper;
use tee_api::keymint::KeyMint;
use tee_api::ta::{Syscall, SyscallReply};
use tee_api::{Identity, Protocol, Signer, TaId, TeeError, storage};
use tee_engine::shared_secret;

/// How a system call goes on.
pub(crate) enum Answer {
    /// This is the answer.
    Now(SyscallReply),
    /// [`Os::answer`] gives it, once what the TA waits for has happened.
    Later,
}

/// The most random bytes at once.
const MAX_RANDOM_BYTES: u16 = 256;

impl Os {
    /// Answers a system call of the TA at `at`.
    pub(crate) fn syscall(&mut self, at: usize, syscall: Syscall) -> Result<Answer, TeeError> {
        let identity = self.tas[at].identity;
        Ok(Answer::Now(match syscall {
            Syscall::Engine(call) => return self.engine(at, call),
            Syscall::Call(call) => return self.call(at, call),
            Syscall::Random { bytes } => self.random(bytes)?,
            Syscall::Storage(call) => {
                if matches!(call, storage::Call::EraseAll) {
                    only(identity, &[Gatekeeper::TA])?;
                }
                return self.storage_call(at, call);
            }
            Syscall::Uptime => SyscallReply::Number(self.silicon.uptime_ms().map_err(lost)?),
            Syscall::Clock(call) => {
                if !matches!(call, clock::Call::Now) {
                    only(identity, &[Gatekeeper::TA])?;
                }
                SyscallReply::Clock(self.clock(call)?)
            }
            Syscall::BootInfo => SyscallReply::BootInfo(self.boot.info()?.clone()),
            Syscall::BootId => {
                let id: Secret<16> =
                    hkdf_sha256(&self.secrets.confirmation_key, &[], &[b"boot id"]);
                SyscallReply::Bytes(ByteBuf::from(*id.expose()))
            }
            Syscall::InFactory => {
                let life_cycle = self.silicon.life_cycle().map_err(lost)?;
                SyscallReply::Flag(life_cycle == LifeCycle::Factory)
            }
            Syscall::LeaveFactory => {
                only(identity, &[KeyMint::TA])?;
                self.silicon.deploy().map_err(lost)?;
                SyscallReply::Done
            }
            Syscall::Serial => SyscallReply::Text(self.silicon.serial().map_err(lost)?),
            Syscall::BootSuccessful => {
                only(identity, &[Gatekeeper::TA])?;
                let storage = self.storage.as_mut().map_err(|error| error.clone())?;
                self.boot.successful(&*self.silicon, storage)?;
                self.keep_versions()?;
                SyscallReply::Done
            }
            Syscall::Trust => {
                let storage = self.storage.as_ref().map_err(|error| error.clone())?;
                SyscallReply::Trust(boot::trust(&*self.silicon, storage)?)
            }
            Syscall::SetBootLock { locked } => {
                only(identity, &[Gatekeeper::TA])?;
                boot_lock::set_locked(self.storage()?, locked)?;
                SyscallReply::Done
            }
            Syscall::SetCustomKey { key } => {
                only(identity, &[Gatekeeper::TA])?;
                if !self.boot.is_unlocked()? {
                    let reason = "unlock the bootloader and restart first";
                    return Err(TeeError::BadState(reason.into()));
                }
                boot_lock::set_custom_key(self.storage()?, key)?;
                SyscallReply::Done
            }
            Syscall::SharedSecretParameters => {
                only(identity, &[KeyMint::TA])?;
                SyscallReply::SharedSecret(self.agreement.own().clone())
            }
            Syscall::ComputeSharedSecret { participants } => {
                only(identity, &[KeyMint::TA])?;
                self.agreement.join(participants)?;
                let key = self.agreement.key(&Secret::new(self.secrets.shared_secret_key))?;
                SyscallReply::Bytes(ByteBuf::from(shared_secret::check(&key)))
            }
            Syscall::Ui(call) => SyscallReply::Ui(self.screen_call(identity.owner(), call)?),
        }))
    }

    pub(crate) fn storage(&mut self) -> Result<&mut SecureStorage, TeeError> {
        self.storage.as_mut().map_err(|error| error.clone())
    }

    fn random(&self, bytes: u16) -> Result<SyscallReply, TeeError> {
        if bytes > MAX_RANDOM_BYTES {
            return Err(TeeError::BadParameters("at most 256 random bytes at once".into()));
        }
        let bytes = self.silicon.random(bytes.into()).map_err(lost)?;
        Ok(SyscallReply::Bytes(ByteBuf::from(bytes)))
    }
}

/// Some services are for some of the maker's TAs only.
pub(crate) fn only(caller: Identity, allowed: &[TaId]) -> Result<(), TeeError> {
    if caller.signer == Signer::Maker && allowed.contains(&caller.uuid) {
        Ok(())
    } else {
        Err(TeeError::Denied("this service is not for this trusted application".into()))
    }
}

fn lost(error: SiliconError) -> TeeError {
    TeeError::Communication(error.to_string())
}
