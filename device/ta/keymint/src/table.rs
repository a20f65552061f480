//! The operations in progress and the opened keys, each with its limit.

use crate::authentication::Due;
use crate::open_key::OpenKey;
use crate::operation::Work;
use keymint::{ErrorCode, HardwareAuthToken};
use std::collections::BTreeMap;
use std::rc::Rc;
use tee_api::keymint::{MAX_OPERATIONS, MAX_TICKETS, Ticket};
use tee_sdk::{Identity, Login, Zeroizing};

/// Who calls, as far as fairness goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    /// Somebody.
    Anyone,
    /// A user of the system.
    User(u32),
    /// Another trusted application.
    Application(Identity),
}

impl Caller {
    /// The user behind a session.
    pub(crate) const fn of(login: &Login) -> Self {
        match login {
            Login::Public => Self::Anyone,
            Login::User { uid } | Login::Application { uid, .. } => Self::User(*uid),
            Login::TrustedApplication(identity) => Self::Application(*identity),
        }
    }
}

/// An operation in progress.
pub(crate) struct InProgress {
    pub(crate) session: u32,
    pub(crate) caller: Caller,
    pub(crate) key: Rc<OpenKey>,
    pub(crate) work: Work,
    /// What is due before its end.
    pub(crate) due: Due,
    /// The message so far, where a person must have confirmed it.
    pub(crate) message: Option<Zeroizing<Vec<u8>>>,
    /// When it was touched last, in the order of touches.
    touched: u64,
}

/// The operations in progress.
#[derive(Default)]
pub(crate) struct Operations {
    running: BTreeMap<u64, InProgress>,
    touches: u64,
}

impl Operations {
    /// Makes room for one more of `caller`. Whoever has the most operations loses the one that
    /// was touched least recently; where that is the caller itself, it has to end one of its own.
    pub(crate) fn make_room(&mut self, caller: &Caller) -> Result<(), ErrorCode> {
        if self.running.len() < MAX_OPERATIONS {
            return Ok(());
        }
        let mut counts = BTreeMap::<&Caller, usize>::new();
        *counts.entry(caller).or_default() += 1;
        for operation in self.running.values() {
            *counts.entry(&operation.caller).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or_default();
        if counts.get(caller) == Some(&most) {
            return Err(ErrorCode::TooManyOperations);
        }
        let victim = self
            .running
            .iter()
            .filter(|(_, it)| counts.get(&it.caller) == Some(&most))
            .min_by_key(|(_, it)| it.touched)
            .map(|(handle, _)| *handle);
        let victim = victim.ok_or(ErrorCode::TooManyOperations)?;
        self.running.remove(&victim);
        Ok(())
    }

    /// Adds an operation under `handle`.
    pub(crate) fn add(
        &mut self,
        handle: u64,
        session: u32,
        caller: Caller,
        key: Rc<OpenKey>,
        (work, due): (Work, Due),
    ) {
        let message = key.header.hardware.trusted_confirmation_required.then(Zeroizing::default);
        self.touches += 1;
        let touched = self.touches;
        let operation = InProgress { session, caller, key, work, due, message, touched };
        self.running.insert(handle, operation);
    }

    /// Whether there is an operation of that name, whoever's.
    pub(crate) fn has(&self, handle: u64) -> bool {
        self.running.contains_key(&handle)
    }

    /// Takes an operation of `session` out: it goes back with [`Operations::put_back`], or it is
    /// over.
    pub(crate) fn take(&mut self, handle: u64, session: u32) -> Result<InProgress, ErrorCode> {
        match self.running.get(&handle) {
            Some(operation) if operation.session == session => {
                self.running.remove(&handle).ok_or(ErrorCode::InvalidOperationHandle)
            }
            _ => Err(ErrorCode::InvalidOperationHandle),
        }
    }

    /// The operation goes on.
    pub(crate) fn put_back(&mut self, handle: u64, mut operation: InProgress) {
        self.touches += 1;
        operation.touched = self.touches;
        self.running.insert(handle, operation);
    }

    /// Ends the operations of a session.
    pub(crate) fn end_session(&mut self, session: u32) {
        self.running.retain(|_, operation| operation.session != session);
    }

    /// Ends the operations with a key.
    pub(crate) fn end_key(&mut self, id: &[u8; 16]) {
        self.running.retain(|_, operation| operation.key.header.id != *id);
    }

    /// Ends all operations.
    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }
}

/// An opened key.
pub(crate) struct Opened {
    pub(crate) key: Rc<OpenKey>,
    /// Whose sessions may use it.
    pub(crate) user: u32,
    /// Who opened it.
    opener: Caller,
    /// Counts for uses that come without a token.
    pub(crate) token: Option<HardwareAuthToken>,
    touched: u64,
}

/// The opened keys.
#[derive(Default)]
pub(crate) struct Tickets {
    opened: BTreeMap<Ticket, Opened>,
    touches: u64,
}

impl Tickets {
    /// Adds a key; beyond the limit the one that was used least recently goes.
    pub(crate) fn add(
        &mut self,
        ticket: Ticket,
        key: Rc<OpenKey>,
        (user, opener): (u32, Caller),
        token: Option<HardwareAuthToken>,
    ) {
        if self.opened.len() >= MAX_TICKETS {
            let oldest = self.opened.iter().min_by_key(|(_, it)| it.touched);
            if let Some(oldest) = oldest.map(|(ticket, _)| *ticket) {
                self.opened.remove(&oldest);
            }
        }
        self.touches += 1;
        let touched = self.touches;
        self.opened.insert(ticket, Opened { key, user, opener, token, touched });
    }

    /// The key, for a caller whom the ticket was made for. To anybody else it names nothing.
    pub(crate) fn get(&mut self, ticket: &Ticket, caller: &Caller) -> Result<&Opened, ErrorCode> {
        self.touches += 1;
        let opened = self.opened.get_mut(ticket);
        let opened = opened.filter(|opened| *caller == Caller::User(opened.user));
        let opened = opened.ok_or(ErrorCode::InvalidKeyBlob)?;
        opened.touched = self.touches;
        Ok(opened)
    }

    /// Closes a ticket, for its user and for who opened it.
    pub(crate) fn close(&mut self, ticket: &Ticket, caller: &Caller) {
        let may =
            |opened: &Opened| opened.opener == *caller || *caller == Caller::User(opened.user);
        if self.opened.get(ticket).is_some_and(may) {
            self.opened.remove(ticket);
        }
    }

    /// Closes the tickets of a key.
    pub(crate) fn end_key(&mut self, id: &[u8; 16]) {
        self.opened.retain(|_, opened| opened.key.header.id != *id);
    }

    /// Closes all tickets.
    pub(crate) fn clear(&mut self) {
        self.opened.clear();
    }
}
