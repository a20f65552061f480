//! The tables of the attestation service.

use sqlx::SqlitePool;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS attest_makers (
    root BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    registered_at_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS attest_devices (
    public_key BLOB PRIMARY KEY,
    serial TEXT NOT NULL,
    root BLOB NOT NULL REFERENCES attest_makers (root),
    certificate BLOB NOT NULL,
    enrolled_at_ms BIGINT NOT NULL,
    revoked_at_ms BIGINT,
    revoked_reason TEXT,
    UNIQUE (serial, root)
);
CREATE TABLE IF NOT EXISTS attest_revocations (
    certificate_serial TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    revoked_at_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS attest_challenges (
    challenge_hash BLOB PRIMARY KEY,
    expires_at_ms BIGINT NOT NULL,
    used_at_ms BIGINT
);
CREATE INDEX IF NOT EXISTS attest_challenges_expiry ON attest_challenges (expires_at_ms);
";

pub(crate) async fn create(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(pool).await.map(|_| ())
}
