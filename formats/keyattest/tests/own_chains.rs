//! Chains that we make: what they prove, and what must not pass for one.

mod support;

use crypto::sign::{Curve, EcdsaKey};
use keyattest::x509::{
    Certificate, CertificateParams, KeyUsage, Name, SerialNumber, Validity, oid,
};
use keyattest::{
    EncodeError, KeyDescription, KeyOrigin, Provisioning, Refusal, Revocation, RevocationList,
    RevocationStatus, Roots, SecurityLevel, Statement, VerifiedBootState, verify_chain,
    verify_issued,
};
use support::{Authority, Maker, NOW, description, serial, sign, spki};

fn verify(maker: &Maker, chain: &[Vec<u8>]) -> Result<Statement, Refusal> {
    verify_chain(chain, &maker.roots(), &|_| None, NOW)
}

fn key() -> EcdsaKey {
    EcdsaKey::generate(Curve::P256).unwrap()
}

#[test]
fn s2_1_2_a_chain_states_key_level_and_boot_state() {
    let (maker, key) = (Maker::new(), key());
    let statement = verify(&maker, &maker.attest(&key, &description())).unwrap();
    assert_eq!(statement.public_key, spki(&key));
    assert_eq!(statement.security_level, SecurityLevel::TrustedEnvironment);
    assert_eq!(statement.provisioning, Provisioning::Factory);
    assert_eq!(statement.root_of_trust.verified_boot_state, VerifiedBootState::Verified);
    assert!(statement.root_of_trust.device_locked);
    assert_eq!(statement.description, description());
    assert_eq!(statement.attestation_certificate, maker.device.certificate);
    let name = statement.attestation_certificate.subject().serial_number();
    assert_eq!(name.as_deref(), Some("HF0000000001"));
}

#[test]
fn refuses_a_flipped_bit_in_every_byte() {
    let maker = Maker::new();
    let chain = maker.attest(&key(), &description());
    for (index, certificate) in chain.iter().enumerate() {
        for at in 0..certificate.len() {
            let mut altered = chain.clone();
            altered[index][at] ^= 1 << (at % 8);
            assert!(verify(&maker, &altered).is_err(), "certificate {index}, byte {at}");
        }
    }
}

#[test]
fn refuses_every_truncation_and_a_byte_too_many() {
    let maker = Maker::new();
    let chain = maker.attest(&key(), &description());
    for index in 0..chain.len() {
        for length in 0..chain[index].len() {
            let mut altered = chain.clone();
            altered[index].truncate(length);
            assert!(verify(&maker, &altered).is_err());
        }
        let mut altered = chain.clone();
        altered[index].push(0);
        assert!(matches!(verify(&maker, &altered), Err(Refusal::Malformed { .. })));
    }
}

#[test]
fn refuses_another_makers_root_with_the_same_names() {
    let (maker, other) = (Maker::new(), Maker::new());
    let chain = other.attest(&key(), &description());
    assert_eq!(verify(&maker, &chain), Err(Refusal::UntrustedRoot));
    let mut mixed = chain;
    mixed[3] = maker.root.certificate.as_der().to_vec();
    assert_eq!(verify(&maker, &mixed), Err(Refusal::Signature { index: 2 }));
}

#[test]
fn only_a_root_is_signed_by_itself() {
    let (maker, other) = (Maker::new(), Maker::new());
    assert!(maker.root.certificate.is_self_signed());
    assert!(!maker.device.certificate.is_self_signed());
    let params = CertificateParams::root(
        maker.root.certificate.subject().clone(),
        serial(1),
        Validity::days(NOW, 1),
        maker.root.certificate.public_key().clone(),
    );
    let forged = sign(&params, &other.root.key, other.root.algorithm);
    assert!(!Certificate::parse(&forged).unwrap().is_self_signed());
}

