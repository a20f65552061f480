//! What the device says about its keys.

use super::*;
use keyattest::x509::oid;
use keyattest::{
    KeyDescription, SecurityLevel as Level, Statement, VerifiedBootState, verify_chain,
};

fn statement(device: &Device, key: &KeyCreation) -> Statement {
    let roots = [device.maker.root.public_key().clone()];
    verify_chain(&key.chain, &roots, &|_| None, NOW).unwrap()
}

fn description(key: &KeyCreation) -> KeyDescription {
    let certificate = leaf(key);
    let (description, oddities) =
        KeyDescription::decode(certificate.extension(oid::KEY_DESCRIPTION).unwrap()).unwrap();
    assert_eq!(oddities, []);
    description
}

#[test]
fn s2_1_2_attests_a_key_with_the_challenge_and_what_was_booted() {
    let mut device = Device::new();
    let made = device.generate(&attested_ec()).unwrap();
    let statement = statement(&device, &made);
    assert_eq!(statement.security_level, Level::TrustedEnvironment);
    assert_eq!(statement.description.attestation_challenge, b"challenge");
    assert_eq!(statement.description.attestation_version, 300);
    let boot = &statement.root_of_trust;
    assert_eq!(boot.verified_boot_key, [0xab; 32]);
    assert_eq!(boot.verified_boot_hash.as_deref(), Some(&[0xcd; 32][..]));
    assert_eq!(boot.verified_boot_state, VerifiedBootState::Verified);
    assert!(boot.device_locked);
    let hardware = &statement.description.hardware_enforced;
    assert_eq!(hardware.os_patch_level, Some(202_611));
    assert_eq!(hardware.boot_patch_level, Some(20_261_101));
    let software = &statement.description.software_enforced;
    let id = software.attestation_application_id.as_ref().unwrap();
    assert_eq!(id.packages.first().unwrap().name, "holdfast.system");
    assert_eq!(statement.oddities, []);
}

#[test]
fn s2_1_2_an_unlocked_device_says_so() {
    let mut device = Device::new();
    device.os.set_boot_info(Some(booted(|info| {
        info.device_locked = false;
        info.boot_state = BootState::Orange;
    })));
    let made = device.generate(&attested_ec()).unwrap();
    let boot = statement(&device, &made).root_of_trust;
    assert_eq!(boot.verified_boot_state, VerifiedBootState::Unverified);
    assert!(!boot.device_locked);
}

#[test]
fn s3_2_an_attestation_says_what_the_key_obeys() {
    let mut device = Device::new();
    let params = Authorizations {
        purpose: [KeyPurpose::Sign, KeyPurpose::AgreeKey].into(),
        digest: [Digest::None, Digest::Sha2_512].into(),
        no_auth_required: false,
        user_secure_id: [7].into(),
        user_auth_type: Some(AuthenticatorType(3)),
        auth_timeout: Some(30),
        unlocked_device_required: true,
        early_boot_only: true,
        rollback_resistance: true,
        usage_count_limit: Some(1),
        active_datetime: Some(1000),
        usage_expire_datetime: Some(2000),
        creation_datetime: Some(NOW * 1000),
        ..attested_ec()
    };
    let made = device.generate(&params).unwrap();
    let description = description(&made);
    let hardware = &description.hardware_enforced;
    assert_eq!(hardware.purpose, [2, 6].into());
    assert_eq!(hardware.digest, [0, 6].into());
    assert_eq!((hardware.user_auth_type, hardware.auth_timeout), (Some(3), Some(30)));
    assert_eq!(hardware.user_secure_id, None, "who the user is stays here");
    assert!(hardware.unlocked_device_required && hardware.early_boot_only);
    assert!(hardware.rollback_resistance && !hardware.no_auth_required);
    assert_eq!(hardware.usage_count_limit, Some(1));
    assert_eq!(hardware.key_size, Some(256));
    let software = &description.software_enforced;
    assert_eq!(software.active_date_time, Some(1000));
    assert_eq!(software.usage_expire_date_time, Some(2000));
    assert_eq!(software.creation_date_time, Some(NOW * 1000));
}

