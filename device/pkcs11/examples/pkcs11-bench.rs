//! Measures a PKCS #11 module: `pkcs11-bench MODULE WHAT`, the same code for every module.
//!
//! `setup` makes a token and its keys. `sign`, `sign8` (eight threads), `rsa`, `gcm` (1 MiB a
//! message) and `generate` (a pair made and deleted in the token) run for two seconds and print
//! `{"value": …}`: operations a second, MiB a second for `gcm`.

use cryptoki_sys::*;
use std::ffi::CString;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

const LABEL: &[u8; 32] = b"bench                           ";
const SO_PIN: &[u8] = b"12345678";
const PIN: &[u8] = b"246810";
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const TIME: Duration = Duration::from_secs(2);
const MIB: usize = 1 << 20;

/// Calls a function of the module, which must succeed.
macro_rules! call {
    ($functions:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        let function = $functions.$function.expect("the module has the function");
        // SAFETY: called as PKCS #11 says.
        let code = unsafe { function($($argument),*) };
        assert_eq!(code, CKR_OK, stringify!($function));
    }};
}

type Functions = &'static CK_FUNCTION_LIST;

fn load(path: &str) -> Functions {
    let path = CString::new(path).expect("a path");
    let mut list: CK_FUNCTION_LIST_PTR = null_mut();
    // SAFETY: the module is loaded as programs load it, and its first function called.
    unsafe {
        let module = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!module.is_null(), "the module does not load");
        let get = libc::dlsym(module, c"C_GetFunctionList".as_ptr());
        assert!(!get.is_null(), "no module of PKCS #11");
        let get: unsafe extern "C" fn(CK_FUNCTION_LIST_PTR_PTR) -> CK_RV = std::mem::transmute(get);
        assert_eq!(get(&raw mut list), CKR_OK);
        &*list
    }
}

fn length(bytes: &[u8]) -> CK_ULONG {
    bytes.len() as CK_ULONG
}

/// The slot of the bench's token, or the first without one.
fn slot(functions: Functions, made: bool) -> CK_SLOT_ID {
    let (mut slots, mut count) = ([0; 64], 64);
    call!(functions, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &raw mut count));
    let fits = |slot: &&CK_SLOT_ID| {
        let mut info = CK_TOKEN_INFO::default();
        call!(functions, C_GetTokenInfo(**slot, &raw mut info));
        let initialised = info.flags & CKF_TOKEN_INITIALIZED != 0;
        if made { initialised && info.label == *LABEL } else { !initialised }
    };
    *slots[..count as usize].iter().find(fits).expect("a slot")
}

fn session(functions: Functions, slot: CK_SLOT_ID) -> CK_SESSION_HANDLE {
    let mut session = 0;
    let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
    call!(functions, C_OpenSession(slot, flags, null_mut(), None, &raw mut session));
    session
}

fn attribute<T>(code: CK_ATTRIBUTE_TYPE, value: &T) -> CK_ATTRIBUTE {
    CK_ATTRIBUTE {
        type_: code,
        pValue: std::ptr::from_ref(value).cast_mut().cast(),
        ulValueLen: size_of::<T>() as CK_ULONG,
    }
}

fn mechanism(code: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: code, pParameter: null_mut(), ulParameterLen: 0 }
}

const YES: CK_BBOOL = CK_TRUE;

/// The halves of a new pair in the token.
fn pair(
    functions: Functions,
    session: CK_SESSION_HANDLE,
    code: CK_MECHANISM_TYPE,
    mut public: Vec<CK_ATTRIBUTE>,
) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let flags = [CKA_TOKEN, CKA_VERIFY].map(|code| attribute(code, &YES));
    public.extend(flags);
    let mut private =
        [CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_SIGN].map(|code| attribute(code, &YES));
    let (mut how, mut one, mut other) = (mechanism(code), 0, 0);
    let (counts, at) = ((public.len() as CK_ULONG, 4), public.as_mut_ptr());
    let private = private.as_mut_ptr();
    call!(
        functions,
        C_GenerateKeyPair(
            session,
            &raw mut how,
            at,
            counts.0,
            private,
            counts.1,
            &raw mut one,
            &raw mut other,
        )
    );
    (one, other)
}

fn ec_pair(
    functions: Functions,
    session: CK_SESSION_HANDLE,
) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let curve = CK_ATTRIBUTE {
        type_: CKA_EC_PARAMS,
        pValue: P256.as_ptr().cast_mut().cast(),
        ulValueLen: length(P256),
    };
    pair(functions, session, CKM_EC_KEY_PAIR_GEN, vec![curve])
}

