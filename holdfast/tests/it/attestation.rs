//! docs/attestation.md, as a relying party would type it, against a real cloud and a real device.

use crate::alone::{free_ports, until_up};
use crate::document::{Reader, blocks};
use crate::run::state;

#[test]
fn s2_1_2_the_page_about_attestation_works_as_written() {
    let home = state();
    let [keycenter, cloud] = free_ports();
    let mut reader = Reader::at(home.path());
    let mut said = String::new();
    for block in blocks("docs/attestation.md") {
        // The default ports may be somebody else's on this machine.
        let text = block
            .text
            .replace("keycenter serve", &format!("keycenter serve --listen 127.0.0.1:{keycenter}"))
            .replace("cloud serve", &format!("cloud serve --listen 127.0.0.1:{cloud}"))
            .replace("localhost:8200", &format!("localhost:{keycenter}"))
            .replace("localhost:8443", &format!("localhost:{cloud}"));
        if block.terminal {
            reader.starts(&text);
            until_up(&text, &home.path().join("holdfast-attestation"));
        } else {
            said.push_str(&reader.types(&text));
        }
    }
    for due in [
        "root            maker",
        r#""verdict":"accepted""#,
        r#""securityLevel":"TRUSTED_ENVIRONMENT""#,
        r#""version":1"#,
        r#""enrolled":true"#,
        r#""code":"CHALLENGE_REPLAYED""#,
        r#""token":"eyJ"#,
        r#""kty":"EC""#,
        "root            given",
        "provisioning    REMOTE",
        r#""reason":"EXPIRED""#,
        r#""keys":4"#,
    ] {
        assert!(said.contains(due), "{due} is missing in what was said:\n{said}");
    }
    let verdict = std::fs::read_to_string(home.path().join("card.verdict")).unwrap();
    assert!(verdict.contains(r#""verdict":"accepted""#), "{verdict}");
    reader.leaves();
}
