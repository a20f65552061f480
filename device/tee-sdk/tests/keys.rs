//! Keys and algorithms, as a trusted application uses them.

#[path = "documented/sign.rs"]
mod sign;

use tee_api::TaId;
use tee_sdk::engine::{
    Attributes, Cipher, Curve, Derivation, Hash, Input, Key, KeyType, Operation, Running, Scheme,
    Usage, Wrapping,
};
use tee_sdk::testing::FakeOs;
use tee_sdk::{Context, TeeError};

const TA: TaId = TaId(*b"tests of the sdk");
const AES: Attributes = Attributes::new(KeyType::Aes256, Usage::ENCRYPT.union(Usage::DECRYPT));
const MAC: Attributes = Attributes::new(
    KeyType::Hmac { hash: Hash::Sha256, bytes: 32 },
    Usage::MAC.union(Usage::VERIFY),
);
const SIGN: Attributes =
    Attributes::new(KeyType::Ec(Curve::P256), Usage::SIGN.union(Usage::VERIFY));
const ECDSA: Scheme = Scheme::Ecdsa { hash: Hash::Sha256, input: Input::Message };
/// More than one call takes.
const LARGE: usize = 200_000;

/// The same key here and over there.
fn both(context: &mut Context<'_>, attributes: Attributes, bytes: &[u8]) -> [Key; 2] {
    let there = context.import_key(attributes, bytes).unwrap();
    [Key::here(attributes, bytes).unwrap(), there]
}

#[test]
fn a_key_does_the_same_here_and_in_the_trusted_os() {
    let mut os = FakeOs::new();
    let context = &mut Context::new(TA, &mut os);
    let text = vec![0x5a; LARGE];
    let [here, there] = both(context, MAC, &[1; 32]);
    let tag = here.mac(context, &text).unwrap();
    assert_eq!(there.mac(context, &text).unwrap(), tag);
    for key in [&here, &there] {
        key.verify_mac(context, &text, &tag).unwrap();
        let wrong = key.verify_mac(context, &text[1..], &tag);
        assert!(matches!(wrong, Err(TeeError::Security(_))));
    }
    let [here, there] = both(context, AES, &[2; 32]);
    for (one, other) in [(&here, &there), (&there, &here)] {
        let sealed = one.seal(context, b"where", &text).unwrap();
        assert_eq!(*other.open(context, b"where", &sealed).unwrap(), text);
        for (aad, sealed) in [(&b"else"[..], &sealed[..]), (b"where", &sealed[1..]), (b"", b"")] {
            let refused = other.open(context, aad, sealed);
            assert!(matches!(refused, Err(TeeError::Security(_))));
        }
    }
}

#[test]
fn signatures_come_from_keys_that_stay_and_are_checked_by_their_public_halves() {
    let mut os = FakeOs::new();
    let context = &mut Context::new(TA, &mut os);
    for key in [context.generate_key(SIGN).unwrap(), Key::generate_here(SIGN).unwrap()] {
        let signature = key.sign(context, ECDSA, b"message").unwrap();
        key.verify(context, ECDSA, b"message", &signature).unwrap();
        let spki = key.public_key(context).unwrap();
        let public = crypto::ec::PublicKey::from_spki(&spki).unwrap();
        public.verify(&crypto::digest::sha256(b"message"), &signature).unwrap();
        assert!(matches!(key.export(context), Err(TeeError::Denied(_))));
    }
}

#[test]
fn a_stream_takes_any_pieces() {
    let mut os = FakeOs::new();
    let context = &mut Context::new(TA, &mut os);
    let text = vec![0x33; LARGE];
    let counter = || serde_bytes::ByteBuf::from([0; 16]);
    for key in both(context, AES, &[2; 32]) {
        let whole = key.encrypt(context, Cipher::Ctr { counter: counter() }, &text).unwrap();
        let mut running =
            key.begin(context, Operation::Encrypt(Cipher::Ctr { counter: counter() })).unwrap();
        let mut out = Vec::new();
        for piece in text[..LARGE - 5].chunks(70_001) {
            running.update(context, piece, &mut out).unwrap();
        }
        out.extend(running.finish(context, &text[LARGE - 5..]).unwrap());
        assert_eq!(out, whole);
    }
    let mut digest = Running::digest(Hash::Sha256).unwrap();
    digest.update(context, &text[..1], &mut Vec::new()).unwrap();
    let digest = digest.finish(context, &text[1..]).unwrap();
    assert_eq!(digest, crypto::digest::sha256(&text));
}