#[test]
fn s3_2_certificates_say_what_was_asked_for_and_what_the_key_may() {
    let mut device = Device::new();
    // CN=me
    let name = b"\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x0c\x02me";
    let with = |params: Authorizations| Authorizations {
        certificate_serial: Some(Bytes::from(&[0, 0x81, 5])),
        certificate_subject: Some(Bytes::from(name)),
        certificate_not_before: Some(1_000_999),
        certificate_not_after: Some(4_102_444_800_000),
        ..params
    };
    for params in [with(ec()), with(attested_ec())] {
        let certificate = leaf(&device.generate(&params).unwrap());
        assert_eq!(certificate.serial().as_bytes(), [0x81, 5]);
        assert_eq!(certificate.subject().common_name().as_deref(), Some("me"));
        assert_eq!(certificate.validity(), (1000, 4_102_444_800));
    }
    let plain = leaf(&device.generate(&ec()).unwrap());
    assert_eq!(plain.serial().as_bytes(), [1]);
    assert_eq!(plain.subject().common_name().as_deref(), Some("Android Keystore Key"));
    // The bits of `KeyUsage`, behind the count of unused ones.
    let rsa_of = |purpose| rsa(purpose, &[PaddingMode::RsaOaep], &[Digest::Sha2_256]);
    let agreeing = Authorizations { purpose: [KeyPurpose::AgreeKey].into(), ..ec() };
    for (params, bits) in [
        (ec(), [3, 2, 7, 0x80]),
        (agreeing, [3, 2, 3, 0x08]),
        (rsa_of(KeyPurpose::Decrypt), [3, 2, 4, 0x10]),
        (rsa_of(KeyPurpose::WrapKey), [3, 2, 5, 0x20]),
        (rsa_of(KeyPurpose::AttestKey), [3, 2, 2, 0x04]),
    ] {
        let certificate = leaf(&device.generate(&params).unwrap());
        assert_eq!(certificate.extension(oid::KEY_USAGE), Some(&bits[..]), "{:?}", params.purpose);
    }
}

#[test]
fn a_key_that_signs_signs_itself_and_others_carry_no_signature() {
    let mut device = Device::new();
    let made = device.generate(&ec()).unwrap();
    assert_eq!(made.chain.len(), 1);
    assert_eq!(leaf(&made).issuer(), leaf(&made).subject());
    assert!(is_signed_by(&made, &made));
    let agreeing = Authorizations { purpose: [KeyPurpose::AgreeKey].into(), ..ec() };
    let made = device.generate(&agreeing).unwrap();
    assert!(made.chain[0].ends_with(&[0x03, 0x01, 0x00]), "an empty BIT STRING");
    for symmetric in [aes(&[BlockMode::Ecb], &[]), hmac()] {
        let attested = Authorizations {
            attestation_challenge: Some(Bytes::from(b"x")),
            attestation_application_id: Some(Bytes::from(APPLICATION)),
            ..symmetric
        };
        assert!(device.generate(&attested).unwrap().chain.is_empty());
    }
}

#[test]
fn refuses_attestations_that_lack_something_or_have_too_much_of_it() {
    use ErrorCode::*;
    let mut device = Device::new();
    let base = attested_ec;
    for (params, code) in [
        (
            Authorizations { attestation_application_id: None, ..base() },
            AttestationApplicationIdMissing,
        ),
        (
            Authorizations { attestation_challenge: Some(Bytes(vec![1; 129])), ..base() },
            InvalidInputLength,
        ),
        (
            Authorizations { attestation_application_id: Some(Bytes(vec![4; 1025])), ..base() },
            InvalidInputLength,
        ),
        (
            Authorizations { attestation_application_id: Some(Bytes::from(b"foo")), ..base() },
            InvalidArgument,
        ),
        (Authorizations { certificate_not_before: None, ..base() }, MissingNotBefore),
        (Authorizations { certificate_not_after: None, ..ec() }, MissingNotAfter),
        (Authorizations { certificate_subject: Some(Bytes::from(b"me")), ..ec() }, InvalidArgument),
        (Authorizations { certificate_serial: Some(Bytes(vec![9; 21])), ..ec() }, InvalidArgument),
        (Authorizations { certificate_not_before: Some(u64::MAX), ..ec() }, InvalidArgument),
        (Authorizations { include_unique_id: true, ..base() }, InvalidArgument),
    ] {
        assert_eq!(device.generate(&params).map(drop), Err(code), "{params:?}");
    }
    let most = Authorizations { attestation_challenge: Some(Bytes(vec![1; 128])), ..base() };
    assert_eq!(device.generate(&most).unwrap().chain.len(), 4);
}

