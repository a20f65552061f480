//! Every error code of KeyMint: produced here by a command, or by the keystore service, or listed
//! in `docs/keymint.md` with the reason why no rule of ours says it. One test holds the three
//! lists against [`ErrorCode::ALL`].

use super::*;
use crypto::rsa::{Encryption, Floor, PublicKey};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tee_sdk::Protocol;

/// A way to a refusal: what was wrong is the last command.
type Way = fn(&mut Device) -> Outcome<()>;

/// By codes, in KeyMint's order.
const HERE: &[(ErrorCode, Way)] = &[
    (ErrorCode::UnsupportedPurpose, |it| making(it, &purpose(ec(), KeyPurpose::Decrypt))),
    (ErrorCode::IncompatiblePurpose, |it| {
        beginning(it, &purpose(ec(), KeyPurpose::AgreeKey), KeyPurpose::Sign, &none())
    }),
    (ErrorCode::UnsupportedAlgorithm, |it| making(it, &none())),
    (ErrorCode::IncompatibleAlgorithm, |it| {
        let p384 = Authorizations { ec_curve: Some(EcCurve::P384), ..ec() };
        let blob = it.generate(&purpose(p384, KeyPurpose::AttestKey))?.blob;
        let challenge = ByteBuf::from(*b"challenge");
        it.call(&Command::CertificateRequest { keys: vec![blob], challenge }).map(drop)
    }),
    (ErrorCode::UnsupportedKeySize, |it| {
        making(it, &Authorizations { key_size: Some(127), ..gcm() })
    }),
    (ErrorCode::UnsupportedBlockMode, |it| encrypting(it, &gcm(), &none())),
    (ErrorCode::IncompatibleBlockMode, |it| {
        encrypting(it, &gcm(), &Authorizations { block_mode: [BlockMode::Cbc].into(), ..none() })
    }),
    (ErrorCode::UnsupportedMacLength, |it| encrypting(it, &gcm(), &with_tag(136))),
    (ErrorCode::UnsupportedPaddingMode, |it| {
        let params = Authorizations { padding: [PaddingMode::RsaPss].into(), ..with_tag(128) };
        encrypting(it, &gcm(), &params)
    }),
    (ErrorCode::IncompatiblePaddingMode, |it| {
        let params = Authorizations { padding: [PaddingMode::Pkcs7].into(), ..with_tag(128) };
        encrypting(it, &gcm(), &params)
    }),
    (ErrorCode::UnsupportedDigest, |it| beginning(it, &ec(), KeyPurpose::Sign, &none())),
    (ErrorCode::IncompatibleDigest, |it| {
        beginning(it, &ec(), KeyPurpose::Sign, &digest(Digest::Sha1))
    }),
    (ErrorCode::InvalidAuthorizationTimeout, |it| {
        making(it, &Authorizations { auth_timeout: Some(0), ..ec() })
    }),
    (ErrorCode::UnsupportedKeyFormat, |it| it.import(&ec(), KeyFormat::X509, b"key").map(drop)),
    (ErrorCode::InvalidInputLength, |it| {
        let bare = Authorizations { padding: [PaddingMode::None].into(), ..none() };
        let ecb = aes(&[BlockMode::Ecb], &[PaddingMode::None]);
        let params = Authorizations { block_mode: [BlockMode::Ecb].into(), ..bare };
        let blob = it.generate(&ecb)?.blob;
        it.run(&blob, KeyPurpose::Encrypt, &params, b"no whole block").map(drop)
    }),
    (ErrorCode::KeyUserNotAuthenticated, |it| {
        let params = Authorizations { no_auth_required: false, ..ec() };
        beginning(it, &params, KeyPurpose::Sign, &digest(Digest::Sha2_256))
    }),
    (ErrorCode::InvalidOperationHandle, |it| it.finish(1, b"").map(drop)),
    (ErrorCode::VerificationFailed, |it| {
        let blob = it.generate(&hmac())?.blob;
        let operation = it.begin(&blob, KeyPurpose::Verify, &none())?.operation;
        it.finish_with(operation, b"message", Some(&[0; 32]), None).map(drop)
    }),
    (ErrorCode::TooManyOperations, |it| {
        let blob = it.generate(&hmac())?.blob;
        let params = Authorizations { mac_length: Some(128), ..none() };
        (0..=MAX_OPERATIONS).try_for_each(|_| it.begin(&blob, KeyPurpose::Sign, &params).map(drop))
    }),
    (ErrorCode::InvalidKeyBlob, |it| it.sign(&ByteBuf::from(*b"none")).map(drop)),
    (ErrorCode::InvalidArgument, |it| {
        making(it, &Authorizations { rsa_public_exponent: Some(3), ..decrypting() })
    }),
    (ErrorCode::UnsupportedTag, |it| {
        making(it, &Authorizations { trusted_user_presence_required: true, ..ec() })
    }),
    (ErrorCode::InvalidTag, |it| making(it, &Authorizations { os_version: Some(1), ..ec() })),
    (ErrorCode::ImportParameterMismatch, |it| {
        it.import(&gcm(), KeyFormat::Raw, &[0; 32]).map(drop)
    }),
    (ErrorCode::MissingNonce, |it| beginning(it, &gcm(), KeyPurpose::Decrypt, &with_tag(128))),
    (ErrorCode::InvalidNonce, |it| {
        let params = Authorizations { nonce: Some(Bytes(vec![0; 11])), ..with_tag(128) };
        beginning(it, &gcm(), KeyPurpose::Decrypt, &params)
    }),
    (ErrorCode::MissingMacLength, |it| beginning(it, &hmac(), KeyPurpose::Sign, &none())),
    (ErrorCode::CallerNonceProhibited, |it| {
        let params = Authorizations { nonce: Some(Bytes(vec![0; 12])), ..with_tag(128) };
        encrypting(it, &gcm(), &params)
    }),
    (ErrorCode::KeyMaxOpsExceeded, |it| {
        let once = Authorizations { max_uses_per_boot: Some(1), ..ec() };
        let blob = it.generate(&once)?.blob;
        it.sign(&blob)?;
        it.sign(&blob).map(drop)
    }),
    (ErrorCode::InvalidMacLength, |it| {
        let least = Authorizations { min_mac_length: Some(128), ..gcm() };
        encrypting(it, &least, &with_tag(120))
    }),
    (ErrorCode::MissingMinMacLength, |it| {
        making(it, &Authorizations { min_mac_length: None, ..gcm() })
    }),
    (ErrorCode::UnsupportedMinMacLength, |it| {
        making(it, &Authorizations { min_mac_length: Some(88), ..gcm() })
    }),
    (ErrorCode::UnsupportedEcCurve, |it| {
        let key = crypto::ec::PrivateKey::generate(crypto::ec::Curve::Secp256k1).unwrap();
        it.import(&ec(), KeyFormat::Pkcs8, &key.to_pkcs8().unwrap()).map(drop)
    }),
    (ErrorCode::KeyRequiresUpgrade, |it| {
        let blob = it.generate(&ec())?.blob;
        it.os.set_boot_info(Some(booted(|info| info.os_patch_level += 1)));
        it.sign(&blob).map(drop)
    }),
    (ErrorCode::AttestationChallengeMissing, |it| {
        let attest = attesting(it, |_| ())?;
        it.generate_attested(&ec(), Some(attest)).map(drop)
    }),
    (ErrorCode::KeymintNotConfigured, |it| {
        it.os.set_boot_info(None);
        making(it, &ec())
    }),
    (ErrorCode::AttestationApplicationIdMissing, |it| {
        making(it, &Authorizations { attestation_application_id: None, ..attested_ec() })
    }),
    (ErrorCode::CannotAttestIds, |it| {
        let attestation_id_imei = Some(Bytes::from(b"another"));
        making(it, &Authorizations { attestation_id_imei, ..attested_ec() })
    }),
    (ErrorCode::RollbackResistanceUnavailable, |it| {
        let room = tee_sdk::Placement::Ree.limits().objects;
        let resistant = Authorizations { rollback_resistance: true, ..hmac() };
        for _ in 0..room {
            it.generate(&resistant)?;
        }
        making(it, &resistant)
    }),
    (ErrorCode::NoUserConfirmation, |it| {
        let careful = Authorizations { trusted_confirmation_required: true, ..ec() };
        let blob = it.generate(&careful)?.blob;
        it.sign(&blob).map(drop)
    }),
    (ErrorCode::DeviceLocked, |it| {
        let params = Authorizations { unlocked_device_required: true, ..ec() };
        beginning(it, &params, KeyPurpose::Sign, &digest(Digest::Sha2_256))
    }),
    (ErrorCode::EarlyBootEnded, |it| {
        it.call(&Command::EarlyBootEnded)?;
        making(it, &Authorizations { early_boot_only: true, ..ec() })
    }),
    (ErrorCode::AttestationKeysNotProvisioned, |it| {
        let mut ta = FakeOs::in_factory().start::<KeyMintTa>();
        std::mem::swap(&mut it.ta, &mut ta);
        making(it, &attested_ec())
    }),
    (ErrorCode::AttestationIdsNotProvisioned, |it| {
        it.os.set_object(KeyMint::TA, "device-ids", None);
        let attestation_id_imei = Some(Bytes::from(b"490154203237518"));
        making(it, &Authorizations { attestation_id_imei, ..attested_ec() })
    }),
    (ErrorCode::InvalidOperation, |it| {
        let blob = it.generate(&ec())?.blob;
        let operation = it.begin(&blob, KeyPurpose::Sign, &digest(Digest::Sha2_256))?.operation;
        it.aad(operation, b"data")
    }),
    (ErrorCode::StorageKeyUnsupported, |it| {
        making(it, &Authorizations { storage_key: true, ..gcm() })
    }),
    (ErrorCode::IncompatibleMgfDigest, |it| oaep(it, &[Digest::Sha2_256])),
    (ErrorCode::UnsupportedMgfDigest, |it| oaep(it, &[Digest::None])),
    (ErrorCode::MissingNotBefore, |it| {
        making(it, &Authorizations { certificate_not_before: None, ..ec() })
    }),
    (ErrorCode::MissingNotAfter, |it| {
        making(it, &Authorizations { certificate_not_after: None, ..ec() })
    }),
    (ErrorCode::MissingIssuerSubject, |it| {
        let nameless = attesting(it, |attest| attest.issuer_subject.clear())?;
        it.generate_attested(&attested_ec(), Some(nameless)).map(drop)
    }),
    (ErrorCode::InvalidIssuerSubject, |it| {
        let misnamed = attesting(it, |attest| attest.issuer_subject.push(0))?;
        it.generate_attested(&attested_ec(), Some(misnamed)).map(drop)
    }),
    (ErrorCode::ModuleHashAlreadySet, |it| {
        it.call(&Command::SetModuleHash { hash: ByteBuf::from([1; 32]) })?;
        it.call(&Command::SetModuleHash { hash: ByteBuf::from([2; 32]) }).map(drop)
    }),
    (ErrorCode::UnknownError, |it| {
        let made = it.generate(&decrypting())?;
        let public =
            PublicKey::from_spki(leaf(&made).public_key().as_der(), Floor::Bits2048).unwrap();
        let text = public.encrypt(Encryption::Bare, b"no padding at all").unwrap();
        it.run(&made.blob, KeyPurpose::Decrypt, &how_oaep(&[]), &text).map(drop)
    }),
];

