//! Locks that are changed, replaced and deleted; the second space; the PIN of duress.

use super::*;
use tee_api::gatekeeper::LockSettings;

const OTHER: &str = "314159";
const MAIN: Space = Space::MAIN;
const SECOND: Space = Space::SECOND;
const KIND: LockKind = LockKind::Pin;

/// Types each of these in turn.
fn type_all(
    os: &FakeOs,
    ta: &mut Harness<App>,
    command: &Command,
    typed: &[&str],
) -> Result<Reply, TeeError> {
    typed.iter().for_each(|text| os.will_type(text));
    let reply = ta.call(command);
    os.forget_answers();
    reply
}

/// Which space a PIN opens, and its keys.
fn opens(os: &FakeOs, ta: &mut Harness<App>, pin: &str) -> (Space, Vec<u8>, Vec<u8>) {
    match unlock(os, ta, pin).unwrap() {
        Reply::Unlocked { space, ce_key, keystore_key, .. } => {
            (space, ce_key.into_vec(), keystore_key.into_vec())
        }
        _ => panic!("the right PIN unlocks"),
    }
}

/// A device with two spaces: [`PIN`] opens the first, [`OTHER`] the second.
fn two_spaces() -> (FakeOs, Harness<App>) {
    let (os, mut ta) = enrolled();
    opens(&os, &mut ta, PIN);
    let enrol = Command::Enrol { space: SECOND, kind: KIND };
    assert!(matches!(type_all(&os, &mut ta, &enrol, &[OTHER, OTHER]), Ok(Reply::Done)));
    (os, ta)
}

#[test]
fn s3_3_3_another_pin_keeps_the_secure_id_and_every_key() {
    let (os, mut ta) = enrolled();
    let (before, id) = (opens(&os, &mut ta, PIN), status(&mut ta).secure_user_id);
    let change = Command::Change { space: MAIN, kind: LockKind::Password };
    assert!(matches!(
        type_all(&os, &mut ta, &change, &["000000", "n3w-Password", "n3w-Password"]),
        Ok(Reply::Wrong { failures: 1, .. })
    ));
    let changed = type_all(&os, &mut ta, &change, &[PIN, "n3w-Password", "n3w-Password"]);
    assert!(matches!(changed, Ok(Reply::Done)));
    assert!(matches!(unlock(&os, &mut ta, PIN), Ok(Reply::Wrong { failures: 1, .. })));
    assert_eq!(opens(&os, &mut ta, "n3w-Password"), before);
    let now = status(&mut ta);
    assert_eq!((now.secure_user_id, now.locks[0].kind), (id, LockKind::Password));
}

#[test]
fn s3_3_3_power_lost_while_the_pin_changes_leaves_one_of_the_two() {
    for changes in 0..3 {
        let (os, mut ta) = enrolled();
        let before = opens(&os, &mut ta, PIN);
        os.lose_power_after(changes);
        let change = Command::Change { space: MAIN, kind: KIND };
        let _ = type_all(&os, &mut ta, &change, &[PIN, OTHER, OTHER]);
        os.power_cycle();
        let mut ta = start(&os);
        let right: Vec<_> = [PIN, OTHER]
            .into_iter()
            .filter(|pin| matches!(unlock(&os, &mut ta, pin), Ok(Reply::Unlocked { .. })))
            .collect();
        assert_eq!(right.len(), 1, "after {changes} changes");
        assert_eq!(opens(&os, &mut ta, right[0]), before);
    }
}

#[test]
fn s3_3_3_a_lock_set_without_the_old_one_is_another_user_with_other_keys() {
    let (os, mut ta) = enrolled();
    let (before, id) = (opens(&os, &mut ta, PIN), status(&mut ta).secure_user_id);
    let replace = Command::Replace { space: MAIN, kind: KIND };
    os.will_cancel();
    assert!(matches!(ta.call(&replace), Err(TeeError::Cancelled)));
    assert_eq!(status(&mut ta).secure_user_id, id);
    unlock(&os, &mut ta, "0000").unwrap();
    assert!(matches!(type_all(&os, &mut ta, &replace, &["", PIN, PIN]), Ok(Reply::Done)));
    let now = status(&mut ta);
    assert!(now.secure_user_id != id && !now.unlocked_once && now.failures == 0);
    let after = opens(&os, &mut ta, PIN);
    assert!(after.1 != before.1 && after.2 != before.2);
    let (os, mut ta, _) = provisioned();
    assert!(matches!(type_all(&os, &mut ta, &ENROL, &[MARK, PIN, PIN]), Ok(Reply::Done)));
    ta.call(&Command::ArmActivation).unwrap();
    let refused = type_all(&os, &mut ta, &replace, &["", OTHER, OTHER]);
    assert!(matches!(refused, Err(TeeError::Denied(_))), "a finder's way in");
}

