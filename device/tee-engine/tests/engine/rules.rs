//! What keeps a key's bytes inside, and a key to its use.

use crate::{AES, App, OWNER, Owner, app, gcm, hmac};
use serde_bytes::ByteBuf;
use tee_api::TeeError;
use tee_api::engine::{
    Answer, Attributes, Call, Cipher, Curve, Derivation, Handle, KeyType, Operation, Origin,
    Padding, Usage, Wrapping,
};

const WRAPS: Usage = Usage::WRAP.union(Usage::UNWRAP);
const SECRET: KeyType = KeyType::Secret { bytes: 32 };

fn denied<T: std::fmt::Debug>(result: Result<T, TeeError>) {
    assert!(matches!(result, Err(TeeError::Denied(_))), "{result:?}");
}

fn malformed<T: std::fmt::Debug>(result: Result<T, TeeError>) {
    assert!(matches!(result, Err(TeeError::BadParameters(_))), "{result:?}");
}

fn export(app: &mut App, key: Handle) -> Result<Vec<u8>, TeeError> {
    app.bytes(Call::Export { key })
}

fn mac(app: &mut App, key: Handle) -> Vec<u8> {
    app.run(key, Operation::Mac, &[], b"message", None).unwrap()
}

#[test]
fn s2_1_3_a_key_from_the_huk_is_one_of_its_owner_board_label_context_type_and_usage() {
    let usage = Usage::MAC;
    let other = |huk, name| App { engine: tee_engine::Engine::new(), owner: Owner { huk, name } };
    let mut tags = Vec::new();
    for mut app in [app(), other([8; 32], OWNER.name), other(OWNER.huk, b"other")] {
        let keys = [
            app.derive_from_huk("label", hmac(32), usage),
            app.derive_from_huk("other", hmac(32), usage),
            app.derive_from_huk("label", hmac(31), usage),
            app.derive_from_huk("label", hmac(32), usage | Usage::VERIFY),
            app.handle(Call::DeriveFromHuk {
                label: "label".into(),
                context: ByteBuf::from(*b"x"),
                attributes: Attributes::new(hmac(32), usage),
            }),
        ];
        tags.extend(keys.map(|key| mac(&mut app, key.unwrap())));
    }
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count);
}

#[test]
fn s2_1_3_a_key_from_the_huk_is_the_same_tomorrow() {
    let tags = [0; 2].map(|_| {
        let mut app = app();
        let key = app.derive_from_huk("label", hmac(32), Usage::MAC).unwrap();
        mac(&mut app, key)
    });
    assert_eq!(tags[0], tags[1]);
}

#[test]
fn s2_1_3_nothing_that_hangs_on_the_huk_is_extractable() {
    let mut app = app();
    denied(app.derive_from_huk("label", SECRET, Usage::DERIVE | Usage::EXTRACTABLE));
    let secret = app.derive_from_huk("label", SECRET, Usage::DERIVE).unwrap();
    denied(export(&mut app, secret));
    let hkdf =
        || Derivation::Hkdf { hash: crate::SHA_256, salt: ByteBuf::new(), info: ByteBuf::new() };
    denied(app.derive(secret, hkdf(), AES, Usage::ENCRYPT | Usage::EXTRACTABLE));
    let key = app.derive(secret, hkdf(), SECRET, Usage::DERIVE).unwrap();
    denied(app.derive(key, hkdf(), AES, Usage::ENCRYPT | Usage::EXTRACTABLE));
    denied(export(&mut app, key));
    // A key pair that anybody could compute is none.
    malformed(app.derive_from_huk("label", KeyType::Ed25519, Usage::SIGN));
}

