//! Secure storage: this TA's own objects.

use super::{Context, unexpected};
use board::channel;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;
use tee_api::TeeError;
use tee_api::storage::{Answer, Call, Change, MAX_CALL_BYTES, Placement};
use tee_api::ta::{Syscall, SyscallReply};
use zeroize::Zeroizing;

/// Changes to secure storage that happen all or not at all, in this order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// Creates or replaces an object.
    #[must_use]
    pub fn put(self, name: &str, content: &[u8]) -> Self {
        self.and(Change::Put { name: name.to_owned(), content: ByteBuf::from(content) })
    }

    /// Creates or replaces an object that holds `record` as CBOR.
    pub fn put_record<T: Serialize>(self, name: &str, record: &T) -> Result<Self, TeeError> {
        Ok(self.put(name, &encode(record)?))
    }

    /// Writes into an object that there is; at most at its end.
    #[must_use]
    pub fn write(self, name: &str, offset: u32, content: &[u8]) -> Self {
        let content = ByteBuf::from(content);
        self.and(Change::Write { name: name.to_owned(), offset, content })
    }

    /// Cuts an object off.
    #[must_use]
    pub fn truncate(self, name: &str, size: u32) -> Self {
        self.and(Change::Truncate { name: name.to_owned(), size })
    }

    /// Deletes an object; a missing one is no error.
    #[must_use]
    pub fn delete(self, name: &str) -> Self {
        self.and(Change::Delete { name: name.to_owned() })
    }

    /// Gives an object another name; one that has that name already goes. Writing a large
    /// object under a name of its own and renaming it replaces the old one in one step.
    #[must_use]
    pub fn rename(self, from: &str, to: &str) -> Self {
        self.and(Change::Rename { from: from.to_owned(), to: to.to_owned() })
    }

    fn and(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }
}

/// This TA's objects in one placement. What changes is durable when a call returns.
pub struct Storage<'c, 'os> {
    context: &'c mut Context<'os>,
    placement: Placement,
}

impl Storage<'_, '_> {
    /// A whole object; `None` where there is none of that name.
    pub fn get(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, TeeError> {
        let mut content = match self.read(name, 0, MAX_CALL_BYTES) {
            Ok(content) => content,
            Err(TeeError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Only an object that fills a call may have more.
        while content.len() % MAX_CALL_BYTES as usize == 0 && !content.is_empty() {
            let more = self.read(name, content.len() as u32, MAX_CALL_BYTES)?;
            if more.is_empty() {
                break;
            }
            content.extend_from_slice(&more);
        }
        Ok(Some(content))
    }

    /// An object's bytes from `offset` on: `length`, or fewer where it ends, or 64 KiB.
    pub fn read(
        &mut self,
        name: &str,
        offset: u32,
        length: u32,
    ) -> Result<Zeroizing<Vec<u8>>, TeeError> {
        let (placement, name) = (self.placement, name.to_owned());
        match self.context.storage_call(Call::Read { placement, name, offset, length })? {
            Answer::Bytes(bytes) => Ok(Zeroizing::new(bytes.into_vec())),
            other => Err(foreign(other)),
        }
    }

    /// How large an object is; `None` where there is none of that name.
    pub fn size(&mut self, name: &str) -> Result<Option<u32>, TeeError> {
        let (placement, name) = (self.placement, name.to_owned());
        match self.context.storage_call(Call::Size { placement, name }) {
            Ok(Answer::Size(bytes)) => Ok(Some(bytes)),
            Ok(other) => Err(foreign(other)),
            Err(TeeError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of this TA's objects behind `after`, sorted, some at a time; none at the end.
    pub fn list(&mut self, after: Option<&str>) -> Result<Vec<String>, TeeError> {
        let (placement, after) = (self.placement, after.map(str::to_owned));
        match self.context.storage_call(Call::List { placement, after })? {
            Answer::Names(names) => Ok(names),
            other => Err(foreign(other)),
        }
    }

    /// Makes all changes of `batch`, or none.
    pub fn commit(&mut self, batch: Batch) -> Result<(), TeeError> {
        let (placement, changes) = (self.placement, batch.changes);
        match self.context.storage_call(Call::Commit { placement, changes })? {
            Answer::Done => Ok(()),
            other => Err(foreign(other)),
        }
    }

    /// Creates or replaces an object.
    pub fn put(&mut self, name: &str, content: &[u8]) -> Result<(), TeeError> {
        self.commit(Batch::default().put(name, content))
    }

    /// Deletes an object; a missing one is no error.
    pub fn delete(&mut self, name: &str) -> Result<(), TeeError> {
        self.commit(Batch::default().delete(name))
    }

    /// An object that holds a record; `None` where there is none of that name, `Security` where
    /// it holds something else.
    pub fn record<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, TeeError> {
        let bytes = self.get(name)?;
        let decode = |bytes: Zeroizing<Vec<u8>>| {
            channel::decode(&bytes)
                .map_err(|error| TeeError::Security(format!("object {name}: {error}")))
        };
        bytes.map(decode).transpose()
    }

    /// Creates or replaces an object that holds `record` as CBOR.
    pub fn put_record<T: Serialize>(&mut self, name: &str, record: &T) -> Result<(), TeeError> {
        self.put(name, &encode(record)?)
    }
}

impl<'os> Context<'os> {
    /// This TA's objects in `placement`.
    pub const fn storage(&mut self, placement: Placement) -> Storage<'_, 'os> {
        Storage { context: self, placement }
    }

    /// Forgets the objects of all TAs in the system's files, for good. Gatekeeper only.
    pub fn erase_all_storage(&mut self) -> Result<(), TeeError> {
        self.storage_call(Call::EraseAll).map(drop)
    }

    /// An object in RPMB; `None` where there is none of that name.
    pub fn storage_get(&mut self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, TeeError> {
        self.storage(Placement::Rpmb).get(name)
    }

    /// Creates or replaces an object in RPMB. Names have at most 64 bytes, contents at most
    /// 16 KiB.
    pub fn storage_put(&mut self, name: &str, content: &[u8]) -> Result<(), TeeError> {
        self.storage(Placement::Rpmb).put(name, content)
    }

    /// An object in RPMB that holds a record, as [`Storage::record`].
    pub fn record_get<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, TeeError> {
        self.storage(Placement::Rpmb).record(name)
    }

    /// Creates or replaces an object in RPMB that holds `record` as CBOR.
    pub fn record_put<T: Serialize>(&mut self, name: &str, record: &T) -> Result<(), TeeError> {
        self.storage(Placement::Rpmb).put_record(name, record)
    }

    /// Deletes objects in RPMB, all or none; the space is overwritten. Missing ones are no error.
    pub fn storage_delete(&mut self, names: &[&str]) -> Result<(), TeeError> {
        self.storage_commit(names.iter().fold(Batch::default(), |batch, name| batch.delete(name)))
    }

    /// Changes objects in RPMB, all or none; the space of what went is overwritten.
    pub fn storage_commit(&mut self, batch: Batch) -> Result<(), TeeError> {
        self.storage(Placement::Rpmb).commit(batch)
    }

    fn storage_call(&mut self, call: Call) -> Result<Answer, TeeError> {
        match self.call(Syscall::Storage(call))? {
            SyscallReply::Storage(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }
}

fn foreign(answer: Answer) -> TeeError {
    unexpected(&SyscallReply::Storage(answer))
}

fn encode<T: Serialize>(record: &T) -> Result<Zeroizing<Vec<u8>>, TeeError> {
    channel::encode(record)
        .map(Zeroizing::new)
        .map_err(|error| TeeError::Resources(format!("a record: {error}")))
}
