//! The lists of functions: 2.40's, 3.0's, and the interfaces that name them (PKCS #11 3.0, 5.4.4
//! to 5.4.6).

use super::absent::*;
use super::ciphers::*;
use super::digests::*;
use super::general::*;
use super::keys::*;
use super::messages::*;
use super::objects::*;
use super::sessions::*;
use super::signatures::*;
use crate::border::{guard, place};
use crate::error::{Result, ensure, fail};
use cryptoki_sys::*;
use std::cell::UnsafeCell;
use std::ffi::CStr;

macro_rules! list {
    ($list:ident, $version:expr; $($old:ident),* $(,)?; $($new:ident),* $(,)?) => {
        $list { version: $version, $($old: Some($old),)* $($new: Some($new),)* }
    };
}

/// Both lists have these functions; the newer one, those too.
macro_rules! lists {
    ($($old:ident),* $(,)?; $($new:ident),* $(,)?) => {
        const OLD: CK_FUNCTION_LIST = list!(CK_FUNCTION_LIST, VERSION_2_40; $($old),*;);
        const NEW: CK_FUNCTION_LIST_3_0 =
            list!(CK_FUNCTION_LIST_3_0, VERSION_3_0; $($old),*; $($new),*);
    };
}

const VERSION_2_40: CK_VERSION = CK_VERSION { major: 2, minor: 40 };
const VERSION_3_0: CK_VERSION = CK_VERSION { major: 3, minor: 0 };

lists! {
    C_Initialize, C_Finalize, C_GetInfo, C_GetFunctionList, C_GetSlotList, C_GetSlotInfo,
    C_GetTokenInfo, C_GetMechanismList, C_GetMechanismInfo, C_InitToken, C_InitPIN, C_SetPIN,
    C_OpenSession, C_CloseSession, C_CloseAllSessions, C_GetSessionInfo, C_GetOperationState,
    C_SetOperationState, C_Login, C_Logout, C_CreateObject, C_CopyObject, C_DestroyObject,
    C_GetObjectSize, C_GetAttributeValue, C_SetAttributeValue, C_FindObjectsInit,
    C_FindObjects, C_FindObjectsFinal, C_EncryptInit, C_Encrypt, C_EncryptUpdate,
    C_EncryptFinal, C_DecryptInit, C_Decrypt, C_DecryptUpdate, C_DecryptFinal, C_DigestInit,
    C_Digest, C_DigestUpdate, C_DigestKey, C_DigestFinal, C_SignInit, C_Sign, C_SignUpdate,
    C_SignFinal, C_SignRecoverInit, C_SignRecover, C_VerifyInit, C_Verify, C_VerifyUpdate,
    C_VerifyFinal, C_VerifyRecoverInit, C_VerifyRecover, C_DigestEncryptUpdate,
    C_DecryptDigestUpdate, C_SignEncryptUpdate, C_DecryptVerifyUpdate, C_GenerateKey,
    C_GenerateKeyPair, C_WrapKey, C_UnwrapKey, C_DeriveKey, C_SeedRandom, C_GenerateRandom,
    C_GetFunctionStatus, C_CancelFunction, C_WaitForSlotEvent,
    ;
    C_GetInterfaceList, C_GetInterface, C_LoginUser, C_SessionCancel, C_MessageEncryptInit,
    C_EncryptMessage, C_EncryptMessageBegin, C_EncryptMessageNext, C_MessageEncryptFinal,
    C_MessageDecryptInit, C_DecryptMessage, C_DecryptMessageBegin, C_DecryptMessageNext,
    C_MessageDecryptFinal, C_MessageSignInit, C_SignMessage, C_SignMessageBegin,
    C_SignMessageNext, C_MessageSignFinal, C_MessageVerifyInit, C_VerifyMessage,
    C_VerifyMessageBegin, C_VerifyMessageNext, C_MessageVerifyFinal,
}

/// A list that never changes, though the interface has no word for that.
#[repr(transparent)]
struct Fixed<T>(T);

// SAFETY: nobody writes to it: programs get a pointer and the promise not to (5.4.4).
unsafe impl<T> Sync for Fixed<T> {}

static OLD_LIST: Fixed<CK_FUNCTION_LIST> = Fixed(OLD);
static NEW_LIST: Fixed<CK_FUNCTION_LIST_3_0> = Fixed(NEW);

const NAME: &CStr = c"PKCS 11";

const fn interface(list: *const std::ffi::c_void) -> CK_INTERFACE {
    CK_INTERFACE {
        pInterfaceName: NAME.as_ptr().cast_mut().cast(),
        pFunctionList: list.cast_mut(),
        // After a fork the child finds a module that was not initialised.
        flags: CKF_INTERFACE_FORK_SAFE,
    }
}

/// The newest first: it is the default. In memory that can be written to: older releases of
/// `pkcs11-spy`, which many debug with, put their own list into what they are given.
static INTERFACES: Fixed<UnsafeCell<[CK_INTERFACE; 2]>> = Fixed(UnsafeCell::new([
    interface((&raw const NEW_LIST).cast()),
    interface((&raw const OLD_LIST).cast()),
]));

/// `C_GetFunctionList` (5.4.4): for programs of 2.40.
///
/// # Safety
/// `list` is null or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    guard(|| {
        // SAFETY: the caller's promise.
        *unsafe { place(list)? } = (&raw const OLD_LIST).cast_mut().cast();
        Ok(())
    })
}

/// `C_GetInterfaceList` (5.4.5).
///
/// # Safety
/// `count` is null or points to a number, `interfaces` is null or has room for so many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterfaceList(
    interfaces: *mut CK_INTERFACE,
    count: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: the caller's promise; nobody here writes to the list.
    guard(|| unsafe { list(&*INTERFACES.0.get(), interfaces, place(count)?) })
}

/// `C_GetInterface` (5.4.6).
///
/// # Safety
/// `name` is null or a C string, `version` is null or points to one, `interface` is null or points
/// to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterface(
    name: *mut CK_UTF8CHAR,
    version: *mut CK_VERSION,
    interface: *mut *mut CK_INTERFACE,
    flags: CK_FLAGS,
) -> CK_RV {
    guard(|| {
        // SAFETY: the caller's promise.
        let interface = unsafe { place(interface)? };
        // SAFETY: the caller's promise.
        let named = name.is_null() || unsafe { CStr::from_ptr(name.cast()) } == NAME;
        ensure(named, CKR_FUNCTION_FAILED)?;
        // SAFETY: the caller's promise.
        let version = if version.is_null() { None } else { Some(*unsafe { place(version)? }) };
        *interface = INTERFACES.0.get().cast::<CK_INTERFACE>().wrapping_add(found(version, flags)?);
        Ok(())
    })
}

/// Which of the interfaces.
fn found(version: Option<CK_VERSION>, flags: CK_FLAGS) -> Result<usize> {
    let (new, old) = (0, 1);
    if flags & !CKF_INTERFACE_FORK_SAFE != 0 {
        return fail(CKR_FUNCTION_FAILED);
    }
    match version.map(|version| (version.major, version.minor)) {
        None | Some((3, 0)) => Ok(new),
        Some((2, 40)) => Ok(old),
        Some(_) => fail(CKR_FUNCTION_FAILED),
    }
}
