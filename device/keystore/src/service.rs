//! The service: what it is put together from, and what happens to it as a whole.

use crate::audit::{self, Chain, Event, What};
use crate::caller::Caller;
use crate::database::Database;
use crate::enforcement::Time;
use crate::error::Error;
use crate::operations::Operations;
use crate::rows;
use crate::super_key::SuperKeys;
use crate::tokens::Tokens;
use crypto::kdf::hkdf_sha256;
use crypto::secret::Secret;
use effects::{Clock, Entropy};
use keymint::{ErrorCode, HardwareAuthToken};
use keystore_client::api::{AuditPage, MAX_PAGE, Namespace, OperationId};
use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tee_api::TeeError;
use tee_api::clock::SecureTime;
use tee_api::keymint::{Command, Reply, Ticket};

/// Where the public half of the unlock key is kept.
const UNLOCK_PUBLIC: &str = "unlock key";
/// Tickets that are remembered, to close them; KeyMint has room for fewer.
const TICKETS: usize = 256;

/// The TEE, as far as the keystore needs it. Calls block.
pub trait Tee: Send + Sync {
    /// Calls KeyMint.
    fn keymint(&self, command: Command) -> Result<Reply, TeeError>;
    /// What the secure clock says.
    fn time(&self) -> Result<SecureTime, TeeError>;
    /// The secure id of who set the screen lock; `None` without one.
    fn secure_user_id(&self) -> Result<Option<u64>, TeeError>;
}

/// What a keystore is put together from.
pub struct Parts {
    /// The TEE.
    pub tee: Arc<dyn Tee>,
    /// The system's clock.
    pub clock: Arc<dyn Clock>,
    /// Numbers of keys and grants come from here.
    pub entropy: Arc<dyn Entropy>,
}

/// The service.
pub struct Keystore {
    pub(crate) parts: Parts,
    pub(crate) db: Database,
    audit_key: Secret<32>,
    live: Mutex<Live>,
}

/// What is gone with the power.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) super_keys: SuperKeys,
    pub(crate) tokens: Tokens,
    pub(crate) operations: Operations,
    /// Who may use which key at the TEE itself, the oldest first.
    pub(crate) tickets: VecDeque<Issued>,
}

/// A ticket that was given.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) key: u64,
    pub(crate) to: Namespace,
    pub(crate) ticket: Ticket,
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystore").field("db", &self.db).finish_non_exhaustive()
    }
}

impl Keystore {
    /// Opens the keystore whose database is at `path`, or makes it. `device_key` is that of the
    /// device-encrypted area.
    pub fn open(path: &Path, device_key: &Secret<32>, parts: Parts) -> Result<Self, Error> {
        let audit_key = hkdf_sha256(device_key.expose(), b"holdfast keystore", &[b"audit"]);
        let db = Database::open(path, &audit_key)?;
        let public = db.read(async |db| rows::meta(db, UNLOCK_PUBLIC).await)?;
        let super_keys = SuperKeys::locked(public.as_deref());
        let live = Mutex::new(Live { super_keys, ..Live::default() });
        let keystore = Self { parts, db, audit_key, live };
        keystore.reap();
        Ok(keystore)
    }

    /// The device was unlocked: `synthetic` derives from the synthetic password, `token` is what
    /// gatekeeper said to it.
    pub fn unlocked(&self, synthetic: &Secret<32>, token: &[u8]) -> Result<(), Error> {
        let public = self.live().super_keys.unlock(synthetic)?;
        if let Ok(token) = HardwareAuthToken::from_bytes(token) {
            let now = self.parts.clock.monotonic();
            self.live().tokens.add(token, now);
        }
        if let Some(public) = public {
            self.db.write(move |on| {
                on.run(async |db| rows::set_meta(db, UNLOCK_PUBLIC, &public).await)
            })?;
        }
        self.reap();
        Ok(())
    }

    /// The device was locked: keys that need it unlocked can't be read any more, and what was
    /// begun with one ends.
    pub fn locked(&self) {
        let ended = {
            let mut live = self.live();
            live.super_keys.lock();
            live.operations.end_with_unlocked()
        };
        ended.into_iter().for_each(|operation| self.abort_quietly(operation));
        // Where KeyMint knows no lock, the keystore's own is all there is.
        let _ = self.parts.tee.keymint(Command::DeviceLocked { password_only: false });
    }