#[test]
fn s3_3_3_a_lock_is_deleted_by_who_opens_it() {
    let (os, mut ta) = two_spaces();
    let delete = |space| Command::Delete { space };
    let refused = type_all(&os, &mut ta, &delete(MAIN), &[PIN]);
    assert!(matches!(refused, Err(TeeError::BadState(_))), "the second space hangs on it");
    let wrong = type_all(&os, &mut ta, &delete(SECOND), &[PIN]);
    assert!(matches!(wrong, Ok(Reply::Wrong { .. })), "the other's PIN");
    assert!(matches!(type_all(&os, &mut ta, &delete(SECOND), &[OTHER]), Ok(Reply::Done)));
    assert!(matches!(unlock(&os, &mut ta, OTHER), Ok(Reply::Wrong { .. })));
    assert!(matches!(type_all(&os, &mut ta, &delete(MAIN), &[PIN]), Ok(Reply::Done)));
    assert!(status(&mut ta).locks.is_empty());
}

#[test]
fn what_is_typed_decides_which_space_opens() {
    let (os, mut ta) = two_spaces();
    let (main, second) = (opens(&os, &mut ta, PIN), opens(&os, &mut ta, OTHER));
    assert_eq!((main.0, second.0), (MAIN, SECOND));
    assert!(main.1 != second.1 && main.2 != second.2);
    let locks = status(&mut ta).locks;
    assert_ne!(locks[0].secure_user_id, locks[1].secure_user_id);
    let prompts: Vec<_> = os.prompts();
    let asked = &prompts[prompts.len() - 2..];
    assert_eq!(asked[0], asked[1], "the question tells nobody that there are two");
    // What is proven is proven for one of them.
    let prove = Command::Authenticate { space: MAIN, challenge: 7 };
    assert!(matches!(type_all(&os, &mut ta, &prove, &[OTHER]), Ok(Reply::Wrong { .. })));
    assert!(matches!(type_all(&os, &mut ta, &prove, &[PIN]), Ok(Reply::Authenticated { .. })));
    os.power_cycle();
    let mut ta = start(&os);
    assert_eq!(opens(&os, &mut ta, OTHER), second);
    let locks = status(&mut ta).locks;
    assert_eq!([locks[0].unlocked_once, locks[1].unlocked_once], [false, true]);
}

#[test]
fn a_second_space_is_made_from_the_open_first_one_with_a_pin_of_its_own() {
    let (os, mut ta) = enrolled();
    let enrol = |space| Command::Enrol { space, kind: KIND };
    let closed = type_all(&os, &mut ta, &enrol(SECOND), &[OTHER, OTHER]);
    assert!(matches!(closed, Err(TeeError::BadState(_))));
    opens(&os, &mut ta, PIN);
    let third = type_all(&os, &mut ta, &enrol(Space(2)), &[OTHER, OTHER]);
    assert!(matches!(third, Err(TeeError::BadParameters(_))));
    // Trying PINs as new ones is guessing, and counted.
    for failures in 1..=2 {
        let taken = type_all(&os, &mut ta, &enrol(SECOND), &[PIN, PIN]);
        assert!(matches!(taken, Err(TeeError::Denied(_))));
        assert_eq!(status(&mut ta).failures, failures);
    }
    assert!(matches!(type_all(&os, &mut ta, &enrol(SECOND), &[OTHER, OTHER]), Ok(Reply::Done)));
    let change = Command::Change { space: SECOND, kind: KIND };
    let taken = type_all(&os, &mut ta, &change, &[OTHER, PIN, PIN]);
    assert!(matches!(taken, Err(TeeError::Denied(_))));
    let same = type_all(&os, &mut ta, &change, &[OTHER, OTHER, OTHER]);
    assert!(matches!(same, Ok(Reply::Done)), "its own PIN is free");
}

