//! A maker, its device and its keys, made anew for each test.
#![allow(dead_code, reason = "each test program uses its part")]

use crypto::sign::{Curve, EcdsaKey};
use keyattest::x509::{
    Certificate, CertificateParams, Name, SerialNumber, SignatureAlgorithm, Spki, Validity,
    build_certificate,
};
use keyattest::{
    AuthorizationList, KeyDescription, KeyOrigin, RootOfTrust, SecurityLevel, VerifiedBootState,
    value,
};
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// 2026-01-01.
pub(crate) const NOW: u64 = 1_767_225_600;

/// A key and its certificate.
pub(crate) struct Authority {
    pub(crate) key: EcdsaKey,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) certificate: Certificate,
}

/// A maker's factory and one device.
pub(crate) struct Maker {
    pub(crate) root: Authority,
    pub(crate) intermediate: Authority,
    pub(crate) device: Authority,
}

pub(crate) fn spki(key: &EcdsaKey) -> Spki {
    Spki::from_der(&key.public_key_spki().unwrap()).unwrap()
}

pub(crate) fn serial(number: u8) -> SerialNumber {
    SerialNumber::from_bytes(&[0xa5, number]).unwrap()
}

pub(crate) fn sign(
    params: &CertificateParams,
    issuer: &EcdsaKey,
    algorithm: SignatureAlgorithm,
) -> Vec<u8> {
    build_certificate(params, algorithm, |tbs| issuer.sign(tbs)).unwrap()
}

impl Maker {
    pub(crate) fn new() -> Self {
        let validity = Validity::days(NOW - 86_400, 10_000);
        let key = EcdsaKey::generate(Curve::P384).unwrap();
        let name = Name::authority("Maker Root", "Maker").unwrap();
        let params = CertificateParams::root(name, serial(1), validity, spki(&key));
        let root = Authority::new(&params, key, None);
        let key = EcdsaKey::generate(Curve::P256).unwrap();
        let name = Name::factory("f0f0f0f0f0f0f0f0").unwrap();
        let of = &root.certificate;
        let params = CertificateParams::intermediate(of, name, serial(2), validity, spki(&key));
        let intermediate = Authority::new(&params, key, Some(&root));
        let key = EcdsaKey::generate(Curve::P256).unwrap();
        let name = Name::factory("HF0000000001").unwrap();
        let of = &intermediate.certificate;
        let params = CertificateParams::device(of, name, serial(3), validity, spki(&key));
        let device = Authority::new(&params, key, Some(&intermediate));
        Self { root, intermediate, device }
    }

    pub(crate) fn roots(&self) -> Vec<Spki> {
        vec![self.root.certificate.public_key().clone()]
    }

    /// Device, intermediate, root.
    pub(crate) fn device_chain(&self) -> Vec<Vec<u8>> {
        [&self.device, &self.intermediate, &self.root]
            .map(|authority| authority.certificate.as_der().to_vec())
            .to_vec()
    }

    /// A key's certificate, and the chain above it.
    pub(crate) fn attest(&self, key: &EcdsaKey, description: &KeyDescription) -> Vec<Vec<u8>> {
        let of = &self.device.certificate;
        let params = CertificateParams::attested(of, spki(key), description).unwrap();
        let leaf = sign(&params, &self.device.key, self.device.algorithm);
        [vec![leaf], self.device_chain()].concat()
    }
}

impl Authority {
    pub(crate) fn new(params: &CertificateParams, key: EcdsaKey, issuer: Option<&Self>) -> Self {
        let algorithm = match key.public_key_point().len() {
            65 => SignatureAlgorithm::EcdsaSha256,
            _ => SignatureAlgorithm::EcdsaSha384,
        };
        let der = match issuer {
            Some(issuer) => sign(params, &issuer.key, issuer.algorithm),
            None => sign(params, &key, algorithm),
        };
        Self { key, algorithm, certificate: Certificate::parse(&der).unwrap() }
    }
}

pub(crate) fn description() -> KeyDescription {
    KeyDescription {
        attestation_version: 300,
        attestation_security_level: SecurityLevel::TrustedEnvironment,
        key_mint_version: 300,
        key_mint_security_level: SecurityLevel::TrustedEnvironment,
        attestation_challenge: vec![0xc5; 32],
        unique_id: Vec::new(),
        software_enforced: AuthorizationList::default(),
        hardware_enforced: AuthorizationList {
            purpose: [value::PURPOSE_SIGN].into(),
            algorithm: Some(value::ALGORITHM_EC),
            key_size: Some(256),
            digest: [value::DIGEST_SHA_2_256].into(),
            ec_curve: Some(value::CURVE_P_256),
            no_auth_required: true,
            origin: Some(KeyOrigin::Generated),
            root_of_trust: Some(RootOfTrust {
                verified_boot_key: vec![0xab; 32],
                device_locked: true,
                verified_boot_state: VerifiedBootState::Verified,
                verified_boot_hash: Some(vec![0xcd; 32]),
            }),
            os_version: Some(150_000),
            os_patch_level: Some(202_601),
            boot_patch_level: Some(20_260_105),
            ..AuthorizationList::default()
        },
    }
}

/// Where the recorded data of real devices lies; says so once where it does not.
pub(crate) fn test_data(path: &str) -> Option<PathBuf> {
    let set = std::env::var_os("HOLDFAST_TEST_DATA").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let found = set.unwrap_or(beside).join(path);
    if !found.exists() {
        eprintln!("no recorded data at {}: set HOLDFAST_TEST_DATA to check it", found.display());
        return None;
    }
    Some(found)
}

/// What a script beside the tests answers to a question; both are JSON. It uses a package of PyPI
/// (`name==version`). `None`, said once, where that can't be installed; under CI it must.
pub(crate) fn asked_of(package: &str, script: &str, question: &Value) -> Option<Value> {
    let Some(python) = python(package) else {
        assert!(std::env::var_os("CI").is_none(), "{package} cannot be installed, and CI needs it");
        eprintln!("skipped: {package} cannot be installed (needs python3 with venv, and PyPI)");
        return None;
    };
    let mut child = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A Python that has the package: the one that `cargo xtask test` made, else an environment beside
/// the build.
fn python(package: &str) -> Option<PathBuf> {
    let (module, _) = package.split_once("==").unwrap();
    let ready = |python: &Path| {
        let import = ["-c", &format!("import {module}")];
        Command::new(python).args(import).output().is_ok_and(|it| it.status.success())
    };
    let given = std::env::var_os("HOLDFAST_PYTHON").map(PathBuf::from);
    if let Some(python) = given.filter(|python| ready(python)) {
        return Some(python);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(module);
    let python = folder.join("bin/python");
    if !ready(&python) {
        Command::new("python3").args(["-m", "venv"]).arg(&folder).output().ok()?;
        let install = ["-m", "pip", "install", "--quiet", package];
        Command::new(&python).args(install).output().ok()?;
    }
    ready(&python).then_some(python)
}
