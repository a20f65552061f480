//! Keys of programs: docs/keys.md, line by line, on a real device with the real KeyMint; and what
//! is refused.

use crate::document::{Reader, blocks};
use crate::run::{holdfast, state};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn keys(state: &Path, arguments: &[&str]) -> Output {
    let mut command = holdfast();
    command.arg("keys").args(arguments).arg("--state").arg(state).output().unwrap()
}

fn json(state: &Path, arguments: &[&str]) -> Value {
    let output = keys(state, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The name of the refusal, and the exit code.
fn refusal(state: &Path, arguments: &[&str]) -> (String, Option<i32>) {
    let output = keys(state, &[arguments, &["--json"]].concat());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (said["error"].as_str().unwrap_or_default().to_owned(), output.status.code())
}

#[test]
fn s3_2_the_page_about_keys_works_as_written() {
    let home = state();
    let folder = home.path().join("holdfast-keys");
    let mut reader = Reader::at(home.path());
    let mut said = Vec::new();
    for block in blocks("docs/keys.md") {
        if block.terminal {
            reader.starts(&block.text);
            crate::alone::until_up(&block.text, &folder);
        } else {
            said.push(reader.types(&block.text));
        }
    }
    let said = said.join("\n");
    for due in ["Verified OK", "right", "release", "old: deleted", "named by the grantee: grant:"] {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
    refused(home.path(), &folder);
    again_after_a_restart(&mut reader, &folder);
    reader.leaves();
    assert_eq!(keys(&folder, &["list"]).status.code(), Some(3), "the device is off");
}

/// What a key was not made for, what is not there, what was altered.
fn refused(home: &Path, folder: &Path) {
    let file = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let (notes, boxed) = (file("notes.txt"), file("photo.box"));
    for (arguments, error) in [
        (&["show", "nothing"][..], "key_not_found"),
        (&["decrypt", "release", &boxed], "unsupported_purpose"),
        (&["sign", "release", &notes, "--digest", "sha_2_512"], "incompatible_digest"),
        (&["generate", "release", "--algorithm", "aes"], "key_already_exists"),
        (
            &["generate", "bad", "--algorithm", "rsa", "--key-size", "1", "--purpose", "sign"],
            "unsupported_key_size",
        ),
        (
            &[
                "generate",
                "late",
                "--algorithm",
                "aes",
                "--key-size",
                "128",
                "--unlocked-device-required",
            ],
            "no_screen_lock",
        ),
    ] {
        assert_eq!(refusal(folder, arguments), (error.to_owned(), Some(1)), "{arguments:?}");
    }
    let mut altered = std::fs::read(&boxed).unwrap();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(file("altered.box"), altered).unwrap();
    let (input, output) = (file("altered.box"), file("never.raw"));
    let decrypt = ["decrypt", "box", &input, "--output", &output];
    assert_eq!(refusal(folder, &decrypt), ("verification_failed".to_owned(), Some(1)));
    assert!(!Path::new(&output).exists(), "half of it was written");
    let forged = ["verify", "session", &notes, "--signature", &file("notes.sig")];
    assert_ne!(keys(folder, &forged).status.code(), Some(0));
    let usage = keys(folder, &["generate", "k", "--algorithm", "dsa"]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
}

/// What was made is there after power was off, and works.
fn again_after_a_restart(reader: &mut Reader, folder: &Path) {
    let before = json(folder, &["list"]);
    let boot = "holdfast device boot";
    reader.starts(boot);
    crate::alone::until_up(boot, folder);
    assert_eq!(json(folder, &["list"]), before);
    reader.types("holdfast keys sign release notes.txt --output again.sig");
    let checked = reader.types(
        "openssl dgst -sha256 -verify release.pem -signature again.sig notes.txt
        holdfast keys verify release notes.txt --signature again.sig",
    );
    assert_eq!(checked, "Verified OK\nright\n");
    let shown = json(folder, &["show", "release"]);
    assert_eq!(shown["characteristics"]["hardware_enforced"]["ec_curve"], "p_256");
}
