-- Keys, and certificates without a key. `blob` opens in the TEE only; `sealing` says under what it
-- is sealed besides: 0 nothing, 1 the unlock key, 2 the unlock key's public half.
CREATE TABLE IF NOT EXISTS keys (
    id INTEGER PRIMARY KEY,
    uid INTEGER NOT NULL,
    label TEXT NOT NULL,
    alias TEXT NOT NULL,
    blob BLOB,
    sealing INTEGER NOT NULL,
    characteristics BLOB NOT NULL,
    certificates BLOB NOT NULL,
    extra BLOB,
    created_ms INTEGER NOT NULL,
    uses_left INTEGER,
    UNIQUE (uid, label, alias)
) STRICT;

CREATE TABLE IF NOT EXISTS grants (
    id INTEGER PRIMARY KEY,
    key INTEGER NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    uid INTEGER NOT NULL,
    label TEXT NOT NULL,
    access INTEGER NOT NULL,
    UNIQUE (key, uid, label)
) STRICT;

-- Blobs whose keys nobody has any more, until the TEE has deleted them too.
CREATE TABLE IF NOT EXISTS doomed (
    key INTEGER PRIMARY KEY,
    blob BLOB NOT NULL,
    sealing INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY,
    line TEXT NOT NULL,
    code BLOB NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS meta (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