#[test]
fn s3_2_device_ids_are_attested_where_they_are_right() {
    use ErrorCode::*;
    let mut device = Device::new();
    let right = Authorizations {
        attestation_id_brand: Some(Bytes::from(b"holdfast")),
        attestation_id_serial: Some(Bytes::from(b"HF-TEST-0001")),
        attestation_id_imei: Some(Bytes::from(b"490154203237518")),
        attestation_id_second_imei: Some(Bytes::from(b"490154203237526")),
        ..attested_ec()
    };
    let made = device.generate(&right).unwrap();
    let hardware = description(&made).hardware_enforced;
    assert_eq!(hardware.attestation_id_brand.as_deref(), Some(&b"holdfast"[..]));
    assert_eq!(hardware.attestation_id_second_imei.as_deref(), Some(&b"490154203237526"[..]));
    assert!(!made.characteristics.hardware_enforced.has(Tag::AttestationIdBrand));
    let brand =
        Authorizations { attestation_id_brand: Some(Bytes::from(b"other")), ..right.clone() };
    let model = Authorizations { attestation_id_model: Some(Bytes::from(b"m")), ..right.clone() };
    for wrong in [brand, model] {
        assert_eq!(device.generate(&wrong).map(drop), Err(CannotAttestIds));
    }
    device.call(&Command::DestroyAttestationIds).unwrap();
    device.restart();
    assert_eq!(device.generate(&right).map(drop), Err(CannotAttestIds));
    assert!(device.generate(&attested_ec()).is_ok());
}

#[test]
fn a_device_without_identifiers_has_its_serial_number_alone() {
    let mut device = Device::new();
    device.os.set_object(tee_api::TaId(*b"holdfast-keymint"), "device-ids", None);
    let serial = Authorizations {
        attestation_id_serial: Some(Bytes::from(b"HF-TEST-0001")),
        ..attested_ec()
    };
    assert!(device.generate(&serial).is_ok());
    let brand =
        Authorizations { attestation_id_brand: Some(Bytes::from(b"holdfast")), ..attested_ec() };
    let refused = device.generate(&brand).map(drop);
    assert_eq!(refused, Err(ErrorCode::AttestationIdsNotProvisioned));
}

#[test]
fn s3_2_a_unique_id_is_of_device_application_month_and_reset() {
    let mut device = Device::new();
    let month = 2_592_000_000;
    let base = Authorizations {
        include_unique_id: true,
        creation_datetime: Some(600 * month),
        ..attested_ec()
    };
    let mut id = |params: &Authorizations| {
        let id = description(&device.generate(params).unwrap()).unique_id;
        assert_eq!(id.len(), 16);
        id
    };
    let first = id(&base);
    let same_month = Authorizations { creation_datetime: Some(601 * month - 1), ..base.clone() };
    assert_eq!(id(&same_month), first);
    let next_month = Authorizations { creation_datetime: Some(601 * month), ..base.clone() };
    let reset = Authorizations { reset_since_id_rotation: true, ..base.clone() };
    let mut other_application = APPLICATION.to_vec();
    other_application[8] = b'H';
    let other = Authorizations {
        attestation_application_id: Some(Bytes(other_application)),
        ..base.clone()
    };
    for other in [next_month, reset, other] {
        assert_ne!(id(&other), first);
    }
    let mut other_device = Device::new();
    let made = other_device.generate(&base).unwrap();
    assert_ne!(description(&made).unique_id, first);
}

