//! The tables of find-device.

use sqlx::SqlitePool;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS find_meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS find_devices (
    device_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    lost_message_sealed BLOB,
    lost_at_ms BIGINT,
    erased_at_ms BIGINT,
    position_sealed BLOB
);
CREATE INDEX IF NOT EXISTS find_devices_owner ON find_devices (owner);
CREATE TABLE IF NOT EXISTS find_commands (
    command_id INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL,
    command_sealed BLOB NOT NULL,
    erases BOOLEAN NOT NULL,
    sent BOOLEAN NOT NULL,
    outcome_sealed BLOB,
    issued_at_ms BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS find_commands_device ON find_commands (device_id);
";

pub(crate) async fn create(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(pool).await.map(|_| ())
}
