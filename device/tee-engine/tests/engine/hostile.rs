//! A trusted application that keeps to no rule.

use crate::{AES, App, SHA_256, app, gcm};
use proptest::prelude::*;
use serde_bytes::ByteBuf;
use tee_api::TeeError;
use tee_api::engine::{
    Answer, Attributes, Call, Cipher, Curve, Derivation, Handle, Hash, Input, KeyType,
    MAX_DATA_BYTES, MAX_KEYS, MAX_OPERATIONS, Operation, Padding, Scheme, Usage, Wrapping,
};

const DIGEST: Operation = Operation::Digest(SHA_256);

fn begin(app: &mut App) -> Handle {
    app.handle(Call::Begin { key: None, operation: DIGEST }).unwrap()
}

fn update(operation: Handle, data: &[u8]) -> Call {
    Call::Update { operation, data: ByteBuf::from(data) }
}

fn finish(operation: Handle) -> Call {
    Call::Finish { operation, data: ByteBuf::new(), tag: None }
}

#[test]
fn handles_of_others_and_of_what_is_closed_name_nothing() {
    let (mut app, mut other) = (app(), crate::app());
    let key = app.generate(AES, Usage::ENCRYPT).unwrap();
    let operation = begin(&mut app);
    let missing = |app: &mut App, call| {
        assert!(matches!(app.call(call), Err(TeeError::NotFound(_))));
    };
    missing(&mut other, Call::Info { key });
    missing(&mut other, update(operation, b"x"));
    // A handle of one kind is none of the other.
    missing(&mut app, Call::Info { key: operation });
    missing(&mut app, update(key, b"x"));
    app.call(Call::Close { handles: vec![key, operation, key, Handle(0)] }).unwrap();
    missing(&mut app, Call::Info { key });
    missing(&mut app, finish(operation));
    assert_eq!(app.engine.open(), 0);
}

#[test]
fn thousands_of_keys_and_operations_find_an_end() {
    let mut app = app();
    let mut keys = Vec::new();
    for number in 0..5000 {
        match app.generate(AES, Usage::ENCRYPT) {
            Ok(key) => keys.push(key),
            Err(error) => assert!(matches!(error, TeeError::Resources(_)), "{number}: {error}"),
        }
        let begun = app.handle(Call::Begin { key: None, operation: DIGEST });
        assert!(matches!(begun, Ok(_) | Err(TeeError::Resources(_))));
    }
    assert_eq!(keys.len(), MAX_KEYS);
    assert_eq!(app.engine.open(), MAX_KEYS + MAX_OPERATIONS);
    app.call(Call::Close { handles: vec![keys[0]] }).unwrap();
    app.generate(AES, Usage::ENCRYPT).unwrap();
}

#[test]
fn an_operation_ends_with_its_first_refusal() {
    let mut app = app();
    let operation = begin(&mut app);
    let associate = Call::Associate { operation, data: ByteBuf::from(*b"x") };
    assert!(matches!(app.call(associate), Err(TeeError::BadParameters(_))));
    assert!(matches!(app.call(finish(operation)), Err(TeeError::NotFound(_))));

    let operation = begin(&mut app);
    let large = update(operation, &vec![0; MAX_DATA_BYTES + 1]);
    assert!(matches!(app.call(large), Err(TeeError::BadParameters(_))));
    assert!(matches!(app.call(finish(operation)), Err(TeeError::NotFound(_))));

    let operation = begin(&mut app);
    app.call(finish(operation)).unwrap();
    assert!(matches!(app.call(finish(operation)), Err(TeeError::NotFound(_))));
    assert_eq!(app.engine.open(), 0);
}

#[test]
fn associated_data_after_the_text_is_refused() {
    let mut app = app();
    let key = app.generate(AES, Usage::ENCRYPT).unwrap();
    let operation = Operation::Encrypt(gcm(&[0; 12]));
    let operation = app.handle(Call::Begin { key: Some(key), operation }).unwrap();
    app.call(update(operation, b"text")).unwrap();
    let late = Call::Associate { operation, data: ByteBuf::from(*b"late") };
    assert!(matches!(app.call(late), Err(TeeError::BadState(_))));
}

