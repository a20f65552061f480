//! Gatekeeper over a trusted OS in memory.

mod auth_token;
mod other_ways;
mod program_keys;
mod spaces;

use super::*;
use crate::throttle::wait_after;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::sign::{Curve, EcdsaKey};
use serde_bytes::ByteBuf;
use std::time::Duration;
use tee_api::gatekeeper::{LockKind, TicketClaims, TicketPurpose, USERDATA_BYTES};
use tee_sdk::Protocol;
use tee_sdk::testing::{FakeOs, Harness};

const PIN: &str = "271828";
const MARK: &str = "anchor Kelpie";
const ENROL: Command = Command::Enrol { space: Space::MAIN, kind: LockKind::Pin };

fn start(os: &FakeOs) -> Harness<App> {
    os.answers_for::<KeyMint>(|_| Ok(keymint::Reply::Done));
    os.start()
}

/// A device with a screen lock.
fn enrolled() -> (FakeOs, Harness<App>) {
    let os = FakeOs::new();
    let mut ta = start(&os);
    for text in [MARK, PIN, PIN] {
        os.will_type(text);
    }
    assert!(matches!(ta.call(&ENROL), Ok(Reply::Done)));
    (os, ta)
}

fn unlock(os: &FakeOs, ta: &mut Harness<App>, pin: &str) -> Result<Reply, TeeError> {
    os.will_type(pin);
    let reply = ta.call(&Command::Unlock);
    // A refusal before the prompt leaves the answer in the queue.
    os.forget_answers();
    reply
}

fn ce_key(os: &FakeOs, ta: &mut Harness<App>) -> Vec<u8> {
    match unlock(os, ta, PIN).unwrap() {
        Reply::Unlocked { ce_key, .. } => ce_key.into_vec(),
        _ => panic!("the right PIN unlocks"),
    }
}

fn status(ta: &mut Harness<App>) -> Status {
    match ta.call(&Command::Status).unwrap() {
        Reply::Status(status) => status,
        _ => panic!("a status was due"),
    }
}

fn device_key(ta: &mut Harness<App>) -> Result<Vec<u8>, TeeError> {
    match ta.call(&Command::DeviceKey)? {
        Reply::Key(key) => Ok(key.into_vec()),
        _ => panic!("a key was due"),
    }
}

#[test]
fn s3_3_3_the_right_pin_gives_the_same_ce_key_after_a_reboot() {
    let (os, mut ta) = enrolled();
    let key = ce_key(&os, &mut ta);
    assert_eq!(key.len(), 32);
    assert!(status(&mut ta).unlocked_once);
    os.power_cycle();
    let mut ta = start(&os);
    assert!(!status(&mut ta).unlocked_once);
    assert_eq!(ce_key(&os, &mut ta), key);
}

#[test]
fn s3_3_3_stored_records_are_useless_on_another_board() {
    let (os, mut ta) = enrolled();
    ce_key(&os, &mut ta);
    let other = FakeOs::new();
    for (id, name, value) in os.objects() {
        other.set_object(id, &name, Some(value));
    }
    let mut ta = start(&other);
    assert!(matches!(unlock(&other, &mut ta, PIN), Ok(Reply::Wrong { failures: 1, .. })));
}

#[test]
fn the_pin_is_asked_twice_and_once_more_after_a_mismatch() {
    let os = FakeOs::new();
    let mut ta = start(&os);
    for text in [MARK, "1234", "1235", "1236", "1236"] {
        os.will_type(text);
    }
    assert!(matches!(ta.call(&ENROL), Ok(Reply::Done)));
    assert_eq!(os.prompts().len(), 5);
    assert!(matches!(unlock(&os, &mut ta, "1236"), Ok(Reply::Unlocked { .. })));

    let os = FakeOs::new();
    let mut ta = start(&os);
    for text in [MARK, "1234", "1235", "1236", "1237", "1237", "1237"] {
        os.will_type(text);
    }
    assert!(matches!(ta.call(&ENROL), Err(TeeError::BadParameters(_))));
    assert_eq!(os.prompts().len(), 5);
    assert!(!status(&mut ta).enrolled);
}

