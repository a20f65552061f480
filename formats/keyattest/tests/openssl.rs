//! OpenSSL reads our certificates and verifies our chains.

mod support;

use crypto::sign::{Curve, EcdsaKey};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use support::{Maker, NOW, description};

fn openssl(arguments: &[&str], files: &[&Path]) -> Option<Output> {
    match Command::new("openssl").args(arguments).args(files).output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI must have openssl: {error}");
            eprintln!("no openssl here: our chains are not checked against it ({error})");
            None
        }
    }
}

#[test]
fn s2_1_2_openssl_verifies_our_chain() {
    let maker = Maker::new();
    let key = EcdsaKey::generate(Curve::P256).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = ["leaf", "device", "intermediate", "root"]
        .iter()
        .zip(maker.attest(&key, &description()))
        .map(|(name, der)| {
            let path = folder.path().join(format!("{name}.pem"));
            fs::write(&path, pem(&der)).unwrap();
            path
        })
        .collect();
    let untrusted = folder.path().join("untrusted.pem");
    let both = [fs::read(&files[1]).unwrap(), fs::read(&files[2]).unwrap()].concat();
    fs::write(&untrusted, both).unwrap();
    let (root, untrusted) = (files[3].to_str().unwrap(), untrusted.to_str().unwrap());
    let at = NOW.to_string();
    let arguments = ["verify", "-attime", &at, "-CAfile", root, "-untrusted", untrusted];
    let Some(output) = openssl(&arguments, &[&files[0]]) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // The maker's part of the chain is clean even to the strict eye.
    let strict = ["verify", "-x509_strict", "-attime", &at, "-CAfile", root, "-untrusted"];
    let intermediate = files[2].to_str().unwrap();
    let output = openssl(&[&strict[..], &[intermediate]].concat(), &[&files[1]]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let shown = openssl(&["x509", "-noout", "-text", "-in"], &[&files[0]]).unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    for expected in ["CN = Android Keystore Key", "1.3.6.1.4.1.11129.2.1.17", "Digital Signature"] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
