//! What a key obeys, as far as the keystore enforces it.

use super::{Bench, NOW, alias, user, verifies};
use crate::{Error, Keystore};
use crypto::secret::Secret;
use keymint::{AuthenticatorType, Bytes, ErrorCode, HardwareAuthToken, KeyPurpose};
use keystore_client::api::{Begin, Finish, MAX_DATA_BYTES, NewKey, Open, OperationId, Use};
use keystore_client::{Code, KeystoreCode};
use std::time::Duration;

fn begin(keystore: &Keystore, uid: u32, name: &str) -> Result<OperationId, Error> {
    let begin = Begin {
        key: alias(name),
        purpose: KeyPurpose::Sign,
        params: Default::default(),
        token: None,
    };
    keystore.begin(&user(uid), begin).map(|begun| begun.operation)
}

fn code(result: Result<impl std::fmt::Debug, Error>) -> Code {
    result.unwrap_err().code().unwrap()
}

fn token(user_id: u64, challenge: u64) -> HardwareAuthToken {
    HardwareAuthToken {
        challenge,
        user_id,
        authenticator_id: 0,
        authenticator_type: AuthenticatorType::PASSWORD,
        timestamp_ms: 1,
        mac: [1; 32],
    }
}

#[test]
fn s3_2_dates_are_held_against_the_secure_clock() {
    let bench = Bench::new();
    let me = user(1000);
    bench
        .generate_with(&me, "key", |rules| {
            rules.active_datetime = Some(NOW + 1000);
            rules.origination_expire_datetime = Some(NOW + 2000);
        })
        .unwrap();
    let sign = || bench.sign(&me, &alias("key"));
    assert_eq!(code(sign()), ErrorCode::KeyNotYetValid.into());
    bench.clock.advance(Duration::from_millis(1500));
    assert_eq!(code(sign()), ErrorCode::KeyNotYetValid.into(), "the system's clock does not count");
    bench.tee.says_it_is(NOW + 1500);
    sign().unwrap();
    bench.tee.says_it_is(NOW + 2001);
    assert_eq!(code(sign()), ErrorCode::KeyExpired.into());
    let open = Open { key: alias("key"), params: Default::default(), token: None };
    let opened = bench.keystore.open_key(&me, open).unwrap();
    assert!(opened.ticket.is_none() && opened.why.unwrap().contains("dates"));
}

#[test]
fn s3_2_uses_are_counted_over_restarts_and_racing_callers() {
    let bench = Bench::new();
    let me = user(1000);
    bench.generate_with(&me, "key", |rules| rules.usage_count_limit = Some(5)).unwrap();
    bench.sign(&me, &alias("key")).unwrap();
    let bench = bench.restart();
    assert_eq!(bench.keystore.show(&me, &alias("key")).unwrap().uses_left, Some(4));
    let used = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| (0..3).filter(|_| bench.sign(&me, &alias("key")).is_ok()).count())
            })
            .collect();
        tries.into_iter().map(|it| it.join().unwrap()).sum::<usize>()
    });
    assert_eq!(used, 4);
    assert_eq!(code(bench.sign(&me, &alias("key"))), ErrorCode::KeyMaxOpsExceeded.into());
}

