//! A WebAuthn relying party's library accepts our attestation as `android-key` (WebAuthn, 8.4),
//! with our root, and nothing that was tampered with.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value as Cbor;
use crypto::sign::{Curve, EcdsaKey};
use keyattest::{KeyDescription, pem, value};
use serde_json::{Value, json};
use support::{Maker, asked_of, description};

const CHALLENGE: [u8; 32] = [0x5a; 32];
const CREDENTIAL_ID: [u8; 16] = [0x11; 16];

/// What an authenticator returns: the key's chain over the hash of the client's data, a signature
/// over all of it by the key itself, or by another signer.
fn registration(
    maker: &Maker,
    signer: Option<&EcdsaKey>,
    change: impl Fn(&mut KeyDescription),
) -> Value {
    let key = EcdsaKey::generate(Curve::P256).unwrap();
    let client_data = json!({
        "type": "webauthn.create",
        "challenge": URL_SAFE_NO_PAD.encode(CHALLENGE),
        "origin": "https://example.org",
    })
    .to_string();
    let hash = crypto::digest::sha256(client_data.as_bytes());
    let mut said = description();
    said.attestation_challenge = hash.to_vec();
    said.hardware_enforced.purpose = [value::PURPOSE_SIGN].into();
    change(&mut said);
    let chain = maker.attest(&key, &said);
    let authenticator_data = authenticator_data(&key);
    let signed = [&authenticator_data[..], &hash].concat();
    let signer = signer.unwrap_or(&key);
    let x5c = chain.into_iter().map(Cbor::Bytes).collect();
    let statement = Cbor::Map(vec![
        ("alg".into(), (-7).into()),
        ("sig".into(), Cbor::Bytes(signer.sign(&signed).unwrap())),
        ("x5c".into(), Cbor::Array(x5c)),
    ]);
    let object = cbor(&Cbor::Map(vec![
        ("fmt".into(), "android-key".into()),
        ("attStmt".into(), statement),
        ("authData".into(), Cbor::Bytes(authenticator_data)),
    ]));
    let id = URL_SAFE_NO_PAD.encode(CREDENTIAL_ID);
    json!({
        "id": id,
        "rawId": id,
        "type": "public-key",
        "response": {
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client_data),
            "attestationObject": URL_SAFE_NO_PAD.encode(object),
        },
    })
}

/// WebAuthn, 6.1: relying party, flags (present, verified, with a credential), counter, credential.
fn authenticator_data(key: &EcdsaKey) -> Vec<u8> {
    let point = key.public_key_point();
    let cose = cbor(&Cbor::Map(vec![
        (1.into(), 2.into()),
        (3.into(), (-7).into()),
        ((-1).into(), 1.into()),
        ((-2).into(), Cbor::Bytes(point[1..33].to_vec())),
        ((-3).into(), Cbor::Bytes(point[33..].to_vec())),
    ]));
    let relying_party = crypto::digest::sha256(b"example.org");
    let length = u16::try_from(CREDENTIAL_ID.len()).unwrap().to_be_bytes();
    [&relying_party[..], &[0x45, 0, 0, 0, 0], &[0; 16], &length, &CREDENTIAL_ID, &cose].concat()
}

fn cbor(value: &Cbor) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).unwrap();
    out
}

#[test]
fn s3_2_a_webauthn_relying_party_accepts_our_attestation_and_refuses_the_rest() {
    let (maker, other) = (Maker::new(), Maker::new());
    let stranger = EcdsaKey::generate(Curve::P256).unwrap();
    let mut altered = registration(&maker, None, |_| {});
    let object = altered["response"]["attestationObject"].as_str().unwrap();
    let mut object = URL_SAFE_NO_PAD.decode(object).unwrap();
    let x5c = object.windows(3).position(|it| it == b"x5c").unwrap();
    object[x5c + 200] ^= 1;
    altered["response"]["attestationObject"] = json!(URL_SAFE_NO_PAD.encode(object));
    let cases = [
        ("ours", registration(&maker, None, |_| {})),
        ("another maker's", registration(&other, None, |_| {})),
        ("another challenge", registration(&maker, None, |it| it.attestation_challenge[0] ^= 1)),
        ("another signer", registration(&maker, Some(&stranger), |_| {})),
        ("altered", altered),
    ];
    let cases: Vec<Value> = cases
        .into_iter()
        .map(|(name, credential)| json!({ "name": name, "credential": credential }))
        .collect();
    let asked = json!({
        "root": pem::encode(&[maker.root.certificate.as_der()]),
        "challenge": URL_SAFE_NO_PAD.encode(CHALLENGE),
        "cases": cases,
    });
    let Some(verdicts) = asked_of("webauthn==3.0.1", "relying_party.py", &asked) else { return };
    for (name, verdict) in verdicts.as_object().unwrap() {
        assert_eq!(verdict == "accepted", name == "ours", "{name}: {verdict}");
    }
    assert_eq!(verdicts.as_object().unwrap().len(), 5);
}
