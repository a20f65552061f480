//! Chains of real phones, with what Google's own parser makes of them.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyattest::x509::{Certificate, SerialNumber, Spki, oid};
use keyattest::{
    AuthorizationList, KeyDescription, KeyOrigin, Refusal, Revocation, RevocationList,
    RevocationStatus, SecurityLevel, Statement, VerifiedBootState, verify_chain,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
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

fn certificates(pem: &str) -> Vec<Vec<u8>> {
    pem.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|part| part.split("-----END").next().unwrap().split_whitespace().collect::<String>())
        .map(|base64| STANDARD.decode(base64).unwrap())
        .collect()
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
                certificates: certificates(&fs::read_to_string(&path).unwrap()),
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

fn google_roots() -> Vec<Spki> {
    let Some(data) = test_data(GOOGLE) else { return Vec::new() };
    let list = json_file(&data.join("roots.json"));
    let pems = list.as_array().unwrap().iter().map(|pem| certificates(pem.as_str().unwrap()));
    pems.flatten().map(|der| Certificate::parse(&der).unwrap().public_key().clone()).collect()
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
            let shown = show(&decoded(&chain));
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
        assert_eq!(verify(&chain, RECORDED), Err(refusal_of_software(&chain)), "{}", chain.name);
        let root = Certificate::parse(chain.certificates.last().unwrap()).unwrap();
        let roots = [root.public_key().clone()];
        let verdict = verify_chain(&chain.certificates, &roots, &|_| None, RECORDED);
        let rsa_1024 = Refusal::Algorithm { index: 2 };
        let software = matches!(verdict, Err(Refusal::SecurityLevel { .. }));
        assert!(software || verdict == Err(rsa_1024), "{}: {verdict:?}", chain.name);
    }
}

/// The RSA chain is signed with 1024 bits; the other one only by a root that nobody trusts.
fn refusal_of_software(chain: &Chain) -> Refusal {
    match chain.name.as_str() {
        "TEE_RSA_NONE" => Refusal::Algorithm { index: 2 },
        _ => Refusal::UntrustedRoot,
    }
}

#[test]
fn refuses_revoked_phones_whichever_way_the_list_writes_the_number() {
    let folder = "keystore-tee/attestation/google-android-key-attestation/src/test/resources";
    let Some(folder) = test_data(folder) else { return };
    let mut list = RevocationList::default();
    for (serial, entry) in json_file(&folder.join("status.json"))["entries"].as_object().unwrap() {
        let status = match entry["status"].as_str().unwrap() {
            "REVOKED" => RevocationStatus::Revoked,
            _ => RevocationStatus::Suspended,
        };
        let reason = entry["reason"].as_str().map(str::to_owned);
        list.insert(serial, Revocation { status, reason });
    }
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
                list.insert(&text, revoked);
                assert!(matches!(verify(&list), Err(Refusal::Revoked { .. })), "{text}");
            }
        }
    }
}

/// As the expected files show a description: absent fields left out, numbers as text.
fn show(description: &KeyDescription) -> Value {
    json!({
        "attestationVersion": description.attestation_version.to_string(),
        "attestationSecurityLevel": level(description.attestation_security_level),
        "keyMintVersion": description.key_mint_version.to_string(),
        "keyMintSecurityLevel": level(description.key_mint_security_level),
        "attestationChallenge": STANDARD.encode(&description.attestation_challenge),
        "uniqueId": STANDARD.encode(&description.unique_id),
        "softwareEnforced": show_list(&description.software_enforced),
        "hardwareEnforced": show_list(&description.hardware_enforced),
    })
}

fn level(level: SecurityLevel) -> &'static str {
    match level {
        SecurityLevel::Software => "SOFTWARE",
        SecurityLevel::TrustedEnvironment => "TRUSTED_ENVIRONMENT",
        SecurityLevel::StrongBox => "STRONG_BOX",
    }
}

