//! Gatekeeper and KeyMint together, as processes under the real trusted OS: who authenticated, and
//! what that opens; keys that end with the device's erasure.

use crate::device::{Device, signed};
use crate::{Command as Gate, Gatekeeper, PIN, Reply as GateReply, Space, enrol};
use factory::Application;
use serde_bytes::ByteBuf;
use tee_api::boot::{BootInfo, BootState, Request};
use tee_api::keymint::{
    Algorithm, AuthenticatorType, Authorizations, BegunOperation, Bytes, Command, Digest, EcCurve,
    ErrorCode, HardwareAuthToken, KeyMint, KeyPurpose, KeySource, PaddingMode, Reply,
    SharedSecretParameters,
};
use tee_client::Session;

const REFUSED: ErrorCode = ErrorCode::KeyUserNotAuthenticated;

/// Both, and the device that they are in.
struct Pair {
    device: Device,
    lock: Session<Gatekeeper>,
    keys: Session<KeyMint>,
}

impl Pair {
    fn new() -> Option<Self> {
        Self::on(Device::new()?)
    }

    /// KeyMint is loaded, and the bootloader told what was booted.
    fn on(device: Device) -> Option<Self> {
        let image = signed(&Application::keymint(1), "ta-keymint", &device.board.maker.key)?;
        device.tee().load(&image).unwrap();
        let booted = Request::SetBootInfo(BootInfo {
            verified_boot_key: [1; 32],
            device_locked: true,
            boot_state: BootState::Green,
            verified_boot_hash: ByteBuf::from([2; 32]),
            os_version: 1,
            os_patch_level: 202_611,
            boot_patch_level: 20_261_101,
            rollback_indexes: Vec::new(),
        });
        device.ask_boot(&booted, None);
        let (lock, keys) = (device.tee().session().unwrap(), device.tee().session().unwrap());
        Some(Self { device, lock, keys })
    }

    /// Power off and on.
    fn restarted(self) -> Self {
        let Self { device, lock, keys } = self;
        drop((lock, keys));
        Self::on(Device::power_on(device.power_off()).unwrap()).unwrap()
    }

    fn secure_user_id(&self) -> u64 {
        match self.lock.call(Gate::Status).unwrap() {
            GateReply::Status(status) => status.secure_user_id.expect("a lock is set"),
            _ => panic!("a status was due"),
        }
    }

    /// The person proves themselves.
    fn token(&self, challenge: u64) -> HardwareAuthToken {
        self.device.screen.will_type(PIN);
        match self.lock.call(Gate::Authenticate { space: Space::MAIN, challenge }).unwrap() {
            GateReply::Authenticated { auth_token } => {
                HardwareAuthToken::from_bytes(&auth_token).unwrap()
            }
            _ => panic!("a token was due"),
        }
    }

    fn call(&self, command: Command) -> Result<Reply, ErrorCode> {
        match self.keys.call(command).unwrap() {
            Reply::Refused(code) => Err(code),
            reply => Ok(reply),
        }
    }

    fn generate(&self, params: &Authorizations) -> ByteBuf {
        match self.call(Command::GenerateKey { params: params.clone(), attest: None }) {
            Ok(Reply::Key(key)) => key.blob,
            other => panic!("no key: {other:?}"),
        }
    }

    fn begin(
        &self,
        blob: &ByteBuf,
        token: Option<HardwareAuthToken>,
    ) -> Result<BegunOperation, ErrorCode> {
        let params = Authorizations { digest: [Digest::Sha2_256].into(), ..none() };
        let key = KeySource::Blob(blob.clone());
        match self.call(Command::Begin { key, purpose: KeyPurpose::Sign, params, token })? {
            Reply::Begun(begun) => Ok(begun),
            other => panic!("no operation: {other:?}"),
        }
    }

    fn finish(&self, operation: u64, token: Option<HardwareAuthToken>) -> Result<(), ErrorCode> {
        let (input, signature, confirmation) = (ByteBuf::from(*b"message"), None, None);
        self.call(Command::Finish { operation, input, signature, token, confirmation }).map(drop)
    }
}

fn none() -> Authorizations {
    Authorizations::default()
}

/// ECDSA with nobody's authentication.
fn open() -> Authorizations {
    Authorizations {
        purpose: [KeyPurpose::Sign].into(),
        algorithm: Some(Algorithm::Ec),
        ec_curve: Some(EcCurve::P256),
        digest: [Digest::Sha2_256].into(),
        no_auth_required: true,
        certificate_not_before: Some(0),
        certificate_not_after: Some(253_402_300_799_000),
        ..none()
    }
}

/// For whoever proves to be one of these, in one of these ways.
fn bound(sids: &[u64], ways: AuthenticatorType, auth_timeout: Option<u32>) -> Authorizations {
    Authorizations {
        no_auth_required: false,
        user_secure_id: sids.iter().copied().collect(),
        user_auth_type: Some(ways),
        auth_timeout,
        ..open()
    }
}

