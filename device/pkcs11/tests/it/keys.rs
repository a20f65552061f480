//! Objects: what templates may say, what may be read and changed, what leaves and what never does.

use crate::calls::{
    ED25519, P256, Turn, attribute, call, change, decrypt, ec_pair, encrypt, find, len, logged_in,
    mechanism, ok, open, sign, template, try_create, try_generate, try_pair, verify, with,
};
use cryptoki_sys::*;
use std::ptr::null_mut;

const NO: &[u8] = &[CK_FALSE];
const YES: &[u8] = &[CK_TRUE];

#[test]
fn s3_2_what_is_sensitive_never_leaves_and_never_stops_being_so() {
    let (_turn, session) = logged_in();
    let (_, private) = ec_pair(session, true);
    assert_eq!(attribute(session, private, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    assert_eq!(attribute(session, private, CKA_ALWAYS_SENSITIVE), Ok(YES.to_vec()));
    assert_eq!(change(session, private, CKA_SENSITIVE, NO), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(change(session, private, CKA_EXTRACTABLE, YES), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(change(session, private, CKA_UNWRAP, YES), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(change(session, private, CKA_SIGN, NO), CKR_OK);
    assert_eq!(change(session, private, CKA_SIGN, YES), CKR_ATTRIBUTE_READ_ONLY);
    assert_eq!(change(session, private, CKA_LABEL, b"new"), CKR_OK);
    assert_eq!(attribute(session, private, CKA_LABEL), Ok(b"new".to_vec()));

    let open = template().number(CKA_VALUE_LEN, 16).flag(CKA_EXTRACTABLE, true);
    let key = try_generate(session, CKM_AES_KEY_GEN, &open).unwrap();
    assert_eq!(attribute(session, key, CKA_VALUE).unwrap().len(), 16);
    assert_eq!(change(session, key, CKA_SENSITIVE, YES), CKR_TEMPLATE_INCONSISTENT);
    assert_eq!(change(session, key, CKA_EXTRACTABLE, NO), CKR_OK);
    assert_eq!(attribute(session, key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    assert_eq!(change(session, key, CKA_EXTRACTABLE, YES), CKR_ATTRIBUTE_READ_ONLY);
}

#[test]
fn s3_2_wrapping_brings_nothing_out_that_is_sensitive() {
    let (_turn, session) = logged_in();
    // Tookan's first attack: a key that wraps and decrypts, and a sensitive key that is
    // extractable. There is no such key here.
    let wanted = template().number(CKA_VALUE_LEN, 16).flag(CKA_SENSITIVE, true);
    let wanted = wanted.flag(CKA_EXTRACTABLE, true);
    let refused = try_generate(session, CKM_AES_KEY_GEN, &wanted);
    assert_eq!(refused, Err(CKR_TEMPLATE_INCONSISTENT));
    let wanted = template().number(CKA_VALUE_LEN, 16).flag(CKA_EXTRACTABLE, true);
    let refused = try_generate(session, CKM_AES_KEY_GEN, &wanted.flag(CKA_TOKEN, true));
    assert_eq!(refused, Err(CKR_TEMPLATE_INCONSISTENT));

    let wrapping = template().number(CKA_VALUE_LEN, 32).flag(CKA_WRAP, true).flag(CKA_UNWRAP, true);
    let wrapping = try_generate(session, CKM_AES_KEY_GEN, &wrapping.flag(CKA_TOKEN, true)).unwrap();
    let (_, private) = ec_pair(session, false);
    let mut how = mechanism(CKM_AES_KEY_WRAP);
    let mut length = 0;
    let refused =
        call!(C_WrapKey(session, &raw mut how, wrapping, private, null_mut(), &raw mut length));
    assert_eq!(refused, CKR_KEY_UNEXTRACTABLE);
}

#[test]
fn what_may_leave_comes_back_the_same() {
    let (_turn, session) = logged_in();
    let wanted = template().number(CKA_VALUE_LEN, 32).flag(CKA_WRAP, true).flag(CKA_UNWRAP, true);
    let wrapping = try_generate(session, CKM_AES_KEY_GEN, &wanted.flag(CKA_TOKEN, true)).unwrap();
    let wanted = template().number(CKA_VALUE_LEN, 16).flag(CKA_EXTRACTABLE, true);
    let key = try_generate(session, CKM_AES_KEY_GEN, &wanted).unwrap();
    let value = attribute(session, key, CKA_VALUE).unwrap();
    let mut iv = [1u8; 16];
    for mut how in [
        mechanism(CKM_AES_KEY_WRAP),
        mechanism(CKM_AES_KEY_WRAP_KWP),
        with(CKM_AES_CBC_PAD, &mut iv),
    ] {
        let wrapped = crate::calls::two_calls(|out, length| {
            call!(C_WrapKey(session, &raw const how as *mut _, wrapping, key, out, length))
        })
        .unwrap();
        let wanted = template().number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES);
        let mut raw = wanted.flag(CKA_EXTRACTABLE, true).raw();
        let (count, mut back) = (raw.len() as CK_ULONG, 0);
        let unwrap = |bytes: &[u8], raw: &mut [CK_ATTRIBUTE], how: &mut CK_MECHANISM, back| {
            let at = bytes.as_ptr().cast_mut();
            let raw = raw.as_mut_ptr();
            call!(C_UnwrapKey(session, how, wrapping, at, len(bytes), raw, count, back))
        };
        assert_eq!(unwrap(&wrapped, &mut raw, &mut how, &raw mut back), CKR_OK);
        assert_eq!(attribute(session, back, CKA_VALUE), Ok(value.clone()));
        assert_eq!(attribute(session, back, CKA_LOCAL), Ok(NO.to_vec()));
        let short = unwrap(&wrapped[..7], &mut raw, &mut how, &raw mut back);
        assert_eq!(short, CKR_WRAPPED_KEY_LEN_RANGE, "{:x}", how.mechanism);
    }
}

#[test]
fn two_keys_agree_on_one_secret() {
    let (_turn, session) = logged_in();
    for kdf in [CKD_NULL, CKD_SHA256_KDF] {
        let pairs = [ec_pair(session, true), ec_pair(session, false)];
        let agreed = [(0, 1), (1, 0)].map(|(own, other): (usize, usize)| {
            let point = attribute(session, pairs[other].0, CKA_EC_POINT).unwrap();
            let mut agree = CK_ECDH1_DERIVE_PARAMS {
                kdf,
                ulSharedDataLen: 0,
                pSharedData: null_mut(),
                ulPublicDataLen: len(&point),
                pPublicData: point.as_ptr().cast_mut(),
            };
            let mut how = with(CKM_ECDH1_DERIVE, &mut agree);
            let wanted = template().number(CKA_CLASS, CKO_SECRET_KEY);
            let wanted = wanted.number(CKA_KEY_TYPE, CKK_GENERIC_SECRET);
            let wanted = wanted.number(CKA_VALUE_LEN, 32).flag(CKA_EXTRACTABLE, true);
            let mut raw = wanted.raw();
            let mut key = 0;
            ok!(C_DeriveKey(
                session,
                &raw mut how,
                pairs[own].1,
                raw.as_mut_ptr(),
                raw.len() as CK_ULONG,
                &raw mut key,
            ));
            attribute(session, key, CKA_VALUE).unwrap()
        });
        assert_eq!(agreed[0], agreed[1]);
    }
}

#[test]
fn keys_come_in_from_outside_and_work_in_the_token() {
    let (_turn, session) = logged_in();
    let outside = crypto::curve25519::Ed25519::from_seed(&[7; 32]).unwrap();
    let wanted = template()
        .number(CKA_CLASS, CKO_PRIVATE_KEY)
        .number(CKA_KEY_TYPE, CKK_EC_EDWARDS)
        .bytes(CKA_EC_PARAMS, ED25519)
        .bytes(CKA_VALUE, &[7; 32])
        .flag(CKA_SIGN, true);
    for in_token in [false, true] {
        let key = try_create(session, &wanted.clone().flag(CKA_TOKEN, in_token)).unwrap();
        let signature = sign(session, mechanism(CKM_EDDSA), key, b"message").unwrap();
        let public = outside.public().unwrap();
        crypto::curve25519::ed25519_verify(&public, b"message", &signature).unwrap();
        assert_eq!(attribute(session, key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    }
    let aes = template().number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES);
    let aes = aes.bytes(CKA_VALUE, &[1; 16]).flag(CKA_ENCRYPT, true).flag(CKA_DECRYPT, true);
    let key = try_create(session, &aes.flag(CKA_TOKEN, true)).unwrap();
    let sealed = encrypt(session, mechanism(CKM_AES_ECB), key, &[2; 16]).unwrap();
    assert_eq!(decrypt(session, mechanism(CKM_AES_ECB), key, &sealed).unwrap(), [2; 16]);
}

#[test]
fn curves_go_by_the_names_that_programs_give_them() {
    let (_turn, session) = logged_in();
    for params in [&b"\x13\x0acurve25519"[..], b"\x13\x0bcurve25519", b"\x06\x03\x2b\x65\x6e"] {
        let public = template().bytes(CKA_EC_PARAMS, params);
        let pair = try_pair(session, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &public, &template());
        assert!(pair.is_ok(), "{params:?}");
    }
    let other = template().bytes(CKA_EC_PARAMS, b"\x13\x0bcurve25518");
    let refused = try_pair(session, CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &other, &template());
    assert_eq!(refused.err(), Some(CKR_CURVE_NOT_SUPPORTED));
}

#[test]
fn templates_that_say_too_little_too_much_or_nonsense_are_refused() {
    let (_turn, session) = logged_in();
    let pair = |public: crate::calls::Template, private| {
        try_pair(session, CKM_EC_KEY_PAIR_GEN, &public, &private).err()
    };
    let ec = || template().bytes(CKA_EC_PARAMS, P256);
    assert_eq!(pair(template(), template()), Some(CKR_TEMPLATE_INCOMPLETE));
    assert_eq!(
        pair(template().bytes(CKA_EC_PARAMS, &[6, 1]), template()),
        Some(CKR_CURVE_NOT_SUPPORTED)
    );
    assert_eq!(pair(ec().bytes(CKA_EC_PARAMS, P256), template()), Some(CKR_TEMPLATE_INCONSISTENT));
    assert_eq!(pair(ec(), template().bytes(CKA_SIGN, &[2])), Some(CKR_ATTRIBUTE_VALUE_INVALID));
    assert_eq!(pair(ec(), template().bytes(CKA_SIGN, &[])), Some(CKR_ATTRIBUTE_VALUE_INVALID));
    assert_eq!(pair(ec(), template().bytes(0x4000_0000, b"x")), Some(CKR_ATTRIBUTE_TYPE_INVALID));
    assert_eq!(pair(ec(), template().flag(CKA_LOCAL, true)), Some(CKR_ATTRIBUTE_READ_ONLY));
    assert_eq!(pair(ec(), template().flag(CKA_ENCRYPT, true)), Some(CKR_ATTRIBUTE_TYPE_INVALID));
    let open = template().flag(CKA_ALWAYS_AUTHENTICATE, true).flag(CKA_PRIVATE, false);
    assert_eq!(pair(ec(), open), Some(CKR_TEMPLATE_INCONSISTENT));
    for (bits, in_token) in [(1024, true), (1023, false), (512, false), (8192, false)] {
        let public = template().number(CKA_MODULUS_BITS, bits);
        let private = template().flag(CKA_TOKEN, in_token);
        let weak = try_pair(session, CKM_RSA_PKCS_KEY_PAIR_GEN, &public, &private);
        assert_eq!(weak.err(), Some(CKR_KEY_SIZE_RANGE), "{bits}");
    }
    for length in [0, 15, 33, CK_ULONG::MAX] {
        let wanted = template().number(CKA_VALUE_LEN, length);
        let refused = try_generate(session, CKM_AES_KEY_GEN, &wanted);
        assert_eq!(refused, Err(CKR_KEY_SIZE_RANGE), "{length}");
    }
    assert_eq!(try_create(session, &template()), Err(CKR_TEMPLATE_INCOMPLETE));
    let hardware = template().number(CKA_CLASS, CKO_HW_FEATURE);
    assert_eq!(try_create(session, &hardware), Err(CKR_ATTRIBUTE_VALUE_INVALID));
}

#[test]
fn objects_are_found_by_what_they_are_and_go_with_their_session() {
    let (_turn, session) = logged_in();
    let other = open(true);
    let (public, private) = ec_pair(session, true);
    let data = template().number(CKA_CLASS, CKO_DATA).bytes(CKA_LABEL, b"note");
    let short = try_create(other, &data.clone().bytes(CKA_VALUE, b"one")).unwrap();
    let kept = data.clone().bytes(CKA_VALUE, b"two").flag(CKA_TOKEN, true);
    let kept = try_create(other, &kept.flag(CKA_PRIVATE, true)).unwrap();
    assert_eq!(find(session, &data), [short, kept]);
    assert_eq!(find(session, &template()).len(), 4);
    let keys = template().number(CKA_CLASS, CKO_PRIVATE_KEY).flag(CKA_SIGN, true);
    assert_eq!(find(session, &keys), [private]);
    assert_eq!(find(session, &template().bytes(CKA_VALUE, b"two")), [kept]);
    ok!(C_CloseSession(other));
    assert_eq!(find(session, &data), [kept]);
    ok!(C_Logout(session));
    assert_eq!(find(session, &template()), [public]);
    assert_eq!(attribute(session, kept, CKA_VALUE), Err(CKR_OBJECT_HANDLE_INVALID));
    assert_eq!(sign(session, mechanism(CKM_ECDSA), private, &[0; 32]), Err(CKR_KEY_HANDLE_INVALID));
}

#[test]
fn halves_of_a_pair_are_destroyed_in_either_order() {
    let (_turn, session) = logged_in();
    for private_first in [true, false] {
        let (public, private) = ec_pair(session, true);
        let signature = sign(session, mechanism(CKM_ECDSA), private, &[1; 32]).unwrap();
        let order = if private_first { [private, public] } else { [public, private] };
        ok!(C_DestroyObject(session, order[0]));
        assert_eq!(find(session, &template()), [order[1]]);
        if private_first {
            let valid = verify(session, mechanism(CKM_ECDSA), public, &[1; 32], &signature);
            assert_eq!(valid, CKR_OK);
        } else {
            sign(session, mechanism(CKM_ECDSA), private, &[1; 32]).unwrap();
        }
        ok!(C_DestroyObject(session, order[1]));
        assert_eq!(call!(C_DestroyObject(session, order[1])), CKR_OBJECT_HANDLE_INVALID);
        assert!(find(session, &template()).is_empty());
    }
}

#[test]
fn a_session_that_only_reads_and_one_without_a_login_change_nothing() {
    let turn = Turn::new();
    crate::calls::make_token();
    let session = open(true);
    let data = template().number(CKA_CLASS, CKO_DATA).flag(CKA_TOKEN, true);
    let object = try_create(session, &data).unwrap();
    let private = data.clone().flag(CKA_PRIVATE, true);
    assert_eq!(try_create(session, &private), Err(CKR_USER_NOT_LOGGED_IN));
    let reader = open(false);
    assert_eq!(try_create(reader, &data), Err(CKR_SESSION_READ_ONLY));
    assert_eq!(change(reader, object, CKA_LABEL, b"x"), CKR_SESSION_READ_ONLY);
    assert_eq!(call!(C_DestroyObject(reader, object)), CKR_SESSION_READ_ONLY);
    drop(turn);
}

#[test]
fn a_copy_may_differ_in_where_it_lies_and_a_key_in_the_token_is_there_once() {
    let (_turn, session) = logged_in();
    let wanted = template().number(CKA_VALUE_LEN, 16).flag(CKA_EXTRACTABLE, true);
    let wanted = wanted.flag(CKA_ENCRYPT, true);
    let key = try_generate(session, CKM_AES_KEY_GEN, &wanted).unwrap();
    let copy = |object, wanted: crate::calls::Template| {
        let (mut raw, mut copy) = (wanted.raw(), 0);
        let count = raw.len() as CK_ULONG;
        match call!(C_CopyObject(session, object, raw.as_mut_ptr(), count, &raw mut copy)) {
            CKR_OK => Ok(copy),
            code => Err(code),
        }
    };
    let into = template().flag(CKA_TOKEN, true);
    assert_eq!(copy(key, into.clone()), Err(CKR_TEMPLATE_INCONSISTENT));
    let into = into.flag(CKA_EXTRACTABLE, false).flag(CKA_SENSITIVE, true);
    let kept = copy(key, into).unwrap();
    let how = mechanism(CKM_AES_ECB);
    let sealed = [key, kept].map(|key| encrypt(session, how, key, &[1; 16]).unwrap());
    assert_eq!(sealed[0], sealed[1]);
    assert_eq!(copy(kept, template()), Err(CKR_ACTION_PROHIBITED));
}
