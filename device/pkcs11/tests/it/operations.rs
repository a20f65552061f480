//! Operations: one part and many, lengths that are asked for, buffers that are too small.

use crate::calls::{
    Turn, attribute, call, decrypt, ec_pair, encrypt, len, logged_in, mechanism, ok, open, sign,
    template, try_generate, try_pair, verify, with,
};
use cryptoki_sys::*;
use std::ptr::null_mut;

#[test]
fn s3_2_asking_for_the_length_and_a_small_buffer_leave_an_operation_as_it_was() {
    let _turn = Turn::new();
    let session = open(false);
    let mut how = mechanism(CKM_SHA256);
    ok!(C_DigestInit(session, &raw mut how));
    let (mut out, mut length) = ([0u8; 32], 0);
    let text = b"abc".as_ptr().cast_mut();
    ok!(C_Digest(session, text, 3, null_mut(), &raw mut length));
    assert_eq!(length, 32);
    length = 31;
    let small = call!(C_Digest(session, text, 3, out.as_mut_ptr(), &raw mut length));
    assert_eq!((small, length), (CKR_BUFFER_TOO_SMALL, 32));
    ok!(C_Digest(session, text, 3, out.as_mut_ptr(), &raw mut length));
    assert_eq!(out, crypto::digest::sha256(b"abc"));
    let over = call!(C_Digest(session, text, 3, out.as_mut_ptr(), &raw mut length));
    assert_eq!(over, CKR_OPERATION_NOT_INITIALIZED);
}

#[test]
fn a_digest_in_parts_is_that_of_the_whole_and_parts_are_not_mixed_with_a_whole() {
    let _turn = Turn::new();
    let session = open(false);
    let mut how = mechanism(CKM_SHA_1);
    ok!(C_DigestInit(session, &raw mut how));
    assert_eq!(call!(C_DigestInit(session, &raw mut how)), CKR_OPERATION_ACTIVE);
    ok!(C_DigestUpdate(session, b"a".as_ptr().cast_mut(), 1));
    let (mut out, mut length) = ([0u8; 20], 20);
    let whole =
        call!(C_Digest(session, b"bc".as_ptr().cast_mut(), 2, out.as_mut_ptr(), &raw mut length));
    assert_eq!(whole, CKR_OPERATION_ACTIVE);
    ok!(C_DigestUpdate(session, b"bc".as_ptr().cast_mut(), 2));
    ok!(C_DigestFinal(session, out.as_mut_ptr(), &raw mut length));
    assert_eq!(out[..], crypto::hash::Hash::LegacySha1.digest(b"abc")[..]);
    // 3.0: no mechanism cancels.
    ok!(C_DigestInit(session, &raw mut how));
    ok!(C_DigestInit(session, null_mut()));
    assert_eq!(call!(C_DigestInit(session, null_mut())), CKR_ARGUMENTS_BAD);
    ok!(C_DigestInit(session, &raw mut how));
    ok!(C_SessionCancel(session, CKF_DIGEST));
    let over = call!(C_DigestFinal(session, out.as_mut_ptr(), &raw mut length));
    assert_eq!(over, CKR_OPERATION_NOT_INITIALIZED);
}

#[test]
fn s3_2_each_kind_of_key_signs_in_the_session_and_in_the_token() {
    let (_turn, session) = logged_in();
    for in_token in [false, true] {
        let (public, private) = ec_pair(session, in_token);
        for code in [CKM_ECDSA, CKM_ECDSA_SHA1, CKM_ECDSA_SHA256, CKM_ECDSA_SHA512] {
            let signature = sign(session, mechanism(code), private, &[7; 32]).unwrap();
            assert_eq!(signature.len(), 64);
            assert_eq!(verify(session, mechanism(code), public, &[7; 32], &signature), CKR_OK);
            let wrong = verify(session, mechanism(code), public, &[8; 32], &signature);
            assert_eq!(wrong, CKR_SIGNATURE_INVALID);
            let short = verify(session, mechanism(code), public, &[7; 32], &signature[1..]);
            assert_eq!(short, CKR_SIGNATURE_LEN_RANGE);
        }
        let wanted = template().number(CKA_MODULUS_BITS, 2048).flag(CKA_VERIFY, true);
        let wanted = wanted.flag(CKA_ENCRYPT, true).flag(CKA_TOKEN, in_token);
        let private = template().flag(CKA_SIGN, true).flag(CKA_DECRYPT, true);
        let private = private.flag(CKA_TOKEN, in_token);
        let pair = try_pair(session, CKM_RSA_PKCS_KEY_PAIR_GEN, &wanted, &private);
        let (public, private) = pair.unwrap();
        for code in [CKM_RSA_PKCS, CKM_SHA256_RSA_PKCS, CKM_SHA512_RSA_PKCS] {
            let signature = sign(session, mechanism(code), private, b"data").unwrap();
            assert_eq!(verify(session, mechanism(code), public, b"data", &signature), CKR_OK);
        }
        let mut pss =
            CK_RSA_PKCS_PSS_PARAMS { hashAlg: CKM_SHA256, mgf: CKG_MGF1_SHA256, sLen: 32 };
        for code in [CKM_RSA_PKCS_PSS, CKM_SHA256_RSA_PKCS_PSS] {
            let signature = sign(session, with(code, &mut pss), private, &[1; 32]).unwrap();
            assert_eq!(verify(session, with(code, &mut pss), public, &[1; 32], &signature), CKR_OK);
        }
        let sealed = encrypt(session, mechanism(CKM_RSA_PKCS), public, b"text").unwrap();
        assert_eq!(decrypt(session, mechanism(CKM_RSA_PKCS), private, &sealed).unwrap(), b"text");
        let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA256,
            mgf: CKG_MGF1_SHA1,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: b"label".as_ptr().cast_mut().cast(),
            ulSourceDataLen: 5,
        };
        let how = with(CKM_RSA_PKCS_OAEP, &mut oaep);
        let sealed = encrypt(session, how, public, b"text").unwrap();
        assert_eq!(decrypt(session, how, private, &sealed).unwrap(), b"text");
    }
}

