//! Who gets in, for how long, and to what.

use super::*;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

#[tokio::test]
async fn a_service_signs_in_with_its_role_and_secret_alone() {
    let bench = Bench::new().await;
    let good = bench.credential();
    for (field, value) in
        [("secret_id", "wrong"), ("secret_id", ""), ("role_id", "wrong"), ("role_id", "")]
    {
        let mut credential = good.clone();
        credential[field] = json!(value);
        let (status, answer) = bench.post("", "auth/approle/login", credential).await;
        assert_eq!((status, error(&answer)), (400, "invalid role or secret ID"));
    }
    let (status, answer) = bench.post("", "auth/approle/login", good).await;
    assert_eq!(status, 200);
    assert_eq!(answer["auth"]["policies"], json!(["default", "cloud"]));
    assert_eq!(answer["auth"]["lease_duration"], 3600);
}

#[tokio::test]
async fn secrets_on_the_disk_are_their_owners_alone() {
    let bench = Bench::new().await;
    let made = bench.folder.path().join("made.pem");
    SoftwareHsm::make(&made).unwrap();
    for path in [bench.folder.path().join("bootstrap/cloud.json"), made] {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn nothing_is_done_without_a_token() {
    let bench = Bench::new().await;
    for (method, path) in [
        ("POST", "transit/encrypt/pii"),
        ("LIST", "transit/keys"),
        ("GET", "sys/policies/acl/owner"),
        ("GET", "auth/token/lookup-self"),
        ("POST", "auth/jwt/config"),
        ("GET", "no/such/path"),
    ] {
        for token in ["", "hvs.wrong", "'; DROP TABLE token; --"] {
            let (status, answer) = bench.send(token, method, path, &json!({})).await;
            assert_eq!((status, error(&answer)), (403, "permission denied"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn status_is_told_to_everybody() {
    let bench = Bench::new().await;
    let get = async |path| bench.send("", "GET", path, &json!({})).await;
    let (status, health) = get("sys/health").await;
    assert_eq!(
        (status, &health["initialized"], &health["sealed"]),
        (200, &json!(true), &json!(false))
    );
    assert_eq!(get("sys/seal-status").await.1["sealed"], json!(false));
    assert_eq!(get("sys/init").await.1, json!({"initialized": true}));
}

#[tokio::test]
async fn a_token_ends_and_is_renewed_up_to_a_day() {
    let bench = Bench::new().await;
    let token = bench.cloud().await;
    let lookup = async || bench.send(&token, "GET", "auth/token/lookup-self", &json!({})).await;
    assert_eq!(lookup().await.1["data"]["ttl"], 3600);
    for _ in 0..24 {
        bench.clock.advance(Duration::from_secs(3590));
        bench.post(&token, "auth/token/renew-self", json!({})).await;
    }
    let (_, answer) = lookup().await;
    assert!(answer["data"]["ttl"].as_u64().unwrap() <= 240, "{answer}");
    bench.clock.advance(Duration::from_secs(240));
    assert_eq!(lookup().await.0, 403);
}

#[tokio::test]
async fn a_revoked_token_is_gone() {
    let bench = Bench::new().await;
    let (token, other) = (bench.cloud().await, bench.cloud().await);
    let revoked = bench.post(&token, "auth/token/revoke-self", json!({})).await;
    assert_eq!(revoked.0, 204);
    let lookup = async |token| bench.send(token, "GET", "auth/token/lookup-self", &json!({})).await;
    assert_eq!(lookup(&token).await.0, 403);
    assert_eq!(lookup(&other).await.0, 200);
}

#[tokio::test]
async fn tokens_and_roles_outlive_a_restart() {
    let mut bench = Bench::new().await;
    let (token, credential) = (bench.cloud().await, bench.credential());
    bench.restart().await.unwrap();
    assert_eq!(bench.credential(), credential);
    assert_eq!(bench.send(&token, "GET", "auth/token/lookup-self", &json!({})).await.0, 200);
}

#[tokio::test]
async fn an_owner_signs_in_with_a_fresh_assertion_once() {
    let bench = Bench::new().await;
    bench.register().await;
    let claims = bench.claims("1", "first");
    let (status, answer) = bench.assert(&claims).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["auth"]["policies"], json!(["default", "owner"]));
    assert_eq!(
        (&answer["auth"]["lease_duration"], &answer["auth"]["renewable"]),
        (&json!(900), &json!(false))
    );
    let (status, answer) = bench.assert(&claims).await;
    assert_eq!(status, 400);
    assert!(error(&answer).contains("used before"), "{answer}");
}

#[tokio::test]
async fn a_replayed_assertion_is_refused_after_a_restart_too() {
    let mut bench = Bench::new().await;
    bench.register().await;
    let claims = bench.claims("1", "first");
    assert_eq!(bench.assert(&claims).await.0, 200);
    bench.restart().await.unwrap();
    bench.clock.advance(Duration::from_secs(299));
    // Other logins sweep away what has expired; this has not.
    bench.owner("2").await;
    assert_eq!(bench.assert(&claims).await.0, 400);
}

#[tokio::test]
async fn an_assertion_that_is_not_good_here_and_now_is_refused() {
    let bench = Bench::new().await;
    bench.register().await;
    let now = bench.clock.now().seconds();
    let cases = [
        ("expired", json!({"iat": now - 300, "exp": now})),
        ("longer than five minutes", json!({"exp": now + 301})),
        ("longer than five minutes", json!({"iat": now + 30, "exp": now + 1})),
        ("future", json!({"iat": now + 61, "exp": now + 300})),
        ("(iss)", json!({"iss": "somebody"})),
        ("(aud)", json!({"aud": "cloud"})),
        ("purpose", json!({"purpose": "service"})),
        ("(sub)", json!({"sub": ""})),
        ("(sub)", json!({"sub": "*"})),
        ("(sub)", json!({"sub": "../1"})),
        ("(sub)", json!({"sub": "x".repeat(129)})),
        ("jti", json!({"jti": ""})),
        ("claims", json!({"jti": null})),
        ("claims", json!({"exp": "soon"})),
    ];
    for (number, (reason, changed)) in cases.into_iter().enumerate() {
        let mut claims = bench.claims("1", &format!("case-{number}"));
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let (status, answer) = bench.assert(&claims).await;
        assert_eq!(status, 400, "{changed}");
        assert!(error(&answer).contains(reason), "{changed}: {answer}");
    }
}

#[tokio::test]
async fn an_assertion_signed_by_another_key_is_refused() {
    let bench = Bench::new().await;
    bench.register().await;
    let other = EcdsaKey::generate(Curve::P256).unwrap();
    let jwt = jws::sign(&bench.claims("1", "x"), |message| other.sign_fixed(message)).unwrap();
    for jwt in [jwt.as_str(), "", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        let (status, _) = bench.post("", "auth/jwt/login", json!({"jwt": jwt})).await;
        assert_eq!(status, 400, "{jwt}");
    }
}

#[tokio::test]
async fn no_assertion_is_believed_before_a_key_is_registered() {
    let bench = Bench::new().await;
    assert_eq!(bench.assert(&bench.claims("1", "x")).await.0, 400);
}

#[tokio::test]
async fn the_assertion_key_is_registered_once() {
    let mut bench = Bench::new().await;
    bench.register().await;
    let token = bench.cloud().await;
    let (_, there) = bench.send(&token, "GET", "auth/jwt/config", &json!({})).await;
    assert_eq!(there["data"]["bound_issuer"], "holdfast-account");
    bench.assertion_key = EcdsaKey::generate(Curve::P256).unwrap();
    let spki = b64(&bench.assertion_key.public_key_spki().unwrap());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{spki}\n-----END PUBLIC KEY-----\n");
    let config = json!({"jwt_validation_pubkeys": [pem], "bound_issuer": "holdfast-account"});
    assert_eq!(bench.post(&token, "auth/jwt/config", config).await.0, 403);
    assert_eq!(bench.assert(&bench.claims("1", "x")).await.0, 400);
}

#[tokio::test]
async fn refuses_assertion_keys_and_algorithms_that_it_does_not_understand() {
    let bench = Bench::new().await;
    let token = bench.cloud().await;
    let p384 = EcdsaKey::generate(Curve::P384).unwrap().public_key_spki().unwrap();
    let pem = |der: &[u8]| {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", b64(der))
    };
    let good = pem(&bench.assertion_key.public_key_spki().unwrap());
    for config in [
        json!({"bound_issuer": "i", "jwt_validation_pubkeys": []}),
        json!({"bound_issuer": "i", "jwt_validation_pubkeys": ["rubbish"]}),
        json!({"bound_issuer": "i", "jwt_validation_pubkeys": [pem(&p384)]}),
        json!({"bound_issuer": "", "jwt_validation_pubkeys": [good]}),
        json!({
            "bound_issuer": "i",
            "jwt_validation_pubkeys": [good],
            "jwt_supported_algs": ["HS256"],
        }),
        json!({"bound_issuer": "i"}),
    ] {
        let (status, answer) = bench.post(&token, "auth/jwt/config", config.clone()).await;
        assert_eq!(status, 400, "{config} {answer}");
    }
}
