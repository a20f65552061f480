//! The audit log: complete, chained, and a condition of every answer.

use super::*;
use cloud_keycenter::audit::{BrokenChain, Entry, Stage, verify};
use cloud_keycenter::store::Store;
use sqlx::sqlite::SqlitePool;

async fn entries(bench: &Bench) -> Result<Vec<Entry>, BrokenChain> {
    let store = Store::open(bench.folder.path()).await.unwrap();
    let mut entries = Vec::new();
    verify(&store, |_, entry| entries.push(entry)).await.map(|_| entries)
}

async fn tamper(bench: &Bench, sql: &str) {
    let url = format!("sqlite://{}", bench.database().display());
    let pool = SqlitePool::connect(&url).await.unwrap();
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn s5_1_3_every_use_and_every_refusal_is_logged() {
    let bench = Bench::new().await;
    bench.register().await;
    let cloud = bench.cloud().await;
    bench.post(&cloud, "transit/keys/user-1", json!({})).await;
    bench.post(&bench.owner("1").await, "transit/datakey/plaintext/user-1", json!({})).await;
    bench.post(&cloud, "transit/datakey/plaintext/user-1", json!({})).await;
    bench.post("", "auth/approle/login", json!({"role_id": "x", "secret_id": "y"})).await;
    let log = entries(&bench).await.unwrap();
    let seen = |path: &str, stage: Stage, status: Option<u16>, subject: Option<&str>| {
        log.iter().any(|entry| {
            entry.path.ends_with(path)
                && (entry.stage, entry.status) == (stage, status)
                && entry.subject.as_deref() == subject
        })
    };
    assert!(seen("transit/keys/user-1", Stage::Begin, None, None));
    assert!(seen("transit/keys/user-1", Stage::End, Some(200), None));
    assert!(seen("datakey/plaintext/user-1", Stage::End, Some(200), Some("1")));
    assert!(seen("datakey/plaintext/user-1", Stage::End, Some(403), None));
    assert!(seen("auth/approle/login", Stage::End, Some(400), None));
    assert!(seen("auth/jwt/login", Stage::End, Some(200), Some("1")));
}

#[tokio::test]
async fn an_altered_missing_or_foreign_entry_breaks_the_chain() {
    for sql in [
        "UPDATE audit SET body = (SELECT body FROM audit WHERE seq = 1) WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 1",
        "DELETE FROM audit WHERE seq > 3",
        "DELETE FROM audit",
        "UPDATE audit SET link = zeroblob(32) WHERE seq = 3",
        "INSERT INTO audit SELECT 1000, body, link FROM audit WHERE seq = 1",
        "UPDATE audit SET seq = seq + 100 WHERE seq > 3",
    ] {
        let bench = Bench::new().await;
        for _ in 0..5 {
            bench.cloud().await;
        }
        assert!(entries(&bench).await.unwrap().len() >= 5);
        tamper(&bench, sql).await;
        assert!(entries(&bench).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn a_log_whose_end_was_cut_stops_the_start() {
    let mut bench = Bench::new().await;
    for _ in 0..3 {
        bench.cloud().await;
    }
    tamper(&bench, "DELETE FROM audit WHERE seq = 3").await;
    let text = bench.restart().await.unwrap_err().to_string();
    assert!(text.contains("somebody has cut it"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_logged_is_not_done() {
    let bench = Bench::new().await;
    let cloud = bench.cloud().await;
    bench.post(&cloud, "transit/keys/pii", json!({"type": "aes128-gcm96"})).await;
    let (_, sealed) =
        bench.post(&cloud, "transit/encrypt/pii", json!({"plaintext": b64(b"text")})).await;
    tamper(&bench, "ALTER TABLE audit RENAME TO hidden").await;
    let (status, answer) = bench.post(&cloud, "transit/decrypt/pii", sealed["data"].clone()).await;
    assert_eq!(status, 500);
    assert!(!answer.to_string().contains(&b64(b"text")), "{answer}");
    assert_eq!(bench.post(&cloud, "transit/keys/user-1", json!({})).await.0, 500);
    tamper(&bench, "ALTER TABLE hidden RENAME TO audit").await;
    let (status, _) = bench.send(&cloud, "GET", "transit/keys/user-1", &json!({})).await;
    assert_eq!(status, 404, "the key was made though that was not logged");
    let (status, _) = bench.post(&cloud, "transit/decrypt/pii", sealed["data"].clone()).await;
    assert_eq!(status, 200);
    entries(&bench).await.unwrap();
}

#[tokio::test]
async fn secrets_and_plaintexts_are_not_in_the_log() {
    let bench = Bench::new().await;
    let cloud = bench.cloud().await;
    bench.post(&cloud, "transit/keys/pii", json!({"type": "aes128-gcm96"})).await;
    bench.post(&cloud, "transit/encrypt/pii", json!({"plaintext": b64(b"canary")})).await;
    let log = serde_json::to_string(&entries(&bench).await.unwrap()).unwrap();
    let secret = bench.credential()["secret_id"].as_str().unwrap().to_owned();
    for secret in [&cloud, &secret, &b64(b"canary")] {
        assert!(!log.contains(secret.as_str()));
    }
}