#[test]
fn s3_3_3_the_lock_is_a_pin_a_password_or_a_pattern() {
    for (kind, right, wrong, word) in [
        (LockKind::Pin, "0246", "0247", "Type your PIN."),
        (LockKind::Password, "t!de-Pool7", "t!de-pool7", "Type your password."),
        (LockKind::Pattern, "14789", "1478", "Draw your pattern."),
    ] {
        let os = FakeOs::new();
        let mut ta = start(&os);
        for text in [MARK, right, right] {
            os.will_type(text);
        }
        assert!(matches!(ta.call(&Command::Enrol { space: Space::MAIN, kind }), Ok(Reply::Done)));
        assert!(matches!(unlock(&os, &mut ta, wrong), Ok(Reply::Wrong { failures: 1, .. })));
        assert!(matches!(unlock(&os, &mut ta, right), Ok(Reply::Unlocked { .. })));
        assert!(os.prompts()[3].detail().starts_with(word), "{kind:?}");
    }
    // A line from 1 to 7 visits 4: the same way, drawn another way.
    let os = FakeOs::new();
    let mut ta = start(&os);
    for text in [MARK, "14789", "179", "1789"] {
        os.will_type(text);
    }
    assert!(matches!(
        ta.call(&Command::Enrol { space: Space::MAIN, kind: LockKind::Pattern }),
        Ok(Reply::Done)
    ));
    assert!(matches!(ta.call(&Command::Unlock), Ok(Reply::Unlocked { .. })));
}

#[test]
fn s2_1_1_the_person_chooses_the_screens_mark_before_anything_is_typed() {
    let (os, mut ta) = enrolled();
    assert_eq!(os.prompts()[0], tee_sdk::Question::mark());
    ta.call(&Command::Erase).unwrap();
    // The next owner chooses anew; who turns it away sets no lock.
    os.will_cancel();
    assert!(matches!(ta.call(&ENROL), Err(TeeError::Cancelled)));
    assert_eq!(os.prompts().len(), 4);
    assert!(!status(&mut ta).enrolled);
}

#[test]
fn refuses_a_second_enrolment_and_a_pin_with_letters() {
    let (os, mut ta) = enrolled();
    assert!(matches!(ta.call(&ENROL), Err(TeeError::BadState(_))));
    assert!(matches!(unlock(&os, &mut ta, "27182e"), Err(TeeError::Cancelled)));
    assert_eq!(status(&mut ta).failures, 0);
    os.will_cancel();
    assert!(matches!(ta.call(&Command::Unlock), Err(TeeError::Cancelled)));
    assert_eq!(status(&mut ta).failures, 0);
}

#[test]
fn s3_3_3_waits_grow_as_androids_table_does() {
    let minutes = |count: u64| Some(Duration::from_secs(60 * count));
    for failures in 0..5 {
        assert_eq!(wait_after(failures), minutes(0));
    }
    for (failures, wait) in [(5, 1), (6, 5), (7, 15), (8, 30), (9, 90), (10, 240), (12, 36 * 60)] {
        assert_eq!(wait_after(failures), minutes(wait), "{failures}");
    }
    assert_eq!(wait_after(19), minutes(9 * 365 * 24 * 60));
    assert_eq!(wait_after(20), None);
}

