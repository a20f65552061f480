//! The rules of new keys, one line each.

use super::*;

#[test]
fn s3_2_every_refusal_of_a_new_key_has_its_code() {
    use ErrorCode::*;
    let mut device = Device::new();
    let rsa = || rsa(KeyPurpose::Sign, &[PaddingMode::RsaPss], &[Digest::Sha2_256]);
    let aes = || aes(&[BlockMode::Gcm], &[PaddingMode::None]);
    let des =
        Authorizations { key_size: Some(112), ..key(Algorithm::TripleDes, &[KeyPurpose::Encrypt]) };
    let curve = |curve, purposes: &[KeyPurpose]| Authorizations {
        ec_curve: Some(curve),
        purpose: purposes.iter().copied().collect(),
        ..ec()
    };
    let sized = |params: Authorizations, bits| Authorizations { key_size: bits, ..params };
    let least = |params: Authorizations, bits| Authorizations { min_mac_length: bits, ..params };
    let of = |params: Authorizations, digests: &[Digest]| Authorizations {
        digest: digests.iter().copied().collect(),
        ..params
    };
    let made_for =
        |params: Authorizations, purpose| Authorizations { purpose: [purpose].into(), ..params };
    use KeyPurpose::{AgreeKey, AttestKey, Decrypt, Encrypt, Sign, WrapKey};
    for (params, code) in [
        (none(), UnsupportedAlgorithm),
        (sized(rsa(), None), UnsupportedKeySize),
        (sized(rsa(), Some(1024)), UnsupportedKeySize),
        (sized(rsa(), Some(2049)), UnsupportedKeySize),
        (Authorizations { rsa_public_exponent: None, ..rsa() }, InvalidArgument),
        (Authorizations { rsa_public_exponent: Some(3), ..rsa() }, InvalidArgument),
        (Authorizations { ec_curve: None, ..ec() }, UnsupportedKeySize),
        (sized(Authorizations { ec_curve: None, ..ec() }, Some(255)), UnsupportedKeySize),
        (sized(ec(), Some(224)), InvalidArgument),
        (curve(EcCurve::Curve25519, &[Sign, AgreeKey]), IncompatiblePurpose),
        (curve(EcCurve::Curve25519, &[Sign, AttestKey]), IncompatiblePurpose),
        (curve(EcCurve::P256, &[Sign, AttestKey]), IncompatiblePurpose),
        (made_for(ec(), Decrypt), UnsupportedPurpose),
        (made_for(rsa(), AgreeKey), UnsupportedPurpose),
        (made_for(aes(), AttestKey), UnsupportedPurpose),
        (made_for(aes(), WrapKey), UnsupportedPurpose),
        (made_for(hmac(), Encrypt), UnsupportedPurpose),
        (sized(aes(), Some(64)), UnsupportedKeySize),
        (sized(aes(), Some(127)), UnsupportedKeySize),
        (least(aes(), None), MissingMinMacLength),
        (least(aes(), Some(88)), UnsupportedMinMacLength),
        (least(aes(), Some(97)), UnsupportedMinMacLength),
        (least(aes(), Some(136)), UnsupportedMinMacLength),
        (des, UnsupportedKeySize),
        (sized(hmac(), None), UnsupportedKeySize),
        (sized(hmac(), Some(56)), UnsupportedKeySize),
        (sized(hmac(), Some(65)), UnsupportedKeySize),
        (sized(hmac(), Some(1032)), UnsupportedKeySize),
        (of(hmac(), &[]), UnsupportedDigest),
        (of(hmac(), &[Digest::None]), UnsupportedDigest),
        (of(hmac(), &[Digest::Sha1, Digest::Sha2_256]), UnsupportedDigest),
        (least(hmac(), None), MissingMinMacLength),
        (least(hmac(), Some(56)), UnsupportedMinMacLength),
        (least(hmac(), Some(130)), UnsupportedMinMacLength),
        (least(hmac(), Some(264)), UnsupportedMinMacLength),
        (key(Algorithm::MlDsa, &[Sign]), InvalidArgument),
        (Authorizations { trusted_user_presence_required: true, ..ec() }, UnsupportedTag),
        (Authorizations { device_unique_attestation: true, ..ec() }, UnsupportedTag),
        (Authorizations { storage_key: true, ..aes() }, StorageKeyUnsupported),
        (Authorizations { origin: Some(KeyOrigin::Generated), ..ec() }, InvalidTag),
        (Authorizations { os_version: Some(1), ..ec() }, InvalidTag),
        (Authorizations { nonce: Some(Bytes(vec![0; 12])), ..aes() }, InvalidTag),
        (Authorizations { mac_length: Some(128), ..aes() }, InvalidTag),
        (Authorizations { user_secure_id: [1].into(), ..ec() }, InvalidTag),
        (
            Authorizations { user_secure_id: [1].into(), no_auth_required: false, ..ec() },
            InvalidArgument,
        ),
        (Authorizations { auth_timeout: Some(0), ..ec() }, InvalidAuthorizationTimeout),
        (Authorizations { certificate_not_before: None, ..ec() }, MissingNotBefore),
        (Authorizations { certificate_not_after: None, ..rsa() }, MissingNotAfter),
    ] {
        assert_eq!(device.generate(&params).map(drop), Err(code), "{params:?}");
    }
}

