//! Operations: how many, whose, and how they end.

use super::*;
use tee_sdk::Login;

fn sign_params() -> Authorizations {
    Authorizations { mac_length: Some(128), ..none() }
}

/// Begins an operation in `session`.
fn begin(device: &mut Device, session: u32, blob: &ByteBuf) -> Outcome<u64> {
    let command = Command::Begin {
        key: KeySource::Blob(blob.clone()),
        purpose: KeyPurpose::Sign,
        params: sign_params(),
        token: None,
    };
    match device.ta.call_in(session, &command).unwrap() {
        Reply::Begun(begun) => Ok(begun.operation),
        Reply::Refused(code) => Err(code),
        other => panic!("{other:?}"),
    }
}

fn finish(device: &mut Device, session: u32, operation: u64) -> Outcome<()> {
    let input = ByteBuf::from(*b"x");
    let (signature, token, confirmation) = (None, None, None);
    let command = Command::Finish { operation, input, signature, token, confirmation };
    match device.ta.call_in(session, &command).unwrap() {
        Reply::Output(_) => Ok(()),
        Reply::Refused(code) => Err(code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s3_2_32_operations_run_at_once_and_one_more_is_refused() {
    let mut device = Device::new();
    let rsa = rsa(KeyPurpose::Sign, &[PaddingMode::RsaPss], &[Digest::Sha2_256]);
    let how = Authorizations { padding: [PaddingMode::RsaPss].into(), ..digest(Digest::Sha2_256) };
    for (params, how) in [(hmac(), sign_params()), (rsa, how)] {
        let blob = device.generate(&params).unwrap().blob;
        let begin = |device: &mut Device| device.begin(&blob, KeyPurpose::Sign, &how);
        let mut running: Vec<_> =
            (0..MAX_OPERATIONS).map(|_| begin(&mut device).unwrap().operation).collect();
        for operation in &running {
            device.update(*operation, b"first").unwrap();
        }
        assert_eq!(begin(&mut device), Err(ErrorCode::TooManyOperations));
        device.call(&Command::Abort { operation: running.pop().unwrap() }).unwrap();
        running.push(begin(&mut device).unwrap().operation);
        for operation in running {
            assert!(device.finish(operation, b"last").is_ok());
        }
        assert!(begin(&mut device).is_ok());
        device.restart();
    }
}

#[test]
fn s3_2_who_has_most_operations_loses_the_one_touched_least_recently() {
    let mut device = Device::new();
    let blob = device.generate(&hmac()).unwrap().blob;
    device.ta.open(2, 1000).unwrap();
    device.ta.open(3, 2000).unwrap();
    let greedy: Vec<_> = (0..30).map(|_| begin(&mut device, 2, &blob).unwrap()).collect();
    let modest: Vec<_> = (0..2).map(|_| begin(&mut device, 3, &blob).unwrap()).collect();
    // The oldest was touched since, so the second goes.
    let input = ByteBuf::from(*b"x");
    let update = Command::Update { operation: greedy[0], input, token: None };
    device.ta.call_in(2, &update).unwrap();
    let third = begin(&mut device, 3, &blob).unwrap();
    assert_eq!(finish(&mut device, 2, greedy[1]), Err(ErrorCode::InvalidOperationHandle));
    assert_eq!(finish(&mut device, 2, greedy[0]), Ok(()));
    // There is room again for one; then the greedy one is refused, and nobody else.
    let more = begin(&mut device, 2, &blob).unwrap();
    assert_eq!(begin(&mut device, 2, &blob), Err(ErrorCode::TooManyOperations));
    for operation in modest.into_iter().chain([third]) {
        assert_eq!(finish(&mut device, 3, operation), Ok(()));
    }
    assert_eq!(finish(&mut device, 2, more), Ok(()));
}

#[test]
fn an_operation_belongs_to_its_session_and_ends_with_it() {
    let mut device = Device::new();
    let blob = device.generate(&hmac()).unwrap().blob;
    device.ta.open(2, 0).unwrap();
    let operation = begin(&mut device, 2, &blob).unwrap();
    assert_eq!(finish(&mut device, 1, operation), Err(ErrorCode::InvalidOperationHandle));
    let abort = device.call(&Command::Abort { operation });
    assert_eq!(abort.map(drop), Err(ErrorCode::InvalidOperationHandle));
    assert_eq!(finish(&mut device, 2, operation), Ok(()));
    let operation = begin(&mut device, 2, &blob).unwrap();
    device.ta.close(2);
    device.ta.open(2, 0).unwrap();
    assert_eq!(finish(&mut device, 2, operation), Err(ErrorCode::InvalidOperationHandle));
}

#[test]
fn finished_refused_and_aborted_operations_are_over() {
    let mut device = Device::new();
    let gone = ErrorCode::InvalidOperationHandle;
    let blob = device.generate(&hmac()).unwrap().blob;
    let operation = begin(&mut device, 1, &blob).unwrap();
    assert_eq!(finish(&mut device, 1, operation), Ok(()));
    assert_eq!(finish(&mut device, 1, operation), Err(gone));
    assert_eq!(device.update(operation, b"x"), Err(gone));
    let operation = begin(&mut device, 1, &blob).unwrap();
    device.call(&Command::Abort { operation }).unwrap();
    assert_eq!(device.call(&Command::Abort { operation }).map(drop), Err(gone));
    let operation = begin(&mut device, 1, &blob).unwrap();
    assert_eq!(device.aad(operation, b"x"), Err(ErrorCode::InvalidOperation));
    assert_eq!(finish(&mut device, 1, operation), Err(gone));
}

#[test]
fn no_handle_is_left_in_the_trusted_os() {
    let mut device = Device::new();
    let blob = device.generate(&hmac()).unwrap().blob;
    for _ in 0..40 {
        let operation = begin(&mut device, 1, &blob).unwrap();
        device.update(operation, b"x").unwrap();
        finish(&mut device, 1, operation).unwrap();
    }
    let _ = device.call(&Command::HardwareInfo);
    let ta = tee_api::TaId(*b"holdfast-keymint");
    assert!(device.os.open_handles(ta) <= 2, "{}", device.os.open_handles(ta));
}

#[test]
fn what_concerns_the_whole_device_is_for_the_system_alone() {
    let mut device = Device::new();
    device.ta.open(2, 4711).unwrap();
    device.ta.open_as(3, Login::Public).unwrap();
    for session in [2, 3] {
        for command in [
            Command::DeleteAllKeys,
            Command::DestroyAttestationIds,
            Command::EarlyBootEnded,
            Command::SetModuleHash { hash: ByteBuf::from([1; 32]) },
        ] {
            let refused = device.ta.call_in(session, &command);
            assert!(matches!(refused, Err(TeeError::Denied(_))), "{command:?}");
        }
    }
}

#[test]
fn adds_entropy_of_up_to_two_kib() {
    let mut device = Device::new();
    for length in [0, 1, 2048] {
        device.call(&Command::AddEntropy { data: ByteBuf::from(vec![7; length]) }).unwrap();
    }
    let data = ByteBuf::from(vec![7; 2049]);
    let refused = device.call(&Command::AddEntropy { data }).map(drop);
    assert_eq!(refused, Err(ErrorCode::InvalidInputLength));
}

#[test]
fn input_over_the_limit_is_refused_and_ends_the_operation() {
    let mut device = Device::new();
    let blob = device.generate(&hmac()).unwrap().blob;
    let most = vec![1; MAX_INPUT_BYTES];
    assert!(device.run(&blob, KeyPurpose::Sign, &sign_params(), &most).is_ok());
    let over = vec![1; MAX_INPUT_BYTES + 1];
    let refused = device.run(&blob, KeyPurpose::Sign, &sign_params(), &over);
    assert_eq!(refused, Err(ErrorCode::InvalidInputLength));
}
