//! What must be refused.

use super::*;

#[tokio::test]
async fn s5_1_3_the_cloud_cannot_use_an_owners_key() {
    let bench = Bench::new().await;
    bench.register().await;
    let cloud = bench.cloud().await;
    assert_eq!(bench.post(&cloud, "transit/keys/user-1", json!({})).await.0, 200);
    let owner = bench.owner("1").await;
    let (_, sealed) =
        bench.post(&owner, "transit/encrypt/user-1", json!({"plaintext": b64(b"text")})).await;
    for (path, body) in [
        ("transit/decrypt/user-1", sealed["data"].clone()),
        ("transit/decrypt/user-1/", sealed["data"].clone()),
        ("transit/rewrap/user-1", sealed["data"].clone()),
        ("transit/encrypt/user-1", json!({"plaintext": ""})),
        ("transit/datakey/plaintext/user-1", json!({})),
        ("transit/datakey/wrapped/user-1", json!({})),
        ("transit/hmac/user-1", json!({"input": ""})),
        ("transit/hmac/user-1/sha2-256", json!({"input": ""})),
        ("transit/verify/user-1", json!({"input": "", "hmac": ""})),
        ("transit/decrypt/user-nobody", json!({"ciphertext": "vault:v1:AAAA"})),
    ] {
        let (status, answer) = bench.post(&cloud, path, body).await;
        assert_eq!((status, error(&answer)), (403, "permission denied"), "{path}");
    }
}

#[tokio::test]
async fn s5_1_3_an_owner_cannot_use_anybody_elses_key_or_manage_its_own() {
    let bench = Bench::new().await;
    bench.register().await;
    let cloud = bench.cloud().await;
    for key in ["user-1", "user-2", "user-12", "pii"] {
        bench.post(&cloud, &format!("transit/keys/{key}"), json!({})).await;
    }
    let owner = bench.owner("1").await;
    for (method, path) in [
        ("POST", "transit/datakey/plaintext/user-2"),
        ("POST", "transit/datakey/plaintext/user-12"),
        ("POST", "transit/encrypt/user-2"),
        ("POST", "transit/encrypt/pii"),
        ("POST", "transit/decrypt/user-2"),
        ("GET", "transit/keys/user-2"),
        ("DELETE", "transit/keys/user-1"),
        ("POST", "transit/keys/user-1/config"),
        ("POST", "transit/keys/user-1/rotate"),
        ("POST", "transit/keys/user-3"),
        ("LIST", "transit/keys"),
        ("POST", "auth/jwt/config"),
        ("POST", "transit/random"),
        ("GET", "sys/policies/acl/cloud"),
    ] {
        let (status, _) = bench.send(&owner, method, path, &json!({})).await;
        assert_eq!(status, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn malformed_requests_are_400_and_tell_no_secret() {
    let bench = Bench::new().await;
    let cloud = bench.cloud().await;
    bench.post(&cloud, "transit/keys/pii", json!({"type": "aes128-gcm96"})).await;
    for body in [
        "{",
        "[]",
        "null",
        "\"s3cret\"",
        r#"{"plaintext": 5}"#,
        r#"{"plaintext": "s3cret"}"#,
        r#"{"plaintext": "c2VjcmV0"#,
        r#"{"plaintext": "c2VjcmV0", "associated_data": "!"}"#,
        r#"{"plaintext": "c2VjcmV0", "key_version": 2}"#,
        r#"{"plaintext": "c2VjcmV0", "key_version": "s3cret"}"#,
        r#"{"plaintext": "c2VjcmV0", "context": "AAAA"}"#,
        r#"{"plaintext": "_-8="}"#,
        r#"{"plaintext": "c2VjcmU"}"#,
        r#"{"batch_input": {"s3cret": 1}}"#,
        r#"{}"#,
        "\u{0}",
    ] {
        let (status, answer) =
            bench.send_raw(&cloud, "POST", "transit/encrypt/pii", body.to_owned().into()).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(!answer.to_string().contains("s3cret"), "{answer}");
    }
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused_and_before_a_token_is_checked_small() {
    let bench = Bench::new().await;
    let login = Body::from(vec![b' '; 33 << 10]);
    assert_eq!(bench.send_raw("", "POST", "auth/approle/login", login).await.0, 413);
    let cloud = bench.cloud().await;
    let huge = || Body::from(vec![b' '; (32 << 20) + 1]);
    assert_eq!(bench.send_raw(&cloud, "POST", "transit/random", huge()).await.0, 413);
    assert_eq!(bench.send_raw("hvs.no", "POST", "transit/random", huge()).await.0, 403);
}

#[tokio::test]
async fn deeply_nested_json_is_an_error_and_no_crash() {
    let bench = Bench::new().await;
    let nested = "[".repeat(30_000);
    let (status, _) = bench.send_raw("", "POST", "auth/approle/login", nested.into()).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn there_is_no_way_to_a_keys_material() {
    let bench = Bench::new().await;
    let cloud = bench.cloud().await;
    bench.post(&cloud, "transit/keys/user-1", json!({})).await;
    for path in [
        "transit/export/encryption-key/user-1",
        "transit/backup/user-1",
        "transit/keys/user-1/export",
        "transit/byok-export/a/user-1",
        "sys/raw/key/user-1",
        "sys/storage/raft/snapshot",
    ] {
        let (status, _) = bench.send(&cloud, "GET", path, &json!({})).await;
        assert!(matches!(status, 404 | 405), "{path}: {status}");
    }
}

#[tokio::test]
async fn another_root_key_or_none_opens_nothing() {
    let mut bench = Bench::new().await;
    let path = bench.folder.path().join("root-key.pem");
    std::fs::remove_file(&path).unwrap();
    let text = bench.restart().await.unwrap_err().to_string();
    assert!(text.contains("missing") && text.contains("backup"), "{text}");
    SoftwareHsm::make(&path).unwrap();
    assert!(bench.restart().await.is_err());
    std::fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        .unwrap();
    let text = bench.restart().await.unwrap_err().to_string();
    assert!(text.contains("damaged"), "{text}");
    std::fs::write(&path, root_key()).unwrap();
    bench.restart().await.unwrap();
}

#[tokio::test]
async fn a_start_that_was_cut_short_is_finished_by_the_next() {
    let mut bench = Bench::new().await;
    let credential = bench.credential();
    for file in ["keycenter.db", "keycenter.db-wal", "keycenter.db-shm"] {
        let _ = std::fs::remove_file(bench.folder.path().join(file));
    }
    // As after a crash between the files and the database.
    bench.restart().await.unwrap();
    assert_eq!(bench.credential(), credential);
    bench.cloud().await;
}
