//! The token is made, PINs are set, people log in and out.

use crate::calls::{
    PIN, SO_PIN, Turn, call, functions, len, log_in, logged_in, make_token, ok, open,
};
use cryptoki_sys::*;
use std::ptr::null_mut;

fn flags() -> CK_FLAGS {
    let mut info = CK_TOKEN_INFO::default();
    ok!(C_GetTokenInfo(0, &raw mut info));
    info.flags
}

#[test]
fn a_token_is_made_once_and_anew_only_by_its_officer() {
    let _turn = Turn::new();
    assert_eq!(flags() & (CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED), 0);
    let session = open(true);
    log_in(session, CKU_USER, PIN, CKR_USER_PIN_NOT_INITIALIZED);
    let init = |pin: &[u8], label: &[u8; 32]| {
        call!(C_InitToken(0, pin.as_ptr().cast_mut(), len(pin), label.as_ptr().cast_mut()))
    };
    assert_eq!(init(SO_PIN, &[b'a'; 32]), CKR_SESSION_EXISTS);
    ok!(C_CloseAllSessions(0));
    assert_eq!(init(b"abc", &[b'a'; 32]), CKR_PIN_LEN_RANGE);
    assert_eq!(init(SO_PIN, &[0xff; 32]), CKR_ARGUMENTS_BAD);
    make_token();
    let made = CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED;
    assert_eq!(flags() & made, made);
    assert_eq!(init(b"someone", &[b'b'; 32]), CKR_PIN_INCORRECT);
    assert_eq!(init(SO_PIN, &[b'b'; 32]), CKR_OK);
    assert_eq!(flags() & CKF_USER_PIN_INITIALIZED, 0);
}

#[test]
fn s3_2_attempts_run_out_and_the_officer_gives_new_ones() {
    let _turn = Turn::new();
    make_token();
    let session = open(true);
    log_in(session, CKU_USER, b"wrong", CKR_PIN_INCORRECT);
    assert_ne!(flags() & CKF_USER_PIN_COUNT_LOW, 0);
    log_in(session, CKU_USER, b"wrong", CKR_PIN_INCORRECT);
    assert_ne!(flags() & CKF_USER_PIN_FINAL_TRY, 0);
    log_in(session, CKU_USER, b"wrong", CKR_PIN_INCORRECT);
    log_in(session, CKU_USER, PIN, CKR_PIN_LOCKED);
    assert_ne!(flags() & CKF_USER_PIN_LOCKED, 0);
    log_in(session, CKU_SO, SO_PIN, CKR_OK);
    ok!(C_InitPIN(session, b"4711".as_ptr().cast_mut(), 4));
    ok!(C_Logout(session));
    log_in(session, CKU_USER, b"4711", CKR_OK);
    assert_eq!(flags() & (CKF_USER_PIN_LOCKED | CKF_USER_PIN_COUNT_LOW), 0);
}

#[test]
fn a_pin_is_changed_by_who_knows_it() {
    let (_turn, session) = logged_in();
    let set = |old: &[u8], new: &[u8]| {
        let (old_at, new_at) = (old.as_ptr().cast_mut(), new.as_ptr().cast_mut());
        call!(C_SetPIN(session, old_at, len(old), new_at, len(new)))
    };
    assert_eq!(set(b"wrong", b"654321"), CKR_PIN_INCORRECT);
    assert_eq!(set(PIN, b"1"), CKR_PIN_LEN_RANGE);
    assert_eq!(set(PIN, &[b'1'; 256]), CKR_PIN_LEN_RANGE);
    assert_eq!(set(PIN, b"654321"), CKR_OK);
    ok!(C_Logout(session));
    log_in(session, CKU_USER, PIN, CKR_PIN_INCORRECT);
    log_in(session, CKU_USER, b"654321", CKR_OK);
    let init = call!(C_InitPIN(session, PIN.as_ptr().cast_mut(), len(PIN)));
    assert_eq!(init, CKR_USER_NOT_LOGGED_IN);
}

