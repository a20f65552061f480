//! The functions as a program sees them, with Rust's types around them.

use crate::memory;
use cryptoki_sys::*;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A module has one state for a process: tests take turns.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) const SO_PIN: &[u8] = b"officer";
pub(crate) const PIN: &[u8] = b"123456";
pub(crate) const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
pub(crate) const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];

/// Calls a function of the list and says what it returned.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {{
        let function = crate::calls::functions().$function.expect("the list is full");
        // SAFETY: what is passed is what the test means to pass.
        unsafe { function($($argument),*) }
    }};
}
pub(crate) use call;

/// Calls a function, which must succeed.
macro_rules! ok {
    ($function:ident($($argument:expr),* $(,)?)) => {
        assert_eq!(crate::calls::call!($function($($argument),*)), CKR_OK, stringify!($function))
    };
}
pub(crate) use ok;

pub(crate) fn functions() -> &'static CK_FUNCTION_LIST_3_0 {
    let mut interface: *mut CK_INTERFACE = null_mut();
    // SAFETY: the module's own function, called as documented.
    unsafe {
        let got = holdfast_pkcs11::C_GetInterface(null_mut(), null_mut(), &raw mut interface, 0);
        assert_eq!(got, CKR_OK);
        &*(*interface).pFunctionList.cast()
    }
}

/// An initialised module with a fresh token, until the test ends.
pub(crate) struct Turn(#[allow(dead_code)] MutexGuard<'static, ()>);

impl Turn {
    pub(crate) fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        holdfast_pkcs11::serve(memory::fresh);
        ok!(C_Initialize(null_mut()));
        Self(turn)
    }
}

impl Turn {
    /// The module is not initialised any more; the turn goes on.
    pub(crate) fn finalised(self) -> Self {
        ok!(C_Finalize(null_mut()));
        self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        call!(C_Finalize(null_mut()));
    }
}

/// As [`Turn`], with a token that was made and a session of its user.
pub(crate) fn logged_in() -> (Turn, CK_SESSION_HANDLE) {
    let turn = Turn::new();
    make_token();
    let session = open(true);
    log_in(session, CKU_USER, PIN, CKR_OK);
    (turn, session)
}

pub(crate) fn make_token() {
    let label = *b"a token of a test               ";
    ok!(C_InitToken(0, SO_PIN.as_ptr().cast_mut(), len(SO_PIN), label.as_ptr().cast_mut()));
    let session = open(true);
    log_in(session, CKU_SO, SO_PIN, CKR_OK);
    ok!(C_InitPIN(session, PIN.as_ptr().cast_mut(), len(PIN)));
    ok!(C_CloseSession(session));
}

pub(crate) fn len(bytes: &[u8]) -> CK_ULONG {
    bytes.len() as CK_ULONG
}

pub(crate) fn open(writes: bool) -> CK_SESSION_HANDLE {
    let flags = CKF_SERIAL_SESSION | if writes { CKF_RW_SESSION } else { 0 };
    let mut session = 0;
    ok!(C_OpenSession(0, flags, null_mut(), None, &raw mut session));
    session
}

pub(crate) fn log_in(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: &[u8], due: CK_RV) {
    assert_eq!(call!(C_Login(session, user, pin.as_ptr().cast_mut(), len(pin))), due);
}

/// A template under construction.
#[derive(Clone, Default)]
pub(crate) struct Template(Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>);

