//! A fork's child has a module that was not initialised.

use crate::calls::{call, ec_pair, log_in, logged_in, make_token, mechanism, ok, open, sign};
use cryptoki_sys::*;
use std::ptr::null_mut;

/// Runs `child` in a fork; it says whether all was well.
pub(crate) fn in_a_fork(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child calls what is under test, and leaves without unwinding.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!well.unwrap_or(false))) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: waits for the child.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
            status == 0
        }
    }
}

#[test]
fn s3_2_a_child_is_told_to_initialise_and_the_parent_notices_nothing() {
    let (_turn, session) = logged_in();
    let (_, private) = ec_pair(session, true);
    let mut how = mechanism(CKM_ECDSA);
    ok!(C_SignInit(session, &raw mut how, private));
    assert!(in_a_fork(|| {
        let (mut out, mut length) = ([0u8; 64], 64);
        let at = out.as_mut_ptr();
        let not_yet = call!(C_Sign(session, at, 32, at, &raw mut length));
        let finalise = call!(C_Finalize(null_mut()));
        ok!(C_Initialize(null_mut()));
        make_token();
        let own = open(true);
        log_in(own, CKU_USER, crate::calls::PIN, CKR_OK);
        let (_, key) = ec_pair(own, true);
        let signed = sign(own, mechanism(CKM_ECDSA), key, &[1; 32]).is_ok();
        ok!(C_Finalize(null_mut()));
        not_yet == CKR_CRYPTOKI_NOT_INITIALIZED
            && finalise == CKR_CRYPTOKI_NOT_INITIALIZED
            && signed
    }));
    let (mut out, mut length) = ([0u8; 64], 64);
    let at = out.as_mut_ptr();
    ok!(C_Sign(session, at, 32, at, &raw mut length));
}

#[test]
fn a_fork_while_other_threads_are_in_calls_does_not_hang() {
    let (_turn, session) = logged_in();
    let (_, private) = ec_pair(session, false);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let session = open(false);
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    sign(session, mechanism(CKM_ECDSA), private, &[1; 32]).unwrap();
                }
            });
        }
        for _ in 0..20 {
            assert!(in_a_fork(|| {
                let mut info = CK_INFO::default();
                call!(C_GetInfo(&raw mut info)) == CKR_CRYPTOKI_NOT_INITIALIZED
                    && call!(C_Initialize(null_mut())) == CKR_OK
                    && call!(C_GetInfo(&raw mut info)) == CKR_OK
            }));
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
