//! Hostile arguments to every function: nulls, lengths that nobody means, wrong handles, wrong
//! order; from several threads. Each gives a code; nothing crashes.

use crate::calls::{
    call, ec_pair, functions, logged_in, mechanism, ok, open, template, try_generate,
};
use crate::forks::in_a_fork;
use cryptoki_sys::*;
use std::ptr::null_mut;

/// All functions in the order of the list, with their parameters: a pointer, a length (n), another
/// number (h: a handle, flags), a callback that is never given (z).
const FUNCTIONS: &[(&str, &str)] = &[
    ("C_Initialize", "p"),
    ("C_Finalize", "p"),
    ("C_GetInfo", "p"),
    ("C_GetFunctionList", "p"),
    ("C_GetSlotList", "hpp"),
    ("C_GetSlotInfo", "hp"),
    ("C_GetTokenInfo", "hp"),
    ("C_GetMechanismList", "hpp"),
    ("C_GetMechanismInfo", "hhp"),
    ("C_InitToken", "hpnp"),
    ("C_InitPIN", "hpn"),
    ("C_SetPIN", "hpnpn"),
    ("C_OpenSession", "hhpzp"),
    ("C_CloseSession", "h"),
    ("C_CloseAllSessions", "h"),
    ("C_GetSessionInfo", "hp"),
    ("C_GetOperationState", "hpp"),
    ("C_SetOperationState", "hpnhh"),
    ("C_Login", "hhpn"),
    ("C_Logout", "h"),
    ("C_CreateObject", "hpnp"),
    ("C_CopyObject", "hhpnp"),
    ("C_DestroyObject", "hh"),
    ("C_GetObjectSize", "hhp"),
    ("C_GetAttributeValue", "hhpn"),
    ("C_SetAttributeValue", "hhpn"),
    ("C_FindObjectsInit", "hpn"),
    ("C_FindObjects", "hpnp"),
    ("C_FindObjectsFinal", "h"),
    ("C_EncryptInit", "hph"),
    ("C_Encrypt", "hpnpp"),
    ("C_EncryptUpdate", "hpnpp"),
    ("C_EncryptFinal", "hpp"),
    ("C_DecryptInit", "hph"),
    ("C_Decrypt", "hpnpp"),
    ("C_DecryptUpdate", "hpnpp"),
    ("C_DecryptFinal", "hpp"),
    ("C_DigestInit", "hp"),
    ("C_Digest", "hpnpp"),
    ("C_DigestUpdate", "hpn"),
    ("C_DigestKey", "hh"),
    ("C_DigestFinal", "hpp"),
    ("C_SignInit", "hph"),
    ("C_Sign", "hpnpp"),
    ("C_SignUpdate", "hpn"),
    ("C_SignFinal", "hpp"),
    ("C_SignRecoverInit", "hph"),
    ("C_SignRecover", "hpnpp"),
    ("C_VerifyInit", "hph"),
    ("C_Verify", "hpnpn"),
    ("C_VerifyUpdate", "hpn"),
    ("C_VerifyFinal", "hpn"),
    ("C_VerifyRecoverInit", "hph"),
    ("C_VerifyRecover", "hpnpp"),
    ("C_DigestEncryptUpdate", "hpnpp"),
    ("C_DecryptDigestUpdate", "hpnpp"),
    ("C_SignEncryptUpdate", "hpnpp"),
    ("C_DecryptVerifyUpdate", "hpnpp"),
    ("C_GenerateKey", "hppnp"),
    ("C_GenerateKeyPair", "hppnpnpp"),
    ("C_WrapKey", "hphhpp"),
    ("C_UnwrapKey", "hphpnpnp"),
    ("C_DeriveKey", "hphpnp"),
    ("C_SeedRandom", "hpn"),
    ("C_GenerateRandom", "hpn"),
    ("C_GetFunctionStatus", "h"),
    ("C_CancelFunction", "h"),
    ("C_WaitForSlotEvent", "hpp"),
    ("C_GetInterfaceList", "pp"),
    ("C_GetInterface", "ppph"),
    ("C_LoginUser", "hhpnpn"),
    ("C_SessionCancel", "hh"),
    ("C_MessageEncryptInit", "hph"),
    ("C_EncryptMessage", "hpnpnpnpp"),
    ("C_EncryptMessageBegin", "hpnpn"),
    ("C_EncryptMessageNext", "hpnpnpph"),
    ("C_MessageEncryptFinal", "h"),
    ("C_MessageDecryptInit", "hph"),
    ("C_DecryptMessage", "hpnpnpnpp"),
    ("C_DecryptMessageBegin", "hpnpn"),
    ("C_DecryptMessageNext", "hpnpnpph"),
    ("C_MessageDecryptFinal", "h"),
    ("C_MessageSignInit", "hph"),
    ("C_SignMessage", "hpnpnpp"),
    ("C_SignMessageBegin", "hpn"),
    ("C_SignMessageNext", "hpnpnpp"),
    ("C_MessageSignFinal", "h"),
    ("C_MessageVerifyInit", "hph"),
    ("C_VerifyMessage", "hpnpnpn"),
    ("C_VerifyMessageBegin", "hpn"),
    ("C_VerifyMessageNext", "hpnpnpn"),
    ("C_MessageVerifyFinal", "h"),
];

