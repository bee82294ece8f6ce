-- Virtual keys. Only the SHA-256 of a key is stored, as lowercase hex, which
-- is also its public identity. hash_version 1 = plain SHA-256 of the whole key.
-- Times are microseconds since 1970 (UTC); money is integer nano-dollars.
CREATE TABLE keys (
    hash               TEXT    NOT NULL PRIMARY KEY CHECK (length(hash) = 64),
    hash_version       INTEGER NOT NULL DEFAULT 1,
    key_name           TEXT    NOT NULL,
    alias              TEXT    UNIQUE,
    models             TEXT    NOT NULL DEFAULT '[]',
    max_budget_nanousd INTEGER CHECK (max_budget_nanousd >= 0),
    expires_at_us      INTEGER,
    blocked            INTEGER NOT NULL DEFAULT 0 CHECK (blocked IN (0, 1)),
    metadata           TEXT    NOT NULL DEFAULT '{}',
    key_type           TEXT    NOT NULL DEFAULT 'default',
    allowed_routes     TEXT    NOT NULL DEFAULT '[]',
    user_id            TEXT,
    team_id            TEXT,
    created_at_us      INTEGER NOT NULL,
    updated_at_us      INTEGER NOT NULL
) STRICT;

CREATE INDEX keys_by_creation ON keys (created_at_us DESC, hash);
CREATE INDEX keys_by_user ON keys (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX keys_by_team ON keys (team_id) WHERE team_id IS NOT NULL;

-- Deleted keys stay readable for audit: `/key/info` answers them with the
-- status `deleted`. A key value may be used again, so the hash is not unique.
CREATE TABLE deleted_keys (
    id                 INTEGER NOT NULL PRIMARY KEY,
    hash               TEXT    NOT NULL,
    hash_version       INTEGER NOT NULL,
    key_name           TEXT    NOT NULL,
    alias              TEXT,
    models             TEXT    NOT NULL,
    max_budget_nanousd INTEGER,
    expires_at_us      INTEGER,
    blocked            INTEGER NOT NULL,
    metadata           TEXT    NOT NULL,
    key_type           TEXT    NOT NULL,
    allowed_routes     TEXT    NOT NULL,
    user_id            TEXT,
    team_id            TEXT,
    created_at_us      INTEGER NOT NULL,
    updated_at_us      INTEGER NOT NULL,
    deleted_at_us      INTEGER NOT NULL
) STRICT;

CREATE INDEX deleted_keys_by_hash ON deleted_keys (hash, deleted_at_us DESC);
