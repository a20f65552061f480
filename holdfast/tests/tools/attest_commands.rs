//! `holdfast attest verify`: chains of a maker made for the test, and chains of real phones.

use crate::data::{holdfast, test_data};
use crypto::sign::{Curve, EcdsaKey};
use keyattest::x509::{
    Certificate, CertificateParams, KeyUsage, Name, SerialNumber, SignatureAlgorithm, Spki,
    Validity, build_certificate,
};
use keyattest::{
    AuthorizationList, KeyDescription, KeyOrigin, RootOfTrust, SecurityLevel, VerifiedBootState,
    pem, value,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

struct Authority {
    key: EcdsaKey,
    certificate: Certificate,
}

fn key() -> EcdsaKey {
    EcdsaKey::generate(Curve::P256).unwrap()
}

fn spki(key: &EcdsaKey) -> Spki {
    Spki::from_der(&key.public_key_spki().unwrap()).unwrap()
}

fn sign(params: &CertificateParams, issuer: &EcdsaKey) -> Certificate {
    let der = build_certificate(params, SignatureAlgorithm::EcdsaSha256, |tbs| issuer.sign(tbs));
    Certificate::parse(&der.unwrap()).unwrap()
}

/// A maker, one of its devices, and a folder for chains.
struct Bench {
    folder: TempDir,
    device: Authority,
    above: Vec<Certificate>,
}

impl Bench {
    fn new() -> Self {
        let life = Validity::days(NOW - 86_400, 30);
        let serial = |number| SerialNumber::from_bytes(&[0xa0, number]).unwrap();
        let root_key = key();
        let name = Name::authority("Root", "Maker").unwrap();
        let params = CertificateParams::root(name, serial(1), life, spki(&root_key));
        let root = sign(&params, &root_key);
        let below = key();
        let name = Name::factory("f00d").unwrap();
        let params = CertificateParams::intermediate(&root, name, serial(2), life, spki(&below));
        let intermediate = sign(&params, &root_key);
        let key = key();
        let name = Name::factory("HF-1").unwrap();
        let params = CertificateParams::device(&intermediate, name, serial(3), life, spki(&key));
        let device = Authority { certificate: sign(&params, &below), key };
        let folder = tempfile::tempdir().unwrap();
        let bench = Self { folder, device, above: vec![intermediate, root] };
        bench.put("root.pem", &pem::encode(&[bench.above[1].as_der()]));
        bench
    }

    fn put(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The chain of a fresh key, and that key.
    fn attest(&self, change: impl FnOnce(&mut KeyDescription)) -> (Vec<Vec<u8>>, EcdsaKey) {
        let mut said = description();
        change(&mut said);
        let attested = key();
        let of = &self.device.certificate;
        let params = CertificateParams::attested(of, spki(&attested), &said).unwrap();
        let leaf = sign(&params, &self.device.key);
        let all = [&leaf, of, &self.above[0], &self.above[1]];
        (all.map(|it| it.as_der().to_vec()).to_vec(), attested)
    }

    /// Exit code and answer, with the maker's root as the only one.
    fn verify(&self, chain: &[Vec<u8>], more: &[&str]) -> (Option<i32>, Value) {
        let file = self.put("chain.pem", &pem::encode(chain));
        let root = self.folder.path().join("root.pem");
        let time = NOW.to_string();
        let roots = ["--roots", root.to_str().unwrap(), "--time", &time];
        verify(&file, &[&roots, more].concat())
    }

    fn reason(&self, chain: &[Vec<u8>], more: &[&str]) -> String {
        let (code, said) = self.verify(chain, more);
        assert_eq!((code, &said["verdict"]), (Some(1), &"refused".into()), "{said}");
        said["reason"].as_str().unwrap().to_owned()
    }
}

fn verify(file: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let start = ["attest", "verify", file.to_str().unwrap(), "--json"];
    let output = holdfast(&[&start, more].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{errors}"));
    (output.status.code(), said)
}

fn description() -> KeyDescription {
    KeyDescription {
        attestation_version: 400,
        attestation_security_level: SecurityLevel::TrustedEnvironment,
        key_mint_version: 400,
        key_mint_security_level: SecurityLevel::TrustedEnvironment,
        attestation_challenge: b"challenge".to_vec(),
        unique_id: Vec::new(),
        software_enforced: AuthorizationList::default(),
        hardware_enforced: AuthorizationList {
            purpose: [value::PURPOSE_SIGN].into(),
            origin: Some(KeyOrigin::Generated),
            root_of_trust: Some(RootOfTrust {
                verified_boot_key: vec![0xab; 32],
                device_locked: true,
                verified_boot_state: VerifiedBootState::Verified,
                verified_boot_hash: Some(vec![0xcd; 32]),
            }),
            os_patch_level: Some(202_601),
            ..AuthorizationList::default()
        },
    }
}

#[test]
fn s3_2_a_sound_chain_is_accepted_and_shown() {
    let bench = Bench::new();
    let (chain, _) = bench.attest(|_| {});
    let (code, said) = bench.verify(&chain, &["--challenge", "6368616c6c656e6765"]);
    assert_eq!((code, &said["verdict"]), (Some(0), &"accepted".into()));
    assert_eq!(said["hardwareEnforced"]["osPatchLevel"], "202601");
    let of_chain = &said["chain"];
    assert_eq!((&of_chain["root"], &of_chain["device"]), (&"given".into(), &"HF-1".into()));
    let file = bench.folder.path().join("chain.pem");
    let root = bench.folder.path().join("root.pem");
    let (file, root) = (file.to_str().unwrap(), root.to_str().unwrap());
    let time = "2026-01-01T00:00:00Z";
    let output = holdfast(&["attest", "verify", file, "--roots", root, "--time", time]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for due in ["accepted\n", "FACTORY", "green, locked", "202601"] {
        assert!(text.contains(due), "{due} is missing in {text}");
    }
}

#[test]
fn s3_2_every_refusal_has_its_reason() {
    let bench = Bench::new();
    let (chain, attested) = bench.attest(|_| {});
    let (other, _) = Bench::new().attest(|_| {});
    assert_eq!(bench.reason(&other, &[]), "NO_TRUST_ANCHOR");
    let mut altered = chain.clone();
    *altered[1].last_mut().unwrap() ^= 1;
    assert_eq!(bench.reason(&altered, &[]), "INVALID_SIGNATURE");
    let spliced = [&chain[..1], &other[1..3], &chain[3..]].concat();
    assert_eq!(bench.reason(&spliced, &[]), "INVALID_SIGNATURE");
    assert_eq!(bench.reason(&chain[..3], &[]), "MALFORMED_CHAIN");
    assert_eq!(bench.reason(&chain[1..], &[]), "TARGET_MISSING_ATTESTATION_EXTENSION");

    // An attested key signs for another key: in silence, and with an attestation of its own.
    let of = Certificate::parse(&chain[0]).unwrap();
    let silent = CertificateParams::unattested(
        of.subject().clone(),
        spki(&key()),
        KeyUsage::DIGITAL_SIGNATURE,
    );
    let fake = CertificateParams::attested(&of, spki(&key()), &description()).unwrap();
    for (params, reason) in [
        (silent, "CHAIN_EXTENDED_FOR_KEY"),
        (fake, "CHAIN_EXTENDED_WITH_FAKE_ATTESTATION_EXTENSION"),
    ] {
        let below = sign(&params, &attested).as_der().to_vec();
        assert_eq!(bench.reason(&[vec![below], chain.clone()].concat(), &[]), reason);
    }
    let of_software = |it: &mut KeyDescription| {
        it.attestation_security_level = SecurityLevel::Software;
    };
    assert_eq!(bench.reason(&bench.attest(of_software).0, &[]), "MISMATCHED_SECURITY_LEVELS");
    let imported = |it: &mut KeyDescription| {
        it.hardware_enforced.origin = Some(KeyOrigin::Imported);
    };
    assert_eq!(bench.reason(&bench.attest(imported).0, &[]), "KEY_ORIGIN_NOT_GENERATED");
    let silent = |it: &mut KeyDescription| it.hardware_enforced.root_of_trust = None;
    assert_eq!(bench.reason(&bench.attest(silent).0, &[]), "ROOT_OF_TRUST_MISSING");
    assert_eq!(bench.reason(&chain, &["--challenge", "00"]), "CHALLENGE_MISMATCH");
    let early = (NOW - 2 * 86_400).to_string();
    let file = bench.folder.path().join("chain.pem");
    let root = bench.folder.path().join("root.pem");
    let (_, said) = verify(&file, &["--roots", root.to_str().unwrap(), "--time", &early]);
    assert_eq!(said["reason"], "NOT_YET_VALID");
    let (_, said) = verify(&bench.put("none.pem", "no certificates\n"), &[]);
    assert_eq!(said["reason"], "MALFORMED_CHAIN");
}

#[test]
fn s3_2_revoked_and_stale_are_refused() {
    let bench = Bench::new();
    let (chain, _) = bench.attest(|_| {});
    // 0xa003, in both notations.
    for (serial, status) in [("a003", "REVOKED"), ("40963", "SUSPENDED")] {
        let list = format!(r#"{{"entries": {{"{serial}": {{"status": "{status}"}}}}}}"#);
        let list = bench.put("status.json", &list);
        assert_eq!(bench.reason(&chain, &["--status", list.to_str().unwrap()]), "REVOKED");
    }
    let list = bench.put("status.json", r#"{"entries": {}}"#);
    let options = ["--status", list.to_str().unwrap(), "--status-max-age", "1"];
    assert_eq!(bench.verify(&chain, &options).0, Some(0));
    let file = std::fs::File::options().write(true).open(&list).unwrap();
    let written = std::time::SystemTime::now() - std::time::Duration::from_secs(3700);
    file.set_modified(written).unwrap();
    assert_eq!(bench.reason(&chain, &options), "REVOCATION_LIST_STALE");
}

#[test]
fn what_cannot_be_judged_says_why() {
    let bench = Bench::new();
    let (chain, _) = bench.attest(|_| {});
    let file = bench.put("chain.pem", &pem::encode(&chain));
    let file = file.to_str().unwrap();
    let broken = bench.put("broken", "{");
    let broken = broken.to_str().unwrap();
    for (arguments, code, due) in [
        (vec!["/nowhere.pem"], 3, "/nowhere.pem"),
        (vec![file, "--roots", "/nowhere"], 3, "/nowhere"),
        (vec![file, "--roots", broken], 2, "no certificate"),
        (vec![file, "--status", broken], 2, "not JSON"),
        (vec![file, "--challenge", "0"], 2, "hexadecimal"),
        (vec![file, "--time", "noon"], 2, "2026-01-31T12:00:00Z"),
        (vec![file, "--state", "/nowhere"], 3, "no state folder"),
        (vec![file, "--status-max-age", "1"], 2, "--status"),
    ] {
        let output = holdfast(&[&["attest", "verify"], &arguments[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(due), "{arguments:?}: {text}");
    }
}

#[test]
fn s3_2_a_chain_is_read_as_people_leave_it_and_no_further_than_it_may_be() {
    let bench = Bench::new();
    let (chain, _) = bench.attest(|_| {});
    let text = pem::encode(&chain);
    let root = bench.folder.path().join("root.pem");
    let time = NOW.to_string();
    let options = ["--roots", root.to_str().unwrap(), "--time", &time];
    let joined = text.replace("-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----");
    for text in [format!("\u{feff}{text}"), joined, text.replace('\n', "\r")] {
        let (code, said) = verify(&bench.put("chain.pem", &text), &options);
        assert_eq!((code, &said["verdict"]), (Some(0), &"accepted".into()), "{text:.40}");
    }
    std::fs::write(bench.folder.path().join("chain.der"), &chain[0]).unwrap();
    for (file, detail) in [
        (bench.folder.path().join("chain.der"), "DER"),
        (PathBuf::from("/dev/zero"), "larger than 4 MiB"),
        (PathBuf::from("/dev/null"), "no certificate"),
    ] {
        let (code, said) = verify(&file, &options);
        assert_eq!((code, &said["reason"]), (Some(1), &"MALFORMED_CHAIN".into()));
        assert!(said["detail"].as_str().unwrap().contains(detail), "{said}");
    }
    let file = bench.put("chain.pem", &text);
    let endless = ["attest", "verify", file.to_str().unwrap(), "--status", "/dev/zero"];
    let output = holdfast(&endless);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn s3_2_real_phones_are_shown_as_googles_verifier_shows_them() {
    let Some(data) = test_data("keystore-tee/attestation/android-keyattestation/testdata") else {
        return;
    };
    let mut chains = 0;
    for family in ["akita/sdk34", "blueline/sdk28", "marlin/sdk29"] {
        for entry in std::fs::read_dir(data.join(family)).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_none_or(|it| it != "pem") {
                continue;
            }
            // When the newest of them were recorded.
            let (code, said) = verify(&file, &["--time", "2024-09-27T12:00:00Z"]);
            let expected = std::fs::read(file.with_extension("json")).unwrap();
            let expected: Value = serde_json::from_slice(&expected).unwrap();
            for (field, due) in expected.as_object().unwrap() {
                assert_eq!(&said[field], due, "{}: {field}", file.display());
            }
            let software = family.starts_with("marlin");
            assert_eq!(code, Some(i32::from(software)), "{}", file.display());
            if software {
                assert_eq!(said["reason"], "NO_TRUST_ANCHOR");
            }
            chains += 1;
        }
    }
    assert_eq!(chains, 12);
}