#[test]
fn s3_3_3_wrong_pins_are_throttled_by_the_boards_clock() {
    let (os, mut ta) = enrolled();
    for failures in 1..=5 {
        let reply = unlock(&os, &mut ta, "0000").unwrap();
        let wait = if failures == 5 { 60_000 } else { 0 };
        assert!(matches!(reply, Reply::Wrong { failures: f, retry_after_ms }
            if f == failures && retry_after_ms == wait));
    }
    let prompts = os.prompts().len();
    os.advance(Duration::from_millis(59_999));
    let reply = unlock(&os, &mut ta, PIN).unwrap();
    assert!(matches!(reply, Reply::Throttled { retry_after_ms: 1 }));
    assert_eq!(os.prompts().len(), prompts, "no prompt while no guess counts");
    os.advance(Duration::from_millis(1));
    ce_key(&os, &mut ta);
    assert_eq!(status(&mut ta).failures, 0);
}

#[test]
fn s3_3_3_a_reboot_restarts_the_wait_and_not_the_count() {
    let (os, mut ta) = enrolled();
    for _ in 0..5 {
        unlock(&os, &mut ta, "0000").unwrap();
    }
    os.advance(Duration::from_secs(59));
    os.power_cycle();
    let mut ta = start(&os);
    let after = status(&mut ta);
    assert_eq!((after.failures, after.retry_after_ms), (5, 59_000));
    // A TA that died and started anew in the same boot is no way out either.
    let mut ta = start(&os);
    assert!(matches!(unlock(&os, &mut ta, PIN), Ok(Reply::Throttled { .. })));
}

#[test]
fn s3_3_3_a_guess_is_counted_before_it_is_checked() {
    let (os, mut ta) = enrolled();
    // Power goes at the first change: the guess was not checked.
    os.lose_power_after(0);
    assert!(unlock(&os, &mut ta, PIN).is_err());
    os.power_cycle();
    // Power goes right after the count: it stays counted.
    let mut ta = start(&os);
    os.lose_power_after(1);
    assert!(unlock(&os, &mut ta, PIN).is_err());
    os.power_cycle();
    assert_eq!(status(&mut start(&os)).failures, 1);
}

#[test]
fn s3_3_3_after_twenty_wrong_pins_no_guess_counts() {
    let (os, mut ta) = enrolled();
    for _ in 0..20 {
        os.advance(Duration::from_secs(10 * 365 * 24 * 3600));
        assert!(matches!(unlock(&os, &mut ta, "0000"), Ok(Reply::Wrong { .. })));
    }
    os.advance(Duration::from_secs(100 * 365 * 24 * 3600));
    let reply = unlock(&os, &mut ta, PIN).unwrap();
    assert!(matches!(reply, Reply::Throttled { retry_after_ms: u64::MAX }));
}

#[test]
fn userdata_passes_when_committed_and_in_between_either_way() {
    let os = FakeOs::new();
    let mut ta = start(&os);
    let empty = crypto::digest::sha256(&vec![0; USERDATA_BYTES]);
    let mut passes = |digest| ta.call(&Command::CheckUserdata { digest }).is_ok();
    assert!(passes(empty));
    assert!(!passes([1; 32]));
    let mut ta = start(&os);
    ta.call(&Command::BeginUserdata { digest: [1; 32] }).unwrap();
    // Power goes: both pass.
    let mut ta = start(&os);
    for digest in [empty, [1; 32]] {
        ta.call(&Command::CheckUserdata { digest }).unwrap();
    }
    // It goes again, before the next commit: the partition holds one of three.
    ta.call(&Command::BeginUserdata { digest: [2; 32] }).unwrap();
    for digest in [empty, [1; 32], [2; 32]] {
        ta.call(&Command::CheckUserdata { digest }).unwrap();
    }
    ta.call(&Command::CommitUserdata).unwrap();
    ta.call(&Command::CheckUserdata { digest: [2; 32] }).unwrap();
    for digest in [empty, [1; 32]] {
        let refused = ta.call(&Command::CheckUserdata { digest });
        assert!(matches!(refused, Err(TeeError::Security(_))));
    }
    assert!(matches!(ta.call(&Command::CommitUserdata), Err(TeeError::BadState(_))));
}

