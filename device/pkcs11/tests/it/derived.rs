//! CMAC and HKDF, against published vectors, with keys of the session and of the token.

use crate::calls::{
    attribute, call, len, logged_in, mechanism, ok, sign, template, try_create, try_generate,
    verify, with,
};
use cryptoki_sys::*;
use std::ptr::null_mut;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn given(session: CK_SESSION_HANDLE, key_type: CK_KEY_TYPE, value: &[u8], in_token: bool) -> u64 {
    let wanted = template().number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, key_type);
    try_create(session, &wanted.bytes(CKA_VALUE, value).flag(CKA_TOKEN, in_token)).unwrap()
}

#[test]
fn s3_2_cmac_is_that_of_rfc_4493_in_one_part_and_in_many() {
    let (_turn, session) = logged_in();
    let value = bytes("2b7e151628aed2a6abf7158809cf4f3c");
    let message = bytes(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    );
    for in_token in [false, true] {
        let key = given(session, CKK_AES, &value, in_token);
        for (length, tag) in [
            (0, "bb1d6929e95937287fa37d129b756746"),
            (16, "070a16b46b4d4144f79bdd9dd04a287c"),
            (40, "dfa66747de9ae63030ca32611497c827"),
            (64, "51f0bebf7e3b9d92fc49741779363cfe"),
        ] {
            let (message, tag) = (&message[..length], bytes(tag));
            let mut how = mechanism(CKM_AES_CMAC);
            assert_eq!(sign(session, how, key, message).as_ref(), Ok(&tag));
            assert_eq!(verify(session, how, key, message, &tag), CKR_OK);
            for part in [1, 7, 16, 17] {
                ok!(C_SignInit(session, &raw mut how, key));
                for piece in message.chunks(part) {
                    ok!(C_SignUpdate(session, piece.as_ptr().cast_mut(), len(piece)));
                }
                let (mut out, mut room) = ([0u8; 16], 16);
                ok!(C_SignFinal(session, out.as_mut_ptr(), &raw mut room));
                assert_eq!(out[..], tag, "{length} by {part}");
            }
            let mut cut: CK_ULONG = 8;
            let how = with(CKM_AES_CMAC_GENERAL, &mut cut);
            assert_eq!(sign(session, how, key, message).unwrap(), tag[..8]);
            assert_eq!(verify(session, how, key, message, &tag[..8]), CKR_OK);
            assert_eq!(verify(session, how, key, b"other", &tag[..8]), CKR_SIGNATURE_INVALID);
        }
    }
}

struct Wanted<'a> {
    extract: bool,
    expand: bool,
    salt: &'a [u8],
    info: &'a [u8],
    length: Option<CK_ULONG>,
}

fn derived(session: CK_SESSION_HANDLE, base: u64, wanted: &Wanted<'_>) -> Result<Vec<u8>, CK_RV> {
    let mut params = CK_HKDF_PARAMS {
        bExtract: CK_BBOOL::from(wanted.extract),
        bExpand: CK_BBOOL::from(wanted.expand),
        prfHashMechanism: CKM_SHA256,
        ulSaltType: if wanted.salt.is_empty() { CKF_HKDF_SALT_NULL } else { CKF_HKDF_SALT_DATA },
        pSalt: wanted.salt.as_ptr().cast_mut(),
        ulSaltLen: len(wanted.salt),
        hSaltKey: 0,
        pInfo: wanted.info.as_ptr().cast_mut(),
        ulInfoLen: len(wanted.info),
    };
    let mut how = with(CKM_HKDF_DERIVE, &mut params);
    let mut template = template().flag(CKA_EXTRACTABLE, true).number(CKA_CLASS, CKO_SECRET_KEY);
    if let Some(length) = wanted.length {
        template = template.number(CKA_VALUE_LEN, length);
    }
    let (mut raw, mut key) = (template.raw(), 0);
    let at = raw.as_mut_ptr();
    let count = raw.len() as CK_ULONG;
    match call!(C_DeriveKey(session, &raw mut how, base, at, count, &raw mut key)) {
        CKR_OK => attribute(session, key, CKA_VALUE),
        code => Err(code),
    }
}

#[test]
fn s3_2_hkdf_is_that_of_rfc_5869_and_expands_in_the_token() {
    let (_turn, session) = logged_in();
    let base = given(session, CKK_GENERIC_SECRET, &[0x0b; 22], false);
    let (salt, info) = (bytes("000102030405060708090a0b0c"), bytes("f0f1f2f3f4f5f6f7f8f9"));
    let prk = bytes("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    let okm = bytes(
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    );
    let both = Wanted { extract: true, expand: true, salt: &salt, info: &info, length: Some(42) };
    assert_eq!(derived(session, base, &both).as_ref(), Ok(&okm));
    let extract = Wanted { expand: false, length: None, ..both };
    assert_eq!(derived(session, base, &extract).as_ref(), Ok(&prk));
    let wrong = Wanted { expand: false, length: Some(31), ..both };
    assert_eq!(derived(session, base, &wrong), Err(CKR_TEMPLATE_INCONSISTENT));
    let unsized_ = Wanted { length: None, ..both };
    assert_eq!(derived(session, base, &unsized_), Err(CKR_TEMPLATE_INCOMPLETE));
    let neither = Wanted { extract: false, expand: false, ..both };
    assert_eq!(derived(session, base, &neither), Err(CKR_MECHANISM_PARAM_INVALID));
    // RFC 5869, A.3: no salt, no info.
    let a3 = bytes(
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    );
    let bare = Wanted { salt: &[], info: &[], ..both };
    assert_eq!(derived(session, base, &bare).as_ref(), Ok(&a3));
    // A key of the token expands where it lies.
    for in_token in [false, true] {
        let base = given(session, CKK_GENERIC_SECRET, &prk, in_token);
        let expand = Wanted { extract: false, ..both };
        assert_eq!(derived(session, base, &expand).as_ref(), Ok(&okm), "{in_token}");
    }
}

#[test]
fn a_base_of_another_kind_or_without_the_purpose_derives_nothing() {
    let (_turn, session) = logged_in();
    let wanted = template().number(CKA_VALUE_LEN, 32).flag(CKA_SIGN, true);
    let signs = try_generate(session, CKM_GENERIC_SECRET_KEY_GEN, &wanted).unwrap();
    let aes = given(session, CKK_AES, &[1; 16], false);
    let both = Wanted { extract: true, expand: true, salt: &[], info: &[], length: Some(32) };
    assert_eq!(derived(session, signs, &both), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    assert_eq!(derived(session, aes, &both), Err(CKR_KEY_TYPE_INCONSISTENT));
    let mut none = mechanism(CKM_HKDF_DERIVE);
    let mut key = 0;
    let bare = call!(C_DeriveKey(session, &raw mut none, signs, null_mut(), 0, &raw mut key));
    assert_eq!(bare, CKR_MECHANISM_PARAM_INVALID);
}