/// Codes of the keystore service, and its test of each (`device/keystore/src`).
const BY_THE_KEYSTORE: &[(ErrorCode, &str, &str)] = &[
    (ErrorCode::KeyNotYetValid, "tests/usage", "s3_2_dates_are_held_against_the_secure_clock"),
    (ErrorCode::KeyExpired, "tests/usage", "s3_2_dates_are_held_against_the_secure_clock"),
];

fn purpose(params: Authorizations, purpose: KeyPurpose) -> Authorizations {
    Authorizations { purpose: [purpose].into(), ..params }
}

fn gcm() -> Authorizations {
    aes(&[BlockMode::Gcm], &[PaddingMode::None])
}

fn with_tag(bits: u32) -> Authorizations {
    Authorizations {
        mac_length: Some(bits),
        block_mode: [BlockMode::Gcm].into(),
        padding: [PaddingMode::None].into(),
        ..none()
    }
}

fn decrypting() -> Authorizations {
    rsa(KeyPurpose::Decrypt, &[PaddingMode::RsaOaep], &[Digest::Sha2_256])
}

fn how_oaep(masks: &[Digest]) -> Authorizations {
    Authorizations {
        padding: [PaddingMode::RsaOaep].into(),
        rsa_oaep_mgf_digest: masks.iter().copied().collect(),
        ..digest(Digest::Sha2_256)
    }
}

