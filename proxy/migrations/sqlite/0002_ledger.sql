-- What each account may spend, has spent and has allotted to a running process,
-- in integer nano-dollars. The account of a key outlives the key.
CREATE TABLE account (
    scope            TEXT    NOT NULL,
    subject          TEXT    NOT NULL,
    limit_nanousd    INTEGER CHECK (limit_nanousd >= 0),
    posted_nanousd   INTEGER NOT NULL DEFAULT 0 CHECK (posted_nanousd >= 0),
    allotted_nanousd INTEGER NOT NULL DEFAULT 0 CHECK (allotted_nanousd >= 0),
    PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;

-- One row a settled call. The request's id makes a settlement idempotent.
-- key_hash is null for calls of the master key, which has no account. A row
-- without a model is what a stopped process had allotted, posted at restart.
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

-- The last batch of the ledger's writer: after a commit that failed it tells
-- whether the batch is in the store.
CREATE TABLE ledger_writer (
    id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    batch INTEGER NOT NULL
) STRICT;

INSERT INTO ledger_writer (id, batch) VALUES (1, 0);