#[test]
fn a_reissued_root_with_the_same_key_is_the_same_root() {
    let maker = Maker::new();
    let params = CertificateParams::root(
        maker.root.certificate.subject().clone(),
        serial(77),
        Validity::days(NOW, 1),
        maker.root.certificate.public_key().clone(),
    );
    let mut chain = maker.attest(&key(), &description());
    chain[3] = sign(&params, &maker.root.key, maker.root.algorithm);
    assert!(verify(&maker, &chain).is_ok());
}

#[test]
fn refuses_a_chain_extended_with_an_attested_key() {
    let (maker, attested) = (Maker::new(), key());
    let chain = maker.attest(&attested, &description());
    let of = Certificate::parse(&chain[0]).unwrap();
    let params = CertificateParams::attested(&of, spki(&key()), &description()).unwrap();
    let fake = sign(&params, &attested, maker.device.algorithm);
    let extended = [vec![fake.clone()], chain.clone()].concat();
    let refusal = verify(&maker, &extended).unwrap_err();
    assert_eq!(refusal, Refusal::AdditionalAttestation { index: 0 });
    assert_eq!(refusal.reason(), "CHAIN_EXTENDED_WITH_FAKE_ATTESTATION_EXTENSION");
    let params = CertificateParams::unattested(
        of.subject().clone(),
        spki(&key()),
        KeyUsage::DIGITAL_SIGNATURE,
    );
    let silent = sign(&params, &attested, maker.device.algorithm);
    let extended = [vec![silent], chain.clone()].concat();
    let refusal = verify(&maker, &extended).unwrap_err();
    assert_eq!(refusal, Refusal::CertificateAfterTarget { index: 0 });
    assert_eq!(refusal.reason(), "CHAIN_EXTENDED_FOR_KEY");

    // The same without an attestation in between, and with the target moved up.
    let plain = CertificateParams::device(
        &maker.device.certificate,
        Name::factory("HF0000000002").unwrap(),
        serial(9),
        Validity::days(NOW, 9),
        spki(&attested),
    );
    let plain = Authority::new(&plain, attested, Some(&maker.device));
    let params = CertificateParams::attested(&plain.certificate, spki(&key()), &description());
    let leaf = sign(&params.unwrap(), &plain.key, plain.algorithm);
    let above = [vec![leaf, plain.certificate.as_der().to_vec()], maker.device_chain()].concat();
    assert_eq!(verify(&maker, &above), Err(Refusal::TargetMissingAttestation));
    let short = vec![fake; 1].into_iter().chain(maker.device_chain().into_iter().skip(1));
    let short: Vec<_> = short.collect();
    assert!(verify(&maker, &short).is_err());
}

#[test]
fn refuses_a_leaf_without_attestation_and_a_wrong_length() {
    let maker = Maker::new();
    let mut params =
        CertificateParams::attested(&maker.device.certificate, spki(&key()), &description())
            .unwrap();
    params.extensions.retain(|extension| extension.oid != oid::KEY_DESCRIPTION);
    let leaf = sign(&params, &maker.device.key, maker.device.algorithm);
    let chain = [vec![leaf], maker.device_chain()].concat();
    assert_eq!(verify(&maker, &chain), Err(Refusal::TargetMissingAttestation));
    let device_only = maker.device_chain();
    assert_eq!(verify(&maker, &device_only), Err(Refusal::TargetMissingAttestation));
    assert_eq!(verify(&maker, &[]), Err(Refusal::ChainLength(0)));
    assert_eq!(verify(&maker, &chain[..3]), Err(Refusal::NoRoot));
    assert_eq!(verify(&maker, &chain[..2]), Err(Refusal::ChainLength(2)));
    let long = [chain.clone(), chain.clone(), chain].concat();
    assert_eq!(verify(&maker, &long), Err(Refusal::ChainLength(12)));
}

