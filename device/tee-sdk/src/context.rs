//! The services of the trusted OS, typed.

use board::channel;
use crypto::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use std::time::Duration;
use tee_api::boot::{BootInfo, Trust};
use tee_api::ta::{Syscall, SyscallReply};
use tee_api::{TaId, TeeError};
use zeroize::Zeroizing;

/// Answers system calls: the channel to the trusted OS, or [`crate::testing::FakeOs`].
pub trait TrustedOs {
    /// Answers one. A refusal may come as an error or as [`SyscallReply::Refused`].
    fn call(&mut self, caller: TaId, syscall: Syscall) -> Result<SyscallReply, TeeError>;
}

/// What a TA holds while it serves a request.
pub struct Context<'os> {
    caller: TaId,
    os: &'os mut dyn TrustedOs,
}

/// Changes to secure storage that happen all or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    put: Vec<(String, ByteBuf)>,
    delete: Vec<String>,
}

impl Batch {
    /// Creates or replaces an object.
    #[must_use]
    pub fn put(mut self, name: &str, value: &[u8]) -> Self {
        self.put.push((name.to_owned(), ByteBuf::from(value)));
        self
    }

    /// Creates or replaces an object that holds `record` as CBOR.
    pub fn put_record<T: Serialize>(self, name: &str, record: &T) -> Result<Self, TeeError> {
        Ok(self.put(name, &encode(record)?))
    }

    /// Deletes an object; a missing one is no error.
    #[must_use]
    pub fn delete(mut self, name: &str) -> Self {
        self.delete.push(name.to_owned());
        self
    }
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

    fn key(&mut self, syscall: Syscall) -> Result<Secret<32>, TeeError> {
        Secret::from_slice(&self.bytes(syscall)?)
            .map_err(|_| TeeError::Communication("a key without 32 bytes".into()))
    }

    /// A key from the HUK that only this TA on this board has.
    pub fn derive_key(&mut self, label: &str, context: &[u8]) -> Result<Secret<32>, TeeError> {
        self.key(Syscall::DeriveKey { label: label.to_owned(), context: ByteBuf::from(context) })
    }

    /// `N` random bytes from the board's generator; at most 256.
    pub fn random<const N: usize>(&mut self) -> Result<[u8; N], TeeError> {
        let count = u16::try_from(N)
            .map_err(|_| TeeError::BadParameters("at most 256 random bytes at once".into()))?;
        self.bytes(Syscall::Random { bytes: count })?[..]
            .try_into()
            .map_err(|_| TeeError::Communication(format!("not {N} random bytes")))
    }

    /// An object of this TA's secure storage; `None` where there is none of that name.
    pub fn storage_get(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, TeeError> {
        match self.bytes(Syscall::StorageGet { name: name.to_owned() }) {
            Ok(value) => Ok(Some(value)),
            Err(TeeError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates or replaces an object, atomically and durably. Names have at most 64 bytes,
    /// values at most 16 KiB.
    pub fn storage_put(&mut self, name: &str, value: &[u8]) -> Result<(), TeeError> {
        self.done(Syscall::StoragePut { name: name.to_owned(), value: ByteBuf::from(value) })
    }

    /// An object that holds a record; `None` where there is none of that name, `Security` where
    /// it holds something else.
    pub fn record_get<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, TeeError> {
        let bytes = self.storage_get(name)?;
        let decode = |bytes: Zeroizing<Vec<u8>>| {
            channel::decode(&bytes)
                .map_err(|error| TeeError::Security(format!("object {name}: {error}")))
        };
        bytes.map(decode).transpose()
    }

    /// Creates or replaces an object that holds `record` as CBOR, atomically and durably.
    pub fn record_put<T: Serialize>(&mut self, name: &str, record: &T) -> Result<(), TeeError> {
        self.storage_put(name, &encode(record)?)
    }

    /// Deletes objects, all or none; the space is overwritten. Missing ones are no error.
    pub fn storage_delete(&mut self, names: &[&str]) -> Result<(), TeeError> {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        self.done(Syscall::StorageDelete { names })
    }

    /// Puts and deletes objects, all or none, durably; the space of what went is overwritten.
    pub fn storage_commit(&mut self, batch: Batch) -> Result<(), TeeError> {
        self.done(Syscall::StorageCommit { put: batch.put, delete: batch.delete })
    }

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

    /// The key of hardware auth tokens: the same for all TAs that make or check them, another
    /// one after each power-on.
    pub fn auth_token_key(&mut self) -> Result<Secret<32>, TeeError> {
        self.key(Syscall::AuthTokenKey)
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

fn encode<T: Serialize>(record: &T) -> Result<Zeroizing<Vec<u8>>, TeeError> {
    channel::encode(record)
        .map(Zeroizing::new)
        .map_err(|error| TeeError::Resources(format!("a record: {error}")))
}

fn unexpected(reply: &SyscallReply) -> TeeError {
    TeeError::Communication(format!("the trusted OS answered with {reply:?}"))
}
