//! The agreement on the auth tokens' key, with a participant that stands outside of the TEE.

use super::*;
use crypto::secret::Secret;
use tee_engine::shared_secret::{agree, check};

/// Somebody else who makes tokens and got the common key in the factory.
struct Element {
    common: Secret<32>,
    own: SharedSecretParameters,
}

impl Element {
    fn beside(device: &Device) -> Self {
        let own = SharedSecretParameters { seed: Bytes(vec![]), nonce: Bytes(vec![9; 32]) };
        Self { common: Secret::new(device.os.shared_secret_key()), own }
    }
}

fn own(device: &mut Device) -> SharedSecretParameters {
    match device.call(&Command::SharedSecretParameters).unwrap() {
        Reply::SharedSecretParameters(own) => own,
        other => panic!("{other:?}"),
    }
}

fn compute(device: &mut Device, participants: &[SharedSecretParameters]) -> Outcome<Vec<u8>> {
    let participants = participants.to_vec();
    match device.call(&Command::ComputeSharedSecret { participants })? {
        Reply::SharingCheck(check) => Ok(check.into_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s3_2_who_agreed_makes_tokens_that_keymint_takes() {
    let mut device = Device::new();
    let element = Element::beside(&device);
    let params = Authorizations {
        no_auth_required: false,
        user_secure_id: [5].into(),
        user_auth_type: Some(AuthenticatorType::PASSWORD),
        auth_timeout: Some(30),
        ..ec()
    };
    let blob = device.generate(&params).unwrap().blob;
    let participants = [own(&mut device), element.own.clone()];
    let key = agree(&element.common, &participants).unwrap();
    let mut token = HardwareAuthToken {
        challenge: 0,
        user_id: 5,
        authenticator_id: 0,
        authenticator_type: AuthenticatorType::PASSWORD,
        timestamp_ms: 60_000,
        mac: [0; 32],
    };
    token.mac = crypto::mac::hmac_sha256(key.expose(), &[&token.signed()]);
    let begin = |device: &mut Device| {
        let source = KeySource::Blob(blob.clone());
        device.begin_with(source, KeyPurpose::Sign, &digest(Digest::Sha2_256), Some(token))
    };
    assert_eq!(begin(&mut device), Err(ErrorCode::KeyUserNotAuthenticated), "before they agreed");
    assert_eq!(compute(&mut device, &participants).unwrap(), check(&key));
    assert!(begin(&mut device).is_ok());
    compute(&mut device, &participants[..1]).unwrap();
    assert_eq!(begin(&mut device), Err(ErrorCode::KeyUserNotAuthenticated), "it is alone again");
}

#[test]
fn s3_2_all_with_the_same_parameters_have_the_same_check_and_nobody_else() {
    let mut device = Device::new();
    let element = Element::beside(&device);
    let ours = own(&mut device);
    let alone = compute(&mut device, std::slice::from_ref(&ours)).unwrap();
    let both = compute(&mut device, &[ours.clone(), element.own.clone()]).unwrap();
    assert_eq!(compute(&mut device, &[element.own.clone(), ours.clone()]).unwrap(), both);
    assert_ne!(alone, both);
    for change in [
        |it: &mut SharedSecretParameters| it.nonce.0[0] ^= 1,
        |it: &mut SharedSecretParameters| it.seed = Bytes(vec![1; 32]),
    ] {
        let mut other = element.own.clone();
        change(&mut other);
        assert_ne!(compute(&mut device, &[ours.clone(), other]).unwrap(), both);
    }
    let elsewhere = Secret::new(FakeOs::new().shared_secret_key());
    let other = agree(&elsewhere, &[ours, element.own]).unwrap();
    assert_ne!(check(&other).to_vec(), both, "another common key");
}

#[test]
fn refuses_parameters_without_its_own_or_of_no_such_length() {
    let mut device = Device::new();
    let (ours, other) = (own(&mut device), Element::beside(&device).own);
    let mut altered = ours.clone();
    altered.nonce.0[31] ^= 1;
    let short = SharedSecretParameters { nonce: Bytes(vec![0; 31]), ..other.clone() };
    for participants in [
        vec![],
        vec![other.clone()],
        vec![altered, other.clone()],
        vec![ours.clone(), short],
        vec![ours.clone(); 17],
    ] {
        assert_eq!(compute(&mut device, &participants), Err(ErrorCode::InvalidArgument));
    }
    device.ta.open(2, 1234).unwrap();
    let by_a_stranger = Command::ComputeSharedSecret { participants: vec![ours] };
    assert!(matches!(device.ta.call_in(2, &by_a_stranger), Err(TeeError::Denied(_))));
}

#[test]
fn s3_2_the_seed_stays_and_the_nonce_is_of_this_boot() {
    let mut device = Device::new();
    let first = own(&mut device);
    assert_eq!(own(&mut device), first);
    device.restart();
    assert_eq!(own(&mut device), first, "a process that starts anew changes nothing");
    device.os.power_cycle();
    device.restart();
    let second = own(&mut device);
    assert_eq!(second.seed, first.seed);
    assert_ne!(second.nonce, first.nonce);
}
