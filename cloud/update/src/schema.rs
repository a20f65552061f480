//! The tables. Of a device they hold its id and nothing else that says whose it is.

use sqlx::SqlitePool;

/// Made where they are missing. A full package has the empty source build. A release's `round`
/// counts how often it was resumed: outcomes of an older round do not stop it again.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS update_meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS update_releases (
    release_id TEXT PRIMARY KEY,
    maker TEXT NOT NULL,
    model TEXT NOT NULL,
    channel TEXT NOT NULL,
    build TEXT NOT NULL,
    timestamp BIGINT NOT NULL,
    security_patch TEXT NOT NULL,
    percentage BIGINT NOT NULL,
    failure_percentage BIGINT NOT NULL,
    minimum_outcomes BIGINT NOT NULL,
    stopped TEXT,
    round BIGINT NOT NULL,
    round_booted BIGINT NOT NULL,
    round_failed BIGINT NOT NULL,
    announced_at_ms BIGINT NOT NULL,
    UNIQUE (maker, model, channel, build)
);
CREATE TABLE IF NOT EXISTS update_packages (
    package_id TEXT PRIMARY KEY,
    release_id TEXT NOT NULL REFERENCES update_releases (release_id),
    source_build TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 BLOB NOT NULL,
    uploaded_at_ms BIGINT,
    UNIQUE (release_id, source_build)
);
CREATE TABLE IF NOT EXISTS update_devices (
    release_id TEXT NOT NULL REFERENCES update_releases (release_id),
    device_id TEXT NOT NULL,
    offered_at_ms BIGINT NOT NULL,
    downloaded BOOLEAN NOT NULL,
    applied BOOLEAN NOT NULL,
    outcome TEXT,
    reason TEXT,
    round BIGINT NOT NULL,
    PRIMARY KEY (release_id, device_id)
);
CREATE INDEX IF NOT EXISTS update_devices_device ON update_devices (device_id);
";

pub(crate) async fn create(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(TABLES).execute(pool).await.map(|_| ())
}