#[test]
fn aes_in_every_mode_gives_back_what_it_took_in_parts_too() {
    let (_turn, session) = logged_in();
    let wanted = template().number(CKA_VALUE_LEN, 32).flag(CKA_ENCRYPT, true);
    let key = try_generate(session, CKM_AES_KEY_GEN, &wanted.flag(CKA_DECRYPT, true)).unwrap();
    let mut iv = [5u8; 16];
    let mut ctr = CK_AES_CTR_PARAMS { ulCounterBits: 128, cb: [9; 16] };
    let mut nonce = [3u8; 12];
    let mut gcm = CK_GCM_PARAMS {
        pIv: nonce.as_mut_ptr(),
        ulIvLen: 12,
        ulIvBits: 96,
        pAAD: b"head".as_ptr().cast_mut(),
        ulAADLen: 4,
        ulTagBits: 128,
    };
    for (mut how, length) in [
        (mechanism(CKM_AES_ECB), 48),
        (with(CKM_AES_CBC, &mut iv), 48),
        (with(CKM_AES_CBC_PAD, &mut iv), 48),
        (with(CKM_AES_CBC_PAD, &mut iv), 50),
        (with(CKM_AES_CTR, &mut ctr), 50),
        (with(CKM_AES_GCM, &mut gcm), 50),
    ] {
        let text: Vec<u8> = (0..length).collect();
        let sealed = encrypt(session, how, key, &text).unwrap();
        assert_eq!(decrypt(session, how, key, &sealed).unwrap(), text, "{:x}", how.mechanism);
        ok!(C_DecryptInit(session, &raw mut how, key));
        let mut open = Vec::new();
        for part in sealed.chunks(7) {
            let (mut out, mut room) = ([0u8; 64], 64);
            let at = part.as_ptr().cast_mut();
            let out_at = out.as_mut_ptr();
            ok!(C_DecryptUpdate(session, at, len(part), out_at, &raw mut room));
            open.extend_from_slice(&out[..room as usize]);
        }
        let (mut out, mut room) = ([0u8; 64], 64);
        ok!(C_DecryptFinal(session, out.as_mut_ptr(), &raw mut room));
        open.extend_from_slice(&out[..room as usize]);
        assert_eq!(open, text, "{:x} in parts", how.mechanism);
    }
}

#[test]
fn no_plaintext_of_gcm_comes_out_before_its_tag_was_right() {
    let (_turn, session) = logged_in();
    let wanted = template().number(CKA_VALUE_LEN, 16).flag(CKA_ENCRYPT, true);
    let key = try_generate(session, CKM_AES_KEY_GEN, &wanted.flag(CKA_DECRYPT, true)).unwrap();
    let mut nonce = [3u8; 12];
    let mut gcm = CK_GCM_PARAMS {
        pIv: nonce.as_mut_ptr(),
        ulIvLen: 12,
        ulIvBits: 96,
        pAAD: null_mut(),
        ulAADLen: 0,
        ulTagBits: 96,
    };
    let mut how = with(CKM_AES_GCM, &mut gcm);
    let mut sealed = encrypt(session, how, key, &[1; 100]).unwrap();
    assert_eq!(sealed.len(), 112);
    sealed[111] ^= 1;
    assert_eq!(decrypt(session, how, key, &sealed), Err(CKR_ENCRYPTED_DATA_INVALID));
    ok!(C_DecryptInit(session, &raw mut how, key));
    let (mut out, mut room) = ([0u8; 128], 128);
    let at = sealed.as_ptr().cast_mut();
    ok!(C_DecryptUpdate(session, at, 112, out.as_mut_ptr(), &raw mut room));
    assert_eq!((room, out), (0, [0; 128]));
    room = 128;
    let end = call!(C_DecryptFinal(session, out.as_mut_ptr(), &raw mut room));
    assert_eq!((end, out), (CKR_ENCRYPTED_DATA_INVALID, [0; 128]));
}

