//! The HTTP interface.

use super::*;
use ::http::{Request, StatusCode};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse as _, Response};
use cloud_sync::{Authenticator, Caller, routes};
use futures_util::future::BoxFuture;
use tower::ServiceExt as _;
use wire::sync::{Head, Root};

/// `device:…` is a device, `user:…` a person, of the account behind the colon.
struct Tokens;

impl Authenticator for Tokens {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Caller, Response>> {
        let caller = match token.split_once(':') {
            Some(("device", account)) => {
                Ok(Caller { account: account.into(), device_id: Some("device-1".into()) })
            }
            Some(("user", account)) => Ok(Caller { account: account.into(), device_id: None }),
            _ => Err(StatusCode::UNAUTHORIZED.into_response()),
        };
        Box::pin(std::future::ready(caller))
    }
}

const DEVICE: &str = "device:account-1";
const USER: &str = "user:account-1";

async fn send(
    router: &Router,
    token: &str,
    method: &str,
    path: &str,
    body: impl Into<Body>,
) -> (u16, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(format!("/v1/sync/{path}"));
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (status, to_bytes(answer.into_body(), usize::MAX).await.unwrap().into())
}

fn word(body: &[u8]) -> String {
    serde_json::from_slice::<wire::Refusal>(body).unwrap().error
}

#[tokio::test]
async fn a_device_stores_and_its_owner_fetches() {
    let bench = Bench::new().await;
    let router = routes(bench.sync.clone(), Arc::new(Tokens));
    let pack = pack(&[b"a", b"b"]);
    let ids = join_ids(&pack.blocks);

    let root = serde_json::to_vec(&Root { wrapped_id_key: WRAPPED.into() }).unwrap();
    assert_eq!(send(&router, USER, "GET", "root", "").await.0, 404);
    assert_eq!(send(&router, DEVICE, "PUT", "root", root.clone()).await.0, 201);
    assert_eq!(send(&router, DEVICE, "PUT", "root", root.clone()).await.0, 409);
    assert_eq!(send(&router, USER, "GET", "root", "").await.1, root);

    assert_eq!(send(&router, DEVICE, "POST", "missing", ids.clone()).await, (200, ids.clone()));
    let path = format!("packs/{}", pack.id);
    for _ in 0..2 {
        assert_eq!(send(&router, DEVICE, "PUT", &path, pack.bytes.clone()).await.0, 201);
    }
    assert_eq!(send(&router, DEVICE, "POST", "missing", ids.clone()).await, (200, Vec::new()));

    let advance = serde_json::to_vec(&snapshot_of(0, &[&pack])).unwrap();
    assert_eq!(send(&router, USER, "GET", "head", "").await.0, 404);
    assert_eq!(send(&router, DEVICE, "PUT", "head", advance).await.0, 204);
    let stale = serde_json::to_vec(&snapshot_of(7, &[&pack])).unwrap();
    let (status, body) = send(&router, DEVICE, "PUT", "head", stale).await;
    assert_eq!((status, word(&body).as_str()), (409, "another_came_first"));
    let (_, head) = send(&router, USER, "GET", "head", "").await;
    assert_eq!(serde_json::from_slice::<Head>(&head).unwrap().generation, 1);

    let (status, answer) = send(&router, USER, "POST", "blocks", ids).await;
    assert_eq!(status, 200);
    assert_eq!(opened(&answer, &pack.blocks), [b"a", b"b"]);
}

#[tokio::test]
async fn nobody_gets_in_without_a_session_and_a_person_changes_nothing() {
    let bench = Bench::new().await;
    let router = routes(bench.sync.clone(), Arc::new(Tokens));
    let pack = format!("packs/{}", pack(&[b"a"]).id);
    let all = [
        ("GET", "root"),
        ("PUT", "root"),
        ("GET", "head"),
        ("PUT", "head"),
        ("POST", "missing"),
        ("PUT", &pack),
        ("POST", "blocks"),
    ];
    for (method, path) in all {
        for token in ["", "rubbish"] {
            assert_eq!(send(&router, token, method, path, "").await.0, 401, "{method} {path}");
        }
    }
    for (method, path) in [("PUT", "root"), ("PUT", "head"), ("POST", "missing"), ("PUT", &pack)] {
        let (status, body) = send(&router, USER, method, path, "").await;
        assert_eq!((status, word(&body).as_str()), (403, "device_only"), "{method} {path}");
    }
}

#[tokio::test]
async fn bad_questions_are_refused_with_a_reason() {
    let bench = Bench::new().await;
    let router = routes(bench.sync.clone(), Arc::new(Tokens));
    let name = "0".repeat(64);
    let good = pack(&[b"a"]).bytes;
    for (method, path, body, status, expected) in [
        ("PUT", "root", b"{".to_vec(), 400, "invalid_body"),
        ("PUT", "root", vec![b' '; 9000], 413, "invalid_body"),
        ("PUT", "head", b"{}".to_vec(), 400, "invalid_body"),
        ("POST", "missing", vec![0; 31], 400, "malformed_name"),
        ("POST", "missing", vec![0; 32 * 16_385], 413, "invalid_body"),
        ("POST", "blocks", vec![0; 33], 400, "malformed_name"),
        ("POST", "blocks", vec![0; 32], 404, "block_missing"),
        ("PUT", "packs/..", Vec::new(), 400, "malformed_name"),
        ("PUT", "packs/xyz", Vec::new(), 400, "malformed_name"),
        ("PUT", &format!("packs/{name}"), b"rubbish!".to_vec(), 400, "malformed_pack"),
        ("PUT", &format!("packs/{name}"), good, 400, "wrong_pack_name"),
    ] {
        let (got, body) = send(&router, DEVICE, method, path, body).await;
        assert_eq!((got, word(&body).as_str()), (status, expected), "{method} {path}");
    }
}