#[test]
fn s3_2_a_pin_opens_keys_for_a_while() {
    let Some(pair) = Pair::new() else { return };
    enrol(&pair.device, &pair.lock);
    let sid = pair.secure_user_id();
    let (password, finger) = (AuthenticatorType::PASSWORD, AuthenticatorType::FINGERPRINT);
    let key = |sids: &[u64], ways| pair.generate(&bound(sids, ways, Some(30)));
    let token = pair.token(0);
    assert_eq!((token.user_id, token.authenticator_type), (sid, password));
    let good = key(&[sid], password);
    let begun = pair.begin(&good, Some(token)).unwrap();
    assert_eq!(pair.finish(begun.operation, None), Ok(()));
    assert!(pair.begin(&key(&[1, sid, 2], password), Some(token)).is_ok(), "one of several");
    assert!(pair.begin(&key(&[sid], AuthenticatorType(3)), Some(token)).is_ok(), "any way");
    assert_eq!(pair.begin(&key(&[sid ^ 1], password), Some(token)), Err(REFUSED), "another user");
    assert_eq!(pair.begin(&key(&[sid], finger), Some(token)), Err(REFUSED), "another way");
    assert_eq!(pair.begin(&good, None), Err(REFUSED), "nobody");
    pair.device.board.advance_ms(29_000);
    assert!(pair.begin(&good, Some(token)).is_ok());
    pair.device.board.advance_ms(1_001);
    assert_eq!(pair.begin(&good, Some(token)), Err(REFUSED), "too long ago");
    assert!(pair.begin(&good, Some(pair.token(0))).is_ok());
}

#[test]
fn s3_2_altered_forged_and_older_tokens_open_nothing() {
    let Some(pair) = Pair::new() else { return };
    enrol(&pair.device, &pair.lock);
    let sid = pair.secure_user_id();
    let good = pair.generate(&bound(&[sid], AuthenticatorType::PASSWORD, Some(1_000_000)));
    let token = pair.token(0);
    let changes: [fn(&mut HardwareAuthToken); 5] = [
        |it| it.challenge ^= 1,
        |it| it.authenticator_id ^= 1,
        |it| it.timestamp_ms -= 1,
        |it| it.mac[31] ^= 1,
        |it| it.mac = [0; 32],
    ];
    for change in changes {
        let mut altered = token;
        change(&mut altered);
        assert_eq!(pair.begin(&good, Some(altered)), Err(REFUSED), "{altered:?}");
    }
    // The wrong PIN gives none.
    pair.device.screen.will_type("0000");
    let wrong = pair.lock.call(Gate::Authenticate { space: Space::MAIN, challenge: 0 });
    assert!(matches!(wrong, Ok(GateReply::Wrong { failures: 1, .. })));
    assert!(pair.begin(&good, Some(token)).is_ok());
    let pair = pair.restarted();
    pair.device.board.advance_ms(60_000);
    assert_eq!(pair.begin(&good, Some(token)), Err(REFUSED), "of an earlier power-on");
    assert!(pair.begin(&good, Some(pair.token(0))).is_ok());
}

#[test]
fn s3_2_a_pin_is_for_one_operation_where_the_key_says_so() {
    let Some(pair) = Pair::new() else { return };
    enrol(&pair.device, &pair.lock);
    let sid = pair.secure_user_id();
    let key = pair.generate(&bound(&[sid, 5], AuthenticatorType::PASSWORD, None));
    let begin = || pair.begin(&key, None).unwrap().operation;
    let first = begin();
    let token = pair.token(first);
    assert_eq!(token.challenge, first);
    assert_eq!(pair.finish(first, Some(token)), Ok(()));
    assert_eq!(pair.finish(begin(), Some(token)), Err(REFUSED), "replayed");
    assert_eq!(pair.finish(begin(), Some(pair.token(0))), Err(REFUSED), "for no operation");
    assert_eq!(pair.finish(begin(), None), Err(REFUSED));
    let altered = begin();
    let moved = HardwareAuthToken { challenge: altered, ..token };
    assert_eq!(pair.finish(altered, Some(moved)), Err(REFUSED), "moved to another operation");
}

#[test]
fn s3_2_the_device_is_locked_until_gatekeeper_verified_a_password() {
    let Some(pair) = Pair::new() else { return };
    enrol(&pair.device, &pair.lock);
    let key = pair.generate(&Authorizations { unlocked_device_required: true, ..open() });
    assert_eq!(pair.begin(&key, None), Err(ErrorCode::DeviceLocked));
    let token = pair.token(0);
    assert!(pair.begin(&key, Some(token)).is_ok());
    assert!(pair.begin(&key, None).is_ok(), "for all, until it is locked");
    pair.device.board.advance_ms(1);
    pair.keys.call(Command::DeviceLocked { password_only: false }).unwrap();
    assert_eq!(pair.begin(&key, Some(token)), Err(ErrorCode::DeviceLocked), "older than the lock");
    pair.device.board.advance_ms(1);
    assert!(pair.begin(&key, Some(pair.token(0))).is_ok());
    let pair = pair.restarted();
    assert_eq!(pair.begin(&key, None), Err(ErrorCode::DeviceLocked), "power was off");
}

