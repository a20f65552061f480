//! The tables of the issuer.

use sqlx::SqlitePool;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS eid_authority (
    name TEXT PRIMARY KEY,
    key_sealed BLOB NOT NULL,
    certificate BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS eid_elements (
    attester_hash BLOB PRIMARY KEY,
    enrolled_at_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS eid_challenges (
    challenge_hash BLOB PRIMARY KEY,
    expires_at_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS eid_proofs (
    proof_hash BLOB PRIMARY KEY,
    account TEXT NOT NULL,
    person_sealed BLOB NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS eid_identities (
    identity TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    device_key BLOB NOT NULL UNIQUE,
    person_sealed BLOB,
    opened_at_ms BIGINT NOT NULL,
    deregistered_at_ms BIGINT
);
";

pub(crate) async fn create(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(pool).await.map(|_| ())
}