#[test]
fn s3_2_version_400_has_the_modules_hash() {
    let mut device = Device::new();
    let set = |hash: &[u8]| Command::SetModuleHash { hash: ByteBuf::from(hash) };
    assert_eq!(device.call(&set(&[1; 31])).map(drop), Err(ErrorCode::InvalidArgument));
    device.call(&set(&[1; 32])).unwrap();
    device.call(&set(&[1; 32])).unwrap();
    assert_eq!(device.call(&set(&[2; 32])).map(drop), Err(ErrorCode::ModuleHashAlreadySet));
    device.restart();
    let made = device.generate(&attested_ec()).unwrap();
    let description = description(&made);
    assert_eq!((description.attestation_version, description.key_mint_version), (400, 400));
    assert_eq!(description.software_enforced.module_hash.as_deref(), Some(&[1; 32][..]));
    let Ok(Reply::HardwareInfo(info)) = device.call(&Command::HardwareInfo) else { panic!() };
    assert_eq!(info.version, 400);
}

/// The whole element at the front, and its content (X.690, 8.1.3).
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (front, length) = match der[1] {
        long @ 0x81..=0x84 => {
            let count = usize::from(long & 0x7F);
            let bytes = &der[2..2 + count];
            (2 + count, bytes.iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte)))
        }
        short => (2, usize::from(short)),
    };
    (&der[..front + length], &der[front..front + length])
}

/// Whether the leaf of `key` carries a signature of `issuer` over SHA-256.
fn is_signed_by(key: &KeyCreation, issuer: &KeyCreation) -> bool {
    let (_, content) = element(&key.chain[0]);
    let (tbs, _) = element(content);
    let (algorithm, _) = element(&content[tbs.len()..]);
    let (_, signature) = element(&content[tbs.len() + algorithm.len()..]);
    let (digest, signature) = (crypto::digest::sha256(tbs), &signature[1..]);
    let public = leaf(issuer).public_key().as_der().to_vec();
    if let Ok(public) = crypto::curve25519::ed25519_from_spki(&public) {
        return crypto::curve25519::ed25519_verify(&public, tbs, signature).is_ok();
    }
    if let Ok(public) = crypto::ec::PublicKey::from_spki(&public) {
        return public.verify(&digest, signature).is_ok();
    }
    let public = crypto::rsa::PublicKey::from_spki(&public, crypto::rsa::Floor::Bits2048);
    let how = crypto::rsa::Signature::Pkcs1(crypto::hash::Hash::Sha256);
    public.unwrap().verify(how, &digest, signature).is_ok()
}

/// An attest key and the name in its certificate.
fn attest_key(device: &mut Device, params: Authorizations) -> (KeyCreation, AttestKey) {
    let params = Authorizations { purpose: [KeyPurpose::AttestKey].into(), ..params };
    let made = device.generate(&params).unwrap();
    let subject = ByteBuf::from(leaf(&made).subject().as_der());
    let attest = AttestKey { blob: made.blob.clone(), params: none(), issuer_subject: subject };
    (made, attest)
}

#[test]
fn s3_2_attest_keys_attest_keys_and_chains_of_them() {
    let mut device = Device::new();
    let rsa = rsa(KeyPurpose::AttestKey, &[PaddingMode::RsaPkcs1Sign], &[Digest::Sha2_256]);
    let curve = |curve| Authorizations { ec_curve: Some(curve), ..attested_ec() };
    let kinds = [
        rsa,
        curve(EcCurve::P224),
        curve(EcCurve::P256),
        curve(EcCurve::P384),
        curve(EcCurve::P521),
    ];
    for params in kinds {
        let (issuer, attest) = attest_key(&mut device, params);
        let made = device.generate_attested(&attested_ec(), Some(attest)).unwrap();
        assert_eq!(made.chain.len(), 1, "the leaf alone");
        assert_eq!(leaf(&made).issuer(), leaf(&issuer).subject());
        assert_eq!(description(&made).attestation_challenge, b"challenge");
        assert!(is_signed_by(&made, &issuer));
        assert!(!is_signed_by(&made, &made));
        assert!(description(&made).hardware_enforced.root_of_trust.is_some());
    }
    // One attests the next, which attests the last.
    let (_, first) = attest_key(&mut device, attested_ec());
    let params = Authorizations { purpose: [KeyPurpose::AttestKey].into(), ..attested_ec() };
    let second = device.generate_attested(&params, Some(first)).unwrap();
    let attest = AttestKey {
        blob: second.blob.clone(),
        params: none(),
        issuer_subject: ByteBuf::from(leaf(&second).subject().as_der()),
    };
    let last = device.generate_attested(&attested_ec(), Some(attest)).unwrap();
    assert!(is_signed_by(&last, &second));
}