#[test]
fn a_stream_of_gcm_gives_its_text_once_the_tag_was_right() {
    let mut os = FakeOs::new();
    let context = &mut Context::new(TA, &mut os);
    let text = vec![0x44; LARGE];
    for key in both(context, AES, &[2; 32]) {
        let sealed = key.seal(context, b"where", &text).unwrap();
        let (nonce, rest) = sealed.split_at(12);
        let (body, tag) = rest.split_at(LARGE);
        for (tag, good) in [(tag, true), (&[0; 16][..], false)] {
            let mut opening = key.begin_open(context, nonce, 16).unwrap();
            opening.associate(context, b"where").unwrap();
            for piece in body.chunks(66_000) {
                opening.update(context, piece).unwrap();
            }
            match opening.finish(context, tag) {
                Ok(opened) => assert!(good && *opened == text),
                Err(error) => assert!(!good && matches!(error, TeeError::Security(_))),
            }
        }
        let gcm = Cipher::Gcm { nonce: serde_bytes::ByteBuf::from(nonce), tag_bytes: 16 };
        let other_way = key.begin(context, Operation::Decrypt(gcm));
        assert!(matches!(other_way, Err(TeeError::BadParameters(_))));
    }
}

#[test]
fn what_is_dropped_ends_in_the_trusted_os_when_the_request_ends() {
    let os = FakeOs::new();
    let mut its = os.clone();
    let mut context = Context::new(TA, &mut its);
    let kept = context.generate_key(AES).unwrap();
    for _ in 0..1000 {
        let key = context.generate_key(MAC).unwrap();
        key.begin(&mut context, Operation::Mac).unwrap();
    }
    drop(context);
    assert_eq!(os.open_handles(TA), 1);
    drop(kept);
    drop(Context::new(TA, &mut its));
    assert_eq!(os.open_handles(TA), 0);
}

#[test]
fn s2_1_3_a_stored_key_outlives_power_off_and_is_sealed_in_storage() {
    let os = FakeOs::new();
    let [mut now, mut later, mut elsewhere] = [0; 3].map(|_| os.clone());
    let context = &mut Context::new(TA, &mut now);
    assert!(context.storage_get_key("key").unwrap().is_none());
    let key = context.generate_key(MAC).unwrap();
    let tag = key.mac(context, b"message").unwrap();
    context.storage_put_key("key", &key).unwrap();
    context.storage_put("no key", b"bytes").unwrap();
    assert!(matches!(context.storage_get_key("no key"), Err(TeeError::Security(_))));
    let copy = context.storage_get("key").unwrap().unwrap();
    context.storage_put("copy", &copy).unwrap();
    assert!(matches!(context.storage_get_key("copy"), Err(TeeError::Security(_))));
    let here = Key::here(MAC, &[1; 32]).unwrap();
    assert!(matches!(context.storage_put_key("here", &here), Err(TeeError::BadParameters(_))));

    os.power_cycle();
    let context = &mut Context::new(TA, &mut later);
    let key = context.storage_get_key("key").unwrap().unwrap();
    assert_eq!(key.mac(context, b"message").unwrap(), tag);
    let other = &mut Context::new(TaId([0; 16]), &mut elsewhere);
    other.storage_put("key", &copy).unwrap();
    assert!(matches!(other.storage_get_key("key"), Err(TeeError::Security(_))));
}

#[test]
fn keys_derive_and_travel_under_keys() {
    let mut os = FakeOs::new();
    let context = &mut Context::new(TA, &mut os);
    let secret = Attributes::new(KeyType::Secret { bytes: 32 }, Usage::DERIVE);
    let root = context.derive_from_huk("root", b"", secret).unwrap();
    let hkdf = Derivation::Hkdf {
        hash: Hash::Sha256,
        salt: serde_bytes::ByteBuf::new(),
        info: serde_bytes::ByteBuf::from(*b"x"),
    };
    let one = root.derive(context, hkdf.clone(), MAC).unwrap();
    let two = root.derive(context, hkdf, MAC).unwrap();
    let tag = one.mac(context, b"message").unwrap();
    two.verify_mac(context, b"message", &tag).unwrap();

    let wraps = Attributes::new(KeyType::Aes256, Usage::WRAP | Usage::UNWRAP);
    let under = context.derive_from_huk("wrapping", b"", wraps).unwrap();
    let bound = || Wrapping::AesGcm { associated: serde_bytes::ByteBuf::from(*b"here") };
    let wrapped = under.wrap(context, &one, bound()).unwrap();
    let again = under.unwrap(context, &wrapped, bound(), None).unwrap();
    again.verify_mac(context, b"message", &tag).unwrap();
    assert_eq!(again.info(context).unwrap().attributes, MAC);
}

#[test]
fn the_example_of_the_page_is_this_one_and_works() {
    let page = include_str!("../../../docs/tee.md");
    assert!(page.contains(include_str!("documented/sign.rs")), "docs/tee.md has another example");
    let mut os = FakeOs::new();
    let context = &mut Context::new(TA, &mut os);
    for message in [b"one", b"two"] {
        assert!(sign::sign(context, message).is_ok());
    }
    let key = context.storage_get_key("signing key").unwrap().unwrap();
    let signature = sign::sign(context, b"message").unwrap();
    let spki = key.public_key(context).unwrap();
    let public = crypto::ec::PublicKey::from_spki(&spki).unwrap();
    public.verify(&crypto::digest::sha256(b"message"), &signature).unwrap();
}
