//! Who must have authenticated, when and how; device lock, early boot, uses per boot.

use super::*;
use std::time::Duration;

const REFUSED: ErrorCode = ErrorCode::KeyUserNotAuthenticated;
const SID: u64 = 0x5EED_5EED;
const OTHER_SID: u64 = 0xB10_0000;

/// A key for whoever proves to be one of these, with a password.
fn bound(sids: &[u64], auth_timeout: Option<u32>) -> Authorizations {
    Authorizations {
        no_auth_required: false,
        user_secure_id: sids.iter().copied().collect(),
        user_auth_type: Some(AuthenticatorType::PASSWORD),
        auth_timeout,
        ..ec()
    }
}

/// What gatekeeper says.
fn token(os: &FakeOs, change: impl FnOnce(&mut HardwareAuthToken)) -> HardwareAuthToken {
    let mut token = HardwareAuthToken {
        challenge: 0,
        user_id: SID,
        authenticator_id: 0,
        authenticator_type: AuthenticatorType::PASSWORD,
        // The board of the tests was powered on a minute ago.
        timestamp_ms: 60_000,
        mac: [0; 32],
    };
    change(&mut token);
    token.mac = crypto::mac::hmac_sha256(&os.auth_token_key(), &[&token.signed()]);
    token
}

fn begin(
    device: &mut Device,
    blob: &ByteBuf,
    token: Option<HardwareAuthToken>,
) -> Outcome<BegunOperation> {
    let key = KeySource::Blob(blob.clone());
    device.begin_with(key, KeyPurpose::Sign, &digest(Digest::Sha2_256), token)
}

#[test]
fn s3_2_an_authentication_lasts_as_long_as_the_key_says() {
    let mut device = Device::new();
    let blob = device.generate(&bound(&[SID], Some(30))).unwrap().blob;
    assert_eq!(begin(&mut device, &blob, None), Err(REFUSED));
    let good = token(&device.os, |_| ());
    let operation = begin(&mut device, &blob, Some(good)).unwrap().operation;
    assert!(device.finish(operation, b"message").is_ok(), "nothing more is due");
    device.os.advance(Duration::from_millis(29_999));
    assert!(begin(&mut device, &blob, Some(good)).is_ok());
    device.os.advance(Duration::from_millis(1));
    assert_eq!(begin(&mut device, &blob, Some(good)), Err(REFUSED));
    let future = token(&device.os, |token| token.timestamp_ms = 100_000);
    assert_eq!(begin(&mut device, &blob, Some(future)), Err(REFUSED));
}

#[test]
fn s3_2_a_token_is_of_this_user_this_way_this_device_and_this_boot() {
    let mut device = Device::new();
    let blob = device.generate(&bound(&[SID], Some(30))).unwrap().blob;
    let wrong: [fn(&mut HardwareAuthToken); 3] = [
        |token| token.user_id = OTHER_SID,
        |token| token.user_id = 0,
        |token| token.authenticator_type = AuthenticatorType::FINGERPRINT,
    ];
    for change in wrong {
        let token = token(&device.os, change);
        assert_eq!(begin(&mut device, &blob, Some(token)), Err(REFUSED));
    }
    let good = token(&device.os, |_| ());
    for at in 0..32 {
        let mut forged = good;
        forged.mac[at] ^= 1;
        assert_eq!(begin(&mut device, &blob, Some(forged)), Err(REFUSED));
    }
    let elsewhere = token(&FakeOs::new(), |_| ());
    assert_eq!(begin(&mut device, &blob, Some(elsewhere)), Err(REFUSED));
    device.os.power_cycle();
    device.restart();
    device.os.advance(Duration::from_secs(60));
    assert_eq!(begin(&mut device, &blob, Some(good)), Err(REFUSED));
}

