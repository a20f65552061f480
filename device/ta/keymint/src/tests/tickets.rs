//! The fast path: keys that are opened once.

use super::*;

const USER: u32 = 1000;

fn open(device: &mut Device, blob: &ByteBuf, user: u32) -> Outcome<Ticket> {
    let command = Command::Open { blob: blob.clone(), params: none(), user, token: None };
    match device.call(&command)? {
        Reply::Opened(ticket) => Ok(ticket),
        other => panic!("not a ticket: {other:?}"),
    }
}

fn signature_with(ticket: Ticket) -> Use {
    Use {
        ticket,
        purpose: KeyPurpose::Sign,
        params: digest(Digest::Sha2_256),
        aad: None,
        input: ByteBuf::from(*b"message"),
        signature: None,
        token: None,
    }
}

fn use_in(device: &mut Device, session: u32, uses: Vec<Use>) -> Vec<Outcome<Output>> {
    match device.ta.call_in(session, &Command::Use(uses)).unwrap() {
        Reply::Used(answers) => answers,
        other => panic!("no answers: {other:?}"),
    }
}

/// A device with a session of [`USER`].
fn with_user() -> Device {
    let mut device = Device::new();
    device.ta.open(2, USER).unwrap();
    device
}

#[test]
fn s3_2_an_opened_key_is_used_many_times_in_one_message() {
    let mut device = with_user();
    let made = device.generate(&ec()).unwrap();
    let ticket = open(&mut device, &made.blob, USER).unwrap();
    let key = leaf(&made).public_key().as_der().to_vec();
    let answers = use_in(&mut device, 2, vec![signature_with(ticket); MAX_USES]);
    assert_eq!(answers.len(), MAX_USES);
    for answer in answers {
        let signature = answer.unwrap().output;
        let hash = crypto::sign::Hash::Sha256;
        crypto::sign::ecdsa_verify(Curve::P256, hash, &key, b"message", &signature).unwrap();
    }
    let too_many = Command::Use(vec![signature_with(ticket); MAX_USES + 1]);
    let refused = device.ta.call_in(2, &too_many).unwrap();
    assert!(matches!(refused, Reply::Refused(ErrorCode::InvalidInputLength)));
}

#[test]
fn s3_2_a_ticket_is_of_no_use_to_anybody_else() {
    let mut device = with_user();
    device.ta.open(3, 2000).unwrap();
    let blob = device.generate(&ec()).unwrap().blob;
    let ticket = open(&mut device, &blob, USER).unwrap();
    let unknown = vec![Err(ErrorCode::InvalidKeyBlob)];
    assert_eq!(use_in(&mut device, 3, vec![signature_with(ticket)]), unknown);
    assert_eq!(use_in(&mut device, 1, vec![signature_with(ticket)]), unknown);
    // Nor can anybody else close it, or open a key for another.
    device.ta.call_in(3, &Command::Close { ticket }).unwrap();
    assert!(use_in(&mut device, 2, vec![signature_with(ticket)])[0].is_ok());
    let (params, token) = (none(), None);
    let command = Command::Open { blob: blob.clone(), params, user: USER, token };
    assert!(matches!(device.ta.call_in(3, &command), Err(TeeError::Denied(_))));
    device.ta.call_in(2, &Command::Close { ticket }).unwrap();
    assert_eq!(use_in(&mut device, 2, vec![signature_with(ticket)]), unknown);
    let ticket = open(&mut device, &blob, USER).unwrap();
    device.call(&Command::Close { ticket }).unwrap();
    assert_eq!(use_in(&mut device, 2, vec![signature_with(ticket)]), unknown);
}

#[test]
fn s3_2_every_rule_holds_at_every_use() {
    let mut device = with_user();
    let thrice = Authorizations { max_uses_per_boot: Some(3), ..ec() };
    let blob = device.generate(&thrice).unwrap().blob;
    let ticket = open(&mut device, &blob, USER).unwrap();
    let answers = use_in(&mut device, 2, vec![signature_with(ticket); 4]);
    assert!(answers[..3].iter().all(Result::is_ok));
    assert_eq!(answers[3], Err(ErrorCode::KeyMaxOpsExceeded));
    let early = Authorizations { early_boot_only: true, ..ec() };
    let blob = device.generate(&early).unwrap().blob;
    let ticket = open(&mut device, &blob, USER).unwrap();
    assert!(use_in(&mut device, 2, vec![signature_with(ticket)])[0].is_ok());
    device.call(&Command::EarlyBootEnded).unwrap();
    let ended = vec![Err(ErrorCode::EarlyBootEnded)];
    assert_eq!(use_in(&mut device, 2, vec![signature_with(ticket)]), ended);
    let wrong = Use { params: digest(Digest::Sha1), ..signature_with(ticket) };
    let refused = vec![Err(ErrorCode::IncompatibleDigest)];
    assert_eq!(use_in(&mut device, 2, vec![wrong]), refused);
    let per_operation = Authorizations {
        no_auth_required: false,
        user_secure_id: [7].into(),
        user_auth_type: Some(AuthenticatorType::PASSWORD),
        ..ec()
    };
    let blob = device.generate(&per_operation).unwrap().blob;
    let ticket = open(&mut device, &blob, USER).unwrap();
    let refused = vec![Err(ErrorCode::KeyUserNotAuthenticated)];
    assert_eq!(use_in(&mut device, 2, vec![signature_with(ticket)]), refused);
}

