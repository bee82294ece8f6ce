-- All that the migrations of SQLite up to this number make, and what each means
-- is told there. Numbers are bigint throughout, true and false are 1 and 0: one
-- statement then serves both databases.
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
