//! Recovery keys and escrows.

use super::*;
use crypto::digest::sha256;
use crypto::ec::{PrivateKey, PublicKey};

const SPACE: Space = Space::MAIN;
const KIND: LockKind = LockKind::Pin;

fn recovery_key(os: &FakeOs, ta: &mut Harness<App>) -> String {
    os.will_type(PIN);
    os.will_type("");
    assert!(matches!(ta.call(&Command::MakeRecoveryKey { space: SPACE }), Ok(Reply::Done)));
    let shown = os.prompts().pop().unwrap();
    let digits = shown.detail().chars().filter(char::is_ascii_digit);
    digits.collect()
}

fn recover(os: &FakeOs, ta: &mut Harness<App>, typed: &[&str]) -> Result<Reply, TeeError> {
    typed.iter().for_each(|text| os.will_type(text));
    let reply = ta.call(&Command::Recover { space: SPACE, kind: KIND });
    os.forget_answers();
    reply
}

#[test]
fn a_recovery_key_opens_what_the_forgotten_pin_opened() {
    let (os, mut ta) = enrolled();
    let (keys, id) = (ce_key(&os, &mut ta), status(&mut ta).secure_user_id);
    assert!(matches!(recover(&os, &mut ta, &[]), Err(TeeError::BadState(_))));
    let key = recovery_key(&os, &mut ta);
    assert_eq!(key.len(), 40);
    let stored = os
        .objects()
        .into_iter()
        .any(|(_, _, content)| content.windows(key.len()).any(|bytes| bytes == key.as_bytes()));
    assert!(!stored && status(&mut ta).locks[0].recoverable);
    for _ in 0..20 {
        os.advance(Duration::from_secs(10 * 365 * 24 * 3600));
        unlock(&os, &mut ta, "0000").unwrap();
    }
    os.power_cycle();
    let mut ta = start(&os);
    let mut wrong = key.clone();
    wrong.replace_range(..1, if key.starts_with('0') { "1" } else { "0" });
    assert!(matches!(recover(&os, &mut ta, &[&wrong]), Err(TeeError::Denied(_))));
    assert!(matches!(recover(&os, &mut ta, &[&key, "8642", "8642"]), Ok(Reply::Done)));
    let Ok(Reply::Unlocked { ce_key, .. }) = unlock(&os, &mut ta, "8642") else {
        panic!("the new PIN unlocks");
    };
    assert_eq!(*ce_key, keys);
    assert_eq!(status(&mut ta).secure_user_id, id);
    assert!(matches!(unlock(&os, &mut ta, PIN), Ok(Reply::Wrong { failures: 1, .. })));
}

#[test]
fn a_recovery_key_counts_once_the_person_has_it_and_until_the_next() {
    let (os, mut ta) = enrolled();
    os.will_type(PIN);
    os.will_cancel();
    let turned_away = ta.call(&Command::MakeRecoveryKey { space: SPACE });
    assert!(matches!(turned_away, Err(TeeError::Cancelled)));
    assert!(!status(&mut ta).locks[0].recoverable);
    let (first, second) = (recovery_key(&os, &mut ta), recovery_key(&os, &mut ta));
    assert_ne!(first, second);
    assert!(matches!(recover(&os, &mut ta, &[&first]), Err(TeeError::Denied(_))));
    assert!(matches!(recover(&os, &mut ta, &[&second, "8642", "8642"]), Ok(Reply::Done)));
}

#[test]
fn a_lock_that_was_erased_meanwhile_is_not_brought_back() {
    let (os, mut ta) = enrolled();
    let key = recovery_key(&os, &mut ta);
    let asked = ta.ask(&Command::Recover { space: SPACE, kind: KIND });
    ta.call(&Command::Erase).unwrap();
    assert!(matches!(ta.answer(asked, &key), Err(TeeError::BadState(_))));
    assert!(status(&mut ta).locks.is_empty());
}

