//! Whatever comes in, KeyMint answers and lives.

use super::*;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = ByteBuf> {
    proptest::collection::vec(any::<u8>(), 0..120).prop_map(ByteBuf::from)
}

fn params() -> impl Strategy<Value = Authorizations> {
    let one_of = |all| proptest::option::of(proptest::sample::select(all));
    let digests = proptest::sample::subsequence(Digest::ALL, 0..=2);
    let paddings = proptest::sample::subsequence(PaddingMode::ALL, 0..=2);
    let modes = proptest::sample::subsequence(BlockMode::ALL, 0..=2);
    let purposes = proptest::sample::subsequence(KeyPurpose::ALL, 0..=2);
    let lengths = (any::<Option<u8>>(), any::<Option<u8>>());
    let algorithm =
        one_of(&[Algorithm::Ec, Algorithm::Aes, Algorithm::TripleDes, Algorithm::Hmac][..]);
    let curve = proptest::option::of(proptest::sample::select(EcCurve::ALL));
    (algorithm, curve, digests, paddings, modes, purposes, lengths, proptest::option::of(bytes()))
        .prop_map(|(algorithm, ec_curve, digest, padding, mode, purpose, lengths, nonce)| {
            Authorizations {
                algorithm,
                ec_curve,
                digest: digest.into_iter().collect(),
                padding: padding.into_iter().collect(),
                block_mode: mode.into_iter().collect(),
                purpose: purpose.into_iter().collect(),
                key_size: lengths.0.map(|length| u32::from(length) * 8),
                mac_length: lengths.1.map(|length| u32::from(length) * 8),
                nonce: nonce.map(|nonce| Bytes(nonce.into_vec())),
                ..none()
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn commands_that_are_none(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut ta = FakeOs::new().start::<KeyMintTa>();
        let _ = ta.call_raw(&message);
    }

    #[test]
    fn blobs_and_wrapped_keys_that_are_none(data in bytes(), params in params()) {
        let mut device = Device::new();
        let invalid = Err(ErrorCode::InvalidKeyBlob);
        let begun = device.begin(&data, KeyPurpose::Sign, &params);
        prop_assert_eq!(begun.map(drop), invalid);
        prop_assert_eq!(device.upgrade(&data).map(drop), invalid);
        prop_assert_eq!(device.characteristics(&data).map(drop), invalid);
        for format in KeyFormat::ALL {
            let _ = device.import(&params, *format, &data);
        }
        let command = Command::ImportWrappedKey {
            wrapped: data.clone(),
            wrapping_key: data.clone(),
            masking_key: data.clone(),
            params,
            password_sid: 0,
            biometric_sid: 0,
        };
        prop_assert!(device.call(&command).is_err());
    }

    #[test]
    fn parameters_of_keys_and_operations_of_every_kind(
        key in params(),
        operation in params(),
        purpose in proptest::sample::select(KeyPurpose::ALL),
        input in bytes(),
    ) {
        let mut device = Device::new();
        let key = Authorizations {
            no_auth_required: true,
            certificate_not_before: Some(0),
            certificate_not_after: Some(1),
            mac_length: None,
            nonce: None,
            min_mac_length: Some(96),
            ..key
        };
        let Ok(made) = device.generate(&key) else { return Ok(()) };
        let Ok(begun) = device.begin(&made.blob, purpose, &operation) else { return Ok(()) };
        let _ = device.aad(begun.operation, &input);
        let _ = device.update(begun.operation, &input);
        let _ = device.finish_with(begun.operation, &input, Some(&input), None);
        let gone = Err(ErrorCode::InvalidOperationHandle);
        prop_assert_eq!(device.finish(begun.operation, &input), gone);
    }
}

#[test]
fn der_that_nests_without_end_is_refused() {
    let mut device = Device::new();
    let mut bomb = Vec::new();
    for _ in 0..2000 {
        let length = bomb.len() as u16;
        bomb = [&[0x30, 0x82][..], &length.to_be_bytes(), &bomb].concat();
    }
    let application = Authorizations {
        attestation_application_id: Some(Bytes(bomb[..1000].to_vec())),
        ..attested_ec()
    };
    assert_eq!(device.generate(&application).map(drop), Err(ErrorCode::InvalidArgument));
    let subject = Authorizations { certificate_subject: Some(Bytes(bomb.clone())), ..ec() };
    assert!(device.generate(&subject).is_err());
    let imported = device.import(&ec(), KeyFormat::Pkcs8, &bomb);
    assert_eq!(imported.map(drop), Err(ErrorCode::InvalidArgument));
    let command = Command::ImportWrappedKey {
        wrapped: ByteBuf::from(bomb),
        wrapping_key: ByteBuf::new(),
        masking_key: ByteBuf::from([0; 32]),
        params: none(),
        password_sid: 0,
        biometric_sid: 0,
    };
    assert_eq!(device.call(&command).map(drop), Err(ErrorCode::InvalidArgument));
}
