//! Keys and what is done with them.

use super::*;
use std::time::Duration;

async fn with_key(kind: &str, name: &str) -> (Bench, String) {
    let bench = Bench::new().await;
    let token = bench.cloud().await;
    let path = format!("transit/keys/{name}");
    let (status, answer) = bench.post(&token, &path, json!({"type": kind})).await;
    assert_eq!((status, &answer["data"]["type"]), (200, &json!(kind)));
    (bench, token)
}

#[tokio::test]
async fn what_is_encrypted_comes_back_with_its_associated_data_alone() {
    let (bench, cloud) = with_key("aes128-gcm96", "pii").await;
    let question = json!({"plaintext": b64(b"+4930123456"), "associated_data": b64(b"row 1")});
    let (status, answer) = bench.post(&cloud, "transit/encrypt/pii", question).await;
    let ciphertext = answer["data"]["ciphertext"].as_str().unwrap();
    assert!(status == 200 && ciphertext.starts_with("vault:v1:"), "{answer}");
    let decrypt = async |data: &str| {
        let question = json!({"ciphertext": ciphertext, "associated_data": b64(data.as_bytes())});
        bench.post(&cloud, "transit/decrypt/pii", question).await
    };
    assert_eq!(decrypt("row 1").await.1["data"]["plaintext"], b64(b"+4930123456"));
    let (status, answer) = decrypt("row 2").await;
    assert_eq!((status, error(&answer)), (400, "cipher: message authentication failed"));
}

#[tokio::test]
async fn a_batch_tells_the_outcome_of_each_item() {
    let (bench, cloud) = with_key("aes128-gcm96", "pii").await;
    let items = json!([
        {"plaintext": b64(b"a"), "reference": "first"},
        {"plaintext": "not base64!", "reference": "second"},
        {"plaintext": b64(b""), "key_version": "1"},
    ]);
    let mut question = json!({"batch_input": items});
    let (status, answer) = bench.post(&cloud, "transit/encrypt/pii", question.clone()).await;
    let results = &answer["data"]["batch_results"];
    assert_eq!(status, 400);
    assert_eq!(results[0]["reference"], "first");
    assert!(results[0]["ciphertext"].is_string() && results[0]["error"].is_null());
    assert_eq!(results[1]["error"], "failed to base64-decode plaintext");
    assert_eq!(results[1]["reference"], "second");
    assert!(results[2]["ciphertext"].is_string());
    question["partial_failure_response_code"] = json!(200);
    assert_eq!(bench.post(&cloud, "transit/encrypt/pii", question).await.0, 200);
    let empty = json!({"batch_input": []});
    assert_eq!(bench.post(&cloud, "transit/encrypt/pii", empty).await.0, 400);
}

#[tokio::test]
async fn a_rotated_key_seals_anew_and_opens_the_old() {
    let (bench, cloud) = with_key("aes256-gcm96", "user-1").await;
    bench.register().await;
    let owner = bench.owner("1").await;
    let text = json!({"plaintext": b64(b"text")});
    let (_, old) = bench.post(&owner, "transit/encrypt/user-1", text).await;
    bench.clock.advance(Duration::from_secs(5));
    let (_, info) = bench.post(&cloud, "transit/keys/user-1/rotate", json!({})).await;
    assert_eq!(info["data"]["latest_version"], 2);
    let versions = json!({"1": NOW.seconds(), "2": NOW.seconds() + 5});
    assert_eq!(info["data"]["keys"], versions);
    let question = json!({"ciphertext": old["data"]["ciphertext"]});
    let (_, new) = bench.post(&owner, "transit/rewrap/user-1", question).await;
    assert!(new["data"]["ciphertext"].as_str().unwrap().starts_with("vault:v2:"));
    let config = json!({"min_decryption_version": 2});
    assert_eq!(bench.post(&cloud, "transit/keys/user-1/config", config).await.0, 200);
    let decrypt = async |sealed: &Value| {
        let question = json!({"ciphertext": sealed["data"]["ciphertext"]});
        bench.post(&owner, "transit/decrypt/user-1", question).await
    };
    assert_eq!(decrypt(&new).await.1["data"]["plaintext"], b64(b"text"));
    assert!(error(&decrypt(&old).await.1).contains("too old"));
}