#[test]
fn s3_2_a_key_that_needs_the_device_unlocked_is_unreadable_while_it_is_locked() {
    let bench = Bench::new();
    let me = user(1000);
    let make = |name: &str| bench.generate_with(&me, name, |it| it.unlocked_device_required = true);
    assert_eq!(code(make("early")), KeystoreCode::NoScreenLock.into());
    let synthetic = Secret::new([9; 32]);
    bench.keystore.unlocked(&synthetic, &token(5, 0).to_bytes()).unwrap();
    let unlocked = make("unlocked").unwrap();
    assert!(unlocked.needs_unlock);
    bench.sign(&me, &alias("unlocked")).unwrap();
    assert_eq!(bench.tee.state().last_token, Some(token(5, 0)), "that it was unlocked is told");
    let operation = begin(&bench.keystore, 1000, "unlocked").unwrap();
    bench.keystore.locked();
    let finish = bench.keystore.finish(&me, operation, Finish::default());
    assert_eq!(code(finish), ErrorCode::InvalidOperationHandle.into());
    assert_eq!(bench.tee.operations(), 0);
    let locked = make("locked").unwrap();
    for name in ["unlocked", "locked"] {
        assert_eq!(code(bench.sign(&me, &alias(name))), KeystoreCode::Locked.into());
    }
    // Deleted while locked: the TEE hears of it once the blob can be read.
    make("doomed").unwrap();
    bench.keystore.delete(&me, &alias("doomed")).unwrap();
    assert_eq!(bench.tee.deleted(), 0);

    let bench = bench.restart();
    assert_eq!(code(bench.sign(&me, &alias("unlocked"))), KeystoreCode::Locked.into());
    bench.keystore.unlocked(&Secret::new([8; 32]), &[]).unwrap();
    assert_eq!(code(bench.sign(&me, &alias("unlocked"))), KeystoreCode::ValueCorrupted.into());
    bench.keystore.unlocked(&synthetic, &[]).unwrap();
    assert_eq!(bench.tee.deleted(), 1);
    for (name, info) in [("unlocked", &unlocked), ("locked", &locked)] {
        assert!(verifies(info, &bench.sign(&me, &alias(name)).unwrap()));
        assert!(verifies(info, &bench.sign(&me, &alias(name)).unwrap()), "sealed anew");
    }
}

#[test]
fn s3_2_whoever_unlocked_is_authenticated_for_as_long_as_the_key_says() {
    let bench = Bench::new();
    let me = user(1000);
    let make = |name: &str, timeout: Option<u32>| {
        bench.generate_with(&me, name, |rules| {
            rules.no_auth_required = false;
            rules.user_auth_type = Some(AuthenticatorType::PASSWORD);
            rules.auth_timeout = timeout;
        })
    };
    assert_eq!(code(make("key", Some(30))), KeystoreCode::NoScreenLock.into());
    bench.tee.state().secure_user_id = Some(5);
    let info = make("key", Some(30)).unwrap();
    assert!(info.characteristics.hardware_enforced.user_secure_id.contains(&5));
    let sign = || bench.sign(&me, &alias("key"));
    assert_eq!(code(sign()), ErrorCode::KeyUserNotAuthenticated.into());
    bench.keystore.unlocked(&Secret::new([9; 32]), &token(5, 0).to_bytes()).unwrap();
    sign().unwrap();
    bench.clock.advance(Duration::from_secs(31));
    assert_eq!(code(sign()), ErrorCode::KeyUserNotAuthenticated.into());

    // One that needs an authentication for each operation.
    make("each", None).unwrap();
    let operation = begin(&bench.keystore, 1000, "each").unwrap();
    let bare = bench.keystore.finish(&me, operation, Finish::default());
    assert_eq!(code(bare), ErrorCode::KeyUserNotAuthenticated.into());
    let operation = begin(&bench.keystore, 1000, "each").unwrap();
    bench.keystore.add_token(&super::system(), &token(5, operation.0).to_bytes()).unwrap();
    bench.keystore.finish(&me, operation, Finish::default()).unwrap();
}