fn making(device: &mut Device, params: &Authorizations) -> Outcome<()> {
    device.generate(params).map(drop)
}

fn beginning(
    device: &mut Device,
    key: &Authorizations,
    purpose: KeyPurpose,
    params: &Authorizations,
) -> Outcome<()> {
    let blob = device.generate(key)?.blob;
    device.begin(&blob, purpose, params).map(drop)
}

fn encrypting(device: &mut Device, key: &Authorizations, params: &Authorizations) -> Outcome<()> {
    beginning(device, key, KeyPurpose::Encrypt, params)
}

fn oaep(device: &mut Device, masks: &[Digest]) -> Outcome<()> {
    beginning(device, &decrypting(), KeyPurpose::Decrypt, &how_oaep(masks))
}

/// A key that attests, changed.
fn attesting(device: &mut Device, change: fn(&mut AttestKey)) -> Outcome<AttestKey> {
    let made = device.generate(&purpose(ec(), KeyPurpose::AttestKey))?;
    let issuer_subject = ByteBuf::from(leaf(&made).subject().as_der());
    let mut attest = AttestKey { blob: made.blob, params: none(), issuer_subject };
    change(&mut attest);
    Ok(attest)
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/keymint.md");
    std::fs::read_to_string(page).unwrap()
}

/// The page's rows: a code, and why nothing here says it.
fn reasons() -> BTreeMap<String, String> {
    let text = page();
    let table = text.split("| code | why |\n|---|---|\n").nth(1).expect("the table");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let mut reasons = BTreeMap::new();
    for row in rows {
        let (codes, reason) = row.trim_matches('|').split_once(" | ").expect("two cells");
        for code in codes.split(',') {
            let code = code.trim().trim_matches('`').to_owned();
            let before = reasons.insert(code.clone(), reason.trim().to_owned());
            assert_eq!(before, None, "{code} comes twice");
        }
    }
    reasons
}