#[tokio::test]
async fn refuses_impossible_key_settings() {
    let (bench, cloud) = with_key("aes256-gcm96", "user-1").await;
    for config in [
        json!({"min_decryption_version": 2}),
        json!({"min_encryption_version": 2}),
        json!({"min_decryption_version": -1}),
        json!({"exportable": true}),
        json!({"allow_plaintext_backup": true}),
        json!({"deletion_allowed": "maybe"}),
    ] {
        let (status, _) = bench.post(&cloud, "transit/keys/user-1/config", config.clone()).await;
        assert_eq!(status, 400, "{config}");
    }
    for create in [
        json!({"type": "rsa-4096"}),
        json!({"exportable": true}),
        json!({"derived": true}),
        json!({"convergent_encryption": true}),
    ] {
        let (status, _) = bench.post(&cloud, "transit/keys/user-2", create.clone()).await;
        assert_eq!(status, 400, "{create}");
    }
}

#[tokio::test]
async fn a_data_key_comes_in_the_clear_once_and_opens_again() {
    let (bench, _) = with_key("aes256-gcm96", "user-1").await;
    bench.register().await;
    let owner = bench.owner("1").await;
    for (bits, length) in [(json!(128), 16), (json!(256), 32), (json!("512"), 64)] {
        let path = "transit/datakey/plaintext/user-1";
        let (_, answer) = bench.post(&owner, path, json!({"bits": bits})).await;
        let plaintext = answer["data"]["plaintext"].as_str().unwrap();
        assert_eq!(STANDARD.decode(plaintext).unwrap().len(), length);
        let question = json!({"ciphertext": answer["data"]["ciphertext"]});
        let (_, opened) = bench.post(&owner, "transit/decrypt/user-1", question).await;
        assert_eq!(opened["data"]["plaintext"], plaintext);
    }
    let (_, wrapped) = bench.post(&owner, "transit/datakey/wrapped/user-1", json!({})).await;
    assert!(
        wrapped["data"]["ciphertext"].is_string() && wrapped["data"].get("plaintext").is_none()
    );
    let odd = bench.post(&owner, "transit/datakey/plaintext/user-1", json!({"bits": 100})).await;
    assert_eq!((odd.0, error(&odd.1)), (400, "invalid bit length"));
}

#[tokio::test]
async fn hmacs_verify() {
    let (bench, cloud) = with_key("hmac", "pii-index").await;
    let input = json!({"input": b64(b"+4930123456")});
    let (_, answer) = bench.post(&cloud, "transit/hmac/pii-index", input.clone()).await;
    let (_, again) = bench.post(&cloud, "transit/hmac/pii-index", input).await;
    let tag = &answer["data"]["hmac"];
    assert_eq!(tag, &again["data"]["hmac"]);
    for (input, valid) in [("+4930123456", true), ("+4930123457", false)] {
        let question = json!({"input": b64(input.as_bytes()), "hmac": tag});
        let (_, answer) = bench.post(&cloud, "transit/verify/pii-index", question).await;
        assert_eq!(answer["data"]["valid"], valid);
    }
    let sealing = json!({"plaintext": b64(b"x")});
    assert_ne!(bench.post(&cloud, "transit/encrypt/pii-index", sealing).await.0, 200);
}

#[tokio::test]
async fn keys_are_listed_and_read_without_their_material() {
    let (bench, cloud) = with_key("aes128-gcm96", "pii").await;
    bench.post(&cloud, "transit/keys/user-1", json!({})).await;
    let (_, list) = bench.send(&cloud, "LIST", "transit/keys", &json!({})).await;
    assert_eq!(list["data"]["keys"], json!(["pii", "user-1"]));
    let (_, query) = bench.send(&cloud, "GET", "transit/keys?list=true", &json!({})).await;
    assert_eq!(query["data"], list["data"]);
    let (_, info) = bench.send(&cloud, "GET", "transit/keys/user-1", &json!({})).await;
    assert_eq!(info["data"]["keys"], json!({"1": NOW.seconds()}));
    assert_eq!(info["data"]["exportable"], false);
    assert_eq!(bench.send(&cloud, "GET", "transit/keys/user-2", &json!({})).await.0, 404);
}

#[tokio::test]
async fn a_key_is_deleted_when_that_is_allowed_and_its_ciphertexts_are_gone() {
    let (bench, cloud) = with_key("aes256-gcm96", "user-1").await;
    bench.register().await;
    let owner = bench.owner("1").await;
    let (_, sealed) =
        bench.post(&owner, "transit/encrypt/user-1", json!({"plaintext": b64(b"text")})).await;
    let delete = async || bench.send(&cloud, "DELETE", "transit/keys/user-1", &json!({})).await;
    let (status, answer) = delete().await;
    assert!(status == 400 && error(&answer).contains("deletion is not allowed"));
    bench.post(&cloud, "transit/keys/user-1/config", json!({"deletion_allowed": true})).await;
    assert_eq!(delete().await.0, 204);
    assert_eq!(delete().await.0, 400);
    let question = json!({"ciphertext": sealed["data"]["ciphertext"]});
    assert_eq!(bench.post(&owner, "transit/decrypt/user-1", question.clone()).await.0, 400);
    bench.post(&cloud, "transit/keys/user-1", json!({})).await;
    let (status, answer) = bench.post(&owner, "transit/decrypt/user-1", question).await;
    assert_eq!((status, error(&answer)), (400, "cipher: message authentication failed"));
}