impl Template {
    pub(crate) fn bytes(mut self, code: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Self {
        self.0.push((code, value.to_vec()));
        self
    }

    pub(crate) fn flag(self, code: CK_ATTRIBUTE_TYPE, value: bool) -> Self {
        self.bytes(code, &[u8::from(value)])
    }

    pub(crate) fn number(self, code: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Self {
        self.bytes(code, &value.to_ne_bytes())
    }

    pub(crate) fn raw(&self) -> Raw {
        let values = self.clone();
        let raw = |(code, value): &(CK_ATTRIBUTE_TYPE, Vec<u8>)| CK_ATTRIBUTE {
            type_: *code,
            pValue: value.as_ptr().cast_mut().cast(),
            ulValueLen: len(value),
        };
        let attributes = values.0.iter().map(raw).collect();
        Raw { attributes, _values: values }
    }
}

/// A template as C sees it, with the values that it points to.
pub(crate) struct Raw {
    attributes: Vec<CK_ATTRIBUTE>,
    _values: Template,
}

impl std::ops::Deref for Raw {
    type Target = Vec<CK_ATTRIBUTE>;

    fn deref(&self) -> &Self::Target {
        &self.attributes
    }
}

impl std::ops::DerefMut for Raw {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.attributes
    }
}

pub(crate) fn template() -> Template {
    Template::default()
}

pub(crate) fn mechanism(code: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: code, pParameter: null_mut(), ulParameterLen: 0 }
}

pub(crate) fn with<T>(code: CK_MECHANISM_TYPE, parameter: &mut T) -> CK_MECHANISM {
    let pointer: *mut T = parameter;
    CK_MECHANISM {
        mechanism: code,
        pParameter: pointer.cast(),
        ulParameterLen: size_of::<T>() as CK_ULONG,
    }
}

pub(crate) fn try_create(session: CK_SESSION_HANDLE, template: &Template) -> Result<u64, CK_RV> {
    let (mut raw, mut object) = (template.raw(), 0);
    let got = call!(C_CreateObject(session, raw.as_mut_ptr(), raw.len() as u64, &raw mut object));
    if got == CKR_OK { Ok(object) } else { Err(got) }
}

pub(crate) fn try_generate(
    session: CK_SESSION_HANDLE,
    code: CK_MECHANISM_TYPE,
    template: &Template,
) -> Result<u64, CK_RV> {
    let (mut how, mut raw, mut key) = (mechanism(code), template.raw(), 0);
    let count = raw.len() as CK_ULONG;
    let got = call!(C_GenerateKey(session, &raw mut how, raw.as_mut_ptr(), count, &raw mut key));
    if got == CKR_OK { Ok(key) } else { Err(got) }
}

/// The public and the private key.
pub(crate) fn try_pair(
    session: CK_SESSION_HANDLE,
    code: CK_MECHANISM_TYPE,
    public: &Template,
    private: &Template,
) -> Result<(u64, u64), CK_RV> {
    let (mut how, mut public, mut private) = (mechanism(code), public.raw(), private.raw());
    let (mut one, mut other) = (0, 0);
    let got = call!(C_GenerateKeyPair(
        session,
        &raw mut how,
        public.as_mut_ptr(),
        public.len() as CK_ULONG,
        private.as_mut_ptr(),
        private.len() as CK_ULONG,
        &raw mut one,
        &raw mut other,
    ));
    if got == CKR_OK { Ok((one, other)) } else { Err(got) }
}

/// A P-256 pair that signs.
pub(crate) fn ec_pair(session: CK_SESSION_HANDLE, in_token: bool) -> (u64, u64) {
    let public = template().bytes(CKA_EC_PARAMS, P256).flag(CKA_VERIFY, true);
    let private = template().flag(CKA_SIGN, true).flag(CKA_DERIVE, true);
    let (public, private) = (public.flag(CKA_TOKEN, in_token), private.flag(CKA_TOKEN, in_token));
    try_pair(session, CKM_EC_KEY_PAIR_GEN, &public, &private).expect("a pair")
}

/// A function that gives bytes, as programs call it: first for the length.
pub(crate) fn two_calls(
    function: impl Fn(*mut CK_BYTE, *mut CK_ULONG) -> CK_RV,
) -> Result<Vec<u8>, CK_RV> {
    let mut length = 0;
    let got = function(null_mut(), &raw mut length);
    if got != CKR_OK {
        return Err(got);
    }
    let mut out = vec![0; length as usize];
    match function(out.as_mut_ptr(), &raw mut length) {
        CKR_OK => {
            out.truncate(length as usize);
            Ok(out)
        }
        code => Err(code),
    }
}

