//! The attestation service as a relying party and a maker use it; its verdicts, read by PyJWT.

use crate::maker::Device;
use crate::person::{code_of, enrol, fresh_challenge};
use crate::processes::Clouds;
use http_link::Client;
use keyattest::VerifiedBootState;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wire::attest::{
    Admitted, Alarm, BulkEnrolled, DeviceRecord, EnrolmentResult, Provisioned, Roots, StoredPolicy,
};

/// The service, its administrator and a relying party.
struct Service {
    clouds: Clouds,
    client: Client,
    admin: String,
    maker: String,
    party: String,
}

const PARTY: &str = "/v1/attestation/relying-parties/bank";

impl Service {
    async fn start() -> Self {
        let clouds = Clouds::start();
        let client = clouds.cloud.client();
        let admin = clouds.credential("attestation.json");
        let maker = clouds.credential("maker.json");
        let admitted: Admitted = client.put(PARTY).bearer(&admin).send_json().await.unwrap();
        Self { clouds, client, admin, maker, party: admitted.credential }
    }

    async fn verify(&self, body: &Value) -> Value {
        let request = self.client.post("/v1/attestation/verify").bearer(&self.party);
        request.json(body).send_json().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.client.get(path).send_json().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_1_2_a_relying_party_gets_verdicts_that_others_check_offline() {
    let service = Service::start().await;
    let device = Device::made("HF-0042-0100");
    enrol(&service.clouds, &service.client, &device).await;
    let policy = json!({ "locked": true, "boot_states": ["green", "yellow"] });
    let path = format!("{PARTY}/policies/app");
    let stored: StoredPolicy<Value> =
        service.client.put(&path).bearer(&service.party).json(&policy).send_json().await.unwrap();
    assert_eq!((stored.version, &stored.policy["enrolled"]), (1, &json!(true)));

    let challenge = fresh_challenge(&service.client).await;
    let query = json!({
        "chain": device.attest(&challenge),
        "challenge": wire::Base64(challenge),
        "policy": "app",
    });
    let accepted = service.verify(&query).await;
    assert_eq!(accepted["verdict"], "accepted");
    assert_eq!(accepted["device"]["serial"], "HF-0042-0100");
    let replayed = service.verify(&query).await;
    assert_eq!(replayed["reasons"][0]["code"], "CHALLENGE_REPLAYED");
    let own = [0x77; 20];
    let orange = device.attest_as(&own, VerifiedBootState::Unverified);
    let query =
        json!({ "chain": orange, "challenge": wire::Base64(own.to_vec()), "policy": "app" });
    let refused = service.verify(&query).await;
    assert_eq!(refused["verdict"], "refused");
    assert_eq!(refused["reasons"][0]["code"], "UNLOCKED");

    let Some(python) = python() else { return };
    let token = |verdict: &Value| verdict["token"].as_str().unwrap().to_owned();
    let mut forged = token(&accepted).into_bytes();
    let at = forged.len() / 2;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let tokens = json!([token(&accepted), token(&refused), String::from_utf8(forged).unwrap()]);
    let jwks = service.get("/v1/attestation/jwks.json").await;
    let read = |audience: &str| {
        reads(&python, &json!({ "jwks": jwks, "audience": audience, "tokens": tokens }))
    };
    let claims = read("bank");
    assert_eq!(claims[0]["verdict"], "accepted");
    assert_eq!(claims[0]["policy"], json!({ "name": "app", "version": 1 }));
    assert_eq!(claims[1]["reasons"][1]["code"], "BOOT_STATE");
    assert!(claims[2].is_string(), "{}", claims[2]);
    assert_eq!(read("shop")[0], "InvalidAudienceError");
}

/// What a third party makes of tokens.
fn reads(python: &Path, asked: &Value) -> Value {
    let mut child = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/walk/verdict.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A Python with PyJWT: the one that `cargo xtask test` made, else one beside the build.
fn python() -> Option<PathBuf> {
    let ready = |python: &Path| {
        let import = ["-c", "import jwt, cryptography"];
        Command::new(python).args(import).output().is_ok_and(|it| it.status.success())
    };
    let given = std::env::var_os("HOLDFAST_PYTHON").map(PathBuf::from);
    if let Some(python) = given.filter(|python| ready(python)) {
        return Some(python);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pyjwt");
    let python = folder.join("bin/python");
    if !ready(&python) {
        Command::new("python3").args(["-m", "venv"]).arg(&folder).output().ok()?;
        let install = ["-m", "pip", "install", "--quiet", "pyjwt[crypto]==2.15.1"];
        Command::new(&python).args(install).output().ok()?;
    }
    if ready(&python) {
        return Some(python);
    }
    assert!(std::env::var_os("CI").is_none(), "PyJWT cannot be installed, and CI needs it");
    eprintln!("skipped: PyJWT cannot be installed (needs python3 with venv, and PyPI)");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_1_2_a_maker_enrols_in_bulk_revokes_and_sees_alarms() {
    let service = Service::start().await;
    let Service { client, maker, .. } = &service;
    let devices = ["HF-0042-0201", "HF-0042-0202"].map(Device::made);
    let broken: Vec<wire::Base64> = vec![wire::Base64(vec![0x30, 0])];
    let run = json!({ "chains": [devices[0].chain(), broken, devices[1].chain()] });
    let bulk = client.post("/v1/makers/devices/bulk").bearer(maker).json(&run);
    let BulkEnrolled { results } = bulk.send_json().await.unwrap();
    let [EnrolmentResult::Enrolled { .. }, EnrolmentResult::Refused { error, .. }, last] =
        &results[..]
    else {
        panic!("{results:?}");
    };
    assert_eq!(error, "not_a_root");
    assert_eq!(last, &EnrolmentResult::Enrolled { serial: "HF-0042-0202".into() });

    let get = async |path: &str| client.get(path).bearer(maker).send().await;
    let listed: Vec<DeviceRecord> =
        get("/v1/makers/devices?limit=1").await.unwrap().json().await.unwrap();
    assert_eq!(listed.len(), 1);
    let path = "/v1/makers/devices/HF-0042-0202";
    let revoke = json!({ "reason": "KEY_COMPROMISE" });
    let asked = client.post(&format!("{path}/revoke")).bearer(maker).json(&revoke);
    asked.send().await.unwrap();
    let found: DeviceRecord = get(path).await.unwrap().json().await.unwrap();
    assert_eq!(found.revoked_reason.as_deref(), Some("KEY_COMPROMISE"));
    assert_eq!(code_of(get("/v1/makers/devices/HF-0").await), "device_unknown");
    let list = service.get("/v1/attestation/status").await;
    let entry = list["entries"].as_object().unwrap().values().next().unwrap();
    assert_eq!(entry, &json!({ "status": "REVOKED", "reason": "KEY_COMPROMISE" }));
    let suspend = json!({ "status": "SUSPENDED", "reason": "SOFTWARE_FLAW" });
    let asked = client.post("/v1/makers/certificates/ab12/revoke").bearer(maker).json(&suspend);
    asked.send().await.unwrap();
    let list = service.get("/v1/attestation/status").await;
    assert_eq!(list["entries"]["ab12"], suspend);

    // A second board under the first one's number, of the same maker.
    let twin = devices[0].twin();
    let run = json!({ "chains": [twin.chain()] });
    let bulk = client.post("/v1/makers/devices/bulk").bearer(maker).json(&run);
    bulk.send().await.unwrap();
    let alarms: Vec<Alarm> = get("/v1/makers/alarms").await.unwrap().json().await.unwrap();
    assert_eq!((&*alarms[0].serial, &*alarms[0].kind), ("HF-0042-0201", "serial_twice"));

    for path in ["/v1/makers/devices", "/v1/makers/alarms", "/v1/makers/devices/HF-0042-0201"] {
        let refused = client.get(path).bearer(&service.party).send().await;
        assert_eq!(code_of(refused), "not_a_maker", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s2_1_2_a_device_is_provisioned_remotely() {
    let service = Service::start().await;
    let device = Device::made("HF-0042-0300");
    enrol(&service.clouds, &service.client, &device).await;
    let challenge = fresh_challenge(&service.client).await;
    let (request, key) = device.request(&challenge);
    let body = json!({ "request": wire::Base64(request) });
    let ask = async || {
        service
            .client
            .post("/v1/attestation/provision")
            .json(&body)
            .send_json::<Provisioned>()
            .await
    };
    let Provisioned { chains, .. } = ask().await.unwrap();
    assert_eq!(code_of(ask().await), "challenge_replayed");
    let root = &chains[0].last().unwrap().0;
    let root = keyattest::x509::Certificate::parse(root).unwrap();
    let roots: Roots = service.client.get("/v1/attestation/roots").send_json().await.unwrap();
    let of_cloud = roots.roots.iter().find(|root| root.owner == "cloud").unwrap();
    assert_eq!(of_cloud.public_key.0, root.public_key().as_der());
    assert_eq!(roots.roots.iter().filter(|root| root.owner == "google").count(), 2);
    let published = std::fs::read(service.clouds.state().join("attestation/root.pem")).unwrap();
    assert_eq!(keyattest::pem::decode(&published).unwrap(), [root.as_der()]);

    let challenge = fresh_challenge(&service.client).await;
    let chain = Device::attest_provisioned(&chains[0], &key, &challenge);
    let verdict = service.verify(&json!({ "chain": chain })).await;
    assert_eq!(verdict["verdict"], "accepted", "{verdict}");
    assert_eq!(verdict["device"]["serial"], "HF-0042-0300");
    assert_eq!(verdict["device"]["provisioning"], "remote");
    assert_eq!(verdict["device"]["certificates_issued"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_credential_of_the_attestation_service_opens_its_own_doors_only() {
    let service = Service::start().await;
    let Service { client, admin, party, .. } = &service;
    let other: Admitted =
        client.put("/v1/attestation/relying-parties/shop").bearer(admin).send_json().await.unwrap();
    let path = format!("{PARTY}/policies/app");
    let put = async |credential: &str, body: Value| {
        client.put(&path).bearer(credential).json(&body).send().await
    };
    put(admin, json!({})).await.unwrap();
    assert_eq!(code_of(put(&other.credential, json!({})).await), "not_found");
    assert_eq!(code_of(put("x", json!({})).await), "not_a_relying_party");
    assert_eq!(code_of(put(party, json!({ "lokced": true })).await), "invalid_body");
    assert_eq!(code_of(put(party, json!({ "roots": [] })).await), "invalid");
    for path in ["/v1/attestation/relying-parties", "/v1/attestation/keys/rotate"] {
        let request = if path.ends_with("rotate") { client.post(path) } else { client.get(path) };
        assert_eq!(code_of(request.bearer(party).send().await), "not_the_administrator");
    }
    client.post("/v1/attestation/keys/rotate").bearer(admin).send().await.unwrap();
    let jwks = service.get("/v1/attestation/jwks.json").await;
    assert_eq!(jwks["keys"].as_array().unwrap().len(), 2);
    // Nobody's credential is not the same as none.
    let query = json!({ "chain": [] });
    let anyone: Value =
        client.post("/v1/attestation/verify").json(&query).send_json().await.unwrap();
    assert_eq!(anyone["reasons"][0]["code"], "MALFORMED_CHAIN");
    let wrong = client.post("/v1/attestation/verify").bearer("x").json(&query).send().await;
    assert_eq!(code_of(wrong), "not_a_relying_party");
    let foreign = json!({ "chain": [], "policy": "app" });
    let verify = client.post("/v1/attestation/verify").bearer(&other.credential).json(&foreign);
    assert_eq!(code_of(verify.send().await), "not_found");
    let versions = client.get(&format!("{path}?version=2")).bearer(party).send().await;
    assert_eq!(code_of(versions), "not_found");
    client.delete(PARTY).bearer(admin).send().await.unwrap();
    assert_eq!(code_of(client.get(&path).bearer(party).send().await), "not_a_relying_party");
}
