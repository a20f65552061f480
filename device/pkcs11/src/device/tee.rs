//! Sessions with KeyMint itself, and memory that it works on.

use super::combining::{Combiner, Used};
use super::refusals::{broken_rule, refused, unanswered};
use crate::error::{Result, Rv};
use cryptoki_sys::*;
use keymint::ErrorCode;
use keystore_client::Keystore;
use serde_bytes::ByteBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tee_api::TeeError;
use tee_api::engine::{MAX_MEMORY_RUN_BYTES, Span};
use tee_api::keymint::{Command, KeyMint, Reply, Use};
use tee_client::{Session, SharedMemory};

/// Sessions that are kept for the next operation.
const KEPT: usize = 8;

/// How many bytes came out of a use on memory, or which of KeyMint's rules said no.
pub(super) type UsedOnMemory = std::result::Result<usize, ErrorCode>;

/// The TEE of the device.
pub(super) struct Tee {
    pub(super) keystore: Arc<Keystore>,
    idle: Mutex<Vec<Session<KeyMint>>>,
    combiner: Combiner,
    /// Memory that is shared with nobody now.
    memory: Mutex<Vec<SharedMemory>>,
}

impl Tee {
    pub(super) fn new(keystore: Arc<Keystore>) -> Self {
        Self {
            keystore,
            idle: Mutex::default(),
            combiner: Combiner::default(),
            memory: Mutex::default(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session<KeyMint>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session for one thread at a time.
    pub(super) fn session(&self) -> Result<Session<KeyMint>> {
        let kept = self.idle().pop();
        kept.map_or_else(|| self.keystore.tee_session().map_err(|error| refused(&error)), Ok)
    }

    /// Keeps a session that is at nothing.
    pub(super) fn give_back(&self, session: Session<KeyMint>) {
        let mut idle = self.idle();
        if idle.len() < KEPT {
            idle.push(session);
        }
    }

    /// Runs a command in any session.
    pub(super) fn call(&self, command: &Command) -> Result<Reply> {
        let session = self.session()?;
        let reply = ask(&session, command)?;
        self.give_back(session);
        Ok(reply)
    }

    /// Uses an opened key, together with what other threads want.
    pub(super) fn use_key(&self, wanted: Use) -> Result<Used> {
        self.combiner.perform(wanted, |uses| match self.call(&Command::Use(uses))? {
            Reply::Used(results) => Ok(results),
            other => Err(unexpected(&other)),
        })
    }

    /// Uses an opened key on a message that is too large for a command; appends to `out`.
    pub(super) fn use_on_memory(
        &self,
        how: Use,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<UsedOnMemory> {
        let lacking = |error: TeeError| unanswered(&error);
        let kept = self.memory().pop();
        let mut memory = match kept {
            Some(memory) => memory,
            None => SharedMemory::new(MAX_MEMORY_RUN_BYTES as usize).map_err(lacking)?,
        };
        memory.write(0, input).map_err(lacking)?;
        let bytes = u32::try_from(input.len()).map_err(|_| Rv(CKR_DATA_LEN_RANGE))?;
        let command = Command::UseMemory { how, input: Span { offset: 0, bytes }, output: 0 };
        let session = self.session()?;
        let reply = session.call_with_memory(command, &mut memory).map_err(lacking)?;
        self.give_back(session);
        let used = match reply {
            Reply::Written { bytes, .. } => {
                memory.append_to(out, bytes as usize).map_err(lacking)?;
                Ok(bytes as usize)
            }
            Reply::Refused(code) => Err(code),
            other => return Err(unexpected(&other)),
        };
        // What came out may be plaintext: the next message writes over it, or the process ends.
        let mut idle = self.memory();
        if idle.len() < KEPT {
            idle.push(memory);
        }
        Ok(used)
    }

    fn memory(&self) -> MutexGuard<'_, Vec<SharedMemory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mixes entropy into KeyMint's generator.
    pub(super) fn add_entropy(&self, entropy: &[u8]) -> Result<()> {
        let command = Command::AddEntropy { data: ByteBuf::from(entropy) };
        match self.call(&command)? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

/// Runs a command; a refusal is an answer.
pub(super) fn ask(session: &Session<KeyMint>, command: &Command) -> Result<Reply> {
    session.call(command).map_err(|error| unanswered(&error))
}

/// What an answer says that is not the one that was due.
pub(super) const fn unexpected(reply: &Reply) -> Rv {
    match reply {
        Reply::Refused(code) => broken_rule(*code),
        _ => Rv(CKR_DEVICE_ERROR),
    }
}
