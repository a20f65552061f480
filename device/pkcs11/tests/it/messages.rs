//! Messages under a key that stays chosen, signatures that bring their message back, and keys that
//! want a login for each use.

use crate::calls::{
    PIN, call, decrypt, ec_pair, encrypt, len, log_in, logged_in, mechanism, ok, sign, template,
    try_generate, try_pair, two_calls, verify, with,
};
use cryptoki_sys::*;
use std::ptr::null_mut;

/// What comes with a message, and where nonce and tag go.
struct Params {
    iv: [u8; 12],
    tag: [u8; 16],
    generator: CK_GENERATOR_FUNCTION,
    fixed_bits: CK_ULONG,
}

impl Params {
    const fn new(generator: CK_GENERATOR_FUNCTION) -> Self {
        Self { iv: [7; 12], tag: [0; 16], generator, fixed_bits: 32 }
    }

    fn raw(&mut self) -> CK_GCM_MESSAGE_PARAMS {
        CK_GCM_MESSAGE_PARAMS {
            pIv: self.iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvFixedBits: self.fixed_bits,
            ivGenerator: self.generator,
            pTag: self.tag.as_mut_ptr(),
            ulTagBits: 128,
        }
    }
}

/// With a buffer of so many bytes.
fn seal_into(
    session: CK_SESSION_HANDLE,
    params: &mut CK_GCM_MESSAGE_PARAMS,
    text: &[u8],
    room: usize,
) -> Result<Vec<u8>, CK_RV> {
    let (mut out, mut length) = (vec![0; room], room as CK_ULONG);
    let size = size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG;
    let params: *mut CK_GCM_MESSAGE_PARAMS = params;
    let code = call!(C_EncryptMessage(
        session,
        params.cast(),
        size,
        b"head".as_ptr().cast_mut(),
        4,
        text.as_ptr().cast_mut(),
        len(text),
        out.as_mut_ptr(),
        &raw mut length,
    ));
    out.truncate(length as usize);
    if code == CKR_OK { Ok(out) } else { Err(code) }
}