#[test]
fn s3_2_keys_that_the_service_must_watch_over_get_no_ticket() {
    let mut device = with_user();
    for params in [
        Authorizations { active_datetime: Some(1), ..ec() },
        Authorizations { origination_expire_datetime: Some(1), ..ec() },
        Authorizations { usage_expire_datetime: Some(1), ..ec() },
        Authorizations { usage_count_limit: Some(1), ..ec() },
        Authorizations { usage_count_limit: Some(5), ..ec() },
        Authorizations { max_boot_level: Some(1), ..ec() },
        Authorizations { trusted_confirmation_required: true, ..ec() },
    ] {
        let blob = device.generate(&params).unwrap().blob;
        let refused = open(&mut device, &blob, USER);
        assert_eq!(refused, Err(ErrorCode::InvalidArgument), "{params:?}");
    }
    let malformed = ByteBuf::from(*b"none");
    assert_eq!(open(&mut device, &malformed, USER), Err(ErrorCode::InvalidKeyBlob));
}

#[test]
fn s3_2_a_deleted_key_leaves_no_ticket_and_no_operation() {
    let mut device = with_user();
    let params = Authorizations { rollback_resistance: true, ..ec() };
    let blob = device.generate(&params).unwrap().blob;
    let ticket = open(&mut device, &blob, USER).unwrap();
    let operation =
        device.begin(&blob, KeyPurpose::Sign, &digest(Digest::Sha2_256)).unwrap().operation;
    device.call(&Command::DeleteKey { blob }).unwrap();
    let unknown = vec![Err(ErrorCode::InvalidKeyBlob)];
    assert_eq!(use_in(&mut device, 2, vec![signature_with(ticket)]), unknown);
    assert_eq!(device.finish(operation, b"x"), Err(ErrorCode::InvalidOperationHandle));
    let plain = device.generate(&ec()).unwrap().blob;
    let ticket = open(&mut device, &plain, USER).unwrap();
    device.call(&Command::DeleteAllKeys).unwrap();
    assert_eq!(use_in(&mut device, 2, vec![signature_with(ticket)]), unknown);
}

#[test]
fn ciphers_in_one_piece_tell_their_nonce_and_take_associated_data() {
    let mut device = with_user();
    let blob = device.generate(&aes(&[BlockMode::Gcm], &[PaddingMode::None])).unwrap().blob;
    let ticket = open(&mut device, &blob, USER).unwrap();
    let params = Authorizations {
        block_mode: [BlockMode::Gcm].into(),
        padding: [PaddingMode::None].into(),
        mac_length: Some(128),
        ..none()
    };
    let with = |purpose, params: &Authorizations, input: &[u8], aad: &[u8]| Use {
        purpose,
        params: params.clone(),
        input: ByteBuf::from(input),
        aad: Some(ByteBuf::from(aad)),
        ..signature_with(ticket)
    };
    for aad in [&b"bound"[..], &[]] {
        let sealing = with(KeyPurpose::Encrypt, &params, b"text", aad);
        let sealed = use_in(&mut device, 2, vec![sealing]).pop().unwrap().unwrap();
        let nonce = Some(Bytes(sealed.nonce.unwrap().into_vec()));
        let again = Authorizations { nonce, ..params.clone() };
        let opening = with(KeyPurpose::Decrypt, &again, &sealed.output, aad);
        let other = with(KeyPurpose::Decrypt, &again, &sealed.output, b"other");
        let answers = use_in(&mut device, 2, vec![opening, other]);
        assert_eq!(answers[0].as_ref().unwrap().output[..], *b"text");
        assert_eq!(answers[1], Err(ErrorCode::VerificationFailed));
    }
}

#[test]
fn operations_begin_with_a_ticket_too_and_the_oldest_ticket_goes() {
    let mut device = with_user();
    let blob = device.generate(&ec()).unwrap().blob;
    let first = open(&mut device, &blob, 0).unwrap();
    let key = KeySource::Ticket(first);
    let params = digest(Digest::Sha2_256);
    let begun = device.begin_with(key.clone(), KeyPurpose::Sign, &params, None).unwrap();
    assert!(device.finish(begun.operation, b"message").is_ok());
    for _ in 0..MAX_TICKETS {
        open(&mut device, &blob, USER).unwrap();
    }
    let refused = device.begin_with(key, KeyPurpose::Sign, &params, None);
    assert_eq!(refused, Err(ErrorCode::InvalidKeyBlob));
}