#[test]
fn s3_1_3_an_erasure_destroys_the_keys_in_one_change() {
    let (os, mut ta) = enrolled();
    let ce = ce_key(&os, &mut ta);
    let de = device_key(&mut ta).unwrap();
    ta.call(&Command::BeginUserdata { digest: [1; 32] }).unwrap();
    ta.call(&Command::CommitUserdata).unwrap();
    // The objects in files go first; a cut behind that leaves a device that is not erased.
    os.lose_power_after(1);
    assert!(ta.call(&Command::Erase).is_err());
    os.power_cycle();
    let mut ta = start(&os);
    assert!(status(&mut ta).enrolled && status(&mut ta).erasures == 0);
    os.lose_power_after(2);
    assert!(matches!(ta.call(&Command::Erase), Ok(Reply::Erased { erasures: 1 })));
    os.power_cycle();
    for name in OBJECTS_OF_THE_OWNER {
        assert_eq!(os.object(Gatekeeper::TA, name), None, "{name}");
    }
    let mut ta = start(&os);
    assert!(!status(&mut ta).enrolled);
    assert!(matches!(ta.call(&Command::Unlock), Err(TeeError::BadState(_))));
    assert_ne!(device_key(&mut ta).unwrap(), de);
    for digest in [[1; 32], userdata::zero_digest()] {
        ta.call(&Command::CheckUserdata { digest }).unwrap();
    }
    for text in [MARK, PIN, PIN] {
        os.will_type(text);
    }
    ta.call(&ENROL).unwrap();
    assert_ne!(ce_key(&os, &mut ta), ce, "the same PIN is another key");
}

/// A device with a ticket key, and the cloud that has its other half.
fn provisioned() -> (FakeOs, Harness<App>, EcdsaKey) {
    let os = FakeOs::in_factory();
    let mut ta = start(&os);
    let cloud = EcdsaKey::generate(Curve::P256).unwrap();
    let ticket_key = ByteBuf::from(cloud.public_key_spki().unwrap());
    ta.call(&Command::Provision { ticket_key }).unwrap();
    (os, ta, cloud)
}

fn nonce(ta: &mut Harness<App>) -> [u8; 32] {
    match ta.call(&Command::TicketNonce).unwrap() {
        Reply::Nonce(nonce) => nonce,
        _ => panic!("a nonce was due"),
    }
}

fn ticket(cloud: &EcdsaKey, serial: &str, purpose: TicketPurpose, nonce: [u8; 32]) -> Command {
    let nonce = URL_SAFE_NO_PAD.encode(nonce);
    let claims = TicketClaims { serial: serial.into(), purpose, nonce };
    let ticket = jws::sign(&claims, |message| cloud.sign_fixed(message)).unwrap();
    Command::Redeem { ticket }
}

const SERIAL: &str = "HF-TEST-0001";

#[test]
fn s2_5_2_an_armed_lock_outlives_an_erasure_and_only_its_ticket_ends_it() {
    let (os, mut ta, cloud) = provisioned();
    ta.call(&Command::ArmActivation).unwrap();
    ta.call(&Command::Erase).unwrap();
    os.power_cycle();
    let mut ta = start(&os);
    assert!(status(&mut ta).activation_due);
    for command in [ENROL, Command::Unlock, Command::DeviceKey, Command::ArmActivation] {
        assert!(matches!(ta.call(&command), Err(TeeError::Denied(_))), "{command:?}");
    }
    // Erasing once more changes nothing.
    ta.call(&Command::Erase).unwrap();
    let stranger = EcdsaKey::generate(Curve::P256).unwrap();
    let due = nonce(&mut ta);
    let activate = TicketPurpose::Activate;
    for refused in [
        ticket(&stranger, SERIAL, activate, due),
        ticket(&cloud, "HF-TEST-0002", activate, due),
        ticket(&cloud, SERIAL, activate, [0; 32]),
    ] {
        assert!(matches!(ta.call(&refused), Err(TeeError::Security(_))));
        assert!(status(&mut ta).activation_due);
    }
    let good = ticket(&cloud, SERIAL, activate, due);
    ta.call(&good).unwrap();
    let now = status(&mut ta);
    assert!(!now.activation_due && now.activation_armed);
    device_key(&mut ta).unwrap();
    // The same ticket after the next reset.
    ta.call(&Command::Erase).unwrap();
    assert!(matches!(ta.call(&good), Err(TeeError::Security(_))));
    nonce(&mut ta);
    assert!(matches!(ta.call(&good), Err(TeeError::Security(_))));
}

