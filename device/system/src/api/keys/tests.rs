//! Keys over the socket.

use crate::tests::{Bench, refusal};
use keystore_client::api::{KeyInfo, Page};
use serde_json::{Value, json};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

fn signing(alias: &str) -> Value {
    let params = json!({
        "purpose": ["sign"], "algorithm": "ec", "ec_curve": "p_256", "digest": ["sha_2_256"],
        "no_auth_required": true
    });
    json!({ "alias": alias, "params": params })
}

async fn post(bench: &Bench, path: &str, body: &Value) -> Result<Value, http_link::Error> {
    bench.api().post(&format!("/v1/keys{path}")).json(body).send_json().await
}

/// `holdfast.sock`, asked by this user.
async fn asks_as(bench: &Bench, uid: u32, arguments: &[&str]) -> (String, Value) {
    for folder in [bench.run(), bench.run().parent().unwrap().to_owned()] {
        set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    }
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-w", "\n%{http_code}", "--unix-socket"]);
    curl.arg(bench.run().join("holdfast.sock")).args(arguments).current_dir("/").uid(uid);
    let output = tokio::task::spawn_blocking(move || curl.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test]
async fn s3_2_a_key_is_made_used_shown_and_deleted() {
    let bench = Bench::new().await;
    let made = post(&bench, "/generate", &signing("a key")).await.unwrap();
    let info: KeyInfo = serde_json::from_value(made).unwrap();
    let shown: KeyInfo = bench.api().get("/v1/keys/show?key=a%20key").send_json().await.unwrap();
    assert_eq!(shown, info);
    let page: Page = bench.api().get("/v1/keys?prefix=a&limit=5").send_json().await.unwrap();
    assert_eq!((page.keys.len(), page.next), (1, None));

    let wanted = json!({"key": "a key", "purpose": "sign", "input": "aGVsbG8="});
    let used = post(&bench, "/use", &wanted).await.unwrap();
    assert!(used["output"].as_str().unwrap().len() > 80);
    let begun = post(&bench, "/operations", &json!({"key": "a key", "purpose": "sign"})).await;
    let operation = begun.unwrap()["operation"].as_str().unwrap().to_owned();
    let finish = format!("/operations/{operation}/finish");
    let finished = post(&bench, &finish, &json!({"input": "aGVsbG8="})).await.unwrap();
    assert!(finished["output"].as_str().unwrap().len() > 80);
    let again = post(&bench, &finish, &json!({})).await;
    assert_eq!(refusal(again), (404, "invalid_operation_handle".into()));

    bench.api().delete("/v1/keys?key=a%20key").send().await.unwrap();
    let gone = bench.api().get("/v1/keys/show?key=a%20key").send().await;
    assert_eq!(refusal(gone), (404, "key_not_found".into()));
    let log: Value = bench.api().get("/v1/keys/audit").send_json().await.unwrap();
    assert_eq!(log["intact"], true);
    assert_eq!(log["lines"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn s3_2_another_user_of_the_device_has_keys_of_their_own_and_nothing_else() {
    if !rustix::process::geteuid().is_root() {
        println!("not root: nobody else to ask as");
        return;
    }
    let bench = Bench::new().await;
    post(&bench, "/generate", &signing("mine")).await.unwrap();
    let get = async |uid: u32, path: &str| {
        asks_as(&bench, uid, &[&format!("http://localhost{path}")]).await
    };
    assert_eq!(get(0, "/v1/keys").await.1["keys"].as_array().unwrap().len(), 1);
    assert_eq!(get(4711, "/v1/keys").await.1, json!({"keys": [], "next": null}));
    assert_eq!(get(4711, "/v1/keys/show?key=mine").await.0, "404");
    for path in ["/v1/status", "/v1/files", "/v1/ta"] {
        let (status, refused) = get(4711, path).await;
        assert_eq!((&*status, &refused["error"]), ("403", &json!("not_allowed")), "{path}");
    }
    let (status, refused) = get(4711, "/v1/keys/audit").await;
    assert_eq!((&*status, &refused["code"]), ("403", &json!(6)));

    let to = json!({"key": "mine", "to": {"uid": 4711}, "access": ["use"]});
    let granted = post(&bench, "/grant", &to).await.unwrap();
    let wanted = json!({"key": granted["grant"], "purpose": "sign", "input": "aGVsbG8="});
    let json = ["-H", "content-type: application/json", "-d"];
    let use_it = async |uid| {
        let body = wanted.to_string();
        let arguments = [&json[..], &[&body, "http://localhost/v1/keys/use"]].concat();
        asks_as(&bench, uid, &arguments).await
    };
    assert_eq!(use_it(4711).await.0, "200");
    assert_eq!(use_it(4712).await.0, "404");
    let back = json!({"key": "mine", "to": {"uid": 4711}});
    bench.api().post("/v1/keys/ungrant").json(&back).send().await.unwrap();
    assert_eq!(use_it(4711).await.0, "404");
}

#[tokio::test]
async fn what_is_malformed_or_too_long_has_a_code_and_changes_nothing() {
    let bench = Bench::new().await;
    let post_bytes = async |path: &str, bytes: Vec<u8>| {
        let request = bench.api().post(&format!("/v1/keys{path}")).bytes(bytes);
        refusal(request.header("content-type", "application/json").send().await)
    };
    for (path, body) in [
        ("/generate", "{"),
        ("/generate", "[]"),
        ("/generate", r#"{"alias": "k"}"#),
        ("/generate", r#"{"alias": "k", "params": {"purpose": ["sing"]}}"#),
        ("/generate", r#"{"alias": "k", "params": {"purpose": ["sign"], "purpose": ["sign"]}}"#),
        ("/generate", r#"{"alias": "k", "params": {}, "more": 1}"#),
        ("/generate", r#"{"alias": "id:1", "params": {}}"#),
        ("/use", r#"{"key": "k", "purpose": "sign", "input": "?"}"#),
        ("/use", r#"{"key": "grant:1", "purpose": "sign"}"#),
        ("/grant", r#"{"key": "k", "to": {"uid": -1}, "access": ["use"]}"#),
        ("/operations/xyz/finish", "{}"),
    ] {
        let refused = post_bytes(path, body.into()).await;
        assert_eq!(refused, (400, "bad_request".into()), "{path} {body}");
    }
    let deep = format!(r#"{{"alias": {}"#, "[".repeat(100_000));
    assert_eq!(post_bytes("/generate", deep.into()).await.0, 400);
    let long = post_bytes("/use", vec![b' '; 4 << 20]).await;
    assert!(
        [(400, "bad_request".into()), (413, "too_much_data".into())].contains(&long),
        "{long:?}"
    );
    let operation = "/operations/0000000000000001/update";
    assert_eq!(post_bytes(operation, vec![0; (1 << 20) + 1]).await, (413, "too_much_data".into()));
    assert_eq!(post_bytes(operation, vec![0]).await, (404, "invalid_operation_handle".into()));
    let query = bench.api().get("/v1/keys?limit=-1").send().await;
    assert_eq!(refusal(query), (400, "bad_request".into()));
    let page: Page = bench.api().get("/v1/keys").send_json().await.unwrap();
    assert_eq!(page.keys, []);
}

#[tokio::test]
async fn s3_2_keys_follow_the_screen_lock_and_end_with_an_erasure() {
    let mut bench = Bench::new().await;
    let mut key = signing("key");
    key["params"]["unlocked_device_required"] = json!(true);
    assert_eq!(refusal(post(&bench, "/generate", &key).await), (409, "no_screen_lock".into()));
    bench.tee.types(&["123456", "123456", "123456"]);
    for path in ["/v1/lock/enrol", "/v1/lock/unlock"] {
        bench.api().post(path).send().await.unwrap();
    }
    assert_eq!(post(&bench, "/generate", &key).await.unwrap()["needs_unlock"], true);
    let wanted = json!({"key": "key", "purpose": "sign", "input": "aGVsbG8="});
    post(&bench, "/use", &wanted).await.unwrap();
    bench.api().post("/v1/lock/lock").send().await.unwrap();
    assert_eq!(refusal(post(&bench, "/use", &wanted).await), (423, "locked".into()));
    bench.reboot().await;
    assert_eq!(refusal(post(&bench, "/use", &wanted).await), (423, "locked".into()));
    bench.tee.types(&["123456"]);
    bench.api().post("/v1/lock/unlock").send().await.unwrap();
    post(&bench, "/use", &wanted).await.unwrap();

    bench.api().post("/v1/erase").send().await.unwrap();
    bench.reboot().await;
    let page: Page = bench.api().get("/v1/keys").send_json().await.unwrap();
    assert_eq!(page.keys, []);
}

#[tokio::test]
async fn s3_2_an_operation_that_needs_its_own_authentication_asks_the_person() {
    let bench = Bench::new().await;
    bench.tee.types(&["123456", "123456"]);
    bench.api().post("/v1/lock/enrol").send().await.unwrap();
    post(&bench, "/generate", &signing("key")).await.unwrap();
    let begun = post(&bench, "/operations", &json!({"key": "key", "purpose": "sign"})).await;
    let operation = begun.unwrap()["operation"].as_str().unwrap().to_owned();
    let ask = async |operation: &str| {
        bench.api().post(&format!("/v1/keys/operations/{operation}/authenticate")).send().await
    };
    bench.tee.types(&["000000", "123456"]);
    assert_eq!(refusal(ask(&operation).await), (403, "wrong_pin".into()));
    ask(&operation).await.unwrap();
    let other = ask("00000000000000ff").await;
    assert_eq!(refusal(other), (404, "invalid_operation_handle".into()), "nobody was asked");
}