#[test]
fn macs_are_made_and_checked_and_may_be_cut() {
    let (_turn, session) = logged_in();
    let wanted = template().number(CKA_VALUE_LEN, 32).flag(CKA_SIGN, true).flag(CKA_VERIFY, true);
    let key = try_generate(session, CKM_GENERIC_SECRET_KEY_GEN, &wanted).unwrap();
    let tag = sign(session, mechanism(CKM_SHA256_HMAC), key, b"data").unwrap();
    assert_eq!(verify(session, mechanism(CKM_SHA256_HMAC), key, b"data", &tag), CKR_OK);
    let mut bytes: CK_ULONG = 16;
    let how = with(CKM_SHA256_HMAC_GENERAL, &mut bytes);
    assert_eq!(sign(session, how, key, b"data").unwrap(), tag[..16]);
    assert_eq!(verify(session, how, key, b"data", &tag[..16]), CKR_OK);
    assert_eq!(verify(session, how, key, b"data", &tag), CKR_SIGNATURE_LEN_RANGE);
    let mut bytes: CK_ULONG = 7;
    let how = with(CKM_SHA256_HMAC_GENERAL, &mut bytes);
    assert_eq!(sign(session, how, key, b"data"), Err(CKR_MECHANISM_PARAM_INVALID));
}

#[test]
fn two_operations_at_once_are_each_what_they_are_alone() {
    let (_turn, session) = logged_in();
    let wanted = template().number(CKA_VALUE_LEN, 16).flag(CKA_ENCRYPT, true);
    let key = try_generate(session, CKM_AES_KEY_GEN, &wanted.flag(CKA_DECRYPT, true)).unwrap();
    let mut iv = [5u8; 16];
    let (mut cbc, mut hash) = (with(CKM_AES_CBC, &mut iv), mechanism(CKM_SHA256));
    let text = [4u8; 64];
    let alone = encrypt(session, cbc, key, &text).unwrap();
    ok!(C_DigestInit(session, &raw mut hash));
    ok!(C_EncryptInit(session, &raw mut cbc, key));
    let (mut out, mut room) = ([0u8; 64], 10);
    let at = text.as_ptr().cast_mut();
    let small = call!(C_DigestEncryptUpdate(session, at, 64, out.as_mut_ptr(), &raw mut room));
    assert_eq!((small, room), (CKR_BUFFER_TOO_SMALL, 64));
    ok!(C_DigestEncryptUpdate(session, at, 64, out.as_mut_ptr(), &raw mut room));
    assert_eq!(out[..], alone[..]);
    let (mut digest, mut length) = ([0u8; 32], 32);
    ok!(C_DigestFinal(session, digest.as_mut_ptr(), &raw mut length));
    assert_eq!(digest, crypto::digest::sha256(&text));
    ok!(C_EncryptFinal(session, out.as_mut_ptr(), &raw mut room));
    ok!(C_DigestInit(session, &raw mut hash));
    ok!(C_DecryptInit(session, &raw mut cbc, key));
    let mut room = 64;
    let at = alone.as_ptr().cast_mut();
    ok!(C_DecryptDigestUpdate(session, at, 64, out.as_mut_ptr(), &raw mut room));
    assert_eq!(out, text);
    ok!(C_DigestFinal(session, digest.as_mut_ptr(), &raw mut length));
    assert_eq!(digest, crypto::digest::sha256(&text));
}

#[test]
fn a_key_does_only_what_its_attributes_allow_by_mechanisms_that_it_names() {
    let (_turn, session) = logged_in();
    let (public, private) = ec_pair(session, false);
    let refused = decrypt(session, mechanism(CKM_RSA_PKCS), private, &[0; 256]);
    assert_eq!(refused, Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(
        sign(session, mechanism(CKM_ECDSA), public, &[0; 32]),
        Err(CKR_KEY_FUNCTION_NOT_PERMITTED)
    );
    assert_eq!(sign(session, mechanism(CKM_SHA256), private, b"x"), Err(CKR_MECHANISM_INVALID));
    assert_eq!(sign(session, mechanism(CKM_ECDSA), 999, b"x"), Err(CKR_KEY_HANDLE_INVALID));
    assert_eq!(attribute(session, public, CKA_VERIFY), Ok(vec![1]));
    let codes: Vec<u8> = [CKM_AES_CTR].iter().flat_map(|it: &u64| it.to_ne_bytes()).collect();
    let wanted = template().number(CKA_VALUE_LEN, 16).flag(CKA_ENCRYPT, true);
    let wanted = wanted.bytes(CKA_ALLOWED_MECHANISMS, &codes);
    let key = try_generate(session, CKM_AES_KEY_GEN, &wanted).unwrap();
    let refused = encrypt(session, mechanism(CKM_AES_ECB), key, &[0; 16]);
    assert_eq!(refused, Err(CKR_MECHANISM_INVALID));
}