type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64) -> CK_RV;

/// The functions of the list, whatever they take: in C's calling convention here, arguments that
/// a function does not have are not seen.
fn list() -> Vec<(&'static str, &'static str, Any)> {
    let first: *const Option<Any> = (&raw const functions().C_Initialize).cast();
    let entry = |(at, &(name, kinds)): (usize, &(&'static str, &'static str))| {
        // SAFETY: the list is an array of so many function pointers.
        (name, kinds, unsafe { *first.add(at) }.expect("the list is full"))
    };
    FUNCTIONS.iter().enumerate().map(entry).collect()
}

fn invoke(function: Any, a: [u64; 9]) -> CK_RV {
    // SAFETY: what is passed points to enough bytes, or is what the module must notice.
    unsafe { function(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]) }
}

/// A generator of numbers that only have to differ (xorshift64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[(self.throw() % all.len() as u64) as usize]
    }
}

const ROOM: usize = 8192;
const LENGTHS: &[u64] = &[0, 1, 7, 16, 32, 64, 255, 1 << 31, 1 << 63, u64::MAX];

/// Memory for one call: zeros, and structures that may pass for mechanisms or attributes.
struct Memory {
    zeros: Vec<u64>,
    shaped: Vec<u64>,
}

impl Memory {
    fn new() -> Self {
        Self { zeros: vec![0; ROOM / 8], shaped: vec![0; ROOM / 8] }
    }

    fn prepare(&mut self, dice: &mut Dice, codes: &[u64]) {
        self.zeros.fill(0);
        self.shaped.fill(0);
        let behind = [0, self.zeros.as_ptr() as u64];
        for shape in self.shaped.chunks_exact_mut(3).take(4) {
            shape[0] = dice.of(codes);
            shape[1] = dice.of(&behind);
            shape[2] = dice.of(&[0, 1, 8, 12, 16, 24, 40, 48, u64::MAX]);
        }
    }
}

/// Calls functions with arguments thrown by dice.
fn storm(seed: u64, calls: usize, handles: &[u64], leave_out: &[&str]) {
    let mut dice = Dice(seed);
    let mut functions = list();
    functions.retain(|(name, ..)| !leave_out.contains(name));
    let codes: Vec<u64> = (0..0x600).chain(0x1000..0x1200).chain([0x4021, 0x210a]).collect();
    let mut memory = Memory::new();
    for _ in 0..calls {
        let (_, kinds, function) = dice.of(&functions);
        memory.prepare(&mut dice, &codes);
        let pointers = [
            0,
            memory.zeros.as_ptr() as u64,
            memory.shaped.as_ptr() as u64,
            memory.shaped.as_ptr() as u64,
            memory.zeros.as_ptr() as u64 + 1,
        ];
        let mut arguments = [0; 9];
        for (argument, kind) in arguments.iter_mut().zip(kinds.chars()) {
            *argument = match kind {
                'p' => dice.of(&pointers),
                'n' => dice.of(LENGTHS),
                'h' => dice.of(handles),
                _ => 0,
            };
        }
        invoke(function, arguments);
    }
}

/// Functions that end what the others work on.
const ENDS: &[&str] = &["C_Initialize", "C_Finalize", "C_CloseAllSessions", "C_CloseSession"];

fn handles(session: u64) -> Vec<u64> {
    let (public, private) = ec_pair(session, true);
    let wanted = template().number(CKA_VALUE_LEN, 16).flag(CKA_ENCRYPT, true);
    let wanted = wanted.flag(CKA_DECRYPT, true).flag(CKA_WRAP, true);
    let key = try_generate(session, CKM_AES_KEY_GEN, &wanted).expect("a key");
    vec![0, session, session, session, open(false), public, private, key, 6, u64::MAX]
}

