//! Keys that are elsewhere: a program signs.

use super::{builds, keys, ota, says};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

fn script(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[track_caller]
fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A folder with builds, an RSA key and an ECDSA key, and `hsm`, a program that signs with them
/// when it is given the path of the public half.
fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    builds(at);
    keys(at);
    openssl(at, "ecparam -name prime256v1 -genkey -noout -out ec.pem");
    openssl(at, "req -x509 -new -key ec.pem -sha256 -subj /CN=ec -out ec-cert.pem");
    openssl(at, "pkey -in key.pem -pubout -out public.pem");
    // Raw RSA with the private key is what openssl calls decrypting.
    let raw = "openssl pkeyutl -decrypt -pkeyopt rsa_padding_mode:none -inkey";
    let sign = "openssl pkeyutl -sign -inkey";
    let home = at.display();
    let hsm = format!(
        "echo \"$1 $(basename $2)\" >> {home}/asked\n\
         case $1 in\n\
         SHA256_RSA2048) {raw} {home}/key.pem;;\n\
         SHA256_ECDSA_P256) {sign} {home}/ec.pem;;\n\
         esac"
    );
    script(at, "hsm", &hsm);
    folder
}

#[test]
fn s2_6_a_program_signs_payload_zip_file_and_index_as_the_key_itself_would() {
    let folder = bench();
    let at = folder.path();
    let make = "make @build1 --cert @cert.pem --timestamp 5";
    says(&ota(at, &format!("{make} --key @key.pem -o @here.zip --index @here.index")), 0, "signed");
    let elsewhere = "--key @public.pem --signing-helper @hsm -o @there.zip --index @there.index";
    says(&ota(at, &format!("{make} {elsewhere}")), 0, "signed");
    for (here, there) in [("here.zip", "there.zip"), ("here.index", "there.index")] {
        assert!(fs::read(at.join(here)).unwrap() == fs::read(at.join(there)).unwrap(), "{here}");
    }
    let asked = fs::read_to_string(at.join("asked")).unwrap();
    assert_eq!(asked, "SHA256_RSA2048 public.pem\n".repeat(4), "metadata, payload, file, index");

    // A certificate names a key as well; two keys sign each.
    let both = "--key @ec-cert.pem --key @public.pem --cert @ec-cert.pem --signing-helper @hsm";
    says(&ota(at, &format!("sign @here.zip -o @both.zip {both}")), 0, "signed");
    says(&ota(at, "verify @both.zip --cert @ec-cert.pem"), 0, "whole-file signature");
    says(&ota(at, "verify @both.zip --cert @cert.pem"), 1, "whole file");
    let bare = "delta --from @build1 --to @build2 --bare -o @delta.bin";
    says(&ota(at, &format!("{bare} --key @public.pem --signing-helper @hsm")), 0, "signed");
    says(&ota(at, "verify @delta.bin --cert @cert.pem"), 0, "payload signature");
}

#[test]
fn a_program_that_does_not_sign_is_told_with_its_own_words() {
    let folder = bench();
    let at = folder.path();
    script(at, "angry", "echo no token >&2; exit 1");
    script(at, "silent", "true");
    script(at, "noisy", "head -c 256 /dev/zero");
    let make = "make @build1 -o @never.zip --cert @cert.pem";
    for (how, code, why) in [
        ("--key @public.pem --signing-helper @angry", 1, "no token"),
        ("--key @public.pem --signing-helper @silent", 1, "another one"),
        ("--key @public.pem --signing-helper @noisy", 1, "another one"),
        ("--key @public.pem --signing-helper @nowhere", 1, "nowhere"),
        ("--key @ec-cert.pem --signing-helper @hsm", 1, "not the certificate of the first key"),
        ("--signing-helper @hsm", 2, "--key"),
    ] {
        says(&ota(at, &format!("{make} {how}")), code, why);
        assert!(!at.join("never.zip").exists(), "{how}");
    }
    openssl(at, "genrsa -out short.pem 1024");
    let short = "make @build1 --bare -o @never.bin --key @short.pem --signing-helper @hsm";
    says(&ota(at, short), 1, "RSA of 2048");
}