#[test]
fn a_nonce_ends_with_power() {
    let (os, mut ta, cloud) = provisioned();
    ta.call(&Command::ArmActivation).unwrap();
    let good = ticket(&cloud, SERIAL, TicketPurpose::Disarm, nonce(&mut ta));
    os.power_cycle();
    let mut ta = start(&os);
    assert!(matches!(ta.call(&good), Err(TeeError::Security(_))));
    let again = ticket(&cloud, SERIAL, TicketPurpose::Disarm, nonce(&mut ta));
    ta.call(&again).unwrap();
    assert!(!status(&mut ta).activation_armed);
    ta.call(&Command::Erase).unwrap();
    assert!(!status(&mut ta).activation_due);
}

#[test]
fn s2_5_2_lost_mode_refuses_the_right_pin_until_a_ticket_ends_it() {
    let (os, mut ta, cloud) = provisioned();
    for text in [MARK, PIN, PIN] {
        os.will_type(text);
    }
    ta.call(&ENROL).unwrap();
    ce_key(&os, &mut ta);
    ta.call(&Command::EnterLostMode { message: "please call".into() }).unwrap();
    assert!(matches!(unlock(&os, &mut ta, PIN), Err(TeeError::Denied(_))));
    os.power_cycle();
    let mut ta = start(&os);
    assert_eq!(status(&mut ta).lost.as_deref(), Some("please call"));
    assert!(matches!(unlock(&os, &mut ta, PIN), Err(TeeError::Denied(_))));
    let end = ticket(&cloud, SERIAL, TicketPurpose::EndLostMode, nonce(&mut ta));
    ta.call(&end).unwrap();
    ce_key(&os, &mut ta);
}

#[test]
fn s2_5_2_lost_mode_wins_over_a_prompt_that_stands() {
    let (os, mut ta) = enrolled();
    let asked = ta.ask(&Command::Unlock);
    // Whoever holds the device lets the prompt stand; the owner's command comes through.
    assert!(!status(&mut ta).unlocked_once);
    ta.call(&Command::EnterLostMode { message: "please call".into() }).unwrap();
    assert!(matches!(ta.answer(asked, PIN), Err(TeeError::Denied(_))));
    assert_eq!(throttle_count(&os), 0);
}

#[test]
fn s3_3_3_prompts_side_by_side_give_no_guess_for_free() {
    let (_os, mut ta) = enrolled();
    let asked: Vec<_> = (0..8).map(|_| ta.ask(&Command::Unlock)).collect();
    let replies: Vec<_> = asked.into_iter().map(|at| ta.answer(at, "0000").unwrap()).collect();
    assert!(replies[..5].iter().all(|reply| matches!(reply, Reply::Wrong { .. })));
    assert!(replies[5..].iter().all(|reply| matches!(reply, Reply::Throttled { .. })));
}

fn throttle_count(os: &FakeOs) -> u32 {
    status(&mut start(os)).failures
}

#[test]
fn the_ticket_key_is_put_in_at_the_factory_only() {
    let mut ta = start(&FakeOs::new());
    let key = EcdsaKey::generate(Curve::P256).unwrap().public_key_spki().unwrap();
    let provision = Command::Provision { ticket_key: ByteBuf::from(key) };
    assert!(matches!(ta.call(&provision), Err(TeeError::Denied(_))));
    assert!(matches!(ta.call(&Command::ArmActivation), Err(TeeError::BadState(_))));
    let any = Command::Redeem { ticket: "a.b.c".into() };
    assert!(matches!(ta.call(&any), Err(TeeError::Security(_))));
    let mut ta = start(&FakeOs::in_factory());
    let rubbish = Command::Provision { ticket_key: ByteBuf::from([4; 65]) };
    assert!(matches!(ta.call(&rubbish), Err(TeeError::BadParameters(_))));
}

