//! Sessions and logins (PKCS #11 3.0, 5.6).

use crate::border::{Output, functions, pin, place};
use crate::error::{Result, Rv, ensure, fail};
use crate::module::{Module, SLOT};
use crate::session::Session;
use crate::token::Role;
use cryptoki_sys::*;

functions! {
    /// `C_OpenSession` (5.6.1).
    fn C_OpenSession(
        slot: CK_SLOT_ID,
        flags: CK_FLAGS,
        _application: *mut std::ffi::c_void,
        _notify: CK_NOTIFY,
        session: *mut CK_SESSION_HANDLE,
    ) {
        let module = Module::slot(slot)?;
        let session = place(session)?;
        ensure(flags & CKF_SERIAL_SESSION != 0, CKR_SESSION_PARALLEL_NOT_SUPPORTED)?;
        // A session at a device that is off would be one with nothing.
        ensure(module.token.is_present(), CKR_TOKEN_NOT_PRESENT)?;
        *session = module.open_session(flags & CKF_RW_SESSION != 0)?;
        Ok(())
    }

    /// `C_CloseSession` (5.6.2).
    fn C_CloseSession(session: CK_SESSION_HANDLE) {
        Module::get()?.close_session(session)
    }

    /// `C_CloseAllSessions` (5.6.3).
    fn C_CloseAllSessions(slot: CK_SLOT_ID) {
        Module::slot(slot)?.close_all();
        Ok(())
    }

    /// `C_GetSessionInfo` (5.6.4).
    fn C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) {
        let module = Module::get()?;
        let session = module.session(session)?;
        let state = match (module.role(), session.writes) {
            (None, false) => CKS_RO_PUBLIC_SESSION,
            (None, true) => CKS_RW_PUBLIC_SESSION,
            (Some(Role::User), false) => CKS_RO_USER_FUNCTIONS,
            (Some(Role::User), true) => CKS_RW_USER_FUNCTIONS,
            (Some(Role::Officer), _) => CKS_RW_SO_FUNCTIONS,
        };
        let writes = if session.writes { CKF_RW_SESSION } else { 0 };
        *place(info)? = CK_SESSION_INFO {
            slotID: SLOT,
            state,
            flags: CKF_SERIAL_SESSION | writes,
            ulDeviceError: 0,
        };
        Ok(())
    }

    /// `C_SessionCancel` (5.6.8).
    fn C_SessionCancel(session: CK_SESSION_HANDLE, flags: CK_FLAGS) {
        Module::get()?.session(session)?.cancel(flags);
        Ok(())
    }

    /// `C_GetOperationState` (5.6.5).
    fn C_GetOperationState(
        session: CK_SESSION_HANDLE,
        state: *mut CK_BYTE,
        length: *mut CK_ULONG,
    ) {
        Module::get()?.session(session)?;
        Output::new(state, length)?;
        // The state of what goes on in the TEE stays there.
        fail(CKR_STATE_UNSAVEABLE)
    }

    /// `C_SetOperationState` (5.6.6).
    fn C_SetOperationState(
        session: CK_SESSION_HANDLE,
        _state: *mut CK_BYTE,
        _length: CK_ULONG,
        _encryption: CK_OBJECT_HANDLE,
        _authentication: CK_OBJECT_HANDLE,
    ) {
        Module::get()?.session(session)?;
        fail(CKR_SAVED_STATE_INVALID)
    }

    /// `C_Login` (5.6.7).
    fn C_Login(
        session: CK_SESSION_HANDLE,
        user: CK_USER_TYPE,
        secret: *mut CK_UTF8CHAR,
        length: CK_ULONG,
    ) {
        log_in(session, user, pin(secret, length)?)
    }

    /// `C_LoginUser` (5.6.9): there is one user, who has no name.
    fn C_LoginUser(
        session: CK_SESSION_HANDLE,
        user: CK_USER_TYPE,
        secret: *mut CK_UTF8CHAR,
        length: CK_ULONG,
        _name: *mut CK_UTF8CHAR,
        name_length: CK_ULONG,
    ) {
        ensure(name_length == 0, CKR_ARGUMENTS_BAD)?;
        log_in(session, user, pin(secret, length)?)
    }

    /// `C_Logout` (5.6.10).
    fn C_Logout(session: CK_SESSION_HANDLE) {
        let module = Module::get()?;
        module.session(session)?;
        module.log_out()
    }
}

fn log_in(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: Option<&[u8]>) -> Result<()> {
    let module = Module::get()?;
    let session = module.session(session)?;
    let role = match user {
        CKU_SO => Role::Officer,
        CKU_USER => Role::User,
        CKU_CONTEXT_SPECIFIC => return log_in_once(module, &session, pin),
        _ => return fail(CKR_USER_TYPE_INVALID),
    };
    module.log_in(role, pin)
}

/// A login for the operation that waits for one.
fn log_in_once(module: &Module, session: &Session, pin: Option<&[u8]>) -> Result<()> {
    let mut operations = session.operations();
    let active = operations.waiting_for_login().ok_or(Rv(CKR_OPERATION_NOT_INITIALIZED))?;
    ensure(module.role() == Some(Role::User), CKR_USER_NOT_LOGGED_IN)?;
    module.token.log_in(Role::User, pin)?;
    active.wants_login = false;
    Ok(())
}
