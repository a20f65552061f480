//! The secure clock of the real trusted OS.

use crate::device::{Device, TestBoard};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::sign::{Curve, EcdsaKey};
use tee_api::clock::{SecureTime, TimeClaims, TimePurpose};
use tee_api::gatekeeper::{Command, Gatekeeper, Reply};
use tee_client::{Session, TeeError};

const NOON: u64 = 1_790_000_000_000;
const DAY_MS: u64 = 86_400_000;

fn gatekeeper(device: &Device) -> Session<Gatekeeper> {
    device.tee().session().unwrap()
}

fn time(session: &Session<Gatekeeper>) -> SecureTime {
    match session.call(Command::Time).unwrap() {
        Reply::Time(time) => time,
        _ => panic!("a time was due"),
    }
}

/// A device from the factory, with the other half of its cloud's key.
fn provisioned() -> Option<(Device, EcdsaKey)> {
    let device = Device::new()?;
    let cloud = EcdsaKey::generate(Curve::P256).unwrap();
    let ticket_key = cloud.public_key_spki().unwrap().into();
    let provision = Command::Provision { ticket_key };
    assert!(matches!(gatekeeper(&device).call(provision), Ok(Reply::Done)));
    Some((device, cloud))
}

fn token(session: &Session<Gatekeeper>, cloud: &EcdsaKey, time_ms: u64) -> Command {
    let Ok(Reply::Nonce(nonce)) = session.call(Command::TimeNonce) else {
        panic!("a nonce was due")
    };
    let claims = TimeClaims {
        purpose: TimePurpose::SetTime,
        serial: "HF-TEST-0001".into(),
        nonce: URL_SAFE_NO_PAD.encode(nonce),
        time_ms,
    };
    Command::SetTime { token: jws::sign(&claims, |message| cloud.sign_fixed(message)).unwrap() }
}

#[test]
fn s2_1_1_the_secure_clock_is_set_by_a_token_and_survives_power_off() {
    let Some((device, cloud)) = provisioned() else { return };
    let lock = gatekeeper(&device);
    let before = time(&lock);
    assert_eq!(before.trust, None);
    let good = token(&lock, &cloud, NOON);
    device.board.advance_ms(400);
    let Ok(Reply::Time(set)) = lock.call(&good) else { panic!("the token counts") };
    assert_eq!((set.unix_ms, set.trust.unwrap().error_ms), (NOON + 200, 201));
    assert!(matches!(lock.call(&good), Err(TeeError::Security(_))), "a replay");
    device.board.advance_ms(DAY_MS);
    let later = time(&lock);
    assert_eq!(later.unix_ms, NOON + 200 + DAY_MS);
    let late = token(&lock, &cloud, NOON + 2 * DAY_MS);
    device.board.advance_ms(60_001);
    assert!(matches!(lock.call(late), Err(TeeError::Security(_))), "held back");
    let behind = token(&lock, &cloud, NOON);
    assert!(matches!(lock.call(behind), Err(TeeError::Security(_))), "a server that is behind");
    let last = time(&lock);
    drop(lock);

    let device = Device::power_on(device.power_off()).unwrap();
    let lock = gatekeeper(&device);
    let after = time(&lock);
    assert!(after > last, "{after:?} after {last:?}");
    assert_eq!(after.trust, None, "nobody knows how long it was off");
    let stale = token(&lock, &cloud, NOON);
    assert!(matches!(lock.call(stale), Err(TeeError::Security(_))));
}

#[test]
fn s2_1_1_a_storage_that_was_swapped_gives_no_time() {
    let Some((device, _)) = provisioned() else { return };
    time(&gatekeeper(&device));
    let board = TestBoard::with_chip_of(&device.power_off());
    let device = Device::power_on(board).unwrap();
    assert!(matches!(gatekeeper(&device).call(Command::Time), Err(TeeError::Security(_))));
}

/// Time of this machine passes, and in a time namespace its counters say ten days more: as long
/// as the board's counter stands still, so does the secure clock.
#[test]
fn s2_1_1_no_clock_of_the_machine_has_any_influence() {
    let Some((device, cloud)) = provisioned() else { return };
    let lock = gatekeeper(&device);
    let set = token(&lock, &cloud, NOON);
    let Ok(Reply::Time(set)) = lock.call(set) else { panic!("the token counts") };
    let machine = std::time::Instant::now();
    let mut readings = 1;
    while machine.elapsed().as_millis() < 20 {
        readings += 1;
        assert_eq!((time(&lock).unix_ms, time(&lock).trust), (set.unix_ms, set.trust));
    }
    assert!(readings > 1);
    drop(lock);
    let board = device.power_off();
    let here = Device::power_on(board).unwrap();
    let begun = time(&gatekeeper(&here)).unix_ms;
    let board = here.power_off();
    let Some(elsewhere) = Device::power_on_in_another_time(board) else {
        eprintln!("not run: no time namespace here; needs Linux 5.6 and util-linux's unshare");
        return;
    };
    let there = time(&gatekeeper(&elsewhere)).unix_ms;
    // A second of lease, a second of the board's counter, and nothing of ten days.
    assert_eq!(there - begun, 2_001);
}
