-- A database of the first schema, as it was left by a process that died: one key
-- with a budget, calls, an estimate and an allotment, and one that was deleted.
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);

INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
VALUES (1, 'keys', 1,
    x'6c9cd54a3ff1dc35bcb5d116d5e3d827ac656511c40ed1fad3627306e1c02b86380ea85b86b195f1b31347d305434bdb', 1);

INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
VALUES (2, 'ledger', 1,
    x'ed9add4d073834b6ea495dcaa96f9dc631b5f5ca56bbc8cbb7767aed9a689b51786ece7a61f2b4aea5c3f5fd2779fd38', 1);

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

CREATE TABLE account (
    scope            TEXT    NOT NULL,
    subject          TEXT    NOT NULL,
    limit_nanousd    INTEGER CHECK (limit_nanousd >= 0),
    posted_nanousd   INTEGER NOT NULL DEFAULT 0 CHECK (posted_nanousd >= 0),
    allotted_nanousd INTEGER NOT NULL DEFAULT 0 CHECK (allotted_nanousd >= 0),
    PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage (
    request_id        TEXT    NOT NULL PRIMARY KEY,
    key_hash          TEXT,
    model             TEXT    NOT NULL,
    deployment_id     TEXT    NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    cost_nanousd      INTEGER NOT NULL CHECK (cost_nanousd >= 0),
    estimated         INTEGER NOT NULL CHECK (estimated IN (0, 1)),
    streamed          INTEGER NOT NULL CHECK (streamed IN (0, 1)),
    status            INTEGER NOT NULL,
    started_at_us     INTEGER NOT NULL,
    finished_at_us    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_by_key ON usage (key_hash, finished_at_us);

CREATE TABLE ledger_writer (
    id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    batch INTEGER NOT NULL
) STRICT;

INSERT INTO ledger_writer (id, batch) VALUES (1, 0);

INSERT INTO keys (hash, key_name, alias, models, max_budget_nanousd, metadata, user_id, created_at_us,
    updated_at_us)
VALUES ('55c2a94860702905824ec00a4a73db640fa9cb111a37b964a71a2526a8a5c521', 'sk-...cdef', 'first', '["demo"]', 1000000000, '{"a":"b"}', 'u1', 1790000000000000,
    1790000000000000);
INSERT INTO deleted_keys (hash, hash_version, key_name, models, blocked, metadata, key_type,
    allowed_routes, created_at_us, updated_at_us, deleted_at_us)
VALUES ('751a82c306a6928141a205e93abc10b4f05a95f91828a1eb71a880e3fbcc690e', 1, 'sk-...hema', '[]', 0, '{}', 'default', '[]', 1790000000000000, 1790000000000000,
    1790000001000000);
INSERT INTO account (scope, subject, limit_nanousd, posted_nanousd, allotted_nanousd)
VALUES ('key', '55c2a94860702905824ec00a4a73db640fa9cb111a37b964a71a2526a8a5c521', 1000000000, 30000, 5000), ('key', '751a82c306a6928141a205e93abc10b4f05a95f91828a1eb71a880e3fbcc690e', NULL, 7, 0);
INSERT INTO usage (request_id, key_hash, model, deployment_id, prompt_tokens, completion_tokens,
    cached_tokens, cost_nanousd, estimated, streamed, status, started_at_us, finished_at_us)
VALUES ('00000000-0000-4000-8000-000000000001', '55c2a94860702905824ec00a4a73db640fa9cb111a37b964a71a2526a8a5c521', 'demo', 'd', 5, 10, 0, 20000, 0, 0, 200,
        1790000000000000, 1790000000500000),
    ('00000000-0000-4000-8000-000000000002', '55c2a94860702905824ec00a4a73db640fa9cb111a37b964a71a2526a8a5c521', '', '', 0, 0, 0, 10000, 1, 0, 0, 1790000001000000,
        1790000001000000),
    ('00000000-0000-4000-8000-000000000003', '751a82c306a6928141a205e93abc10b4f05a95f91828a1eb71a880e3fbcc690e', 'demo', 'd', 1, 1, 0, 7, 0, 0, 200,
        1790000000000000, 1790000000500000);
UPDATE ledger_writer SET batch = 42 WHERE id = 1;
