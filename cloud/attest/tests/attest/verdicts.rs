//! Verdicts: policies, challenges, tokens that others check, Google's phones and list.

use crate::support::{Cloud, cloud, key, refusal, said, service};
use cloud_attest::{Asked, KeyPolicy, PackagePolicy, Policy, Refusal, RootOwner, SignedVerdict};
use effects::{Clock, UnixMillis};
use keyattest::{AttestationApplicationId, KeyDescription, Package, VerifiedBootState, pem, value};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

const ANYONE: Asked<'_> = Asked { party: None, challenge: None, policy: None };

/// A verdict on a fresh chain that says what `change` makes it say.
async fn verdict(
    cloud: &Cloud,
    policy: &Policy,
    change: impl FnOnce(&mut KeyDescription),
) -> SignedVerdict {
    let device = match cloud.attest.device_of_maker("Maker", "HF-1").await {
        Ok(_) => unreachable!("each test uses its own cloud"),
        Err(_) => cloud.enrolled("HF-1").await,
    };
    cloud.attest.admit("admin", "bank").await.unwrap();
    cloud.attest.store_policy("admin", "bank", "strict", policy).await.unwrap();
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    let mut said = said(&challenge);
    change(&mut said);
    let chain = cloud.maker.attest_as(&device, &key(), &said);
    let asked = Asked { party: Some("bank"), challenge: None, policy: Some("strict") };
    cloud.attest.verdict(&chain, asked).await.unwrap()
}

fn codes(signed: &SignedVerdict) -> Vec<&str> {
    signed.verdict.reasons.iter().map(|reason| &*reason.code).collect()
}

/// The claims of a token, if one of the published keys signed it.
async fn claims(cloud: &Cloud, token: &str) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    let set = cloud.attest.jwks().await.unwrap();
    let keys = set["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).expect("the key is published");
    let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], part("x"), part("y")].concat();
    jws::verify(token, &point).unwrap()
}

#[tokio::test]
async fn s2_1_2_a_verdict_says_everything_and_is_signed() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let challenge = cloud.attest.challenge().await.unwrap().bytes;
    let chain = cloud.maker.attest(&device, &challenge, &key());
    let asked = Asked { challenge: Some(&challenge), ..ANYONE };
    let signed = cloud.attest.verdict(&chain, asked).await.unwrap();
    assert_eq!((signed.verdict.verdict, codes(&signed)), ("accepted", vec![]));
    let said = claims(&cloud, &signed.token).await;
    assert_eq!(said["verdict"], "accepted");
    assert_eq!((&said["sub"], &said["iss"]), (&json!("HF-1"), &json!("holdfast-attestation")));
    let now = cloud.clock.now().seconds();
    assert_eq!((said["iat"].as_u64(), said["exp"].as_u64()), (Some(now), Some(now + 300)));
    assert_eq!(said["device"]["boot_state"], "green");
    assert_eq!(said["device"]["os_patch_level"], 202_601);
    assert_eq!(said["attestation"]["hardwareEnforced"]["origin"], "GENERATED");
    // The same chain is a replay, and that is a signed verdict too.
    let again = cloud.attest.verdict(&chain, asked).await.unwrap();
    assert_eq!((again.verdict.verdict, codes(&again)), ("refused", vec!["CHALLENGE_REPLAYED"]));
    let said = claims(&cloud, &again.token).await;
    assert_eq!((&said["verdict"], &said["device"]), (&json!("refused"), &Value::Null));
}

#[tokio::test]
async fn refuses_altered_chains_other_challenges_and_unknown_devices_with_the_reason() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let chain = cloud.evidence(&device).await;
    let mut altered = chain.clone();
    *altered[0].last_mut().unwrap() ^= 1;
    let signed = cloud.attest.verdict(&altered, ANYONE).await.unwrap();
    assert_eq!(codes(&signed), ["INVALID_SIGNATURE"]);
    let asked = Asked { challenge: Some(&[9; 32]), ..ANYONE };
    let signed = cloud.attest.verdict(&chain, asked).await.unwrap();
    assert_eq!(codes(&signed), ["CHALLENGE_MISMATCH"]);
    let stranger = cloud.maker.device("HF-2");
    let chain = cloud.evidence(&stranger).await;
    let signed = cloud.attest.verdict(&chain, ANYONE).await.unwrap();
    assert_eq!(codes(&signed), ["DEVICE_UNKNOWN"]);
    assert!(signed.verdict.device.is_some(), "what it says is shown all the same");
    let none: [Vec<u8>; 0] = [];
    let signed = cloud.attest.verdict(&none, ANYONE).await.unwrap();
    assert_eq!(codes(&signed), ["MALFORMED_CHAIN"]);
}