#[test]
fn refuses_what_the_statement_itself_rules_out() {
    let maker = Maker::new();
    let refused = |change: fn(&mut KeyDescription)| {
        let mut description = description();
        change(&mut description);
        verify(&maker, &maker.attest(&key(), &description)).unwrap_err()
    };
    let (soft, tee) = (SecurityLevel::Software, SecurityLevel::TrustedEnvironment);
    assert_eq!(
        refused(|d| d.key_mint_security_level = SecurityLevel::Software),
        Refusal::SecurityLevel { attestation: tee, key: soft }
    );
    assert_eq!(
        refused(|d| d.attestation_security_level = SecurityLevel::Software),
        Refusal::SecurityLevel { attestation: soft, key: tee }
    );
    assert_eq!(
        refused(|d| d.hardware_enforced.origin = Some(KeyOrigin::Imported)),
        Refusal::Origin
    );
    assert_eq!(refused(|d| d.hardware_enforced.origin = None), Refusal::Origin);
    assert_eq!(
        refused(|d| {
            // What software says about the root of trust is worth nothing.
            d.software_enforced.root_of_trust = d.hardware_enforced.root_of_trust.take();
        }),
        Refusal::RootOfTrustMissing
    );
}

#[test]
fn refuses_revoked_and_suspended_certificates_at_every_place() {
    let maker = Maker::new();
    let chain = maker.attest(&key(), &description());
    for index in 0..chain.len() {
        let serial = Certificate::parse(&chain[index]).unwrap().serial().clone();
        let hex: String = serial.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        for status in [RevocationStatus::Revoked, RevocationStatus::Suspended] {
            let mut list = RevocationList::default();
            list.insert(&hex, Revocation { status, reason: None }).unwrap();
            let verdict = verify_chain(&chain, &maker.roots(), &|s| list.look_up(s), NOW);
            assert_eq!(verdict, Err(Refusal::Revoked { index, status }));
        }
    }
}

#[test]
fn factory_certificates_stand_for_life_but_not_before_their_time() {
    let maker = Maker::new();
    let chain = maker.attest(&key(), &description());
    let at = |now| verify_chain(&chain, &maker.roots(), &|_| None, now);
    assert!(at(NOW + 200_000 * 86_400).is_ok());
    assert_eq!(at(NOW - 3 * 86_400), Err(Refusal::NotYetValid { index: 2 }));
    let roots = Roots::of_keys(maker.roots());
    let device = |now| roots.verify_device_chain(&maker.device_chain(), &|_| None, now);
    assert_eq!(device(NOW).unwrap().device, maker.device.certificate);
    assert_eq!(device(NOW - 3 * 86_400), Err(Refusal::NotYetValid { index: 1 }));
}

#[test]
fn a_chain_that_is_neither_factory_nor_remote_expires() {
    let mut maker = Maker::new();
    let params = CertificateParams::intermediate(
        &maker.root.certificate,
        Name::authority("Some Authority", "Maker").unwrap(),
        serial(5),
        Validity::days(NOW, 1),
        spki(&maker.intermediate.key),
    );
    let key_again = EcdsaKey::from_pkcs8(Curve::P256, maker.intermediate.key.to_pkcs8()).unwrap();
    maker.intermediate = Authority::new(&params, key_again, Some(&maker.root));
    let params = CertificateParams::device(
        &maker.intermediate.certificate,
        Name::factory("HF0000000001").unwrap(),
        serial(6),
        Validity::days(NOW, 1),
        spki(&maker.device.key),
    );
    let key_again = EcdsaKey::from_pkcs8(Curve::P256, maker.device.key.to_pkcs8()).unwrap();
    maker.device = Authority::new(&params, key_again, Some(&maker.intermediate));
    let chain = maker.attest(&key(), &description());
    let at = |now| verify_chain(&chain, &maker.roots(), &|_| None, now).map(|s| s.provisioning);
    assert_eq!(at(NOW), Ok(Provisioning::Unknown));
    assert_eq!(at(NOW + 2 * 86_400), Err(Refusal::Expired { index: 2 }));
}

