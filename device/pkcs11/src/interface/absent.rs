//! Functions that this module does not have: messages in parts under a key that stays chosen, and the
//! parallel sessions of old.

use crate::border::guard;
use crate::error::{Result, fail};
use crate::module::Module;
use cryptoki_sys::*;

/// What a parameter points to, of a function that looks at none.
type Any = *mut std::ffi::c_void;
type Bytes = *mut CK_BYTE;
type Length = *mut CK_ULONG;

fn absent(session: CK_SESSION_HANDLE, code: CK_RV) -> Result<()> {
    Module::get()?.session(session)?;
    fail(code)
}

macro_rules! absent {
    ($code:ident: $($name:ident($($type:ty),*);)*) => {$(
        /// Not supported.
        ///
        /// # Safety
        /// Reads nothing.
        #[allow(non_snake_case)]
        pub(crate) unsafe extern "C" fn $name(session: CK_SESSION_HANDLE, $(_: $type),*) -> CK_RV {
            guard(|| absent(session, $code))
        }
    )*};
}

absent! {
    CKR_FUNCTION_NOT_PARALLEL:
    C_GetFunctionStatus();
    C_CancelFunction();
}

absent! {
    CKR_FUNCTION_NOT_SUPPORTED:
    C_EncryptMessageBegin(Any, CK_ULONG, Bytes, CK_ULONG);
    C_EncryptMessageNext(Any, CK_ULONG, Bytes, CK_ULONG, Bytes, Length, CK_FLAGS);
    C_DecryptMessageBegin(Any, CK_ULONG, Bytes, CK_ULONG);
    C_DecryptMessageNext(Any, CK_ULONG, Bytes, CK_ULONG, Bytes, Length, CK_FLAGS);
    C_SignMessageBegin(Any, CK_ULONG);
    C_SignMessageNext(Any, CK_ULONG, Bytes, CK_ULONG, Bytes, Length);
    C_VerifyMessageBegin(Any, CK_ULONG);
    C_VerifyMessageNext(Any, CK_ULONG, Bytes, CK_ULONG, Bytes, CK_ULONG);
}
