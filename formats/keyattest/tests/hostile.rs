//! Bytes that mean harm, and values that go around.

mod support;

use keyattest::x509::{Certificate, Spki};
use keyattest::{
    AttestationApplicationId, AuthorizationList, DecodeError, KeyDescription, KeyOrigin, Oddity,
    Package, RootOfTrust, SecurityLevel, VerifiedBootState, verify_chain, verify_issued,
};
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use support::{Maker, NOW, description};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn root_of_trust() -> impl Strategy<Value = RootOfTrust> {
    let states = prop_oneof![
        Just(VerifiedBootState::Verified),
        Just(VerifiedBootState::SelfSigned),
        Just(VerifiedBootState::Unverified),
        Just(VerifiedBootState::Failed)
    ];
    (bytes(), any::<bool>(), states, bytes()).prop_map(|(key, device_locked, state, hash)| {
        RootOfTrust {
            verified_boot_key: key,
            device_locked,
            verified_boot_state: state,
            verified_boot_hash: Some(hash),
        }
    })
}

fn application() -> impl Strategy<Value = AttestationApplicationId> {
    let package =
        ("[a-zé.]{0,20}", any::<u64>()).prop_map(|(name, version)| Package { name, version });
    (btree_set(package, 0..3), btree_set(bytes(), 0..3)).prop_map(
        |(packages, signature_digests)| AttestationApplicationId { packages, signature_digests },
    )
}

fn list() -> impl Strategy<Value = AuthorizationList> {
    let origins = prop_oneof![Just(KeyOrigin::Generated), Just(KeyOrigin::SecurelyImported)];
    (
        (btree_set(any::<u64>(), 0..5), of(any::<u64>()), of(any::<u64>()), any::<bool>()),
        (of(origins), of(root_of_trust()), of(application()), of("[0-9é]{0,20}"), of(bytes())),
        (of(100_001_u64..100_013), of(10_000_101_u64..10_001_231)),
    )
        .prop_map(
            |((purpose, expiry, exponent, flag), (origin, root, app, imei, hash), levels)| {
                AuthorizationList {
                    purpose,
                    usage_expire_date_time: expiry,
                    rsa_public_exponent: exponent,
                    no_auth_required: flag,
                    rollback_resistance: !flag,
                    origin,
                    root_of_trust: root,
                    attestation_application_id: app,
                    attestation_id_second_imei: imei.map(String::into_bytes),
                    module_hash: hash,
                    os_patch_level: levels.0.filter(|level| level % 100 > 0),
                    vendor_patch_level: levels.1.filter(|level| level / 100 % 100 > 0),
                    ..AuthorizationList::default()
                }
            },
        )
}