#[tokio::test]
async fn creating_a_key_again_leaves_it_as_it_is() {
    let (bench, cloud) = with_key("aes128-gcm96", "pii").await;
    let (_, sealed) =
        bench.post(&cloud, "transit/encrypt/pii", json!({"plaintext": b64(b"text")})).await;
    bench.post(&cloud, "transit/keys/pii", json!({"type": "aes256-gcm96"})).await;
    let question = json!({"ciphertext": sealed["data"]["ciphertext"]});
    let (_, opened) = bench.post(&cloud, "transit/decrypt/pii", question).await;
    assert_eq!(opened["data"]["plaintext"], b64(b"text"));
}

#[tokio::test]
async fn keys_outlive_a_restart_and_lie_sealed_on_the_disk() {
    let (mut bench, cloud) = with_key("aes128-gcm96", "pii").await;
    let (_, sealed) =
        bench.post(&cloud, "transit/encrypt/pii", json!({"plaintext": b64(b"text")})).await;
    bench.restart().await.unwrap();
    let question = json!({"ciphertext": sealed["data"]["ciphertext"]});
    let (_, opened) = bench.post(&cloud, "transit/decrypt/pii", question).await;
    assert_eq!(opened["data"]["plaintext"], b64(b"text"));
    let secret = bench.credential()["secret_id"].as_str().unwrap().to_owned();
    for secret in [cloud.as_str(), &secret, "aes128-gcm96", "approle"] {
        assert!(!on_disk(&bench, secret.as_bytes()), "{secret} is readable in the database");
    }
}

fn on_disk(bench: &Bench, needle: &[u8]) -> bool {
    let files = ["keycenter.db", "keycenter.db-wal"].map(|name| bench.folder.path().join(name));
    let contents = files.iter().filter_map(|path| std::fs::read(path).ok());
    contents.into_iter().any(|file| file.windows(needle.len()).any(|window| window == needle))
}

#[tokio::test]
async fn a_deleted_keys_sealed_form_is_gone_from_the_files() {
    let (bench, cloud) = with_key("aes256-gcm96", "user-erased-account").await;
    assert!(on_disk(&bench, b"user-erased-account"));
    let path = "transit/keys/user-erased-account";
    let allow = json!({"deletion_allowed": true});
    bench.post(&cloud, &format!("{path}/config"), allow).await;
    assert_eq!(bench.send(&cloud, "DELETE", path, &json!({})).await.0, 204);
    assert!(!on_disk(&bench, b"user-erased-account"));
}

#[tokio::test]
async fn random_bytes_come_in_both_forms() {
    let bench = Bench::new().await;
    let cloud = bench.cloud().await;
    let random = async |body| bench.post(&cloud, "transit/random", body).await;
    let (_, one) = random(json!({})).await;
    let text = one["data"]["random_bytes"].as_str().unwrap();
    assert_eq!(STANDARD.decode(text).unwrap().len(), 32);
    let (_, hex) = random(json!({"bytes": 5, "format": "hex"})).await;
    assert_eq!(hex["data"]["random_bytes"].as_str().unwrap().len(), 10);
    assert_ne!(random(json!({})).await.1["data"], one["data"]);
    assert_eq!(random(json!({"bytes": 1 << 30})).await.0, 400);
    assert_eq!(random(json!({"format": "words"})).await.0, 400);
}

#[tokio::test]
async fn s5_2_2_the_console_can_show_the_owners_policy_and_key() {
    let (bench, _) = with_key("aes256-gcm96", "user-1").await;
    bench.register().await;
    let owner = bench.owner("1").await;
    let (_, policy) = bench.send(&owner, "GET", "sys/policies/acl/owner", &json!({})).await;
    assert!(policy["data"]["policy"].as_str().unwrap().contains("user-{{identity.sub}}"));
    let (_, key) = bench.send(&owner, "GET", "transit/keys/user-1", &json!({})).await;
    assert_eq!(key["data"]["latest_version"], 1);
}