#[test]
fn a_device_chain_carries_no_attestation_and_ends_in_a_trusted_root() {
    let (maker, other) = (Maker::new(), Maker::new());
    let path = verify_issued(&maker.device_chain()).unwrap();
    assert_eq!(path.device, maker.device.certificate);
    assert_eq!(path.root, maker.roots()[0]);
    let attested = maker.attest(&key(), &description());
    assert_eq!(verify_issued(&attested), Err(Refusal::AdditionalAttestation { index: 0 }));
    let roots = Roots::of_keys(other.roots());
    let verdict = roots.verify_device_chain(&maker.device_chain(), &|_| None, NOW);
    assert_eq!(verdict, Err(Refusal::UntrustedRoot));
}

#[test]
fn a_root_carries_no_attestation_either() {
    let maker = Maker::new();
    let of = &maker.root;
    let mut params = CertificateParams::attested(&of.certificate, spki(&of.key), &description());
    let params = params.as_mut().unwrap();
    params.subject = of.certificate.subject().clone();
    let root = sign(params, &of.key, of.algorithm);
    let mut chain = maker.attest(&key(), &description());
    *chain.last_mut().unwrap() = root.clone();
    assert_eq!(verify(&maker, &chain), Err(Refusal::AdditionalAttestation { index: 3 }));
    let mut device = maker.device_chain();
    *device.last_mut().unwrap() = root;
    let roots = Roots::of_keys(maker.roots());
    let refused = Err(Refusal::AdditionalAttestation { index: 2 });
    assert_eq!(roots.verify_device_chain(&device, &|_| None, NOW), refused);
    assert_eq!(verify_issued(&device), refused);
}

#[test]
fn refuses_an_unknown_critical_extension() {
    let maker = Maker::new();
    let mut params =
        CertificateParams::attested(&maker.device.certificate, spki(&key()), &description())
            .unwrap();
    let mut unknown = params.extensions[0].clone();
    unknown.oid = der::oid::ObjectIdentifier::new_unwrap("2.5.29.30");
    params.extensions.push(unknown.clone());
    let leaf = sign(&params, &maker.device.key, maker.device.algorithm);
    let chain = [vec![leaf], maker.device_chain()].concat();
    let refusal = Refusal::CriticalExtension { index: 0, oid: unknown.oid };
    assert_eq!(verify(&maker, &chain), Err(refusal));
}

#[test]
fn encodes_only_what_the_version_has() {
    let mut description = description();
    description.hardware_enforced.module_hash = Some(vec![1; 32]);
    let refused = EncodeError::TagNotInVersion { tag: 724, version: 300 };
    assert_eq!(description.encode(), Err(refused));
    description.attestation_version = 400;
    assert!(description.encode().is_ok());
    description.attestation_challenge = vec![0; 129];
    assert_eq!(description.encode(), Err(EncodeError::Challenge(129)));
}

#[test]
fn serial_numbers_are_positive_and_short() {
    assert!(SerialNumber::from_bytes(&[0xff; 19]).is_ok());
    for bytes in [&[][..], &[0; 4], &[0xff; 20]] {
        assert_eq!(SerialNumber::from_bytes(bytes), Err(EncodeError::SerialNumber));
    }
}

#[test]
fn serial_numbers_are_read_from_hexadecimal_digits() {
    for (digits, bytes) in [("1", &[1][..]), ("0A1", &[0xa1]), ("ab0c", &[0xab, 0x0c])] {
        let serial = SerialNumber::from_hex(digits).unwrap();
        assert_eq!(serial.as_bytes(), bytes, "{digits}");
    }
    for digits in ["", "0", "xy", "-1", &"f".repeat(40), &"1".repeat(50)] {
        assert_eq!(SerialNumber::from_hex(digits), Err(EncodeError::SerialNumber), "{digits}");
    }
}