#[test]
fn only_what_was_declared_extractable_leaves() {
    let mut app = app();
    let types = [
        (AES, Usage::ENCRYPT),
        (hmac(20), Usage::MAC),
        (SECRET, Usage::DERIVE),
        (KeyType::LegacyTripleDes, Usage::DECRYPT),
        (KeyType::Ec(Curve::P256), Usage::SIGN),
        (KeyType::Ed25519, Usage::SIGN),
        (KeyType::X25519, Usage::DERIVE),
        (KeyType::MlDsa65, Usage::SIGN),
    ];
    for (key_type, usage) in types {
        let key = app.generate(key_type, usage).unwrap();
        denied(export(&mut app, key));
        let open = app.generate(key_type, usage | Usage::EXTRACTABLE).unwrap();
        let bytes = export(&mut app, open).unwrap();
        // Even the TA's own bytes stay in, where it says so.
        let closed = app.import(key_type, usage, &bytes).unwrap();
        denied(export(&mut app, closed));
        let Answer::Info(info) = app.call(Call::Info { key: closed }).unwrap() else { panic!() };
        assert_eq!(info.attributes, Attributes::new(key_type, usage));
        assert_eq!(info.origin, Origin::Imported);
    }
}

#[test]
fn a_key_does_what_it_was_made_for() {
    let mut app = app();
    let key = app.generate(AES, Usage::ENCRYPT).unwrap();
    let ecb = || Cipher::Ecb(Padding::Pkcs7);
    assert!(app.run(key, Operation::Encrypt(ecb()), &[], b"x", None).is_ok());
    denied(app.run(key, Operation::Decrypt(ecb()), &[], &[0; 16], None));
    denied(app.run(key, Operation::Mac, &[], b"x", None));
    denied(app.run(key, Operation::Sign(crate::ECDSA), &[], b"x", None));
    denied(app.wrap(key, key));
    let agree = Derivation::Agree { peer: ByteBuf::new() };
    denied(app.derive(key, agree, SECRET, Usage::DERIVE));
    let ec = app.generate(KeyType::Ec(Curve::P256), Usage::SIGN).unwrap();
    malformed(app.run(ec, Operation::Sign(tee_api::engine::Scheme::Ed25519), &[], b"x", None));
    let des = app.generate(KeyType::LegacyTripleDes, Usage::ENCRYPT).unwrap();
    malformed(app.run(des, Operation::Encrypt(gcm(&[0; 12])), &[], b"x", None));
}

#[test]
fn usages_that_a_type_has_not_or_that_would_reveal_others_are_refused() {
    let mut app = app();
    malformed(app.generate(hmac(32), Usage::ENCRYPT));
    malformed(app.generate(hmac(32), Usage::MAC | Usage::DERIVE));
    malformed(app.generate(SECRET, Usage::MAC));
    malformed(app.generate(KeyType::Ed25519, Usage::ENCRYPT));
    malformed(app.generate(AES, Usage::WRAP | Usage::DECRYPT));
    malformed(app.generate(AES, Usage::UNWRAP | Usage::ENCRYPT));
    malformed(app.generate(AES, Usage::UNWRAP | Usage::MAC));
    malformed(app.generate(hmac(0), Usage::MAC));
    malformed(app.generate(hmac(257), Usage::MAC));
    malformed(app.import(AES, Usage::ENCRYPT, &[0; 31]));
}

#[test]
fn a_wrapped_key_comes_back_as_what_it_was() {
    let mut app = app();
    let under = app.derive_from_huk("wrapping", AES, WRAPS).unwrap();
    let key = app.generate(hmac(32), Usage::MAC).unwrap();
    let tag = mac(&mut app, key);
    let wrapped = app.wrap(under, key).unwrap();

    let mut later = crate::app();
    let under = later.derive_from_huk("wrapping", AES, WRAPS).unwrap();
    let key = later.unwrap(under, &wrapped).unwrap();
    assert_eq!(mac(&mut later, key), tag);
    denied(export(&mut later, key));
    let Answer::Info(info) = later.call(Call::Info { key }).unwrap() else { panic!() };
    assert_eq!((info.attributes.usage, info.origin), (Usage::MAC, Origin::Generated));

    for at in 0..wrapped.len() {
        let mut altered = wrapped.clone();
        altered[at] ^= 1;
        assert!(matches!(later.unwrap(under, &altered), Err(TeeError::Security(_))));
        assert!(matches!(later.unwrap(under, &wrapped[..at]), Err(TeeError::Security(_))));
    }
    let elsewhere = Wrapping::AesGcm { associated: ByteBuf::from(*b"elsewhere") };
    let unwrap = Call::Unwrap {
        under,
        wrapped: ByteBuf::from(wrapped),
        wrapping: elsewhere,
        attributes: None,
    };
    assert!(matches!(later.call(unwrap), Err(TeeError::Security(_))));
}