#[test]
fn s3_2_a_key_says_what_it_obeys_and_what_it_is() {
    let mut device = Device::new();
    let params = Authorizations {
        active_datetime: Some(5),
        creation_datetime: Some(6),
        application_id: Some(Bytes::from(b"app")),
        usage_count_limit: Some(4),
        ..attested_ec()
    };
    let made = device.generate(&params).unwrap();
    let hardware = &made.characteristics.hardware_enforced;
    let due = [
        Tag::Purpose,
        Tag::Algorithm,
        Tag::KeySize,
        Tag::Digest,
        Tag::EcCurve,
        Tag::NoAuthRequired,
        Tag::Origin,
        Tag::OsVersion,
        Tag::OsPatchlevel,
        Tag::VendorPatchlevel,
        Tag::BootPatchlevel,
    ];
    assert_eq!(hardware.tags().collect::<Vec<_>>(), due);
    assert_eq!(hardware.origin, Some(KeyOrigin::Generated));
    assert_eq!((hardware.os_patchlevel, hardware.key_size), (Some(202_611), Some(256)));
    let software = &made.characteristics.software_enforced;
    let due = [Tag::ActiveDatetime, Tag::UsageCountLimit, Tag::CreationDatetime];
    assert_eq!(software.tags().collect::<Vec<_>>(), due);
    let command = Command::Characteristics {
        blob: made.blob,
        application_id: Some(ByteBuf::from(*b"app")),
        application_data: None,
    };
    match device.call(&command).unwrap() {
        Reply::Characteristics(said) => assert_eq!(said, made.characteristics),
        other => panic!("{other:?}"),
    }
}

#[test]
fn s3_2_keys_of_every_size_are_made() {
    let mut device = Device::new();
    let sized = |params: Authorizations, bits| Authorizations { key_size: Some(bits), ..params };
    let rsa = rsa(KeyPurpose::Sign, &[PaddingMode::RsaPss], &[Digest::Sha2_256]);
    let made = [
        (rsa, &[2048, 3072, 4096][..]),
        (aes(&[BlockMode::Ecb], &[PaddingMode::None]), &[128, 192, 256]),
        (hmac(), &[64, 72, 256, 512, 1024]),
        (key(Algorithm::TripleDes, &[KeyPurpose::Encrypt]), &[168]),
        (Authorizations { ec_curve: None, ..ec() }, &[224, 256, 384, 521]),
    ];
    for (params, sizes) in made {
        for bits in sizes {
            let made = device.generate(&sized(params.clone(), *bits)).unwrap();
            assert_eq!(made.characteristics.hardware_enforced.key_size, Some(*bits));
        }
    }
}

#[test]
fn rollback_resistance_ends_where_the_room_does() {
    let mut device = Device::new();
    device.os.keep_files(false);
    let params = Authorizations { rollback_resistance: true, ..ec() };
    let generate = Command::GenerateKey { params, attest: None };
    assert!(matches!(device.ta.call(&generate), Err(TeeError::Communication(_))));
    assert!(device.generate(&ec()).is_ok(), "others need no files");
}