#[test]
fn the_pin_of_duress_destroys_every_key_and_looks_like_a_right_one() {
    let (os, mut ta) = two_spaces();
    let (main, device) = (opens(&os, &mut ta, PIN), device_key(&mut ta).unwrap());
    let set = Command::SetDuress { kind: Some(KIND) };
    for taken in [PIN, OTHER] {
        let refused = type_all(&os, &mut ta, &set, &[PIN, taken, taken]);
        assert!(matches!(refused, Err(TeeError::Denied(_))), "{taken}");
    }
    let duress = "112112";
    assert!(matches!(type_all(&os, &mut ta, &set, &[OTHER]), Ok(Reply::Wrong { .. })));
    assert!(matches!(type_all(&os, &mut ta, &set, &[PIN, duress, duress]), Ok(Reply::Done)));
    assert_eq!(opens(&os, &mut ta, PIN), main);
    let asked = os.prompts().pop();
    let anew = opens(&os, &mut ta, duress);
    assert_eq!(os.prompts().pop(), asked);
    assert!(anew.0 == MAIN && anew.1 != main.1 && anew.2 != main.2);
    assert_ne!(device_key(&mut ta).unwrap(), device);
    let now = status(&mut ta);
    assert_eq!((now.locks.len(), now.failures, now.erasures), (1, 0, 0));
    assert!(now.unlocked_once && !now.activation_due);
    for gone in [PIN, OTHER] {
        assert!(matches!(unlock(&os, &mut ta, gone), Ok(Reply::Wrong { .. })));
    }
    // From now on it is the PIN, and nothing of the other kind is left.
    assert_eq!(opens(&os, &mut ta, duress), anew);
    assert_eq!(os.object(Gatekeeper::TA, crate::duress::OBJECT), None);
}

#[test]
fn duress_works_wherever_a_pin_is_asked_for_and_can_be_taken_back() {
    let (os, mut ta) = enrolled();
    let (before, duress) = (opens(&os, &mut ta, PIN), "112112");
    let set = Command::SetDuress { kind: Some(KIND) };
    type_all(&os, &mut ta, &set, &[PIN, duress, duress]).unwrap();
    let take_back = Command::SetDuress { kind: None };
    assert!(matches!(type_all(&os, &mut ta, &take_back, &[PIN]), Ok(Reply::Done)));
    assert!(matches!(unlock(&os, &mut ta, duress), Ok(Reply::Wrong { .. })));
    type_all(&os, &mut ta, &set, &[PIN, duress, duress]).unwrap();
    let prove = Command::Authenticate { space: MAIN, challenge: 1 };
    assert!(matches!(type_all(&os, &mut ta, &prove, &[duress]), Ok(Reply::Authenticated { .. })));
    assert_ne!(opens(&os, &mut ta, duress).1, before.1);
}

#[test]
fn s3_1_3_the_device_erases_itself_after_the_last_guess_if_its_owner_chose_so() {
    let (os, mut ta) = enrolled();
    assert_eq!(status(&mut ta).settings, LockSettings::default());
    let chosen =
        LockSettings { erase_after_last_guess: true, restart_when_idle_min: Some(18 * 60) };
    let set = Command::SetLockSettings(chosen);
    assert!(matches!(type_all(&os, &mut ta, &set, &["0000"]), Ok(Reply::Wrong { .. })));
    assert!(matches!(type_all(&os, &mut ta, &set, &[PIN]), Ok(Reply::Done)));
    assert_eq!(status(&mut ta).settings, chosen);
    for _ in 1..20 {
        os.advance(Duration::from_secs(10 * 365 * 24 * 3600));
        assert!(matches!(unlock(&os, &mut ta, "0000"), Ok(Reply::Wrong { .. })));
    }
    os.advance(Duration::from_secs(10 * 365 * 24 * 3600));
    assert!(matches!(unlock(&os, &mut ta, "0000"), Ok(Reply::Erased { erasures: 1 })));
    let now = status(&mut ta);
    assert_eq!((now.locks.len(), now.settings), (0, LockSettings::default()));
}

#[test]
fn only_the_systems_user_asks_gatekeeper() {
    let (_os, mut ta) = enrolled();
    let foreign = tee_sdk::own_user() + 1;
    for login in [
        tee_sdk::Login::Public,
        tee_sdk::Login::User { uid: foreign },
        tee_sdk::Login::Application { uid: foreign, label: None },
    ] {
        assert!(matches!(ta.open_as(9, login), Err(TeeError::Denied(_))));
    }
}
