-- A database of the first schema, as it was left by a process that died: one key
-- with a budget, calls, an estimate and an allotment, and one that was deleted.
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
    success BOOLEAN NOT NULL,
    checksum BYTEA NOT NULL,
    execution_time BIGINT NOT NULL
);

INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
VALUES (6, 'schema', TRUE,
    decode('25c5859ad59b960b20b6ed81c2d207ffa7f79da60caced262f955523befa8164d532546674528d2a797595160513ac0b', 'hex'), 1);

CREATE TABLE keys (
    hash               TEXT   NOT NULL PRIMARY KEY CHECK (length(hash) = 64),
    hash_version       BIGINT NOT NULL DEFAULT 1,
    key_name           TEXT   NOT NULL,
    alias              TEXT   UNIQUE,
    models             TEXT   NOT NULL DEFAULT '[]',
    max_budget_nanousd BIGINT CHECK (max_budget_nanousd >= 0),
    expires_at_us      BIGINT,
    blocked            BIGINT NOT NULL DEFAULT 0 CHECK (blocked IN (0, 1)),
    metadata           TEXT   NOT NULL DEFAULT '{}',
    key_type           TEXT   NOT NULL DEFAULT 'default',
    allowed_routes     TEXT   NOT NULL DEFAULT '[]',
    user_id            TEXT,
    team_id            TEXT,
    created_at_us      BIGINT NOT NULL,
    updated_at_us      BIGINT NOT NULL,
    scopes             TEXT   NOT NULL DEFAULT '[]',
    shared_accounts    TEXT   NOT NULL DEFAULT '[]',
    allowed_cidrs      TEXT   NOT NULL DEFAULT '[]'
);

CREATE INDEX keys_by_creation ON keys (created_at_us DESC, hash);
CREATE INDEX keys_by_user ON keys (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX keys_by_team ON keys (team_id) WHERE team_id IS NOT NULL;

CREATE TABLE deleted_keys (
    id                 BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash               TEXT   NOT NULL,
    hash_version       BIGINT NOT NULL,
    key_name           TEXT   NOT NULL,
    alias              TEXT,
    models             TEXT   NOT NULL,
    max_budget_nanousd BIGINT,
    expires_at_us      BIGINT,
    blocked            BIGINT NOT NULL,
    metadata           TEXT   NOT NULL,
    key_type           TEXT   NOT NULL,
    allowed_routes     TEXT   NOT NULL,
    user_id            TEXT,
    team_id            TEXT,
    created_at_us      BIGINT NOT NULL,
    updated_at_us      BIGINT NOT NULL,
    deleted_at_us      BIGINT NOT NULL,
    scopes             TEXT   NOT NULL DEFAULT '[]',
    shared_accounts    TEXT   NOT NULL DEFAULT '[]',
    allowed_cidrs      TEXT   NOT NULL DEFAULT '[]'
);

CREATE INDEX deleted_keys_by_hash ON deleted_keys (hash, deleted_at_us DESC);

CREATE TABLE account (
    scope            TEXT   NOT NULL,
    subject          TEXT   NOT NULL,
    limit_nanousd    BIGINT CHECK (limit_nanousd >= 0),
    posted_nanousd   BIGINT NOT NULL DEFAULT 0 CHECK (posted_nanousd >= 0),
    allotted_nanousd BIGINT NOT NULL DEFAULT 0 CHECK (allotted_nanousd >= 0),
    budget_duration  TEXT,
    PRIMARY KEY (scope, subject)
);

CREATE TABLE usage (
    request_id        TEXT   NOT NULL PRIMARY KEY,
    key_hash          TEXT,
    model             TEXT   NOT NULL,
    deployment_id     TEXT   NOT NULL,
    prompt_tokens     BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cached_tokens     BIGINT NOT NULL,
    cost_nanousd      BIGINT NOT NULL CHECK (cost_nanousd >= 0),
    estimated         BIGINT NOT NULL CHECK (estimated IN (0, 1)),
    streamed          BIGINT NOT NULL CHECK (streamed IN (0, 1)),
    status            BIGINT NOT NULL,
    started_at_us     BIGINT NOT NULL,
    finished_at_us    BIGINT NOT NULL
);

CREATE INDEX usage_by_key ON usage (key_hash, finished_at_us);

CREATE TABLE usage_account (
    scope      TEXT NOT NULL,
    subject    TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (scope, subject, request_id)
);

CREATE TABLE ledger_writer (
    id    BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    batch BIGINT NOT NULL
);

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
