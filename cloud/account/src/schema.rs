//! The tables of the account service. Personal data only in columns named `*_sealed`; `*_index`
//! columns are blind indexes (HMAC under a key of the Key Center).

use sqlx::SqlitePool;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS account_meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS account_accounts (
    subject TEXT PRIMARY KEY,
    account_index BLOB NOT NULL UNIQUE,
    phone_index BLOB NOT NULL UNIQUE,
    email_index BLOB NOT NULL UNIQUE,
    account_sealed BLOB NOT NULL,
    phone_sealed BLOB NOT NULL,
    email_sealed BLOB NOT NULL,
    country TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS account_passwords (
    password_id INTEGER PRIMARY KEY,
    subject TEXT NOT NULL REFERENCES account_accounts (subject) ON DELETE CASCADE,
    sealed TEXT NOT NULL,
    reset_at_ms BIGINT,
    retired_at_ms BIGINT
);
CREATE INDEX IF NOT EXISTS account_passwords_subject ON account_passwords (subject);
CREATE TABLE IF NOT EXISTS account_reset_codes (
    subject TEXT PRIMARY KEY REFERENCES account_accounts (subject) ON DELETE CASCADE,
    code_sealed BLOB NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    tries_left BIGINT NOT NULL,
    window_start_ms BIGINT NOT NULL,
    sent_in_window BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS account_sessions (
    token_hash BLOB PRIMARY KEY,
    subject TEXT NOT NULL REFERENCES account_accounts (subject) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    device_id TEXT,
    source TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    last_used_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS account_sessions_subject ON account_sessions (subject);
CREATE TABLE IF NOT EXISTS account_sign_ins (
    sign_in_id INTEGER PRIMARY KEY,
    subject TEXT NOT NULL REFERENCES account_accounts (subject) ON DELETE CASCADE,
    at_ms BIGINT NOT NULL,
    succeeded BOOLEAN NOT NULL,
    source TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS account_sign_ins_subject ON account_sign_ins (subject);
CREATE TABLE IF NOT EXISTS account_failures (
    who TEXT PRIMARY KEY,
    failures BIGINT NOT NULL,
    last_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS account_devices (
    device_id TEXT PRIMARY KEY,
    subject TEXT NOT NULL REFERENCES account_accounts (subject) ON DELETE CASCADE,
    serial_index BLOB NOT NULL UNIQUE,
    name_sealed BLOB NOT NULL,
    statement_sealed BLOB NOT NULL,
    public_key BLOB NOT NULL,
    bound_at_ms BIGINT NOT NULL,
    attested_at_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS account_devices_subject ON account_devices (subject);
CREATE TABLE IF NOT EXISTS account_used_assertions (
    jti_hash BLOB PRIMARY KEY,
    expires_at_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS account_audit (
    sequence INTEGER PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    chain BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS account_audit_subject ON account_audit (subject);
";

pub(crate) async fn create(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(pool).await.map(|_| ())
}
