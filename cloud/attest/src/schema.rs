//! The tables of the attestation service.

use sqlx::SqlitePool;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS attest_makers (
    root BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    certificate BLOB NOT NULL,
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
    seen_os_patch_level BIGINT,
    seen_boot_patch_level BIGINT,
    UNIQUE (serial, root)
);
CREATE TABLE IF NOT EXISTS attest_revocations (
    certificate_serial TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    revoked_at_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS attest_challenges (
    challenge_hash BLOB PRIMARY KEY,
    expires_at_ms BIGINT NOT NULL,
    used_at_ms BIGINT
);
CREATE INDEX IF NOT EXISTS attest_challenges_expiry ON attest_challenges (expires_at_ms);
CREATE TABLE IF NOT EXISTS attest_alarms (
    id INTEGER PRIMARY KEY,
    maker TEXT NOT NULL,
    serial TEXT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    first_at_ms BIGINT NOT NULL,
    last_at_ms BIGINT NOT NULL,
    times BIGINT NOT NULL,
    UNIQUE (maker, serial, kind)
);
CREATE TABLE IF NOT EXISTS attest_relying_parties (
    name TEXT PRIMARY KEY,
    credential_hash BLOB NOT NULL UNIQUE,
    created_at_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS attest_policies (
    relying_party TEXT NOT NULL REFERENCES attest_relying_parties (name) ON DELETE CASCADE,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    policy TEXT NOT NULL,
    stored_at_ms BIGINT NOT NULL,
    PRIMARY KEY (relying_party, name, version)
);
CREATE TABLE IF NOT EXISTS attest_signing_keys (
    kid TEXT PRIMARY KEY,
    sealed BLOB NOT NULL,
    public_key BLOB NOT NULL,
    made_at_ms BIGINT NOT NULL,
    replaced_at_ms BIGINT
);
CREATE TABLE IF NOT EXISTS attest_authorities (
    name TEXT PRIMARY KEY,
    sealed BLOB NOT NULL,
    certificate BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS attest_provisioned (
    public_key BLOB PRIMARY KEY,
    device_key BLOB NOT NULL REFERENCES attest_devices (public_key),
    issued_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS attest_provisioned_device ON attest_provisioned (device_key);
";

pub(crate) async fn create(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(pool).await.map(|_| ())
}