#[tokio::test]
async fn s2_1_2_a_relying_partys_own_challenge_counts_once() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let own = [0xab; 16];
    let chain = cloud.maker.attest(&device, &own, &key());
    let asked = Asked { party: Some("bank"), challenge: Some(&own), policy: None };
    let stranger = Asked { party: None, ..asked };
    let signed = cloud.attest.verdict(&chain, stranger).await.unwrap();
    assert_eq!(codes(&signed), ["CHALLENGE_UNKNOWN"]);
    let signed = cloud.attest.verdict(&chain, asked).await.unwrap();
    assert_eq!(signed.verdict.verdict, "accepted");
    assert_eq!(claims(&cloud, &signed.token).await["aud"], "bank");
    cloud.clock.advance(Duration::from_secs(29 * 24 * 3600));
    let signed = cloud.attest.verdict(&chain, asked).await.unwrap();
    assert_eq!(codes(&signed), ["CHALLENGE_REPLAYED"]);
    let short = [0xab; 15];
    let chain = cloud.maker.attest(&device, &short, &key());
    let signed = cloud.attest.verdict(&chain, Asked { challenge: Some(&short), ..asked }).await;
    assert_eq!(codes(&signed.unwrap()), ["INVALID"]);
}

#[tokio::test]
async fn every_rule_of_a_policy_can_refuse() {
    type Change = fn(&mut KeyDescription);
    let strict = |change: fn(&mut Policy)| {
        let mut policy = Policy::default();
        change(&mut policy);
        policy
    };
    let nothing: Change = |_| {};
    let cases: Vec<(Policy, Change, &str)> = vec![
        (Policy::default(), |it| root(it).device_locked = false, "UNLOCKED"),
        (
            Policy::default(),
            |it| root(it).verified_boot_state = VerifiedBootState::SelfSigned,
            "BOOT_STATE",
        ),
        (strict(|it| it.roots = vec![RootOwner::Cloud]), nothing, "ROOT"),
        (strict(|it| it.security_level = "strongbox".into()), nothing, "SECURITY_LEVEL"),
        (strict(|it| it.verified_boot_keys = vec!["00".repeat(32)]), nothing, "BOOT_KEY"),
        (strict(|it| it.min_os_version = 160_000), nothing, "OS_VERSION"),
        (strict(|it| it.min_os_patch_level = 202_602), nothing, "OS_PATCH_LEVEL"),
        (strict(|it| it.min_vendor_patch_level = 1), nothing, "VENDOR_PATCH_LEVEL"),
        (strict(|it| it.min_boot_patch_level = 20_260_106), nothing, "BOOT_PATCH_LEVEL"),
        (strict(|it| it.packages = vec![bank()]), nothing, "PACKAGE"),
        (
            strict(|it| it.packages = vec![bank()]),
            |it| it.software_enforced.attestation_application_id = Some(application(1, 0xbb)),
            "PACKAGE",
        ),
        (
            strict(|it| it.packages = vec![bank()]),
            |it| it.software_enforced.attestation_application_id = Some(application(0, 0xaa)),
            "PACKAGE",
        ),
        (Policy::default(), |it| it.hardware_enforced.vendor_patch_level = Some(7), "ODDITIES"),
        (strict(|it| it.key = KeyPolicy { sign_only: true, ..it.key }), nothing, "KEY_PURPOSE"),
        (
            strict(|it| it.key.user_authentication = true),
            |it| it.hardware_enforced.no_auth_required = true,
            "KEY_USER_AUTHENTICATION",
        ),
        (strict(|it| it.key.unlocked_device = true), nothing, "KEY_UNLOCKED_DEVICE"),
        (strict(|it| it.key.rollback_resistance = true), nothing, "KEY_ROLLBACK_RESISTANCE"),
    ];
    for (policy, change, code) in cases {
        let signed = verdict(&cloud().await, &policy, change).await;
        assert_eq!((signed.verdict.verdict, codes(&signed)), ("refused", vec![code]));
    }
}