#[test]
fn s3_2_one_of_several_secure_ids_is_enough() {
    let mut device = Device::new();
    let both = AuthenticatorType(3);
    let params =
        Authorizations { user_auth_type: Some(both), ..bound(&[SID, OTHER_SID], Some(30)) };
    let blob = device.generate(&params).unwrap().blob;
    let by_user = token(&device.os, |token| token.user_id = OTHER_SID);
    let by_authenticator = token(&device.os, |token| {
        token.user_id = 1;
        token.authenticator_id = OTHER_SID;
        token.authenticator_type = AuthenticatorType::FINGERPRINT;
    });
    for token in [by_user, by_authenticator] {
        assert!(begin(&mut device, &blob, Some(token)).is_ok());
    }
    let nobody = token(&device.os, |token| token.user_id = 1);
    assert_eq!(begin(&mut device, &blob, Some(nobody)), Err(REFUSED));
}

#[test]
fn s3_2_without_a_timeout_each_operation_needs_its_own_token() {
    let mut device = Device::new();
    let blob = device.generate(&bound(&[SID, OTHER_SID], None)).unwrap().blob;
    let for_operation =
        |device: &Device, operation| token(&device.os, |token| token.challenge = operation);
    let first = begin(&mut device, &blob, None).unwrap().operation;
    let second = begin(&mut device, &blob, None).unwrap().operation;
    let good = for_operation(&device, first);
    assert!(device.finish_with(first, b"message", None, Some(good)).is_ok());
    assert_eq!(device.finish_with(second, b"message", None, Some(good)), Err(REFUSED));
    let none = begin(&mut device, &blob, None).unwrap().operation;
    assert_eq!(device.finish(none, b"message"), Err(REFUSED));
    assert_eq!(device.finish(none, b"message"), Err(ErrorCode::InvalidOperationHandle));
    // The token may come with the first piece; the rest needs none.
    let pieces = begin(&mut device, &blob, None).unwrap().operation;
    let input = ByteBuf::from(*b"mess");
    let token = Some(for_operation(&device, pieces));
    device.call(&Command::Update { operation: pieces, input, token }).unwrap();
    assert!(device.finish(pieces, b"age").is_ok());
    let wrong_way = begin(&mut device, &blob, None).unwrap().operation;
    let fingerprint = self::token(&device.os, |token| {
        token.challenge = wrong_way;
        token.authenticator_type = AuthenticatorType::FINGERPRINT;
    });
    let refused = device.finish_with(wrong_way, b"message", None, Some(fingerprint));
    assert_eq!(refused, Err(REFUSED));
}

#[test]
fn a_key_for_nobody_is_for_nobody() {
    let mut device = Device::new();
    let params = Authorizations { no_auth_required: false, ..ec() };
    let blob = device.generate(&params).unwrap().blob;
    let token = token(&device.os, |_| ());
    assert_eq!(begin(&mut device, &blob, Some(token)), Err(REFUSED));
}

#[test]
fn s3_2_keys_of_an_unlocked_device_wait_for_the_next_authentication() {
    let mut device = Device::new();
    let params = Authorizations { unlocked_device_required: true, ..ec() };
    let blob = device.generate(&params).unwrap().blob;
    let locked = Err(ErrorCode::DeviceLocked);
    assert_eq!(begin(&mut device, &blob, None), locked, "so it is at power-on");
    let finger = token(&device.os, |it| it.authenticator_type = AuthenticatorType::FINGERPRINT);
    assert_eq!(begin(&mut device, &blob, Some(finger)), locked, "the first is a password");
    let before = token(&device.os, |_| ());
    assert!(begin(&mut device, &blob, Some(before)).is_ok());
    assert!(device.sign(&blob).is_ok());
    device.ta.open(7, 1234).unwrap();
    let stranger = device.ta.call_in(7, &Command::DeviceLocked { password_only: true });
    assert!(matches!(stranger, Err(TeeError::Denied(_))), "{stranger:?}");
    assert!(device.sign(&blob).is_ok());
    device.call(&Command::DeviceLocked { password_only: true }).unwrap();
    assert_eq!(begin(&mut device, &blob, None), locked);
    assert_eq!(begin(&mut device, &blob, Some(before)), locked, "it is older than the lock");
    device.restart();
    assert_eq!(begin(&mut device, &blob, None), locked);
    device.os.advance(Duration::from_secs(1));
    let fingerprint = token(&device.os, |token| {
        token.timestamp_ms = 61_000;
        token.authenticator_type = AuthenticatorType::FINGERPRINT;
    });
    assert_eq!(begin(&mut device, &blob, Some(fingerprint)), locked);
    let mut forged = token(&device.os, |token| token.timestamp_ms = 61_000);
    forged.mac[0] ^= 1;
    assert_eq!(begin(&mut device, &blob, Some(forged)), locked);
    let password = token(&device.os, |token| token.timestamp_ms = 61_000);
    assert!(begin(&mut device, &blob, Some(password)).is_ok());
    assert!(device.sign(&blob).is_ok(), "it is unlocked for all");
    device.call(&Command::DeviceLocked { password_only: false }).unwrap();
    device.os.advance(Duration::from_secs(1));
    let fingerprint = token(&device.os, |token| {
        token.timestamp_ms = 62_000;
        token.authenticator_type = AuthenticatorType::FINGERPRINT;
    });
    assert!(begin(&mut device, &blob, Some(fingerprint)).is_ok());
    device.os.power_cycle();
    device.restart();
    assert_eq!(begin(&mut device, &blob, None), locked, "power was off");
    assert_eq!(begin(&mut device, &blob, Some(password)), locked, "a token of another boot");
}

