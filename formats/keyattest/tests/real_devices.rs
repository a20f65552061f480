//! Chains of real phones, with what Google's own parser makes of them.

mod support;

use keyattest::x509::{Certificate, SerialNumber, oid};
use keyattest::{
    KeyDescription, Refusal, Revocation, RevocationList, RevocationStatus, SecurityLevel,
    Statement, VerifiedBootState, google_roots, pem, verify_chain,
};
use serde_json::Value;
use std::fs;
use std::path::Path;
use support::test_data;

const GOOGLE: &str = "keystore-tee/attestation/android-keyattestation";
/// 2024-09-27, when the remotely provisioned chains were recorded.
const RECORDED: u64 = 1_727_395_200;
/// 2027-01-01, when the oldest edition of Google's root had expired.
const LATER: u64 = 1_798_761_600;

struct Chain {
    name: String,
    certificates: Vec<Vec<u8>>,
    expected: Value,
}

/// All recorded chains of a device family.
fn chains(family: &str) -> Vec<Chain> {
    let Some(folder) = test_data(GOOGLE).map(|data| data.join("testdata").join(family)) else {
        return Vec::new();
    };
    let mut chains = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            chains.push(Chain {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                certificates: pem::decode(&fs::read(&path).unwrap()).unwrap(),
                expected: json_file(&path.with_extension("json")),
            });
        }
    }
    assert!(!chains.is_empty());
    chains
}