    /// Takes a hardware auth token, from the system's authenticators.
    pub fn add_token(&self, caller: &Caller, token: &[u8]) -> Result<(), Error> {
        caller.must_be_system()?;
        self.log(Event::new(self.parts.clock.now(), &caller.namespace, What::AuthToken, 0))?;
        self.authenticated(token)
    }

    /// Takes what gatekeeper said for an operation.
    pub fn authenticated(&self, token: &[u8]) -> Result<(), Error> {
        let token = HardwareAuthToken::from_bytes(token)
            .map_err(|error| Error::malformed(error.to_string()))?;
        let now = self.parts.clock.monotonic();
        self.live().tokens.add(token, now);
        Ok(())
    }

    /// Refuses where the operation is not the caller's.
    pub fn must_own(&self, caller: &Caller, id: OperationId) -> Result<(), Error> {
        self.live().operations.must_own(id.0, &caller.namespace)
    }

    /// A page of the audit log, the oldest first, and whether it was altered.
    pub fn audit(&self, caller: &Caller, after: u64, limit: usize) -> Result<AuditPage, Error> {
        caller.must_be_system()?;
        let limit = limit.clamp(1, MAX_PAGE);
        let (before, lines) = self.db.read(async move |db| audit::lines(db, after, limit).await)?;
        let intact = Chain::verifier(&self.audit_key)(&before, &lines);
        let next = lines.last().filter(|_| lines.len() == limit).map(|line| line.number);
        Ok(AuditPage { lines, intact, next })
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls KeyMint; a refusal by one of its rules is an error.
    pub(crate) fn keymint(&self, command: Command) -> Result<Reply, Error> {
        match self.parts.tee.keymint(command)? {
            Reply::Refused(code) => Err(code.into()),
            reply => Ok(reply),
        }
    }

    /// Writes a line of the audit log; it is durable when this returns.
    pub(crate) fn log(&self, event: Event<'_>) -> Result<(), Error> {
        let line = event.line();
        self.db.write(move |on| on.append(&line))
    }

    pub(crate) fn time(&self) -> Time {
        Time { secure: self.parts.tee.time().ok(), system_ms: self.parts.clock.now().0 }
    }

    /// A number that no other key or grant has, but for once in 2⁶⁴.
    pub(crate) fn fresh_id(&self) -> u64 {
        u64::from_be_bytes(effects::random_array(&*self.parts.entropy))
    }

    pub(crate) fn abort_quietly(&self, operation: u64) {
        // What is gone already needs no end.
        let _ = self.parts.tee.keymint(Command::Abort { operation });
    }

    /// Remembers a ticket, to close it when its key is nobody's or its user's no more.
    pub(crate) fn issue(&self, issued: Issued) {
        let mut live = self.live();
        live.tickets.push_back(issued);
        while live.tickets.len() > TICKETS {
            live.tickets.pop_front();
        }
    }

    /// Closes the tickets that fit.
    pub(crate) fn close_tickets(&self, fits: impl Fn(&Issued) -> bool) {
        let closed: Vec<Ticket> = {
            let mut live = self.live();
            let (closed, kept) = live.tickets.drain(..).partition::<Vec<_>, _>(|it| fits(it));
            live.tickets = kept.into();
            closed.into_iter().map(|issued| issued.ticket).collect()
        };
        for ticket in closed {
            let _ = self.parts.tee.keymint(Command::Close { ticket });
        }
    }

    /// Has the TEE delete what nobody has any more. What does not work now is tried again at the
    /// next start, unlock or deletion.
    pub(crate) fn reap(&self) {
        let doomed = self.db.read(async |db| rows::doomed(db).await);
        for (id, sealed) in doomed.unwrap_or_default() {
            if let Err(error) = self.reap_one(id, &sealed) {
                tracing::warn!(key = format!("{id:016x}"), %error, "a deleted key waits for the TEE");
            }
        }
    }

    fn reap_one(&self, id: u64, sealed: &rows::Sealed) -> Result<(), Error> {
        let blob = match self.live().super_keys.open(id, sealed) {
            Ok(blob) => blob,
            // Waits for the next unlock.
            Err(error) if error.is(keystore_client::KeystoreCode::Locked) => return Ok(()),
            Err(error) => return Err(error),
        };
        match self.keymint(Command::DeleteKey { blob: blob.to_vec().into() }) {
            // A blob that opens no more is as good as deleted.
            Err(error) if !error.is(ErrorCode::InvalidKeyBlob) => return Err(error),
            _ => {}
        }
        self.db.post(move |on| on.run(async |db| rows::forget_doomed(db, id).await));
        Ok(())
    }
}