fn setup(functions: Functions) {
    let empty = slot(functions, false);
    let (label, so_pin) = (LABEL.as_ptr().cast_mut(), SO_PIN.as_ptr().cast_mut());
    call!(functions, C_InitToken(empty, so_pin, length(SO_PIN), label));
    let slot = slot(functions, true);
    let own = session(functions, slot);
    call!(functions, C_Login(own, CKU_SO, so_pin, length(SO_PIN)));
    call!(functions, C_InitPIN(own, PIN.as_ptr().cast_mut(), length(PIN)));
    call!(functions, C_Logout(own));
    call!(functions, C_Login(own, CKU_USER, PIN.as_ptr().cast_mut(), length(PIN)));
    ec_pair(functions, own);
    let (bits, exponent) = (2048 as CK_ULONG, [1u8, 0, 1]);
    let rsa = vec![attribute(CKA_MODULUS_BITS, &bits), attribute(CKA_PUBLIC_EXPONENT, &exponent)];
    pair(functions, own, CKM_RSA_PKCS_KEY_PAIR_GEN, rsa);
    let bytes: CK_ULONG = 32;
    let flags = [CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_ENCRYPT];
    let mut aes = flags.map(|code| attribute(code, &YES)).to_vec();
    aes.push(attribute(CKA_VALUE_LEN, &bytes));
    let (mut how, mut key) = (mechanism(CKM_AES_KEY_GEN), 0);
    let (at, count) = (aes.as_mut_ptr(), aes.len() as CK_ULONG);
    call!(functions, C_GenerateKey(own, &raw mut how, at, count, &raw mut key));
}

fn find(
    functions: Functions,
    session: CK_SESSION_HANDLE,
    class: CK_OBJECT_CLASS,
    kind: CK_KEY_TYPE,
) -> CK_OBJECT_HANDLE {
    let mut wanted = [attribute(CKA_CLASS, &class), attribute(CKA_KEY_TYPE, &kind)];
    call!(functions, C_FindObjectsInit(session, wanted.as_mut_ptr(), 2));
    let (mut key, mut count) = (0, 0);
    call!(functions, C_FindObjects(session, &raw mut key, 1, &raw mut count));
    call!(functions, C_FindObjectsFinal(session));
    assert_eq!(count, 1, "the key of the setup is there");
    key
}

/// Does something until the time is over; says how often.
fn count(mut work: impl FnMut()) -> u32 {
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        work();
        done += 1;
    }
    done
}

fn signatures(
    functions: Functions,
    slot: CK_SLOT_ID,
    kind: CK_KEY_TYPE,
    code: CK_MECHANISM_TYPE,
) -> u32 {
    let own = session(functions, slot);
    let key = find(functions, own, CKO_PRIVATE_KEY, kind);
    let (mut how, mut digest, mut signature) = (mechanism(code), [7u8; 32], [0u8; 512]);
    count(|| {
        let mut room = 512;
        call!(functions, C_SignInit(own, &raw mut how, key));
        let at = signature.as_mut_ptr();
        call!(functions, C_Sign(own, digest.as_mut_ptr(), 32, at, &raw mut room));
    })
}

fn encryptions(functions: Functions, slot: CK_SLOT_ID) -> u32 {
    let own = session(functions, slot);
    let key = find(functions, own, CKO_SECRET_KEY, CKK_AES);
    let (mut text, mut sealed) = (vec![7u8; MIB], vec![0u8; MIB + 16]);
    let mut number = 0u64;
    count(|| {
        let mut nonce = [0u8; 12];
        number += 1;
        nonce[..8].copy_from_slice(&number.to_be_bytes());
        let mut gcm = CK_GCM_PARAMS {
            pIv: nonce.as_mut_ptr(),
            ulIvLen: 12,
            ulIvBits: 96,
            pAAD: null_mut(),
            ulAADLen: 0,
            ulTagBits: 128,
        };
        let mut how = CK_MECHANISM {
            mechanism: CKM_AES_GCM,
            pParameter: (&raw mut gcm).cast(),
            ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
        };
        let mut room = length(&sealed);
        call!(functions, C_EncryptInit(own, &raw mut how, key));
        let (from, to) = (text.as_mut_ptr(), sealed.as_mut_ptr());
        call!(functions, C_Encrypt(own, from, MIB as CK_ULONG, to, &raw mut room));
    })
}

fn pairs(functions: Functions, slot: CK_SLOT_ID) -> u32 {
    let own = session(functions, slot);
    count(|| {
        let (public, private) = ec_pair(functions, own);
        call!(functions, C_DestroyObject(own, public));
        call!(functions, C_DestroyObject(own, private));
    })
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, module, what] = &arguments[..] else { panic!("usage: pkcs11-bench MODULE WHAT") };
    let functions = load(module);
    let mut locks =
        CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..CK_C_INITIALIZE_ARGS::default() };
    call!(functions, C_Initialize((&raw mut locks).cast()));
    if what == "setup" {
        return setup(functions);
    }
    let slot = slot(functions, true);
    let own = session(functions, slot);
    call!(functions, C_Login(own, CKU_USER, PIN.as_ptr().cast_mut(), length(PIN)));
    let start = Instant::now();
    let done = match what.as_str() {
        "sign" => signatures(functions, slot, CKK_EC, CKM_ECDSA),
        "sign8" => std::thread::scope(|scope| {
            let sign = || signatures(functions, slot, CKK_EC, CKM_ECDSA);
            let threads = [(); 8].map(|()| scope.spawn(sign));
            threads.into_iter().map(|it| it.join().expect("it signs")).sum()
        }),
        "rsa" => signatures(functions, slot, CKK_RSA, CKM_SHA256_RSA_PKCS),
        "gcm" => encryptions(functions, slot),
        "generate" => pairs(functions, slot),
        _ => panic!("{what}: not known"),
    };
    println!("{{\"value\": {:.1}}}", f64::from(done) / start.elapsed().as_secs_f64());
}