fn open(
    session: CK_SESSION_HANDLE,
    params: &mut CK_GCM_MESSAGE_PARAMS,
    head: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, CK_RV> {
    let size = size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG;
    let params: *mut CK_GCM_MESSAGE_PARAMS = params;
    two_calls(|out, length| {
        call!(C_DecryptMessage(
            session,
            params.cast(),
            size,
            head.as_ptr().cast_mut(),
            len(head),
            sealed.as_ptr().cast_mut(),
            len(sealed),
            out,
            length,
        ))
    })
}

fn aes_key(session: CK_SESSION_HANDLE, in_token: bool) -> u64 {
    let wanted = template().number(CKA_VALUE_LEN, 32).flag(CKA_TOKEN, in_token);
    try_generate(session, CKM_AES_KEY_GEN, &wanted).unwrap()
}

#[test]
fn s3_2_messages_of_gcm_are_those_of_one_call_and_an_altered_one_is_refused() {
    let (_turn, session) = logged_in();
    for in_token in [false, true] {
        let key = aes_key(session, in_token);
        let mut how = mechanism(CKM_AES_GCM);
        ok!(C_MessageEncryptInit(session, &raw mut how, key));
        ok!(C_MessageDecryptInit(session, &raw mut how, key));
        for text in [&b""[..], b"The tide turns.", &[9; 5000]] {
            let mut params = Params::new(CKG_NO_GENERATE);
            let sealed = seal_into(session, &mut params.raw(), text, text.len() + 3).unwrap();
            let mut gcm = CK_GCM_PARAMS {
                pIv: params.iv.as_mut_ptr(),
                ulIvLen: 12,
                ulIvBits: 96,
                pAAD: b"head".as_ptr().cast_mut(),
                ulAADLen: 4,
                ulTagBits: 128,
            };
            let whole = encrypt(session, with(CKM_AES_GCM, &mut gcm), key, text).unwrap();
            assert_eq!([&sealed[..], &params.tag].concat(), whole);
            assert_eq!(open(session, &mut params.raw(), b"head", &sealed).as_deref(), Ok(text));
            params.tag[3] ^= 1;
            let altered = open(session, &mut params.raw(), b"head", &sealed);
            assert_eq!(altered, Err(CKR_AEAD_DECRYPT_FAILED));
            params.tag[3] ^= 1;
            let elsewhere = open(session, &mut params.raw(), b"tail", &sealed);
            assert_eq!(elsewhere, Err(CKR_AEAD_DECRYPT_FAILED));
        }
        ok!(C_MessageEncryptFinal(session));
        ok!(C_MessageDecryptFinal(session));
        assert_eq!(call!(C_MessageEncryptFinal(session)), CKR_OPERATION_NOT_INITIALIZED);
    }
}

#[test]
fn nonces_that_are_made_here_are_never_the_same_and_keep_what_is_the_callers() {
    let (_turn, session) = logged_in();
    let key = aes_key(session, true);
    let mut how = mechanism(CKM_AES_GCM);
    ok!(C_MessageEncryptInit(session, &raw mut how, key));
    let mut seen = std::collections::HashSet::new();
    for generator in [CKG_GENERATE, CKG_GENERATE_RANDOM] {
        for _ in 0..50 {
            let mut params = Params::new(generator);
            seal_into(session, &mut params.raw(), b"text", 4).unwrap();
            assert_eq!(params.iv[..4], [7; 4]);
            assert!(seen.insert(params.iv));
        }
    }
    // No nonce is used up where the text does not fit.
    let mut params = Params::new(CKG_GENERATE);
    let small = seal_into(session, &mut params.raw(), b"text", 3);
    assert_eq!((small, params.iv), (Err(CKR_BUFFER_TOO_SMALL), [7; 12]));
}

#[test]
fn s3_2_parameters_of_messages_that_mean_nothing_are_refused() {
    let (_turn, session) = logged_in();
    let key = aes_key(session, false);
    let (public, _) = ec_pair(session, false);
    let mut how = mechanism(CKM_AES_GCM);
    assert_eq!(
        call!(C_MessageEncryptInit(session, null_mut(), key)),
        CKR_OPERATION_NOT_INITIALIZED
    );
    let wrong_key = call!(C_MessageEncryptInit(session, &raw mut how, public));
    assert_eq!(wrong_key, CKR_KEY_TYPE_INCONSISTENT);
    let mut cbc = mechanism(CKM_AES_CBC);
    assert_eq!(call!(C_MessageEncryptInit(session, &raw mut cbc, key)), CKR_MECHANISM_INVALID);
    ok!(C_MessageEncryptInit(session, &raw mut how, key));
    assert_eq!(call!(C_MessageEncryptInit(session, &raw mut how, key)), CKR_OPERATION_ACTIVE);
    let changes: &[fn(&mut CK_GCM_MESSAGE_PARAMS)] = &[
        |it| it.pIv = null_mut(),
        |it| it.pTag = null_mut(),
        |it| it.ulIvLen = 13,
        |it| it.ulIvLen = CK_ULONG::MAX,
        |it| it.ulTagBits = 64,
        |it| it.ulTagBits = 127,
        |it| it.ulTagBits = CK_ULONG::MAX,
        |it| it.ulIvFixedBits = 33,
        |it| it.ulIvFixedBits = 96,
        |it| it.ivGenerator = CKG_GENERATE_COUNTER,
        |it| it.ivGenerator = CKG_GENERATE_COUNTER_XOR,
        |it| it.ivGenerator = 77,
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut params = Params::new(CKG_GENERATE);
        let mut raw = params.raw();
        change(&mut raw);
        let refused = seal_into(session, &mut raw, b"text", 4);
        assert_eq!(refused, Err(CKR_MECHANISM_PARAM_INVALID), "{at}");
    }
    // The key stays chosen.
    let mut params = Params::new(CKG_GENERATE);
    seal_into(session, &mut params.raw(), b"text", 4).unwrap();
    ok!(C_SessionCancel(session, CKF_MESSAGE_ENCRYPT));
    let over = seal_into(session, &mut params.raw(), b"text", 4);
    assert_eq!(over, Err(CKR_OPERATION_NOT_INITIALIZED));
    let part = call!(C_SignMessageBegin(session, null_mut(), 0));
    assert_eq!(part, CKR_FUNCTION_NOT_SUPPORTED);
}

#[test]
fn s3_2_many_messages_are_signed_under_one_choice() {
    let (_turn, session) = logged_in();
    let (public, private) = ec_pair(session, true);
    let mac =
        try_generate(session, CKM_GENERIC_SECRET_KEY_GEN, &template().number(CKA_VALUE_LEN, 32));
    let mac = mac.unwrap();
    for (code, signer, verifier) in
        [(CKM_ECDSA_SHA256, private, public), (CKM_SHA256_HMAC, mac, mac)]
    {
        let mut how = mechanism(code);
        ok!(C_MessageSignInit(session, &raw mut how, signer));
        ok!(C_MessageVerifyInit(session, &raw mut how, verifier));
        for message in [&b"one"[..], b"two", b""] {
            let at = message.as_ptr().cast_mut();
            let signature = two_calls(|out, length| {
                call!(C_SignMessage(session, null_mut(), 0, at, len(message), out, length))
            });
            let mut signature = signature.unwrap();
            assert_eq!(verify(session, how, verifier, message, &signature), CKR_OK);
            let judged = |signature: &[u8]| {
                let (sig, length) = (signature.as_ptr().cast_mut(), len(signature));
                call!(C_VerifyMessage(session, null_mut(), 0, at, len(message), sig, length))
            };
            assert_eq!(judged(&signature), CKR_OK);
            signature[5] ^= 1;
            assert_eq!(judged(&signature), CKR_SIGNATURE_INVALID);
        }
        ok!(C_MessageSignFinal(session));
        ok!(C_MessageVerifyFinal(session));
    }
}

#[test]
fn s3_2_a_signature_of_rsa_brings_its_message_back() {
    let (_turn, session) = logged_in();
    let bits = template().number(CKA_MODULUS_BITS, 2048);
    let pair = try_pair(session, CKM_RSA_PKCS_KEY_PAIR_GEN, &bits, &template());
    let (public, private) = pair.unwrap();
    let mut how = mechanism(CKM_RSA_PKCS);
    let signed = |message: &[u8]| {
        let (mut how, at) = (how, message.as_ptr().cast_mut());
        ok!(C_SignRecoverInit(session, &raw mut how, private));
        two_calls(|out, length| call!(C_SignRecover(session, at, len(message), out, length)))
    };
    let recovered = |signature: &[u8]| {
        let (mut how, at) = (how, signature.as_ptr().cast_mut());
        ok!(C_VerifyRecoverInit(session, &raw mut how, public));
        two_calls(|out, length| call!(C_VerifyRecover(session, at, len(signature), out, length)))
    };
    for message in [&b""[..], b"message", &[0xff; 245]] {
        let signature = signed(message).unwrap();
        assert_eq!(verify(session, how, public, message, &signature), CKR_OK);
        assert_eq!(recovered(&signature).as_deref(), Ok(message));
        let mut altered = signature.clone();
        altered[100] ^= 1;
        assert_eq!(recovered(&altered), Err(CKR_SIGNATURE_INVALID));
        assert_eq!(recovered(&signature[1..]), Err(CKR_SIGNATURE_LEN_RANGE));
    }
    assert_eq!(signed(&[1; 246]), Err(CKR_DATA_LEN_RANGE));
    let mut pss = mechanism(CKM_SHA256_RSA_PKCS);
    let other = call!(C_SignRecoverInit(session, &raw mut pss, private));
    assert_eq!(other, CKR_MECHANISM_INVALID);
    let wrong = call!(C_VerifyRecoverInit(session, &raw mut how, private));
    assert_eq!(wrong, CKR_KEY_FUNCTION_NOT_PERMITTED);
}

#[test]
fn s3_2_a_key_that_wants_a_login_each_time_gets_one_each_time() {
    let (_turn, session) = logged_in();
    for in_token in [false, true] {
        let private = template().flag(CKA_ALWAYS_AUTHENTICATE, true).flag(CKA_TOKEN, in_token);
        let public = template().bytes(CKA_EC_PARAMS, crate::calls::P256);
        let pair = try_pair(session, CKM_EC_KEY_PAIR_GEN, &public, &private);
        let (public, private) = pair.unwrap();
        log_in(session, CKU_CONTEXT_SPECIFIC, PIN, CKR_OPERATION_NOT_INITIALIZED);
        let mut how = mechanism(CKM_ECDSA_SHA256);
        for _ in 0..2 {
            ok!(C_SignInit(session, &raw mut how, private));
            let (mut out, mut length) = ([0u8; 64], 64);
            let at = b"abc".as_ptr().cast_mut();
            let early = call!(C_Sign(session, at, 3, out.as_mut_ptr(), &raw mut length));
            assert_eq!(early, CKR_USER_NOT_LOGGED_IN);
            log_in(session, CKU_CONTEXT_SPECIFIC, b"wrong", CKR_PIN_INCORRECT);
            log_in(session, CKU_CONTEXT_SPECIFIC, PIN, CKR_OK);
            ok!(C_Sign(session, at, 3, out.as_mut_ptr(), &raw mut length));
            assert_eq!(verify(session, how, public, b"abc", &out), CKR_OK);
        }
        let messages = call!(C_MessageSignInit(session, &raw mut how, private));
        assert_eq!(messages, CKR_KEY_FUNCTION_NOT_PERMITTED);
    }
}

#[test]
fn a_counter_never_comes_back_to_where_it_was() {
    let (_turn, session) = logged_in();
    let key = aes_key(session, false);
    let counter = |bits, first| {
        let mut cb = [9; 16];
        cb[12..].copy_from_slice(&u32::to_be_bytes(first));
        CK_AES_CTR_PARAMS { ulCounterBits: bits, cb }
    };
    // 32 bits as RFC 3686 has them: the same as a longer counter, while it lasts.
    let (mut short, mut long) = (counter(32, 5), counter(128, 5));
    let text = [1u8; 100];
    let sealed = encrypt(session, with(CKM_AES_CTR, &mut short), key, &text).unwrap();
    let same = encrypt(session, with(CKM_AES_CTR, &mut long), key, &text).unwrap();
    assert_eq!(sealed, same);
    assert_eq!(decrypt(session, with(CKM_AES_CTR, &mut short), key, &sealed).unwrap(), text);
    let mut last = counter(32, u32::MAX - 1);
    assert!(encrypt(session, with(CKM_AES_CTR, &mut last), key, &text[..32]).is_ok());
    let beyond = encrypt(session, with(CKM_AES_CTR, &mut last), key, &text[..33]);
    assert_eq!(beyond, Err(CKR_DATA_LEN_RANGE));
    let mut few = counter(4, 0);
    let room = encrypt(session, with(CKM_AES_CTR, &mut few), key, &[1; 256 - 15]);
    assert!(room.is_ok());
    let beyond = encrypt(session, with(CKM_AES_CTR, &mut few), key, &[1; 257]);
    assert_eq!(beyond, Err(CKR_DATA_LEN_RANGE));
    for bits in [0, 129, CK_ULONG::MAX] {
        let mut wrong = counter(bits, 0);
        let refused = encrypt(session, with(CKM_AES_CTR, &mut wrong), key, &text);
        assert_eq!(refused, Err(CKR_MECHANISM_PARAM_INVALID), "{bits}");
    }
}

#[test]
fn a_key_whose_template_names_no_purpose_does_what_it_is_for() {
    let (_turn, session) = logged_in();
    for in_token in [false, true] {
        let key = aes_key(session, in_token);
        let sealed = encrypt(session, mechanism(CKM_AES_ECB), key, &[1; 16]).unwrap();
        assert_eq!(decrypt(session, mechanism(CKM_AES_ECB), key, &sealed).unwrap(), [1; 16]);
        assert_eq!(sign(session, mechanism(CKM_AES_CMAC), key, b"x").unwrap().len(), 16);
        // Who names one means no other.
        let wanted = template().number(CKA_VALUE_LEN, 16).flag(CKA_ENCRYPT, true);
        let wanted = wanted.flag(CKA_TOKEN, in_token);
        let key = try_generate(session, CKM_AES_KEY_GEN, &wanted).unwrap();
        let refused = decrypt(session, mechanism(CKM_AES_ECB), key, &sealed);
        assert_eq!(refused, Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    }
}
