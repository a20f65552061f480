//! Objects in the system's files: the engine, and the programs of the system that keep the files.
//!
//! The first program that offered itself is asked, one operation at a time; when it is gone, the
//! next one. Nothing here waits: an operation goes out, its outcome comes in as a request on the
//! keeper's connection. A keeper that says something else, or nothing for too long, is let go.

use crate::secrets::{MasterSecrets, SecretBox};
use crate::uptime;
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use secure_storage::{FileError, FileId, Keys, Operation, Outcome, Owner, Service};
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use tee_api::keeper;

/// The most programs that wait to keep files.
const MAX_KEEPERS: usize = 4;
/// How long a keeper may take for one operation: a disk that is that slow is as good as none.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is on its way to the keeper.
struct Asked {
    number: u64,
    since: Duration,
}

/// The engine, and who keeps its files.
pub(crate) struct FileStorage {
    pub(crate) service: Service,
    /// The user whose programs may keep files.
    system_uid: u32,
    /// Which TA waits for which answer.
    waiting: BTreeMap<u64, usize>,
    next_ticket: u64,
    /// Connections, the one that is asked first.
    keepers: VecDeque<u64>,
    asked: Option<Asked>,
    next_number: u64,
}

impl FileStorage {
    /// With nobody who keeps files yet; programs of `system_uid` may.
    pub(crate) fn new(secrets: Rc<SecretBox<MasterSecrets>>, system_uid: u32) -> Self {
        Self {
            system_uid,
            service: Service::new(Rc::new(HukKeys(secrets))),
            waiting: BTreeMap::new(),
            next_ticket: 0,
            keepers: VecDeque::new(),
            asked: None,
            next_number: 0,
        }
    }

    /// Whether a program of this user may keep files. Another application would see when which
    /// file changes, and could hold all storage up.
    pub(crate) const fn may_keep(&self, uid: u32) -> bool {
        uid == self.system_uid
    }

    /// A ticket for a request of the TA at `ta`.
    pub(crate) fn ticket(&mut self, ta: usize) -> u64 {
        self.next_ticket += 1;
        self.waiting.insert(self.next_ticket, ta);
        self.next_ticket
    }

    /// The TA that waits for the answer with this ticket, unless it died meanwhile.
    pub(crate) fn redeem(&mut self, ticket: u64) -> Option<usize> {
        self.waiting.remove(&ticket)
    }

    /// The TA at `ta` died: nobody waits for what it asked.
    pub(crate) fn forget_ta(&mut self, ta: usize) {
        self.waiting.retain(|_, waits| *waits != ta);
    }

    /// Another connection offers to keep files; `false` where there are enough.
    pub(crate) fn add_keeper(&mut self, connection: u64) -> bool {
        if self.keepers.contains(&connection) {
            return true;
        }
        if self.keepers.len() >= MAX_KEEPERS {
            return false;
        }
        self.keepers.push_back(connection);
        if self.keepers.len() == 1 {
            self.service.keeper_changed();
        }
        true
    }

    /// A connection is gone. What it was asked will not be answered.
    pub(crate) fn remove_keeper(&mut self, connection: u64) {
        let was_asked = self.keepers.front() == Some(&connection);
        self.keepers.retain(|keeper| *keeper != connection);
        if was_asked {
            self.service.keeper_changed();
            if self.asked.take().is_some() {
                self.service.complete(Outcome::Failed(FileError::Unreachable));
            }
        }
    }

    /// Whether this connection keeps files, or waits to.
    pub(crate) fn is_keeper(&self, connection: u64) -> bool {
        self.keepers.contains(&connection)
    }

    /// Who is asked now.
    pub(crate) fn keeper(&self) -> Option<u64> {
        self.keepers.front().copied()
    }

    /// The number of an operation that goes to the keeper now.
    pub(crate) fn ask(&mut self) -> u64 {
        self.next_number += 1;
        self.asked = Some(Asked { number: self.next_number, since: uptime::now() });
        self.next_number
    }

    /// What `connection` says of operation `number`; `false` where it was not asked that.
    pub(crate) fn filed(&mut self, connection: u64, number: u64, outcome: keeper::Outcome) -> bool {
        let is_due = self.asked.as_ref().is_some_and(|asked| asked.number == number);
        if !is_due || self.keeper() != Some(connection) {
            return false;
        }
        self.asked = None;
        self.service.complete(from_keeper(outcome));
        true
    }

    /// How long the keeper has left; `None` where it was asked nothing.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.asked
            .as_ref()
            .map(|asked| PATIENCE.saturating_sub(uptime::now().saturating_sub(asked.since)))
    }
}

/// The operation for the keeper; `None` where it is not one for it.
pub(crate) fn for_keeper(operation: Operation) -> Option<keeper::Operation> {
    Some(match operation {
        Operation::Create { file, bytes } => keeper::Operation::Create { file: file.0, bytes },
        Operation::Write { file, offset, bytes, sync } => {
            let bytes = ByteBuf::from(bytes);
            keeper::Operation::Write { file: file.0, offset, bytes, sync }
        }
        Operation::Read { file, offset, length } => {
            keeper::Operation::Read { file: file.0, offset, length }
        }
        Operation::Remove { file } => keeper::Operation::Remove { file: file.0 },
        Operation::List => keeper::Operation::List,
        Operation::LoadAnchor | Operation::StoreAnchor(_) => return None,
    })
}

fn from_keeper(outcome: keeper::Outcome) -> Outcome {
    match outcome {
        keeper::Outcome::Done => Outcome::Done,
        keeper::Outcome::Bytes(bytes) => Outcome::Bytes(bytes.into_vec()),
        keeper::Outcome::Files(files) => Outcome::Files(files.into_iter().map(FileId).collect()),
        keeper::Outcome::Missing => Outcome::Failed(FileError::Missing),
        keeper::Outcome::Full => Outcome::Failed(FileError::Full),
        // What the system writes into its errors is not for a TA's eyes, nor for our log.
        keeper::Outcome::Failed(_) => {
            Outcome::Failed(FileError::Failed("the system could not do it".into()))
        }
    }
}

/// Keys from the HUK, by way of the OS's storage key.
struct HukKeys(Rc<SecretBox<MasterSecrets>>);

impl Keys for HukKeys {
    fn anchor_key(&self) -> Secret<32> {
        hkdf_sha256(&self.0.storage_key, &[], &[b"files/anchor"])
    }

    fn owner_key(&self, owner: &Owner) -> Secret<32> {
        hkdf_sha256(&self.0.storage_key, &[], &[b"files/owner", owner])
    }
}
