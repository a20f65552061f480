//! The tables. Ids and names are raw bytes; times are milliseconds since 1970.

/// Made where they are missing. A block may lie in several packs.
pub(crate) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS sync_roots (
    account TEXT PRIMARY KEY, wrapped_id_key TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sync_packs (
    seq INTEGER PRIMARY KEY, account TEXT NOT NULL, name BLOB NOT NULL,
    wrapped_key TEXT NOT NULL, bytes INTEGER NOT NULL,
    created_ms INTEGER NOT NULL, asked_ms INTEGER NOT NULL,
    UNIQUE (account, name));
CREATE TABLE IF NOT EXISTS sync_blocks (
    id BLOB NOT NULL, pack INTEGER NOT NULL REFERENCES sync_packs (seq),
    at INTEGER NOT NULL, length INTEGER NOT NULL,
    PRIMARY KEY (id, pack));
CREATE INDEX IF NOT EXISTS sync_blocks_pack ON sync_blocks (pack);
CREATE TABLE IF NOT EXISTS sync_heads (
    account TEXT NOT NULL, generation INTEGER NOT NULL, head TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (account, generation));
CREATE TABLE IF NOT EXISTS sync_head_packs (
    account TEXT NOT NULL, generation INTEGER NOT NULL, pack INTEGER NOT NULL,
    PRIMARY KEY (account, generation, pack));
CREATE INDEX IF NOT EXISTS sync_head_packs_pack ON sync_head_packs (pack);
";