#[test]
fn s3_2_nulls_everywhere_are_error_codes() {
    let (_turn, session) = logged_in();
    let harmless = ["C_CloseSession", "C_CloseAllSessions", "C_SessionCancel", "C_Logout"];
    for (name, kinds, function) in list() {
        if name == "C_Finalize" || harmless.contains(&name) {
            continue;
        }
        for length in LENGTHS {
            let mut arguments = [0; 9];
            for (argument, kind) in arguments.iter_mut().zip(kinds.chars()) {
                *argument = if kind == 'n' { *length } else { 0 };
            }
            arguments[0] = if kinds.starts_with('h') { session } else { 0 };
            let code = invoke(function, arguments);
            // Nothing asked for, nothing given; an empty template finds all.
            let empty = ["C_FindObjectsInit", "C_GenerateRandom", "C_SeedRandom"];
            let empty = *length == 0 && empty.contains(&name) || name == "C_FindObjectsFinal";
            assert!(code != CKR_OK || empty, "{name} {length}");
            assert_ne!(code, CKR_GENERAL_ERROR, "{name} {length}");
        }
    }
}

#[test]
fn s3_2_before_initialisation_every_function_says_so() {
    let (turn, _) = logged_in();
    let lists = ["C_GetFunctionList", "C_GetInterface", "C_GetInterfaceList"];
    let _turn = turn.finalised();
    for (name, _, function) in list() {
        if name != "C_Initialize" && !lists.contains(&name) {
            assert_eq!(invoke(function, [0; 9]), CKR_CRYPTOKI_NOT_INITIALIZED, "{name}");
        }
    }
}

#[test]
fn s3_2_hostile_arguments_from_several_threads_crash_nothing() {
    let (_turn, session) = logged_in();
    let handles = handles(session);
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            let handles = &handles;
            scope.spawn(move || storm(seed * 0x9e37_79b9, 20_000, handles, ENDS));
        }
    });
    // What was well before works on.
    let mut info = CK_SESSION_INFO::default();
    ok!(C_GetSessionInfo(session, &raw mut info));
}

#[test]
fn s3_2_hostile_arguments_in_a_forks_child_crash_neither() {
    let (_turn, session) = logged_in();
    let known = handles(session);
    let mut how = mechanism(CKM_ECDSA);
    ok!(C_SignInit(session, &raw mut how, known[6]));
    assert!(in_a_fork(|| {
        // With what is its parent's, and not initialised; then with what is its own.
        storm(0x5eed, 10_000, &known, ENDS);
        ok!(C_Initialize(null_mut()));
        storm(0xfeed, 10_000, &known, ENDS);
        call!(C_Finalize(null_mut())) == CKR_OK
    }));
    let (mut out, mut length) = ([0u8; 64], 64);
    let at = out.as_mut_ptr();
    ok!(C_Sign(session, at, 32, at, &raw mut length));
}

#[test]
fn sessions_that_end_under_a_call_crash_nothing() {
    let (_turn, session) = logged_in();
    let handles = handles(session);
    std::thread::scope(|scope| {
        for seed in 5..=8 {
            let handles = &handles;
            scope.spawn(move || storm(seed * 0x9e37_79b9, 10_000, handles, &[]));
        }
    });
    call!(C_Finalize(null_mut()));
    ok!(C_Initialize(null_mut()));
}

unsafe extern "C" fn no_mutex(_: *mut std::ffi::c_void) -> CK_RV {
    CKR_GENERAL_ERROR
}

#[test]
fn s3_2_initialisation_takes_the_systems_locks_and_is_done_once() {
    let (_turn, _) = logged_in();
    assert_eq!(call!(C_Initialize(null_mut())), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    ok!(C_Finalize(null_mut()));
    assert_eq!(call!(C_Finalize(null_mut())), CKR_CRYPTOKI_NOT_INITIALIZED);
    let mut arguments = CK_C_INITIALIZE_ARGS {
        CreateMutex: None,
        DestroyMutex: Some(no_mutex),
        LockMutex: None,
        UnlockMutex: None,
        flags: 0,
        pReserved: null_mut(),
    };
    assert_eq!(call!(C_Initialize((&raw mut arguments).cast())), CKR_ARGUMENTS_BAD);
    arguments.DestroyMutex = None;
    arguments.pReserved = (&raw mut arguments).cast();
    assert_eq!(call!(C_Initialize((&raw mut arguments).cast())), CKR_ARGUMENTS_BAD);
    arguments.pReserved = null_mut();
    arguments.flags = CKF_OS_LOCKING_OK;
    ok!(C_Initialize((&raw mut arguments).cast()));
}