#[test]
fn s3_2_keys_of_early_boot_end_with_it_until_power_off() {
    let mut device = Device::new();
    let params = Authorizations { early_boot_only: true, ..ec() };
    let blob = device.generate(&params).unwrap().blob;
    assert!(device.sign(&blob).is_ok());
    device.call(&Command::EarlyBootEnded).unwrap();
    device.call(&Command::EarlyBootEnded).unwrap();
    let ended = ErrorCode::EarlyBootEnded;
    assert_eq!(device.sign(&blob), Err(ended));
    assert_eq!(device.generate(&params).map(drop), Err(ended));
    device.restart();
    assert_eq!(device.sign(&blob), Err(ended), "a process that starts anew changes nothing");
    device.os.power_cycle();
    device.restart();
    assert!(device.sign(&blob).is_ok());
}

#[test]
fn s3_2_uses_are_counted_until_power_off() {
    let mut device = Device::new();
    let params = Authorizations { max_uses_per_boot: Some(3), ..ec() };
    let blob = device.generate(&params).unwrap().blob;
    for _ in 0..3 {
        assert!(device.sign(&blob).is_ok());
    }
    let exceeded = Err(ErrorCode::KeyMaxOpsExceeded);
    assert_eq!(device.sign(&blob), exceeded);
    device.restart();
    assert_eq!(device.sign(&blob), exceeded);
    device.os.set_boot_info(Some(booted(|info| info.os_patch_level += 1)));
    let upgraded = device.upgrade(&blob).unwrap();
    assert_eq!(device.sign(&upgraded), exceeded, "it is the same key");
    device.os.set_boot_info(Some(booted(|_| ())));
    device.os.power_cycle();
    device.restart();
    assert!(device.sign(&blob).is_ok());
    // What is refused for another reason is no use.
    let refused = device.begin(&blob, KeyPurpose::Sign, &none());
    assert_eq!(refused, Err(ErrorCode::UnsupportedDigest));
    assert!(device.sign(&blob).is_ok() && device.sign(&blob).is_ok());
    assert_eq!(device.sign(&blob), exceeded);
}

#[test]
fn only_so_many_keys_are_counted() {
    let mut device = Device::new();
    let params = Authorizations { max_uses_per_boot: Some(1), ..hmac() };
    let sign = Authorizations { mac_length: Some(128), ..none() };
    for _ in 0..64 {
        let blob = device.generate(&params).unwrap().blob;
        device.run(&blob, KeyPurpose::Sign, &sign, b"message").unwrap();
    }
    let blob = device.generate(&params).unwrap().blob;
    let refused = device.run(&blob, KeyPurpose::Sign, &sign, b"message");
    assert_eq!(refused, Err(ErrorCode::TooManyOperations));
}

#[test]
fn keys_of_the_bootloader_are_for_nobody_here() {
    let mut device = Device::new();
    let blob = device.generate(&Authorizations { bootloader_only: true, ..ec() }).unwrap().blob;
    assert_eq!(device.sign(&blob), Err(ErrorCode::InvalidKeyBlob));
}
