//! Sessions.

use crate::error::{Result, ensure};
use crate::messages::{Sealing, Signing};
use crate::operation::{Active, Checking, Slot};
use cryptoki_sys::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A session.
pub(crate) struct Session {
    pub(crate) handle: CK_SESSION_HANDLE,
    /// It may change objects of the token.
    pub(crate) writes: bool,
    operations: Mutex<Operations>,
}

/// What a session is at. One operation of each kind may go on.
#[derive(Default)]
pub(crate) struct Operations {
    /// Handles that were found and not fetched, the next one last.
    pub(crate) found: Option<Vec<CK_OBJECT_HANDLE>>,
    pub(crate) digest: Slot,
    pub(crate) sign: Slot,
    pub(crate) verify: Option<Checking>,
    pub(crate) encrypt: Slot,
    pub(crate) decrypt: Slot,
    pub(crate) sign_recover: Slot,
    pub(crate) verify_recover: Slot,
    pub(crate) message_encrypt: Option<Sealing>,
    pub(crate) message_decrypt: Option<Sealing>,
    pub(crate) message_sign: Option<Signing>,
    pub(crate) message_verify: Option<Signing>,
}

impl Operations {
    /// An operation that waits for a login of its own.
    pub(crate) fn waiting_for_login(&mut self) -> Option<&mut Active> {
        let slots = [&mut self.sign, &mut self.decrypt, &mut self.sign_recover];
        slots.into_iter().flatten().find(|active| active.wants_login)
    }
}

impl Session {
    /// A session that was opened.
    pub(crate) fn new(handle: CK_SESSION_HANDLE, writes: bool) -> Self {
        Self { handle, writes, operations: Mutex::default() }
    }

    /// What it is at. Held over a call of the TEE: a session is one thread's at a time, others
    /// have their own.
    pub(crate) fn operations(&self) -> MutexGuard<'_, Operations> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all that it is at.
    pub(crate) fn cancel_all(&self) {
        *self.operations() = Operations::default();
    }

    /// Ends operations of these kinds (5.6.8, `C_SessionCancel`).
    pub(crate) fn cancel(&self, kinds: CK_FLAGS) {
        let mut operations = self.operations();
        let has = |flag| kinds & flag != 0;
        if has(CKF_FIND_OBJECTS) {
            operations.found = None;
        }
        if has(CKF_DIGEST) {
            operations.digest = None;
        }
        if has(CKF_SIGN) {
            operations.sign = None;
        }
        if has(CKF_VERIFY) {
            operations.verify = None;
        }
        if has(CKF_ENCRYPT) {
            operations.encrypt = None;
        }
        if has(CKF_DECRYPT) {
            operations.decrypt = None;
        }
        if has(CKF_SIGN_RECOVER) {
            operations.sign_recover = None;
        }
        if has(CKF_VERIFY_RECOVER) {
            operations.verify_recover = None;
        }
        if has(CKF_MESSAGE_ENCRYPT) {
            operations.message_encrypt = None;
        }
        if has(CKF_MESSAGE_DECRYPT) {
            operations.message_decrypt = None;
        }
        if has(CKF_MESSAGE_SIGN) {
            operations.message_sign = None;
        }
        if has(CKF_MESSAGE_VERIFY) {
            operations.message_verify = None;
        }
    }

    /// It may make or change this object.
    pub(crate) fn may_write(&self, in_token: bool) -> Result<()> {
        ensure(self.writes || !in_token, CKR_SESSION_READ_ONLY)
    }
}
