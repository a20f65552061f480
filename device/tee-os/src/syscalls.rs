//! What TAs ask the OS for.

use crate::os::Os;
use crate::storage::{Changes, SecureStorage};
use crate::{boot, boot_lock};
use board::{LifeCycle, SiliconError};
use serde_bytes::ByteBuf;
use tee_api::gatekeeper::Gatekeeper;
use tee_api::keymint::KeyMint;
use tee_api::ta::{Syscall, SyscallReply};
use tee_api::{Protocol, TaId, TeeError};
use zeroize::Zeroizing;

/// The most random bytes at once.
const MAX_RANDOM_BYTES: u16 = 256;

impl Os {
    /// Answers a system call of the TA at `at`.
    pub(crate) fn syscall(
        &mut self,
        at: usize,
        syscall: Syscall,
    ) -> Result<SyscallReply, TeeError> {
        let id = self.tas[at].id;
        Ok(match syscall {
            Syscall::DeriveKey { label, context } => self.derive_key(id, &label, &context)?,
            Syscall::Random { bytes } => self.random(bytes)?,
            Syscall::StorageGet { name } => {
                let value = self.storage()?.get(id, &name)?;
                SyscallReply::Bytes(ByteBuf::from(value.to_vec()))
            }
            Syscall::StoragePut { name, value } => self.commit(id, vec![(name, value)], vec![])?,
            Syscall::StorageDelete { names } => self.commit(id, vec![], names)?,
            Syscall::StorageCommit { put, delete } => self.commit(id, put, delete)?,
            Syscall::Uptime => SyscallReply::Number(self.silicon.uptime_ms().map_err(lost)?),
            Syscall::BootInfo => SyscallReply::BootInfo(self.boot.info()?.clone()),
            Syscall::InFactory => {
                let life_cycle = self.silicon.life_cycle().map_err(lost)?;
                SyscallReply::Flag(life_cycle == LifeCycle::Factory)
            }
            Syscall::LeaveFactory => {
                only(id, &[KeyMint::TA])?;
                self.silicon.deploy().map_err(lost)?;
                SyscallReply::Done
            }
            Syscall::Serial => SyscallReply::Text(self.silicon.serial().map_err(lost)?),
            Syscall::AuthTokenKey => {
                only(id, &[Gatekeeper::TA, KeyMint::TA])?;
                SyscallReply::Bytes(ByteBuf::from(self.secrets.auth_token_key))
            }
            Syscall::BootSuccessful => {
                only(id, &[Gatekeeper::TA])?;
                let storage = self.storage.as_mut().map_err(|error| error.clone())?;
                self.boot.successful(&*self.silicon, storage)?;
                SyscallReply::Done
            }
            Syscall::Trust => {
                let storage = self.storage.as_ref().map_err(|error| error.clone())?;
                SyscallReply::Trust(boot::trust(&*self.silicon, storage)?)
            }
            Syscall::SetBootLock { locked } => {
                only(id, &[Gatekeeper::TA])?;
                boot_lock::set_locked(self.storage()?, locked)?;
                SyscallReply::Done
            }
            Syscall::SetCustomKey { key } => {
                only(id, &[Gatekeeper::TA])?;
                if !self.boot.is_unlocked()? {
                    let reason = "unlock the bootloader and restart first";
                    return Err(TeeError::BadState(reason.into()));
                }
                boot_lock::set_custom_key(self.storage()?, key)?;
                SyscallReply::Done
            }
        })
    }

    fn storage(&mut self) -> Result<&mut SecureStorage, TeeError> {
        self.storage.as_mut().map_err(|error| error.clone())
    }

    /// Two TAs never get the same key, nor does one ever get a key of the OS.
    fn derive_key(&self, id: TaId, label: &str, context: &[u8]) -> Result<SyscallReply, TeeError> {
        let bound = [&id.0[..], context].concat();
        let key = self.silicon.derive(&format!("ta/{label}"), &bound).map_err(lost)?;
        Ok(SyscallReply::Bytes(ByteBuf::from(key)))
    }

    fn random(&self, bytes: u16) -> Result<SyscallReply, TeeError> {
        if bytes > MAX_RANDOM_BYTES {
            return Err(TeeError::BadParameters("at most 256 random bytes at once".into()));
        }
        let bytes = self.silicon.random(bytes.into()).map_err(lost)?;
        Ok(SyscallReply::Bytes(ByteBuf::from(bytes)))
    }

    fn commit(
        &mut self,
        id: TaId,
        put: Vec<(String, ByteBuf)>,
        delete: Vec<String>,
    ) -> Result<SyscallReply, TeeError> {
        let put = put.into_iter();
        let put = put.map(|(name, value)| (name, Zeroizing::new(value.into_vec()))).collect();
        self.storage()?.commit(id, &Changes { put, delete })?;
        Ok(SyscallReply::Done)
    }
}

fn only(id: TaId, allowed: &[TaId]) -> Result<(), TeeError> {
    if allowed.contains(&id) {
        Ok(())
    } else {
        Err(TeeError::Denied("this service is not for this trusted application".into()))
    }
}

fn lost(error: SiliconError) -> TeeError {
    TeeError::Communication(error.to_string())
}
