//! docs/trusted-screen.md, as a reader would type it; and what comes out, verified by strangers.

use crate::document::{Reader, blocks};
use crate::run::{holdfast, state};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

const EXTRA: &[u8] = b"order 4711\n";
const TEXT: &str = "Pay 12.50 € to Jo";

fn confirm(state: &Path, text: &str) -> Output {
    let mut command = holdfast();
    command.args(["device", "confirm", "--json", "--text", text, "--state"]).arg(state);
    command.output().unwrap()
}

/// What anybody learns from the chain who trusts the maker's root.
fn attested(chain: &[Vec<u8>]) -> keyattest::Statement {
    let root = keyattest::verify_issued(&chain[1..]).unwrap().root;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    keyattest::verify_chain(chain, &[root], &|_| None, now.as_secs()).unwrap()
}

#[test]
fn s2_1_1_a_confirmed_text_is_signed_by_a_key_that_signs_nothing_else() {
    let home = state();
    let folder = home.path().join("state");
    let mut reader = Reader::at(home.path());
    reader.types("export HOLDFAST_STATE=$HOME/state");
    reader.types("holdfast device make");
    reader.starts("holdfast device boot");
    reader.types(
        "for i in $(seq 600); do holdfast device status > status && exit 0; sleep 0.05; done; exit 1",
    );
    for block in blocks("docs/trusted-screen.md") {
        let said = reader.types(&block.text);
        println!("{said}");
    }
    let keys = |keys: &str| {
        let body = serde_json::json!({ "keys": keys }).to_string();
        format!(
            "curl -sS --fail-with-body --unix-socket \"$HOLDFAST_STATE/device/board.sock\" \
             http://localhost/v1/keys -H 'content-type: application/json' -d '{body}'"
        )
    };
    reader.types(&keys("\n"));
    let given = confirm(&folder, TEXT);
    assert!(given.status.success(), "{given:?}");
    let given: Value = serde_json::from_slice(&given.stdout).unwrap();
    let bytes = |value: &Value| BASE64.decode(value.as_str().unwrap()).unwrap();
    let message = bytes(&given["message"]);
    assert!(message.windows(TEXT.len()).any(|window| window == TEXT.as_bytes()));
    let chain: Vec<Vec<u8>> = given["chain"].as_array().unwrap().iter().map(bytes).collect();
    let statement = attested(&chain);
    assert!(statement.description.hardware_enforced.trusted_confirmation_required);
    assert_eq!(statement.description.attestation_challenge, crypto::digest::sha256(b""));
    let key = statement.public_key.as_der();
    let signature = bytes(&given["signature"]);
    let verify = |message: &[u8]| {
        use crypto::sign::{Curve, Hash, ecdsa_verify};
        ecdsa_verify(Curve::P256, Hash::Sha256, key, message, &signature)
    };
    verify(&message).unwrap();
    let mut altered = message;
    *altered.last_mut().unwrap() ^= 1;
    assert!(verify(&altered).is_err());

    // The documented files: the challenge is the digest of what went along unseen.
    let pem = std::fs::read_to_string(home.path().join("confirmed/chain.pem")).unwrap();
    let chain: Vec<Vec<u8>> = pem
        .split("-----END CERTIFICATE-----\n")
        .filter_map(|part| part.split_once("-----BEGIN CERTIFICATE-----\n"))
        .map(|(_, text)| BASE64.decode(text.replace('\n', "")).unwrap())
        .collect();
    let challenge = attested(&chain).description.attestation_challenge;
    assert_eq!(challenge, crypto::digest::sha256(EXTRA));

    reader.types(&keys("\u{1b}"));
    let refused = confirm(&folder, TEXT);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let unshowable = confirm(&folder, "Pay \u{202e}05.21 €");
    assert_eq!(unshowable.status.code(), Some(1), "{unshowable:?}");
    assert!(String::from_utf8_lossy(&unshowable.stdout).contains("U+202E"), "{unshowable:?}");
    reader.leaves();
}
