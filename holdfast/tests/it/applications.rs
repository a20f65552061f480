//! Trusted applications of others: docs/trusted-applications.md, line by line, on a real device.

use crate::document::{Reader, blocks};
use crate::run::{holdfast, state};
use std::path::Path;

/// Where cargo and rustup live when somebody else's home is in force; for this block alone.
fn in_the_repository(text: &str) -> String {
    let real = std::env::var("HOME").unwrap_or_default();
    let of = |name: &str, folder: &str| {
        std::env::var(name).unwrap_or_else(|_| format!("{real}/{folder}"))
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    format!(
        "cd {}; export CARGO_HOME={} RUSTUP_HOME={}\n{text}",
        root.display(),
        of("CARGO_HOME", ".cargo"),
        of("RUSTUP_HOME", ".rustup"),
    )
}

#[test]
fn s2_1_1_the_page_about_trusted_applications_works_as_written() {
    let home = state();
    let mut reader = Reader::at(home.path());
    let mut said = Vec::new();
    for block in blocks("docs/trusted-applications.md") {
        if block.terminal {
            let line = reader.starts(&block.text);
            assert!(line["phone_screen"].is_string(), "{} said {line}", block.text);
            crate::alone::until_up(&block.text, &home.path().join("holdfast-ta"));
        } else if block.text.starts_with("cargo ") {
            reader.types(&in_the_repository(&block.text));
        } else {
            said.push(reader.types(&block.text));
        }
    }
    let said = said.join("\n");
    for due in [
        "8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e90 ta-counter version 1, signed by ",
        "ta-keymint version 2, signed by maker, of the system",
        r#"{"count":2}"#,
        r#"{"reply":{"count":5}}"#,
        r#"{"proof":{"count":5,"mac":["#,
    ] {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
    // Read three times: before, over the socket, and after it was removed and came back.
    assert_eq!(said.matches(r#"{"count":5}"#).count(), 4, "{said}");

    // It is there again after a restart, and what the TEE refuses is told.
    let boot = "holdfast device boot";
    reader.starts(boot);
    crate::alone::until_up(boot, &home.path().join("holdfast-ta"));
    let uuid = "8e3f1a52-94c6-4f0e-8d51-6d2a1c5b7e90";
    let read = format!("holdfast device ta call {uuid} '\"read\"'");
    assert_eq!(reader.types(&read), "{\"count\":5}\n");
    refusals(home.path(), &mut reader, uuid);
    reader.leaves();
}

fn refusals(home: &Path, reader: &mut Reader, uuid: &str) {
    let device = home.join("holdfast-ta");
    let device = device.to_str().unwrap();
    let ta = |arguments: &[&str]| {
        let mut command = holdfast();
        command.args(["device", "ta"]).args(arguments).args(["--state", device]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, why) = ta(&["call", uuid, r#"{"subtract": 1}"#]);
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("bad parameters"), "{why}");
    let (code, why) = ta(&["call", uuid, "{"]);
    assert_eq!(code, Some(2), "{why}");
    let (code, why) = ta(&["remove", "686f6c64-6661-7374-2d6b-65796d696e74"]);
    assert!(code == Some(1) && why.contains("came with the system"), "{why}");
    // Older, and signed by nobody that this device knows.
    let sign = |key: &str, index: u32| {
        format!(
            "cp ta-counter.img again.img; holdfast avb erase_footer --image again.img; holdfast \
             avb add_hash_footer --image again.img --partition_name ta-counter \
             --dynamic_partition_size --algorithm SHA256_RSA2048 --key {key} --rollback_index \
             {index} --prop holdfast.ta.uuid:{uuid} --prop holdfast.ta.memory:1048576"
        )
    };
    let again = home.join("again.img");
    let again = again.to_str().unwrap();
    reader.types(&sign("vendor.pem", 0));
    let (code, why) = ta(&["install", again]);
    assert!(code == Some(1) && why.contains("has version 0"), "{why}");
    reader.types(
        "openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out other.pem",
    );
    reader.types(&sign("other.pem", 9));
    let (code, why) = ta(&["install", again]);
    assert!(code == Some(1) && why.contains("does not trust"), "{why}");
    let (code, why) = ta(&["install", "/nowhere"]);
    assert_eq!(code, Some(2), "{why}");
}