#[test]
fn s3_2_the_screen_locks_pin_is_asked_for_by_the_device_and_given_by_no_program() {
    let _turn = Turn::new();
    make_token();
    let session = open(true);
    assert_eq!(flags() & CKF_PROTECTED_AUTHENTICATION_PATH, 0);
    assert_eq!(call!(C_Login(session, CKU_USER, null_mut(), 4)), CKR_ARGUMENTS_BAD);
    log_in(session, CKU_SO, SO_PIN, CKR_OK);
    ok!(C_InitPIN(session, null_mut(), 0));
    assert_ne!(flags() & CKF_PROTECTED_AUTHENTICATION_PATH, 0);
    ok!(C_Logout(session));
    log_in(session, CKU_USER, PIN, CKR_PIN_INCORRECT);
    ok!(C_Login(session, CKU_USER, null_mut(), 0));
    // And back to one of the program's.
    ok!(C_SetPIN(session, null_mut(), 0, PIN.as_ptr().cast_mut(), len(PIN)));
    assert_eq!(flags() & CKF_PROTECTED_AUTHENTICATION_PATH, 0);
    ok!(C_Logout(session));
    log_in(session, CKU_USER, PIN, CKR_OK);
    ok!(C_Logout(session));
    // The officer's is a program's always.
    log_in(session, CKU_SO, SO_PIN, CKR_OK);
    let officer = call!(C_SetPIN(session, SO_PIN.as_ptr().cast_mut(), len(SO_PIN), null_mut(), 0));
    assert_eq!(officer, CKR_ARGUMENTS_BAD);
}

#[test]
fn a_login_is_everybodys_and_ends_with_the_last_session() {
    let (_turn, session) = logged_in();
    let other = open(false);
    log_in(other, CKU_USER, PIN, CKR_USER_ALREADY_LOGGED_IN);
    log_in(other, CKU_SO, SO_PIN, CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
    let state = |session| {
        let mut info = CK_SESSION_INFO::default();
        ok!(C_GetSessionInfo(session, &raw mut info));
        info.state
    };
    assert_eq!([state(session), state(other)], [CKS_RW_USER_FUNCTIONS, CKS_RO_USER_FUNCTIONS]);
    ok!(C_Logout(other));
    assert_eq!(call!(C_Logout(session)), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(state(session), CKS_RW_PUBLIC_SESSION);
    log_in(session, CKU_SO, SO_PIN, CKR_SESSION_READ_ONLY_EXISTS);
    ok!(C_CloseSession(other));
    log_in(session, CKU_SO, SO_PIN, CKR_OK);
    let mut read_only = 0;
    let refused = call!(C_OpenSession(0, CKF_SERIAL_SESSION, null_mut(), None, &raw mut read_only));
    assert_eq!(refused, CKR_SESSION_READ_WRITE_SO_EXISTS);
    ok!(C_CloseSession(session));
    assert_eq!(state(open(true)), CKS_RW_PUBLIC_SESSION);
}

#[test]
fn programs_of_2_40_and_of_3_0_find_their_functions() {
    let mut old: CK_FUNCTION_LIST_PTR = null_mut();
    // SAFETY: called as documented.
    unsafe {
        assert_eq!(holdfast_pkcs11::C_GetFunctionList(&raw mut old), CKR_OK);
        assert_eq!(((*old).version.major, (*old).version.minor), (2, 40));
        assert_eq!(holdfast_pkcs11::C_GetFunctionList(null_mut()), CKR_ARGUMENTS_BAD);
    }
    assert_eq!(functions().version.major, 3);
    let mut count = 0;
    // SAFETY: as before.
    unsafe {
        assert_eq!(holdfast_pkcs11::C_GetInterfaceList(null_mut(), &raw mut count), CKR_OK);
    }
    assert_eq!(count, 2);
    let find = |name: &std::ffi::CStr, major, minor| {
        let (mut interface, mut version) = (null_mut(), CK_VERSION { major, minor });
        let name = name.as_ptr().cast_mut().cast();
        // SAFETY: as before.
        unsafe { holdfast_pkcs11::C_GetInterface(name, &raw mut version, &raw mut interface, 0) }
    };
    assert_eq!(find(c"PKCS 11", 3, 0), CKR_OK);
    assert_eq!(find(c"PKCS 11", 2, 40), CKR_OK);
    assert_eq!(find(c"PKCS 11", 2, 20), CKR_FUNCTION_FAILED);
    assert_eq!(find(c"Vendor", 3, 0), CKR_FUNCTION_FAILED);
}
