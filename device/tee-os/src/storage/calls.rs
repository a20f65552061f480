//! What TAs ask of storage, and what comes of it.

use super::files::for_keeper;
use super::{Changes, Owner, SecureStorage, StorageError};
use crate::os::Os;
use crate::syscalls::Answer as Goes;
use secure_storage::{Change as FileChange, Error, Operation, Outcome, Quota, Reply, Request};
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;
use tee_api::storage::{Answer, Call, Change, MAX_CALL_BYTES, Placement, changed_objects};
use tee_api::ta::SyscallReply;
use tee_api::{TeeError, ree};
use zeroize::Zeroizing;

/// The most names that one listing gives.
const MAX_LISTED: usize = 64;

impl Os {
    /// A TA's call. What lies in RPMB is answered now, what lies in files later.
    pub(crate) fn storage_call(&mut self, at: usize, call: Call) -> Result<Goes, TeeError> {
        let owner = self.tas[at].identity.owner();
        let request = match call {
            Call::Commit { placement: Placement::Ree, changes } => {
                let objects = self.tas[at].program.limits.objects;
                let quota = Quota { objects, bytes: Placement::Ree.limits().bytes };
                Request::Change { quota, changes: changes.into_iter().map(file_change).collect() }
            }
            Call::Read { placement: Placement::Ree, name, offset, length } => {
                Request::Read { name, offset, length }
            }
            Call::Size { placement: Placement::Ree, name } => Request::Size { name },
            Call::List { placement: Placement::Ree, after } => Request::List { after },
            Call::EraseAll => Request::EraseAll,
            in_rpmb => {
                let storage = self.storage.as_mut().map_err(|error| error.clone())?;
                let answer = storage.call(owner, in_rpmb)?;
                return Ok(Goes::Now(SyscallReply::Storage(answer)));
            }
        };
        let ticket = self.files.ticket(at);
        self.files.service.submit(ticket, owner, request);
        self.run_files();
        Ok(Goes::Later)
    }

    /// Lets the engine go on as far as it can: answers go to TAs, operations to RPMB and to the
    /// keeper.
    pub(crate) fn run_files(&mut self) {
        loop {
            while let Some((ticket, answer)) = self.files.service.answer() {
                if let Some(at) = self.files.redeem(ticket) {
                    self.answer(at, syscall_reply(answer));
                }
            }
            let Some(operation) = self.files.service.operation() else { return };
            match operation {
                Operation::LoadAnchor => {
                    let block =
                        self.storage.as_ref().map_err(ToString::to_string).and_then(|storage| {
                            storage.anchor().map_err(|error| error.to_string())
                        });
                    let loaded = |block| Outcome::Anchor(Box::new(block));
                    self.files.service.complete(block.map_or_else(anchor_failed, loaded));
                }
                Operation::StoreAnchor(block) => {
                    let stored = self.storage.as_mut().map_err(|error| error.to_string()).and_then(
                        |storage| storage.set_anchor(&block).map_err(|error| error.to_string()),
                    );
                    let done = |()| Outcome::Done;
                    self.files.service.complete(stored.map_or_else(anchor_failed, done));
                }
                for_files => self.ask_keeper(for_files),
            }
        }
    }

    fn ask_keeper(&mut self, operation: Operation) {
        let unreachable = Outcome::Failed(secure_storage::FileError::Unreachable);
        let (Some(keeper), Some(operation)) = (self.files.keeper(), for_keeper(operation)) else {
            return self.files.service.complete(unreachable);
        };
        let number = self.files.ask();
        // One that does not take it is gone with its connection, and what it was asked fails.
        self.reply(keeper, &ree::Reply::File { number, operation });
    }
}

fn anchor_failed(why: String) -> Outcome {
    Outcome::AnchorFailed(secure_storage::AnchorError(why))
}