#[test]
fn s2_2_a_successful_boot_raises_the_rollback_indexes() {
    let os = FakeOs::new();
    let mut ta = start(&os);
    ta.call(&Command::BootSuccessful).unwrap();
    assert_eq!(os.raised_rollback_indexes(), [(0, 1), (1, 1)]);
}

#[test]
fn altered_records_and_malformed_commands_are_refused() {
    let (os, mut ta) = enrolled();
    for name in ["policy", "failures", "screen-lock"] {
        os.set_object(Gatekeeper::TA, name, Some(vec![0xFF; 20]));
        let refused = unlock(&os, &mut ta, PIN);
        assert!(matches!(refused, Err(TeeError::Security(_))), "{name}");
        os.set_object(Gatekeeper::TA, name, None);
    }
    for raw in [&b""[..], b"\xFF", &[0xA1; 100]] {
        assert!(matches!(ta.call_raw(raw), Err(TeeError::BadParameters(_))));
    }
}

fn set_lock(os: &FakeOs, ta: &mut Harness<App>, locked: bool) -> Result<Reply, TeeError> {
    os.will_type("");
    let reply = ta.call(&Command::SetBootLock { locked });
    os.forget_answers();
    reply
}

#[test]
fn s2_2_unlocking_needs_the_person_and_costs_the_data() {
    let (os, mut ta) = enrolled();
    let before = ce_key(&os, &mut ta);
    os.will_cancel();
    let turned_away = ta.call(&Command::SetBootLock { locked: false });
    assert!(matches!(turned_away, Err(TeeError::Cancelled)));
    assert!(!os.boot_lock().unlocked);
    assert_eq!(ce_key(&os, &mut ta), before);
    assert!(matches!(set_lock(&os, &mut ta, false), Ok(Reply::Erased { erasures: 1 })));
    assert!(os.boot_lock().unlocked);
    assert!(!status(&mut ta).enrolled);
    let prompt = os.prompts().pop().unwrap();
    assert_eq!(prompt.title(), "Unlock the bootloader?");
    assert!(prompt.detail().contains("erased"), "{}", prompt.detail());
    assert!(matches!(set_lock(&os, &mut ta, false), Err(TeeError::BadState(_))));
}

#[test]
fn s2_2_locking_shows_the_users_own_key_and_costs_the_data() {
    let (os, mut ta) = enrolled();
    let key = Command::SetCustomKey { key: Some([0x1a; 32]) };
    assert!(matches!(ta.call(&key), Err(TeeError::BadState(_))));
    set_lock(&os, &mut ta, false).unwrap();
    assert!(matches!(ta.call(&key), Ok(Reply::Done)));
    assert!(matches!(set_lock(&os, &mut ta, true), Ok(Reply::Erased { erasures: 2 })));
    let lock = os.boot_lock();
    assert_eq!((lock.unlocked, lock.custom_key), (false, Some([0x1a; 32])));
    let prompt = os.prompts().pop().unwrap();
    assert!(prompt.detail().contains("your key 1a1a 1a1a 1a1a 1a1a"), "{}", prompt.detail());
}

#[test]
fn s2_2_power_lost_while_unlocking_leaves_the_device_locked() {
    let (os, mut ta) = enrolled();
    os.lose_power_after(0);
    assert!(set_lock(&os, &mut ta, false).is_err());
    os.power_cycle();
    assert!(!os.boot_lock().unlocked);
    assert!(status(&mut start(&os)).enrolled);
}

const NOON: u64 = 1_790_000_000_000;