#[test]
fn operations_are_pruned_fairly_and_take_data_of_any_size() {
    let bench = Bench::new();
    for uid in [1000, 1001] {
        bench.generate(&user(uid), "key");
    }
    let all: Vec<_> = (0..20)
        .map(|_| {
            bench.clock.advance(Duration::from_secs(1));
            begin(&bench.keystore, 1000, "key").unwrap()
        })
        .collect();
    assert_eq!(bench.tee.operations(), super::soft_keymint::ROOM);
    let one = begin(&bench.keystore, 1001, "key").unwrap();
    let two = begin(&bench.keystore, 1001, "key").unwrap();
    assert_eq!(bench.tee.operations(), super::soft_keymint::ROOM);
    let update = |uid, operation, data: &[u8]| bench.keystore.update(&user(uid), operation, data);
    assert_eq!(code(update(1000, all[0], b"x")), ErrorCode::InvalidOperationHandle.into());
    assert_eq!(code(update(1001, all[19], b"x")), ErrorCode::InvalidOperationHandle.into());
    update(1000, all[19], b"x").unwrap();

    for _ in 0..3 {
        update(1001, one, &vec![7; MAX_DATA_BYTES]).unwrap();
    }
    let finish = Finish { input: Bytes(vec![7; MAX_DATA_BYTES]), ..Finish::default() };
    bench.keystore.finish(&user(1001), one, finish).unwrap();
    let long = vec![0; MAX_DATA_BYTES + 1];
    assert_eq!(code(update(1001, two, &long)), KeystoreCode::TooMuchData.into());
    bench.keystore.abort(&user(1001), two).unwrap();
    assert_eq!(code(update(1001, two, b"x")), ErrorCode::InvalidOperationHandle.into());
}

#[test]
fn application_ids_entropy_and_the_keystores_own_tags() {
    let bench = Bench::new();
    let me = user(1000);
    let secret = || Some(Bytes::from(b"secret"));
    bench.generate_with(&me, "key", |rules| rules.application_id = secret()).unwrap();
    assert_eq!(code(bench.sign(&me, &alias("key"))), ErrorCode::InvalidKeyBlob.into());
    let mut wanted = Use { input: b"message".into(), ..Use::of(alias("key"), KeyPurpose::Sign) };
    wanted.params.application_id = secret();
    bench.keystore.use_key(&me, wanted).unwrap();
    let dated = bench.generate_with(&me, "dated", |rules| rules.creation_datetime = Some(1));
    assert_eq!(code(dated), ErrorCode::InvalidArgument.into());
    let ids = bench.generate_with(&me, "ids", |rules| {
        rules.attestation_id_serial = Some(b"1".into());
    });
    assert_eq!(code(ids), KeystoreCode::PermissionDenied.into());
    for name in ["", "a\0b", "id:1", "grant:x", &"x".repeat(257)] {
        let named = bench.keystore.generate(&me, NewKey::new(name, super::signing()));
        assert_eq!(code(named), KeystoreCode::InvalidArgument.into(), "{name}");
    }
}

#[test]
fn a_key_of_older_software_is_upgraded_once_and_stays_usable() {
    let bench = Bench::new();
    let me = user(1000);
    let info = bench.generate(&me, "key");
    bench.tee.state().version = 2;
    assert!(verifies(&info, &bench.sign(&me, &alias("key")).unwrap()));
    let bench = bench.restart();
    assert!(verifies(&info, &bench.sign(&me, &alias("key")).unwrap()));
}

#[test]
fn each_use_is_written_down_refused_ones_too_and_nothing_of_what_was_signed() {
    let bench = Bench::new();
    let me = user(1000);
    let info = bench.generate(&me, "secret name");
    bench.sign(&me, &alias("secret name")).unwrap();
    let wrong = Use::of(alias("secret name"), KeyPurpose::Decrypt);
    assert_eq!(code(bench.keystore.use_key(&me, wrong)), ErrorCode::IncompatiblePurpose.into());
    let operation = begin(&bench.keystore, 1000, "secret name").unwrap();
    bench.keystore.abort(&me, operation).unwrap();
    let open = Open { key: alias("secret name"), params: Default::default(), token: None };
    bench.keystore.open_key(&me, open).unwrap();
    bench.keystore.delete(&me, &alias("secret name")).unwrap();
    let lines = bench.audit_lines();
    let whats = ["generate", "use", "use", "begin", "open", "delete"];
    assert_eq!(lines.len(), whats.len(), "{lines:#?}");
    for (line, what) in lines.iter().zip(whats) {
        assert!(line.contains(&format!("\"what\":\"{what}\"")), "{line}");
        assert!(line.contains(&info.id) && line.contains("\"uid\":1000"), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
    assert!(lines[1].contains(r#""outcome":"ok""#));
    assert!(lines[2].contains(r#""outcome":"incompatible_purpose""#));
}