fn file_change(change: Change) -> FileChange {
    let content = |bytes: ByteBuf| Zeroizing::new(bytes.into_vec());
    match change {
        Change::Put { name, content: bytes } => FileChange::Put { name, content: content(bytes) },
        Change::Write { name, offset, content: bytes } => {
            FileChange::Write { name, offset, content: content(bytes) }
        }
        Change::Truncate { name, size } => FileChange::Truncate { name, size },
        Change::Delete { name } => FileChange::Delete { name },
        Change::Rename { from, to } => FileChange::Rename { from, to },
    }
}

fn syscall_reply(answer: Result<Reply, Error>) -> SyscallReply {
    match answer {
        Ok(Reply::Done) => SyscallReply::Storage(Answer::Done),
        Ok(Reply::Bytes(bytes)) => {
            SyscallReply::Storage(Answer::Bytes(ByteBuf::from(bytes.to_vec())))
        }
        Ok(Reply::Size(bytes)) => SyscallReply::Storage(Answer::Size(bytes)),
        Ok(Reply::Names(names)) => SyscallReply::Storage(Answer::Names(names)),
        Err(error) => SyscallReply::Refused(refused(error)),
    }
}

fn refused(error: Error) -> TeeError {
    let text = error.to_string();
    match error {
        Error::NotFound(name) => TeeError::NotFound(name),
        Error::Parameters(_) => TeeError::BadParameters(text),
        Error::Quota(_) | Error::DiskFull => TeeError::Resources(text),
        Error::Security(_) => {
            // Whoever keeps the files did this, or lost them: the log says so, too.
            eprintln!("tee-os: {text}");
            TeeError::Security(text)
        }
        _ => TeeError::Communication(text),
    }
}

impl SecureStorage {
    /// Answers a call about objects in RPMB.
    fn call(&mut self, owner: Owner, call: Call) -> Result<Answer, TeeError> {
        match call {
            Call::Commit { placement, changes } => {
                let load = |name: &str| match self.get(owner, name) {
                    Ok(content) => Ok(Some(content.to_vec())),
                    Err(StorageError::NotFound(_)) => Ok(None),
                    Err(error) => Err(error.into()),
                };
                let changed = changed_objects(placement, changes, load)?;
                self.check_limits(owner, placement, &changed)?;
                let mut made = Changes::default();
                for (name, content) in changed {
                    match content {
                        Some(content) => made.put.push((name, Zeroizing::new(content))),
                        None => made.delete.push(name),
                    }
                }
                self.commit(owner, &made)?;
                Ok(Answer::Done)
            }
            Call::Read { name, offset, length, .. } => {
                let content = self.get(owner, &name)?;
                let rest = content.get(offset as usize..).unwrap_or_default();
                let length = rest.len().min(length.min(MAX_CALL_BYTES) as usize);
                Ok(Answer::Bytes(ByteBuf::from(&rest[..length])))
            }
            Call::Size { name, .. } => Ok(Answer::Size(self.size(owner, &name)?)),
            Call::List { after, .. } => {
                let names = self.objects(owner).map(|(name, _)| name);
                let behind = names.filter(|name| after.as_deref().is_none_or(|it| *name > it));
                Ok(Answer::Names(behind.take(MAX_LISTED).map(str::to_owned).collect()))
            }
            Call::EraseAll => Err(TeeError::BadParameters("RPMB is not erased".into())),
        }
    }

    /// Whether `owner` may have what it would have then.
    fn check_limits(
        &self,
        owner: Owner,
        placement: Placement,
        changed: &BTreeMap<String, Option<Vec<u8>>>,
    ) -> Result<(), TeeError> {
        let limits = placement.limits();
        let stay = self.objects(owner).filter(|(name, _)| !changed.contains_key(*name));
        let stay = stay.map(|(_, bytes)| u64::from(bytes));
        let come = changed.values().flatten().map(|content| content.len() as u64);
        let (objects, bytes) = stay.chain(come).fold((0, 0), |(n, sum), it| (n + 1, sum + it));
        if changed.values().any(Option::is_some)
            && (objects > limits.objects || bytes > limits.bytes)
        {
            let reason = "this trusted application has no room for more in RPMB";
            return Err(TeeError::Resources(reason.into()));
        }
        Ok(())
    }
}