/// Each way to a wrapping key whose bytes the TA has, or to a second key with its bytes.
#[test]
fn no_wrapping_reveals_a_key() {
    let mut app = app();
    let inside = app.generate(hmac(32), Usage::MAC).unwrap();
    let hkdf =
        || Derivation::Hkdf { hash: crate::SHA_256, salt: ByteBuf::new(), info: ByteBuf::new() };
    let secret = app.generate(SECRET, Usage::DERIVE).unwrap();
    let known = [
        app.import(AES, WRAPS, &[1; 32]),
        app.generate(AES, WRAPS | Usage::EXTRACTABLE),
        // HKDF gives the same bytes to a key that decrypts.
        app.derive(secret, hkdf(), AES, WRAPS),
    ];
    for under in known {
        let under = under.unwrap();
        denied(app.wrap(under, inside));
        let own = app.import(hmac(4), Usage::MAC | Usage::EXTRACTABLE, b"mine").unwrap();
        let wrapped = app.wrap(under, own).unwrap();
        app.unwrap(under, &wrapped).unwrap();
    }
    // Bare bytes could come back with other attributes.
    let under = app.generate(AES, WRAPS).unwrap();
    denied(app.bytes(Call::Wrap { under, key: inside, wrapping: Wrapping::AesKwp }));
    // Key wrap brings what others know.
    let own = app.import(AES, WRAPS | Usage::EXTRACTABLE, &[1; 32]).unwrap();
    let wrapped = app.bytes(Call::Wrap { under, key: own, wrapping: Wrapping::AesKwp }).unwrap();
    let brought = app
        .handle(Call::Unwrap {
            under,
            wrapped: ByteBuf::from(wrapped),
            wrapping: Wrapping::AesKwp,
            attributes: Some(Attributes::new(AES, WRAPS)),
        })
        .unwrap();
    denied(app.wrap(brought, inside));
}

#[test]
fn a_stored_key_belongs_to_its_owner_its_board_and_its_name() {
    let mut app = app();
    let key = app.generate(hmac(32), Usage::MAC).unwrap();
    let tag = mac(&mut app, key);
    let sealed = app.bytes(Call::Seal { key, name: "name".into() }).unwrap();
    let unseal = |app: &mut App, name: &str| {
        app.handle(Call::Unseal { name: name.into(), sealed: ByteBuf::from(sealed.clone()) })
    };
    let mut later = crate::app();
    let key = unseal(&mut later, "name").unwrap();
    assert_eq!(mac(&mut later, key), tag);
    assert!(matches!(unseal(&mut later, "other"), Err(TeeError::Security(_))));
    for owner in [Owner { huk: [8; 32], ..OWNER }, Owner { name: b"other", ..OWNER }] {
        let mut other = App { engine: tee_engine::Engine::new(), owner };
        assert!(matches!(unseal(&mut other, "name"), Err(TeeError::Security(_))));
    }
    // A key in storage is none under a key, and the other way round.
    let under = app.generate(AES, WRAPS).unwrap();
    assert!(app.unwrap(under, &sealed).is_err());
}

#[test]
fn the_key_of_auth_tokens_does_what_its_owner_may() {
    let mut app = app();
    let key = app.handle(Call::AuthTokenKey).unwrap();
    let tag = crypto::mac::hmac_sha256(&[9; 32], &[b"token"]);
    app.run(key, Operation::VerifyMac, &[], b"token", Some(&tag)).unwrap();
    denied(app.run(key, Operation::Mac, &[], b"token", None));
    denied(export(&mut app, key));
}