#[tokio::test]
async fn a_strict_policy_accepts_what_meets_it() {
    let policy = Policy {
        verified_boot_keys: vec!["ab".repeat(32)],
        min_os_patch_level: 202_601,
        packages: vec![bank()],
        key: KeyPolicy {
            sign_only: true,
            user_authentication: true,
            unlocked_device: true,
            rollback_resistance: true,
        },
        ..Policy::default()
    };
    let cloud = cloud().await;
    let signed = verdict(&cloud, &policy, |it| {
        it.software_enforced.attestation_application_id = Some(application(1, 0xaa));
        it.hardware_enforced.purpose = [value::PURPOSE_SIGN].into();
        it.hardware_enforced.user_auth_type = Some(2);
        it.hardware_enforced.unlocked_device_required = true;
        it.hardware_enforced.rollback_resistance = true;
    })
    .await;
    assert_eq!((signed.verdict.verdict, codes(&signed)), ("accepted", vec![]));
    let said = claims(&cloud, &signed.token).await;
    assert_eq!(said["policy"], json!({ "name": "strict", "version": 1 }));
    assert_eq!(said["key"]["packages"], json!([{ "name": "org.example.bank", "version": 1 }]));
    assert_eq!(said["key"]["signers"], json!(["aa".repeat(32)]));
}

fn root(said: &mut KeyDescription) -> &mut keyattest::RootOfTrust {
    said.hardware_enforced.root_of_trust.as_mut().unwrap()
}

fn bank() -> PackagePolicy {
    let name = "org.example.bank".to_owned();
    PackagePolicy { name, signers: vec!["aa".repeat(32)], min_version: 1 }
}

fn application(version: u64, signer: u8) -> AttestationApplicationId {
    let package = Package { name: "org.example.bank".into(), version };
    AttestationApplicationId {
        packages: [package].into(),
        signature_digests: [vec![signer; 32]].into(),
    }
}

#[tokio::test]
async fn policies_are_kept_in_versions_and_belong_to_their_party() {
    let cloud = cloud().await;
    let attest = &cloud.attest;
    let credential = attest.admit("admin", "bank").await.unwrap();
    assert_eq!(attest.relying_party(&credential).await.unwrap(), "bank");
    let replaced = attest.admit("admin", "bank").await.unwrap();
    assert_eq!(refusal(attest.relying_party(&credential).await), Refusal::NotARelyingParty);
    assert_eq!(attest.relying_party(&replaced).await.unwrap(), "bank");

    let (first, second) = (Policy::default(), Policy { locked: false, ..Policy::default() });
    let store = async |policy: &Policy| {
        attest.store_policy("admin", "bank", "app", policy).await.unwrap().version
    };
    assert_eq!((store(&first).await, store(&first).await), (1, 1), "the same is the same");
    assert_eq!(store(&second).await, 2);
    assert_eq!(attest.policy("bank", "app", None).await.unwrap().policy, second);
    assert_eq!(attest.policy("bank", "app", Some(1)).await.unwrap().policy, first);
    assert_eq!(attest.policies("bank").await.unwrap(), [("app".to_owned(), 2)]);
    assert_eq!(attest.policies("shop").await.unwrap(), []);
    let missing = attest.policy("shop", "app", None).await;
    assert_eq!(refusal(missing), Refusal::NotFound("policy"));
    let unknown = attest.store_policy("admin", "shop", "app", &first).await;
    assert_eq!(refusal(unknown), Refusal::NotFound("relying party"));
    let wrong = Policy { boot_states: vec![], ..Policy::default() };
    let wrong = attest.store_policy("admin", "bank", "app", &wrong).await;
    assert_eq!(refusal(wrong).code(), "invalid");
    for name in ["", "a/b", ".hidden", &"x".repeat(65)] {
        assert_eq!(refusal(attest.admit("admin", name).await).code(), "invalid", "{name}");
    }
    // Nobody uses another's policies, and nobody without a credential uses any.
    let device = cloud.enrolled("HF-1").await;
    let chain = cloud.evidence(&device).await;
    let asked = Asked { policy: Some("app"), ..ANYONE };
    let verdict = attest.verdict(&chain, asked).await;
    assert_eq!(refusal(verdict), Refusal::NotARelyingParty);

    attest.dismiss("admin", "bank").await.unwrap();
    assert_eq!(attest.relying_parties().await.unwrap(), []);
    assert_eq!(attest.policies("bank").await.unwrap(), []);
    assert_eq!(refusal(attest.dismiss("admin", "bank").await), Refusal::NotFound("relying party"));
}