proptest! {
    #[test]
    fn descriptions_go_around(
        (version, challenge, unique_id) in (400_u32..=500, vec(any::<u8>(), 0..=128), bytes()),
        (software_enforced, hardware_enforced) in (list(), list()),
    ) {
        let description = KeyDescription {
            attestation_version: version,
            attestation_security_level: SecurityLevel::StrongBox,
            key_mint_version: version,
            key_mint_security_level: SecurityLevel::Software,
            attestation_challenge: challenge,
            unique_id,
            software_enforced,
            hardware_enforced,
        };
        let der = description.encode().unwrap();
        prop_assert_eq!(KeyDescription::decode(&der), Ok((description, vec![])));
        for length in 0..der.len() {
            prop_assert!(KeyDescription::decode(&der[..length]).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = KeyDescription::decode(&bytes);
        let _ = Certificate::parse(&bytes);
        let _ = Spki::from_der(&bytes);
        let _ = verify_issued(&[&bytes, &bytes, &bytes]);
    }

    #[test]
    fn mangled_descriptions_never_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut der = description().encode().unwrap();
        for (index, byte) in changes {
            let index = index.index(der.len());
            der[index] = byte;
        }
        if let Ok((description, oddities)) = KeyDescription::decode(&der)
            && oddities.is_empty()
            && let Ok(again) = description.encode()
        {
            prop_assert_eq!(again, der, "what decodes cleanly has one encoding");
        }
    }
}

#[test]
fn mangled_certificates_never_panic() {
    let maker = Maker::new();
    let chain = maker.device_chain();
    for position in 0..chain[0].len() {
        for byte in [0, 1, 0x7f, 0x80, 0x84, 0xff] {
            let mut altered = chain.clone();
            altered[0][position] = byte;
            let _ = Certificate::parse(&altered[0]);
            let _ = verify_chain(&altered, &maker.roots(), &|_| None, NOW);
        }
    }
}

/// DER by hand: what no encoder of ours would write.
fn with_hardware_list(entries: &[&[u8]]) -> Vec<u8> {
    let list = entries.concat();
    let mut content = vec![2, 1, 3, 10, 1, 1, 2, 1, 4, 10, 1, 1, 4, 0, 4, 0, 0x30, 0, 0x30];
    content.push(u8::try_from(list.len()).unwrap());
    content.extend(list);
    [&[0x30, u8::try_from(content.len()).unwrap()], &content[..]].concat()
}

const KEY_SIZE: &[u8] = &[0xa3, 4, 2, 2, 1, 0];
const NO_AUTH: &[u8] = &[0xbf, 0x83, 0x77, 2, 5, 0];

#[test]
fn notes_what_googles_verifier_lets_pass() {
    let oddities =
        |entries: &[&[u8]]| KeyDescription::decode(&with_hardware_list(entries)).unwrap().1;
    assert_eq!(oddities(&[KEY_SIZE, NO_AUTH]), []);
    assert_eq!(oddities(&[NO_AUTH, KEY_SIZE]), [Oddity::TagsOutOfOrder]);
    let set = &[0xa5, 8, 0x31, 6, 2, 1, 4, 2, 1, 2];
    assert_eq!(oddities(&[set]), [Oddity::SetOutOfOrder { tag: 5 }]);
    let root = &[0xbf, 0x85, 0x40, 10, 0x30, 8, 4, 0, 1, 1, 1, 10, 1, 0];
    assert_eq!(oddities(&[root]), [Oddity::Boolean { octet: 1 }]);
    let level = &[0xbf, 0x85, 0x42, 3, 2, 1, 7];
    assert_eq!(oddities(&[level]), [Oddity::PatchLevel { tag: 706, value: 7 }]);
    let twice = &[0xa5, 8, 0x31, 6, 2, 1, 2, 2, 1, 2];
    assert_eq!(oddities(&[twice]), [Oddity::SetOutOfOrder { tag: 5 }]);
    assert_eq!(oddities(&[&[0xa5, 2, 0x31, 0]]), [Oddity::EmptySet { tag: 5 }]);
    let brand = &[0xbf, 0x85, 0x46, 3, 4, 1, 0xff];
    assert_eq!(oddities(&[brand]), [Oddity::NotText { tag: 710 }]);
    let module = &[0xbf, 0x85, 0x54, 3, 4, 1, 7];
    assert_eq!(oddities(&[module]), [Oddity::TagNotInVersion { tag: 724 }]);
}

#[test]
fn refuses_what_has_no_one_meaning() {
    let refused =
        |entries: &[&[u8]]| KeyDescription::decode(&with_hardware_list(entries)).unwrap_err();
    assert_eq!(refused(&[KEY_SIZE, KEY_SIZE]), DecodeError::DuplicateTag(3));
    assert_eq!(refused(&[&[0xa9, 3, 2, 1, 0]]), DecodeError::UnknownTag(9));
    assert_eq!(refused(&[&[0xa3, 3, 2, 1, 0xff]]), DecodeError::Range { place: "key_size" });
    let two = refused(&[&[0xa3, 6, 2, 1, 1, 2, 1, 2]]);
    assert_eq!(two, DecodeError::Trailing { place: "hardwareEnforced" });
    let long_form = refused(&[&[0xa3, 0x81, 3, 2, 1, 1]]);
    assert!(matches!(long_form, DecodeError::Der { .. }), "{long_form}");
    let mut trailing = with_hardware_list(&[]);
    trailing.push(0);
    assert!(KeyDescription::decode(&trailing).is_err());
}

/// What costs a reader time or memory: each is refused at once.
#[test]
fn refuses_bombs_without_reading_them_twice() {
    let nested = |depth: usize| {
        let mut der = vec![0x05, 0x00];
        for _ in 0..depth {
            let length = u32::try_from(der.len()).unwrap().to_be_bytes();
            der = [&[0x30, 0x84][..], &length, &der].concat();
            if der.len() > 1 << 20 {
                break;
            }
        }
        der
    };
    let integers = [2, 1, 0].repeat(400_000);
    let long_set =
        with_content(&[&[0xa5, 0x83, 0x12, 0x4f, 0x85, 0x31, 0x83, 0x12, 0x4f, 0x80]], &integers);
    let cases = [
        nested(400),
        vec![0x30; 1 << 20],
        vec![0xa0; 1 << 20],
        [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &vec![0; 1 << 20]].concat(),
        vec![0x30, 0x80, 0, 0],
        long_set,
    ];
    for der in &cases {
        let before = std::time::Instant::now();
        let _ = KeyDescription::decode(der);
        let _ = Certificate::parse(der);
        assert!(verify_chain(&[der, der, der], &[], &|_| None, NOW).is_err());
        assert!(before.elapsed().as_secs() < 5, "{:x?}", &der[..4]);
    }
}

fn with_content(heads: &[&[u8]], content: &[u8]) -> Vec<u8> {
    [heads.concat(), content.to_vec()].concat()
}

#[test]
fn a_certificate_has_a_size_and_a_number_of_extensions() {
    let maker = Maker::new();
    let mut params = keyattest::x509::CertificateParams::unattested(
        maker.device.certificate.subject().clone(),
        maker.roots()[0].clone(),
        keyattest::x509::KeyUsage::DIGITAL_SIGNATURE,
    );
    let mut other = params.extensions[0].clone();
    for arc in 0..40 {
        other.oid = der::oid::ObjectIdentifier::new(&format!("2.5.29.{}", 100 + arc)).unwrap();
        params.extensions.push(other.clone());
    }
    let der = support::sign(&params, &maker.device.key, maker.device.algorithm);
    let many = Certificate::parse(&der).unwrap_err();
    assert_eq!(many, DecodeError::Range { place: "extensions" });
    params.extensions.truncate(1);
    params.extensions[0].value = vec![0; 70_000];
    let der = support::sign(&params, &maker.device.key, maker.device.algorithm);
    let large = Certificate::parse(&der).unwrap_err();
    assert_eq!(large, DecodeError::Range { place: "Certificate" });
}