fn json_file(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn verify(chain: &Chain, now: u64) -> Result<Statement, Refusal> {
    verify_chain(&chain.certificates, &google_roots(), &|_| None, now)
}

fn decoded(chain: &Chain) -> KeyDescription {
    let leaf = Certificate::parse(&chain.certificates[0]).unwrap();
    let value = leaf.extension(oid::KEY_DESCRIPTION).unwrap();
    let (description, oddities) = KeyDescription::decode(value).unwrap();
    assert_eq!(oddities, [], "{}", chain.name);
    assert_eq!(description.encode().unwrap(), value, "{} encodes as it was", chain.name);
    description
}

#[test]
fn s2_1_2_reads_what_googles_parser_reads_and_writes_it_back() {
    for family in ["akita/sdk34", "blueline/sdk28", "marlin/sdk29"] {
        for chain in chains(family) {
            let shown = Value::Object(decoded(&chain).to_json());
            assert_eq!(shown, chain.expected, "{family}/{}", chain.name);
        }
    }
}

#[test]
fn s2_1_2_accepts_a_factory_provisioned_phone_after_its_root_certificate_expired() {
    for chain in chains("blueline/sdk28") {
        let statement = verify(&chain, LATER).unwrap();
        let strong_box = chain.name.starts_with("SB");
        let level =
            if strong_box { SecurityLevel::StrongBox } else { SecurityLevel::TrustedEnvironment };
        assert_eq!(statement.security_level, level, "{}", chain.name);
        assert_eq!(statement.description.attestation_challenge, b"challenge");
    }
}

#[test]
fn s2_1_2_accepts_a_remotely_provisioned_phone_only_in_its_time() {
    for chain in chains("akita/sdk34") {
        let statement = verify(&chain, RECORDED).unwrap();
        assert_eq!(statement.root_of_trust.verified_boot_state, VerifiedBootState::Unverified);
        assert!(!statement.root_of_trust.device_locked);
        assert!(matches!(verify(&chain, LATER), Err(Refusal::Expired { .. })), "{}", chain.name);
    }
}

#[test]
fn refuses_a_phone_whose_keys_live_in_software() {
    for chain in chains("marlin/sdk29") {
        assert_eq!(verify(&chain, RECORDED), Err(Refusal::UntrustedRoot), "{}", chain.name);
        let root = Certificate::parse(chain.certificates.last().unwrap()).unwrap();
        let roots = [root.public_key().clone()];
        let verdict = verify_chain(&chain.certificates, &roots, &|_| None, RECORDED);
        // The RSA chain is signed with 1024 bits.
        let rsa_1024 = Refusal::Algorithm { index: 2 };
        let software = matches!(verdict, Err(Refusal::SecurityLevel { .. }));
        assert!(software || verdict == Err(rsa_1024), "{}: {verdict:?}", chain.name);
    }
}

#[test]
fn refuses_revoked_phones_whichever_way_the_list_writes_the_number() {
    let folder = "keystore-tee/attestation/google-android-key-attestation/src/test/resources";
    let Some(folder) = test_data(folder) else { return };
    let list = RevocationList::from_json(&fs::read(folder.join("status.json")).unwrap()).unwrap();
    assert_eq!(list.len(), 5);
    let number = SerialNumber::from_bytes(&6_681_152_659_205_225_093_u64.to_be_bytes()).unwrap();
    assert_eq!(list.look_up(&number).unwrap().reason.as_deref(), Some("KEY_COMPROMISE"));
    for entry in fs::read_dir(folder.join("der")).unwrap() {
        let folder = entry.unwrap().path();
        let chain: Vec<_> =
            (0..4).map(|n| fs::read(folder.join(format!("cert{n}.der"))).unwrap()).collect();
        let root = Certificate::parse(&chain[3]).unwrap().public_key().clone();
        let verify = |list: &RevocationList| {
            verify_chain(&chain, std::slice::from_ref(&root), &|serial| list.look_up(serial), LATER)
        };
        let clean = verify(&RevocationList::default());
        if folder.ends_with("algorithm_EC_SecurityLevel_StrongBox") {
            // Recorded from a device with a mistake: its leaf names the intermediate.
            assert_eq!(clean, Err(Refusal::NameChaining { index: 0 }));
            continue;
        }
        assert!(clean.is_ok(), "{}: {clean:?}", folder.display());
        assert!(verify(&list).is_ok(), "{} is not on the sample list", folder.display());
        for certificate in &chain {
            let serial = Certificate::parse(certificate).unwrap().serial().clone();
            let number = serial.as_bytes().iter().fold(0_u128, |n, b| n << 8 | u128::from(*b));
            for text in [format!("{number}"), format!("{number:x}")] {
                let mut list = RevocationList::default();
                let revoked = Revocation { status: RevocationStatus::Revoked, reason: None };
                list.insert(&text, revoked).unwrap();
                assert!(matches!(verify(&list), Err(Refusal::Revoked { .. })), "{text}");
            }
        }
    }
}

#[test]
fn the_built_in_roots_are_googles_under_every_certificate_they_had() {
    let Some(data) = test_data(GOOGLE) else { return };
    let list = json_file(&data.join("roots.json"));
    let pems = list.as_array().unwrap().iter().map(|pem| pem.as_str().unwrap().as_bytes());
    let mut certificates: Vec<_> = pems.flat_map(|text| pem::decode(text).unwrap()).collect();
    let Some(folder) = test_data("keystore-tee/attestation/grapheneos") else { return };
    for number in 0..5 {
        certificates.push(fs::read(folder.join(format!("google_root_{number}.der"))).unwrap());
    }
    for der in certificates {
        let root = Certificate::parse(&der).unwrap();
        assert!(root.is_self_signed());
        assert!(google_roots().contains(root.public_key()));
    }
}

#[test]
fn s2_1_2_accepts_a_chain_that_somebody_recorded_elsewhere() {
    let Some(folder) = test_data("keystore-tee/attestation/kostya2023-keyattestation-rs/certs")
    else {
        return;
    };
    let chain: Vec<_> =
        (0..4).map(|n| fs::read(folder.join(format!("cert_{n}.der"))).unwrap()).collect();
    let statement = verify_chain(&chain, &google_roots(), &|_| None, LATER).unwrap();
    assert_eq!(statement.security_level, SecurityLevel::TrustedEnvironment);
    assert_eq!(statement.oddities, []);
}

/// Every way to tamper with real chains, and the reason that is due.
#[test]
fn s2_1_2_refuses_altered_extended_spliced_and_shortened_real_chains() {
    let all: Vec<Chain> = chains("blueline/sdk28");
    let Some(chain) = all.iter().find(|chain| chain.name == "TEE_EC_NONE") else { return };
    let other = all.iter().find(|chain| chain.name.starts_with("SB")).unwrap();
    let reason = |certificates: Vec<Vec<u8>>| {
        verify_chain(&certificates, &google_roots(), &|_| None, RECORDED).unwrap_err().reason()
    };
    let real = &chain.certificates;
    assert!(verify(chain, RECORDED).is_ok());
    for index in 0..real.len() {
        // The last byte is the signature's.
        let mut altered = real.clone();
        *altered[index].last_mut().unwrap() ^= 1;
        assert_eq!(reason(altered), "INVALID_SIGNATURE", "{index}");
    }
    let extended = [vec![real[0].clone()], real.clone()].concat();
    assert_eq!(reason(extended), "NAME_CHAINING");
    let spliced = [&real[..1], &other.certificates[1..]].concat();
    assert_eq!(reason(spliced), "NAME_CHAINING");
    assert_eq!(reason(real[1..].to_vec()), "TARGET_MISSING_ATTESTATION_EXTENSION");
    assert_eq!(reason(real[..3].to_vec()), "MALFORMED_CHAIN");
    let reversed: Vec<_> = real.iter().rev().cloned().collect();
    assert_eq!(reason(reversed), "MALFORMED_CHAIN");
}