/// Opens a JWE as RFC 7516 and RFC 7518 4.6 say, with nothing of what made it.
fn open(jwe: &str, key: &PrivateKey) -> Vec<u8> {
    let parts: Vec<_> = jwe.split('.').collect();
    let [header, empty, nonce, ciphertext, tag] = parts[..] else { panic!("five parts") };
    assert_eq!(empty, "");
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let said: serde_json::Value = serde_json::from_slice(&part(header)).unwrap();
    assert_eq!((&said["alg"], &said["enc"]), (&"ECDH-ES".into(), &"A256GCM".into()));
    let coordinate = |name: &str| part(said["epk"][name].as_str().unwrap());
    let point = [&[4][..], &coordinate("x"), &coordinate("y")].concat();
    let peer = PublicKey::from_point(crypto::ec::Curve::P256, &point).unwrap();
    let agreed = key.agree(&peer).unwrap();
    let fed = [
        &[0, 0, 0, 1][..],
        &agreed,
        &[0, 0, 0, 7],
        b"A256GCM",
        &[0, 0, 0, 0],
        &[0, 0, 0, 0],
        &[0, 0, 1, 0],
    ];
    let sealed = [part(nonce), part(ciphertext), part(tag)].concat();
    crypto::aead::Key::aes_256_gcm(&sha256(&fed.concat())).open(header.as_bytes(), &sealed).unwrap()
}

#[test]
fn an_organisation_that_was_let_in_opens_the_space_once() {
    let (os, mut ta) = enrolled();
    let keys = ce_key(&os, &mut ta);
    let organisation = PrivateKey::generate(crypto::ec::Curve::P256).unwrap();
    let make = |spki: Vec<u8>| Command::MakeEscrow {
        space: SPACE,
        organisation: "Example Works".into(),
        public_key: ByteBuf::from(spki),
    };
    assert!(matches!(ta.call(&make(vec![4; 65])), Err(TeeError::BadParameters(_))));
    let command = make(organisation.public().to_spki().unwrap());
    os.will_cancel();
    assert!(matches!(ta.call(&command), Err(TeeError::Cancelled)), "the person says no");
    os.will_type(PIN);
    let Ok(Reply::Escrowed { jwe }) = ta.call(&command) else { panic!("a JWE was due") };
    assert!(os.prompts().pop().unwrap().detail().contains("\"Example Works\""));
    assert_eq!(status(&mut ta).locks[0].escrow.as_deref(), Some("Example Works"));

    let redeem = |secret: Vec<u8>| Command::RedeemEscrow {
        space: SPACE,
        secret: ByteBuf::from(secret),
        kind: KIND,
    };
    for wrong in [vec![0; 32], vec![], vec![1; 33]] {
        assert!(matches!(ta.call(&redeem(wrong)), Err(TeeError::Denied(_))));
    }
    let secret = open(&jwe, &organisation);
    for text in ["8642", "8642"] {
        os.will_type(text);
    }
    assert!(matches!(ta.call(&redeem(secret.clone())), Ok(Reply::Done)));
    let Ok(Reply::Unlocked { ce_key, .. }) = unlock(&os, &mut ta, "8642") else {
        panic!("the new PIN unlocks");
    };
    assert_eq!(*ce_key, keys);
    assert!(matches!(ta.call(&redeem(secret)), Err(TeeError::BadState(_))), "it is used up");
    assert_eq!(status(&mut ta).locks[0].escrow, None);
}

#[test]
fn an_escrow_ends_when_the_person_says_so_and_lost_mode_holds_it_off() {
    let (os, mut ta) = enrolled();
    let organisation = PrivateKey::generate(crypto::ec::Curve::P256).unwrap();
    let make = Command::MakeEscrow {
        space: SPACE,
        organisation: "Example Works".into(),
        public_key: ByteBuf::from(organisation.public().to_spki().unwrap()),
    };
    os.will_type(PIN);
    let Ok(Reply::Escrowed { jwe }) = ta.call(&make) else { panic!("a JWE was due") };
    let secret = ByteBuf::from(open(&jwe, &organisation));
    let redeem = Command::RedeemEscrow { space: SPACE, secret, kind: KIND };
    os.will_type(PIN);
    assert!(matches!(ta.call(&Command::EndEscrow { space: SPACE }), Ok(Reply::Done)));
    assert!(matches!(ta.call(&redeem), Err(TeeError::BadState(_))));
    ta.call(&Command::EnterLostMode { message: "please call".into() }).unwrap();
    for command in [redeem, Command::Recover { space: SPACE, kind: KIND }] {
        assert!(matches!(ta.call(&command), Err(TeeError::Denied(_))));
    }
}