#[test]
fn s3_2_each_code_that_a_rule_can_say_is_said() {
    for (code, way) in HERE {
        assert_eq!(way(&mut Device::new()), Err(*code));
    }
}

#[test]
fn every_code_is_produced_or_has_a_reason_on_the_page() {
    let here: Vec<_> = HERE.iter().map(|(code, _)| *code).collect();
    let there: Vec<_> = BY_THE_KEYSTORE.iter().map(|(code, ..)| *code).collect();
    let produced: BTreeSet<_> = here.iter().chain(&there).map(|code| code.constant()).collect();
    assert_eq!(produced.len(), here.len() + there.len(), "a code comes twice");
    let reasons = reasons();
    for code in ErrorCode::ALL {
        let name = code.constant();
        let reason = reasons.get(&name);
        let has_reason = reason.is_some_and(|reason| reason.len() > 20);
        assert_ne!(
            produced.contains(&name),
            has_reason,
            "{name}: produced or a reason: {reason:?}"
        );
    }
    assert_eq!(reasons.len() + produced.len(), ErrorCode::ALL.len(), "the page has others");
}

#[test]
fn the_tests_of_the_keystore_that_are_named_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../keystore/src");
    for (code, file, test) in BY_THE_KEYSTORE {
        let text = std::fs::read_to_string(folder.join(format!("{file}.rs"))).unwrap();
        let body = text.split(&format!("fn {test}()")).nth(1).expect(test);
        let body = body.split("\n}\n").next().unwrap_or_default();
        assert!(body.contains(&format!("{code:?}")), "{test} has no {code:?}");
    }
}