pub(crate) fn sign(
    session: CK_SESSION_HANDLE,
    mut how: CK_MECHANISM,
    key: u64,
    data: &[u8],
) -> Result<Vec<u8>, CK_RV> {
    match call!(C_SignInit(session, &raw mut how, key)) {
        CKR_OK => {}
        code => return Err(code),
    }
    two_calls(|out, length| {
        call!(C_Sign(session, data.as_ptr().cast_mut(), len(data), out, length))
    })
}

pub(crate) fn verify(
    session: CK_SESSION_HANDLE,
    mut how: CK_MECHANISM,
    key: u64,
    data: &[u8],
    signature: &[u8],
) -> CK_RV {
    match call!(C_VerifyInit(session, &raw mut how, key)) {
        CKR_OK => {}
        code => return code,
    }
    let (data_at, signature_at) = (data.as_ptr().cast_mut(), signature.as_ptr().cast_mut());
    call!(C_Verify(session, data_at, len(data), signature_at, len(signature)))
}

pub(crate) fn encrypt(
    session: CK_SESSION_HANDLE,
    mut how: CK_MECHANISM,
    key: u64,
    data: &[u8],
) -> Result<Vec<u8>, CK_RV> {
    match call!(C_EncryptInit(session, &raw mut how, key)) {
        CKR_OK => {}
        code => return Err(code),
    }
    let at = data.as_ptr().cast_mut();
    two_calls(|out, length| call!(C_Encrypt(session, at, len(data), out, length)))
}

pub(crate) fn decrypt(
    session: CK_SESSION_HANDLE,
    mut how: CK_MECHANISM,
    key: u64,
    data: &[u8],
) -> Result<Vec<u8>, CK_RV> {
    match call!(C_DecryptInit(session, &raw mut how, key)) {
        CKR_OK => {}
        code => return Err(code),
    }
    let at = data.as_ptr().cast_mut();
    two_calls(|out, length| call!(C_Decrypt(session, at, len(data), out, length)))
}

pub(crate) fn attribute(
    session: CK_SESSION_HANDLE,
    object: u64,
    code: CK_ATTRIBUTE_TYPE,
) -> Result<Vec<u8>, CK_RV> {
    let mut query = CK_ATTRIBUTE { type_: code, pValue: null_mut(), ulValueLen: 0 };
    match call!(C_GetAttributeValue(session, object, &raw mut query, 1)) {
        CKR_OK => {}
        code => return Err(code),
    }
    let mut value = vec![0u8; query.ulValueLen as usize];
    query.pValue = value.as_mut_ptr().cast();
    ok!(C_GetAttributeValue(session, object, &raw mut query, 1));
    Ok(value)
}

pub(crate) fn change(
    session: CK_SESSION_HANDLE,
    object: u64,
    code: CK_ATTRIBUTE_TYPE,
    value: &[u8],
) -> CK_RV {
    let mut raw = template().bytes(code, value).raw();
    call!(C_SetAttributeValue(session, object, raw.as_mut_ptr(), 1))
}

pub(crate) fn find(session: CK_SESSION_HANDLE, template: &Template) -> Vec<u64> {
    let mut raw = template.raw();
    let at = if raw.is_empty() { null::<CK_ATTRIBUTE>().cast_mut() } else { raw.as_mut_ptr() };
    ok!(C_FindObjectsInit(session, at, raw.len() as CK_ULONG));
    let (mut found, mut some, mut count) = (Vec::new(), [0; 2], 1);
    while count > 0 {
        ok!(C_FindObjects(session, some.as_mut_ptr(), 2, &raw mut count));
        found.extend_from_slice(&some[..count as usize]);
    }
    ok!(C_FindObjectsFinal(session));
    found
}