#[tokio::test]
async fn verdicts_of_a_replaced_key_verify_until_they_lapse() {
    let cloud = cloud().await;
    let device = cloud.enrolled("HF-1").await;
    let token = async || {
        let chain = cloud.evidence(&device).await;
        cloud.attest.verdict(&chain, ANYONE).await.unwrap().token
    };
    let old = token().await;
    cloud.attest.rotate_signing_key("admin").await.unwrap();
    let new = token().await;
    assert_eq!(claims(&cloud, &old).await["verdict"], "accepted");
    assert_eq!(claims(&cloud, &new).await["verdict"], "accepted");
    let restarted = service(cloud.folder.path(), &cloud.clock, &cloud.log).await;
    assert_eq!(restarted.jwks().await.unwrap(), cloud.attest.jwks().await.unwrap());
    cloud.clock.advance(Duration::from_secs(8 * 24 * 3600));
    let set = cloud.attest.jwks().await.unwrap();
    assert_eq!(set["keys"].as_array().unwrap().len(), 1);
}

/// A phone of Google's, and the sample of its list, where the recorded data is.
fn phone() -> Option<(Vec<Vec<u8>>, Vec<u8>)> {
    let set = std::env::var_os("HOLDFAST_TEST_DATA").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = set.unwrap_or(beside).join("keystore-tee/attestation");
    let chain = data.join("android-keyattestation/testdata/blueline/sdk28/TEE_EC_NONE.pem");
    let list = data.join("google-android-key-attestation/src/test/resources/status.json");
    match (std::fs::read(&chain), std::fs::read(&list)) {
        (Ok(chain), Ok(list)) => Some((pem::decode(&chain).unwrap(), list)),
        _ => {
            eprintln!("no recorded chain at {}: set HOLDFAST_TEST_DATA", chain.display());
            None
        }
    }
}

#[tokio::test]
async fn s2_1_2_a_real_phone_counts_only_under_a_fresh_list_of_google() {
    let Some((chain, list)) = phone() else { return };
    let cloud = cloud().await;
    let attest = &cloud.attest;
    attest.admit("admin", "bank").await.unwrap();
    let policy = Policy {
        roots: vec![RootOwner::Google],
        enrolled: false,
        locked: false,
        boot_states: vec!["orange".into()],
        ..Policy::default()
    };
    attest.store_policy("admin", "bank", "phones", &policy).await.unwrap();
    // The recorded challenge is nine bytes, too short for one of a party's own: the last rule
    // before the policy says so. Until then everything held.
    let asked =
        Asked { party: Some("bank"), challenge: Some(b"challenge"), policy: Some("phones") };
    let reason = async || {
        let signed = attest.verdict(&chain, asked).await.unwrap();
        signed.verdict.reasons[0].code.clone()
    };
    assert_eq!(reason().await, "REVOCATION_LIST_STALE", "without any list");
    let now = cloud.clock.now();
    let day = 24 * 3600 * 1000;
    assert_eq!(attest.google_list().take(&list, UnixMillis(now.0 - day)).unwrap(), 5);
    assert_eq!(reason().await, "INVALID");
    cloud.clock.advance(Duration::from_millis(1));
    assert_eq!(reason().await, "REVOCATION_LIST_STALE");
    // A damaged list takes nobody's place, an older one neither.
    assert!(attest.google_list().take(b"{}", cloud.clock.now()).is_err());
    let _ = attest.google_list().take(&list, UnixMillis(now.0 - 2 * day));
    assert_eq!(reason().await, "REVOCATION_LIST_STALE");
    attest.google_list().take(&list, cloud.clock.now()).unwrap();
    assert_eq!(reason().await, "INVALID");
    // A list that names the phone's certificate, in decimal digits as many of Google's entries.
    let number = keyattest::x509::Certificate::parse(&chain[1]).unwrap().serial().to_hex();
    let number = u128::from_str_radix(&number, 16).unwrap().to_string();
    let revoked = format!(r#"{{"entries": {{"{number}": {{"status": "REVOKED"}}}}}}"#);
    attest.google_list().take(revoked.as_bytes(), cloud.clock.now()).unwrap();
    assert_eq!(reason().await, "REVOKED");
    // And it is no device of ours.
    let refused = refusal(attest.verify(&chain).await);
    assert_eq!(refused.code(), "attestation_refused");
}