#[test]
fn s3_2_tokens_are_under_the_key_that_was_agreed_on() {
    let Some(pair) = Pair::new() else { return };
    enrol(&pair.device, &pair.lock);
    let rules = bound(&[pair.secure_user_id()], AuthenticatorType::PASSWORD, Some(1000));
    let key = pair.generate(&rules);
    let before = pair.token(0);
    let Ok(Reply::SharedSecretParameters(own)) = pair.call(Command::SharedSecretParameters) else {
        panic!("parameters were due");
    };
    let element = SharedSecretParameters { nonce: Bytes(vec![9; 32]), seed: Bytes(Vec::new()) };
    let agree = |participants| pair.call(Command::ComputeSharedSecret { participants });
    assert!(matches!(agree(vec![own.clone(), element]), Ok(Reply::SharingCheck(_))));
    assert_eq!(pair.begin(&key, Some(before)), Err(REFUSED), "under the key before");
    assert!(pair.begin(&key, Some(pair.token(0))).is_ok());
    assert!(matches!(agree(vec![own]), Ok(Reply::SharingCheck(_))));
    assert!(pair.begin(&key, Some(before)).is_ok(), "the same participants, the same key");
    assert!(matches!(agree(Vec::new()), Err(ErrorCode::InvalidArgument)));
}

#[test]
fn s3_2_a_key_that_takes_long_to_make_keeps_nobody_waiting() {
    let Some(pair) = Pair::new() else { return };
    let key = pair.generate(&open());
    let params = Authorizations {
        algorithm: Some(Algorithm::Rsa),
        key_size: Some(4096),
        rsa_public_exponent: Some(65_537),
        padding: [PaddingMode::RsaPss].into(),
        ec_curve: None,
        ..open()
    };
    let sessions: Vec<Session<KeyMint>> =
        (0..3).map(|_| pair.device.tee().session().unwrap()).collect();
    let (made, signed) = std::thread::scope(|scope| {
        let makers: Vec<_> = sessions
            .iter()
            .map(|session| {
                let generate = Command::GenerateKey { params: params.clone(), attest: None };
                scope.spawn(move || session.call(generate).unwrap())
            })
            .collect();
        let mut signed = 0;
        while makers.iter().any(|maker| !maker.is_finished()) {
            let begun = pair.begin(&key, None).unwrap();
            pair.finish(begun.operation, None).unwrap();
            signed += 1;
        }
        (makers.into_iter().map(|maker| maker.join().unwrap()).collect::<Vec<_>>(), signed)
    });
    assert!(made.iter().all(|reply| matches!(reply, Reply::Key(_))));
    // Three such keys take a second at least, a signature less than a millisecond.
    assert!(signed > 20, "{signed} signatures meanwhile");
}

#[test]
fn a_key_that_nobody_waits_for_any_more_is_forgotten() {
    let Some(pair) = Pair::new() else { return };
    let params = Authorizations {
        algorithm: Some(Algorithm::Rsa),
        key_size: Some(4096),
        rsa_public_exponent: Some(65_537),
        ec_curve: None,
        ..open()
    };
    let session: Session<KeyMint> = pair.device.tee().session().unwrap();
    session.call(Command::HardwareInfo).unwrap();
    let interrupt = session.interrupt().unwrap();
    std::thread::scope(|scope| {
        let generate = Command::GenerateKey { params, attest: None };
        let waiting = scope.spawn(|| session.call(generate));
        interrupt.fire();
        assert!(waiting.join().unwrap().is_err());
    });
    let key = pair.generate(&open());
    assert!(pair.begin(&key, None).is_ok());
}

#[test]
fn s3_1_3_no_key_outlives_an_erasure_or_an_unlocked_bootloader() {
    let Some(pair) = Pair::new() else { return };
    let key = pair.generate(&open());
    assert!(pair.begin(&key, None).is_ok());
    assert!(matches!(pair.lock.call(Gate::Erase), Ok(GateReply::Erased { erasures: 1 })));
    assert_eq!(pair.begin(&key, None), Err(ErrorCode::InvalidKeyBlob));
    let key = pair.generate(&open());
    pair.device.screen.will_type("");
    let unlocked = pair.lock.call(Gate::SetBootLock { locked: false });
    assert!(matches!(unlocked, Ok(GateReply::Erased { erasures: 2 })));
    assert_eq!(pair.begin(&key, None), Err(ErrorCode::InvalidKeyBlob));
    // The bootloader is locked again, and what boots is what booted before.
    pair.device.screen.will_type("");
    pair.lock.call(Gate::SetBootLock { locked: true }).unwrap();
    let pair = pair.restarted();
    assert_eq!(pair.begin(&key, None), Err(ErrorCode::InvalidKeyBlob));
}
