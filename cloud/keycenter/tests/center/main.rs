//! The Key Center from outside: its HTTP interface, and what it leaves on the disk.

mod audit;
mod hostile;
mod logins;
mod program;
mod transit;

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cloud_keycenter::Center;
use cloud_keycenter::root_key::SoftwareHsm;
use crypto::sign::{Curve, EcdsaKey};
use effects::{Clock as _, ManualClock, SystemEntropy, UnixMillis};
use http::{Method, Request};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;
use tower::ServiceExt as _;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// A Key Center in a folder of its own, with a clock that stands still.
struct Bench {
    folder: TempDir,
    clock: Arc<ManualClock>,
    router: Router,
    assertion_key: EcdsaKey,
}

/// RSA-4096 keys take a second; one serves all tests.
fn root_key() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root-key.pem");
        SoftwareHsm::make(&path).unwrap();
        std::fs::read(path).unwrap()
    })
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root-key.pem"), root_key()).unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        let router = open(folder.path(), &clock).await.unwrap();
        let assertion_key = EcdsaKey::generate(Curve::P256).unwrap();
        Self { folder, clock, router, assertion_key }
    }

    /// Stops it and starts it again on what is on the disk.
    async fn restart(&mut self) -> Result<(), cloud_keycenter::Error> {
        self.router = Router::new();
        self.router = open(self.folder.path(), &self.clock).await?;
        Ok(())
    }

    fn database(&self) -> std::path::PathBuf {
        self.folder.path().join("keycenter.db")
    }

    fn credential(&self) -> Value {
        let file = std::fs::read(self.folder.path().join("bootstrap/cloud.json")).unwrap();
        serde_json::from_slice(&file).unwrap()
    }

    async fn send(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.send_raw(token, method, path, body.to_string().into()).await
    }

    async fn send_raw(&self, token: &str, method: &str, path: &str, body: Body) -> (u16, Value) {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("/v1/{path}"));
        if !token.is_empty() {
            request = request.header("x-vault-token", token);
        }
        let answer = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn post(&self, token: &str, path: &str, body: Value) -> (u16, Value) {
        self.send(token, "POST", path, &body).await
    }

    /// The cloud's token.
    async fn cloud(&self) -> String {
        let (status, answer) = self.post("", "auth/approle/login", self.credential()).await;
        assert_eq!(status, 200, "{answer}");
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Registers the bench's assertion key, as the cloud does.
    async fn register(&self) {
        let spki = STANDARD.encode(self.assertion_key.public_key_spki().unwrap());
        let config = json!({
            "jwt_validation_pubkeys":
                [format!("-----BEGIN PUBLIC KEY-----\n{spki}\n-----END PUBLIC KEY-----\n")],
            "jwt_supported_algs": ["ES256"],
            "bound_issuer": "holdfast-account",
        });
        let (status, answer) = self.post(&self.cloud().await, "auth/jwt/config", config).await;
        assert_eq!(status, 204, "{answer}");
    }

    /// Claims that are good now.
    fn claims(&self, sub: &str, jti: &str) -> Value {
        let now = self.clock.now().seconds();
        json!({
            "iss": "holdfast-account",
            "aud": "keycenter",
            "sub": sub,
            "purpose": "owner",
            "iat": now,
            "exp": now + 300,
            "jti": jti,
        })
    }

    async fn assert(&self, claims: &Value) -> (u16, Value) {
        let jwt = jws::sign(claims, |message| self.assertion_key.sign_fixed(message)).unwrap();
        self.post("", "auth/jwt/login", json!({"role": "owner", "jwt": jwt})).await
    }

    /// An owner's token.
    async fn owner(&self, sub: &str) -> String {
        let jti = format!("{sub}-{}", u64::from_le_bytes(crypto::random_array()));
        let (status, answer) = self.assert(&self.claims(sub, &jti)).await;
        assert_eq!(status, 200, "{answer}");
        answer["auth"]["client_token"].as_str().unwrap().to_owned()
    }
}

async fn open(folder: &Path, clock: &Arc<ManualClock>) -> Result<Router, cloud_keycenter::Error> {
    let center = Center::open(folder, clock.clone(), Arc::new(SystemEntropy)).await?;
    Ok(center.router())
}

fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn error(answer: &Value) -> &str {
    answer["errors"][0].as_str().unwrap_or_default()
}
