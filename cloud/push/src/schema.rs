//! The tables of the push service.

use sqlx::SqlitePool;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS push_developers (
    developer_id TEXT PRIMARY KEY,
    credential_hash BLOB NOT NULL UNIQUE,
    created_at_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS push_identities (
    hashed_id TEXT PRIMARY KEY,
    push_id TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS push_identities_push_id ON push_identities (push_id);
CREATE TABLE IF NOT EXISTS push_devices (
    push_id TEXT PRIMARY KEY,
    device_id TEXT NOT NULL UNIQUE,
    last_seen_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS push_registrations (
    registration_id TEXT PRIMARY KEY,
    push_id TEXT NOT NULL,
    app TEXT NOT NULL,
    content_key_sealed BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL,
    UNIQUE (push_id, app)
);
CREATE TABLE IF NOT EXISTS push_messages (
    message_id INTEGER PRIMARY KEY AUTOINCREMENT,
    developer_id TEXT NOT NULL,
    accepted_at_ms BIGINT NOT NULL,
    delivered_at_ms BIGINT
);
CREATE TABLE IF NOT EXISTS push_events (
    event_id INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL,
    message_id BIGINT,
    event_sealed BLOB NOT NULL,
    created_at_ms BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS push_events_device ON push_events (device_id, event_id);
";

pub(crate) async fn create(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(pool).await.map(|_| ())
}