#[test]
fn what_comes_in_one_piece_takes_none_before() {
    let mut app = app();
    let key = app.generate(KeyType::Ed25519, Usage::SIGN).unwrap();
    let operation = Operation::Sign(Scheme::Ed25519);
    let operation = app.handle(Call::Begin { key: Some(key), operation }).unwrap();
    assert!(matches!(app.call(update(operation, b"x")), Err(TeeError::BadState(_))));
}

#[test]
fn a_decryption_in_one_call_gives_nothing_unless_the_tag_is_right() {
    let mut app = app();
    let key = app.generate(AES, Usage::ENCRYPT | Usage::DECRYPT).unwrap();
    let sealed = app.run(key, Operation::Encrypt(gcm(&[0; 12])), &[], b"secret", None).unwrap();
    let (text, tag) = sealed.split_at(6);
    for (tag, text) in [(&tag[..15], text), (&[0; 16][..], text), (tag, b"secreT")] {
        let open = Operation::Decrypt(gcm(&[0; 12]));
        assert!(app.run(key, open, &[], text, Some(tag)).is_err());
    }
    let open = Operation::Decrypt(gcm(&[0; 12]));
    assert!(app.run(key, open, &[], text, None).is_err());
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let key_type = prop_oneof![
        Just(KeyType::Aes128),
        Just(KeyType::Aes256),
        Just(KeyType::LegacyTripleDes),
        (0..300_u16).prop_map(|bytes| KeyType::Hmac { hash: SHA_256, bytes }),
        (0..300_u16).prop_map(|bytes| KeyType::Secret { bytes }),
        Just(KeyType::Ec(Curve::P256)),
        Just(KeyType::Ed25519),
        Just(KeyType::X25519),
    ];
    let flags = [
        Usage::ENCRYPT,
        Usage::DECRYPT,
        Usage::MAC,
        Usage::SIGN,
        Usage::VERIFY,
        Usage::DERIVE,
        Usage::WRAP,
        Usage::UNWRAP,
        Usage::EXTRACTABLE,
    ];
    (key_type, 0_u16..512).prop_map(move |(key_type, bits)| {
        let chosen = flags.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        Attributes::new(key_type, chosen.fold(Usage::NONE, |all, (_, flag)| all | *flag))
    })
}

fn bytes() -> impl Strategy<Value = ByteBuf> {
    proptest::collection::vec(any::<u8>(), 0..80).prop_map(ByteBuf::from)
}

fn operation() -> impl Strategy<Value = Operation> {
    let cipher = || {
        prop_oneof![
            Just(Cipher::Ecb(Padding::Pkcs7)),
            bytes().prop_map(|iv| Cipher::Cbc { iv, padding: Padding::None }),
            bytes().prop_map(|counter| Cipher::Ctr { counter }),
            (bytes(), 0..20_u8).prop_map(|(nonce, tag_bytes)| Cipher::Gcm { nonce, tag_bytes }),
            Just(Cipher::LegacyRsaPkcs1),
        ]
    };
    let scheme = || {
        prop_oneof![
            Just(Scheme::Ecdsa { hash: SHA_256, input: Input::Message }),
            Just(Scheme::Ecdsa { hash: Hash::LegacySha1, input: Input::Digest }),
            Just(Scheme::EcdsaBare),
            Just(Scheme::Ed25519),
            Just(Scheme::MlDsa),
            Just(Scheme::RsaBare),
        ]
    };
    prop_oneof![
        Just(DIGEST),
        Just(Operation::Mac),
        Just(Operation::VerifyMac),
        cipher().prop_map(Operation::Encrypt),
        cipher().prop_map(Operation::Decrypt),
        scheme().prop_map(Operation::Sign),
        scheme().prop_map(Operation::Verify),
    ]
}

