//! What the functions of all kinds of operations have in common.

use crate::error::{Result, ensure};
use crate::mechanism::Mechanism;
use cryptoki_sys::*;

/// Ends the operation in `slot` where the caller names no mechanism (3.0: `C_…Init` cancels).
///
/// # Safety
/// As [`Mechanism::read`].
pub(super) unsafe fn mechanism_or_cancel<T>(
    slot: &mut Option<T>,
    mechanism: *mut CK_MECHANISM,
) -> Result<Option<Mechanism>> {
    if mechanism.is_null() {
        return ensure(slot.take().is_some(), CKR_ARGUMENTS_BAD).map(|()| None);
    }
    ensure(slot.is_none(), CKR_OPERATION_ACTIVE)?;
    // SAFETY: the caller's promise.
    unsafe { Mechanism::read(mechanism) }.map(Some)
}

/// An operation goes on in a slot.
pub(super) fn started<T>(slot: &Option<T>) -> Result<()> {
    ensure(slot.is_some(), CKR_OPERATION_NOT_INITIALIZED)
}

/// A bad argument ends the operation (5.2: all errors but two do).
pub(super) fn checked<S, T>(slot: &mut Option<S>, argument: Result<T>) -> Result<T> {
    if argument.is_err() {
        *slot = None;
    }
    argument
}