#[test]
fn s3_2_keys_of_curve_25519_are_attested_and_attest() {
    let mut device = Device::new();
    let of = |purpose, params: Authorizations| Authorizations {
        ec_curve: Some(EcCurve::Curve25519),
        digest: [Digest::None].into(),
        purpose: [purpose].into(),
        ..params
    };
    let itself = device.generate(&of(KeyPurpose::Sign, ec())).unwrap();
    assert!(is_signed_by(&itself, &itself), "RFC 8410");
    for purpose in [KeyPurpose::Sign, KeyPurpose::AgreeKey] {
        let made = device.generate(&of(purpose, attested_ec())).unwrap();
        assert_eq!(made.chain.len(), 4);
        let said = description(&made);
        assert_eq!(said.hardware_enforced.ec_curve, Some(4));
        let root = device.maker.root.public_key().clone();
        let verified = keyattest::verify_chain(&made.chain, &[root], &|_| None, NOW);
        assert!(verified.is_ok(), "{verified:?}");
    }
    let agreeing = device.generate(&of(KeyPurpose::AgreeKey, ec())).unwrap();
    assert!(agreeing.chain[0].ends_with(&[0x03, 0x01, 0x00]), "X25519 signs nothing");
    let (issuer, attest) = attest_key(&mut device, of(KeyPurpose::AttestKey, attested_ec()));
    let made = device.generate_attested(&attested_ec(), Some(attest)).unwrap();
    assert!(is_signed_by(&made, &issuer));
    assert!(!is_signed_by(&made, &made));
}

#[test]
fn refuses_attest_keys_that_are_none() {
    use ErrorCode::*;
    let mut device = Device::new();
    let (_, attest) = attest_key(&mut device, ec());
    let refused = |device: &mut Device, params: &Authorizations, attest: AttestKey| {
        device.generate_attested(params, Some(attest)).map(drop)
    };
    let missing = refused(&mut device, &ec(), attest.clone());
    assert_eq!(missing, Err(AttestationChallengeMissing));
    let nameless = AttestKey { issuer_subject: ByteBuf::new(), ..attest.clone() };
    assert_eq!(refused(&mut device, &attested_ec(), nameless), Err(MissingIssuerSubject));
    let misnamed = AttestKey { issuer_subject: ByteBuf::from(*b"me"), ..attest.clone() };
    assert_eq!(refused(&mut device, &attested_ec(), misnamed), Err(InvalidIssuerSubject));
    let signing = device.generate(&ec()).unwrap().blob;
    let signing = AttestKey { blob: signing, ..attest.clone() };
    assert_eq!(refused(&mut device, &attested_ec(), signing), Err(IncompatiblePurpose));
    let symmetric = device.generate(&aes(&[BlockMode::Ecb], &[])).unwrap().blob;
    let symmetric = AttestKey { blob: symmetric, ..attest.clone() };
    assert_eq!(refused(&mut device, &attested_ec(), symmetric), Err(IncompatiblePurpose));
    let altered = AttestKey { blob: ByteBuf::from(*b"none"), ..attest };
    assert_eq!(refused(&mut device, &attested_ec(), altered), Err(InvalidKeyBlob));
    for more in [KeyPurpose::Sign, KeyPurpose::AgreeKey] {
        let params = Authorizations { purpose: [KeyPurpose::AttestKey, more].into(), ..ec() };
        assert_eq!(device.generate(&params).map(drop), Err(IncompatiblePurpose));
    }
}