fn time_nonce(ta: &mut Harness<App>) -> [u8; 32] {
    match ta.call(&Command::TimeNonce).unwrap() {
        Reply::Nonce(nonce) => nonce,
        _ => panic!("a nonce was due"),
    }
}

fn time_token(cloud: &EcdsaKey, claims: &serde_json::Value) -> Command {
    let token = jws::sign(claims, |message| cloud.sign_fixed(message)).unwrap();
    Command::SetTime { token }
}

fn time_claims(nonce: [u8; 32]) -> serde_json::Value {
    let nonce = URL_SAFE_NO_PAD.encode(nonce);
    serde_json::json!({"purpose": "set_time", "serial": SERIAL, "nonce": nonce, "time_ms": NOON})
}

fn time(ta: &mut Harness<App>, command: &Command) -> tee_sdk::SecureTime {
    match ta.call(command).unwrap() {
        Reply::Time(time) => time,
        _ => panic!("a time was due"),
    }
}

#[test]
fn s2_1_1_only_the_clouds_token_for_this_device_and_nonce_sets_the_clock_once() {
    let (os, mut ta, cloud) = provisioned();
    let due = time_nonce(&mut ta);
    let stranger = EcdsaKey::generate(Curve::P256).unwrap();
    let good = time_claims(due);
    let mut refused = vec![time_token(&stranger, &good)];
    for (claim, value) in [
        ("purpose", serde_json::json!("activate")),
        ("serial", serde_json::json!("HF-TEST-0002")),
        ("nonce", serde_json::json!(URL_SAFE_NO_PAD.encode([0; 32]))),
        ("nonce", serde_json::json!("AAAA")),
        ("nonce", serde_json::json!("!")),
        ("time_ms", serde_json::json!(-1)),
        ("time_ms", serde_json::json!("noon")),
        ("more", serde_json::json!(1)),
    ] {
        let mut claims = good.clone();
        claims[claim] = value;
        refused.push(time_token(&cloud, &claims));
    }
    for token in ["", "a.b.c", &"x".repeat(20_000)] {
        refused.push(Command::SetTime { token: token.into() });
    }
    for command in refused {
        assert!(matches!(ta.call(&command), Err(TeeError::Security(_))), "{command:?}");
        assert_eq!(time(&mut ta, &Command::Time).trust, None);
    }
    let good = time_token(&cloud, &good);
    let set = time(&mut ta, &good);
    assert!(set.unix_ms == NOON && set.trust.is_some());
    assert!(matches!(ta.call(&good), Err(TeeError::Security(_))), "a replay");
    os.power_cycle();
    let mut ta = start(&os);
    let after = time(&mut ta, &Command::Time);
    assert!(after > set && after.trust.is_none());
}

#[test]
fn s2_1_1_a_ticket_is_no_time_token_and_the_other_way_round() {
    let (_os, mut ta, cloud) = provisioned();
    ta.call(&Command::ArmActivation).unwrap();
    let due = nonce(&mut ta);
    let Command::SetTime { token } = time_token(&cloud, &time_claims(due)) else { unreachable!() };
    assert!(matches!(ta.call(&Command::Redeem { ticket: token }), Err(TeeError::Security(_))));
    let due = time_nonce(&mut ta);
    let Command::Redeem { ticket } = ticket(&cloud, SERIAL, TicketPurpose::Disarm, due) else {
        unreachable!()
    };
    assert!(matches!(ta.call(&Command::SetTime { token: ticket }), Err(TeeError::Security(_))));
    assert!(status(&mut ta).activation_armed);
}

#[test]
fn a_device_without_the_clouds_key_takes_no_time() {
    let mut ta = start(&FakeOs::in_factory());
    let cloud = EcdsaKey::generate(Curve::P256).unwrap();
    let token = time_token(&cloud, &time_claims(time_nonce(&mut ta)));
    assert!(matches!(ta.call(&token), Err(TeeError::Security(_))));
}