/// Calls whose handles are small numbers; the test turns those into handles that it got.
fn call() -> impl Strategy<Value = Call> {
    let handle = || (0_u64..8).prop_map(Handle);
    let wrapping = || {
        prop_oneof![
            Just(Wrapping::AesKwp),
            bytes().prop_map(|associated| Wrapping::AesGcm { associated }),
        ]
    };
    let derivation = prop_oneof![
        (bytes(), bytes()).prop_map(|(salt, info)| Derivation::Hkdf { hash: SHA_256, salt, info }),
        bytes().prop_map(|peer| Derivation::Agree { peer }),
    ];
    let tag = || proptest::option::of(bytes());
    prop_oneof![
        attributes().prop_map(|attributes| Call::Generate { attributes }),
        (attributes(), bytes())
            .prop_map(|(attributes, material)| Call::Import { attributes, material }),
        (".{0,70}", bytes(), attributes()).prop_map(|(label, context, attributes)| {
            Call::DeriveFromHuk { label, context, attributes }
        }),
        (handle(), derivation, attributes()).prop_map(|(from, derivation, attributes)| {
            Call::Derive { from, derivation, attributes }
        }),
        handle().prop_map(|key| Call::PublicKey { key }),
        handle().prop_map(|key| Call::Export { key }),
        (handle(), handle(), wrapping()).prop_map(|(under, key, wrapping)| Call::Wrap {
            under,
            key,
            wrapping
        }),
        (handle(), bytes(), wrapping(), proptest::option::of(attributes())).prop_map(
            |(under, wrapped, wrapping, attributes)| {
                Call::Unwrap { under, wrapped, wrapping, attributes }
            }
        ),
        (".{0,70}", bytes()).prop_map(|(name, sealed)| Call::Unseal { name, sealed }),
        (proptest::option::of(handle()), operation())
            .prop_map(|(key, operation)| Call::Begin { key, operation }),
        (handle(), bytes()).prop_map(|(operation, data)| Call::Associate { operation, data }),
        (handle(), bytes()).prop_map(|(operation, data)| Call::Update { operation, data }),
        (handle(), bytes(), tag()).prop_map(|(operation, data, tag)| Call::Finish {
            operation,
            data,
            tag
        }),
        (proptest::option::of(handle()), operation(), bytes(), bytes(), tag()).prop_map(
            |(key, operation, associated, data, tag)| {
                Call::Run { key, operation, associated, data, tag }
            }
        ),
        handle().prop_map(|handle| Call::Close { handles: vec![handle] }),
    ]
}

/// The small numbers in `call` become handles that stand.
fn aim(call: &mut Call, handles: &[Handle]) {
    let aim = |handle: &mut Handle| {
        if let Some(known) = handles.get(handle.0 as usize) {
            *handle = *known;
        }
    };
    match call {
        Call::Derive { from: key, .. }
        | Call::PublicKey { key }
        | Call::Export { key }
        | Call::Unwrap { under: key, .. }
        | Call::Associate { operation: key, .. }
        | Call::Update { operation: key, .. }
        | Call::Finish { operation: key, .. } => aim(key),
        Call::Wrap { under, key, .. } => [under, key].into_iter().for_each(aim),
        Call::Begin { key, .. } | Call::Run { key, .. } => key.iter_mut().for_each(aim),
        Call::Close { handles } => handles.iter_mut().for_each(aim),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_sequence_of_calls_is_answered(calls in proptest::collection::vec(call(), 0..60)) {
        let mut app = app();
        let mut handles = Vec::new();
        for mut call in calls {
            aim(&mut call, &handles);
            if let Ok(Answer::Handle(handle)) = app.call(call) {
                handles.insert(0, handle);
            }
            prop_assert!(app.engine.open() <= MAX_KEYS + MAX_OPERATIONS);
        }
    }
}