fn show_list(list: &AuthorizationList) -> Value {
    let number = |value: Option<u64>| value.map(|value| json!(value.to_string()));
    let flag = |value: bool| value.then_some(json!(true));
    let text = |value: &Option<Vec<u8>>| {
        value.as_ref().map(|value| json!(String::from_utf8(value.clone()).unwrap()))
    };
    let numbers = |values: &BTreeSet<u64>| {
        let shown: Vec<_> = values.iter().map(u64::to_string).collect();
        (!shown.is_empty()).then(|| json!(shown))
    };
    let fields = [
        ("purposes", numbers(&list.purpose)),
        ("algorithms", number(list.algorithm)),
        ("keySize", number(list.key_size)),
        ("digests", numbers(&list.digest)),
        ("paddings", numbers(&list.padding)),
        ("ecCurve", number(list.ec_curve)),
        ("rsaPublicExponent", number(list.rsa_public_exponent)),
        ("noAuthRequired", flag(list.no_auth_required)),
        ("userAuthType", number(list.user_auth_type)),
        ("authTimeout", number(list.auth_timeout)),
        ("trustedUserPresenceRequired", flag(list.trusted_user_presence_required)),
        ("creationDateTime", number(list.creation_date_time)),
        ("origin", list.origin.map(|origin| json!(show_origin(origin)))),
        ("rollbackResistant", flag(list.rollback_resistant)),
        ("rootOfTrust", list.root_of_trust.as_ref().map(show_root_of_trust)),
        ("osVersion", number(list.os_version)),
        ("osPatchLevel", number(list.os_patch_level)),
        ("attestationApplicationId", show_application(list)),
        ("attestationIdBrand", text(&list.attestation_id_brand)),
        ("attestationIdDevice", text(&list.attestation_id_device)),
        ("attestationIdProduct", text(&list.attestation_id_product)),
        ("attestationIdSerial", text(&list.attestation_id_serial)),
        ("attestationIdImei", text(&list.attestation_id_imei)),
        ("attestationIdMeid", text(&list.attestation_id_meid)),
        ("attestationIdManufacturer", text(&list.attestation_id_manufacturer)),
        ("attestationIdModel", text(&list.attestation_id_model)),
        ("vendorPatchLevel", number(list.vendor_patch_level)),
        ("bootPatchLevel", number(list.boot_patch_level)),
        ("attestationIdSecondImei", text(&list.attestation_id_second_imei)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn show_origin(origin: KeyOrigin) -> &'static str {
    match origin {
        KeyOrigin::Generated => "GENERATED",
        KeyOrigin::Derived => "DERIVED",
        KeyOrigin::Imported => "IMPORTED",
        KeyOrigin::Reserved => "RESERVED",
        KeyOrigin::SecurelyImported => "SECURELY_IMPORTED",
    }
}

fn show_root_of_trust(root: &keyattest::RootOfTrust) -> Value {
    let state = match root.verified_boot_state {
        VerifiedBootState::Verified => "VERIFIED",
        VerifiedBootState::SelfSigned => "SELF_SIGNED",
        VerifiedBootState::Unverified => "UNVERIFIED",
        VerifiedBootState::Failed => "FAILED",
    };
    let mut shown = json!({
        "verifiedBootKey": STANDARD.encode(&root.verified_boot_key),
        "deviceLocked": root.device_locked,
        "verifiedBootState": state,
    });
    if let Some(hash) = &root.verified_boot_hash {
        shown["verifiedBootHash"] = json!(STANDARD.encode(hash));
    }
    shown
}

fn show_application(list: &AuthorizationList) -> Option<Value> {
    let id = list.attestation_application_id.as_ref()?;
    let packages: Vec<_> = id
        .packages
        .iter()
        .map(|package| json!({ "name": package.name, "version": package.version.to_string() }))
        .collect();
    let digests: Vec<_> = id.signature_digests.iter().map(|d| STANDARD.encode(d)).collect();
    Some(json!({ "packages": packages, "signatures": digests }))
}
