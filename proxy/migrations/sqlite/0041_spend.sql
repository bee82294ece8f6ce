-- Readers ask for calls by when they began: that is the window and the day they
-- are charged to.
DROP INDEX usage_by_key;
CREATE INDEX usage_by_key ON usage (key_hash, started_at_us);
CREATE INDEX usage_by_start ON usage (started_at_us);
CREATE INDEX deleted_keys_by_account ON deleted_keys (account_hash);

-- What rows that are gone add up to, an account each: balances never depend on
-- how long rows are kept.
CREATE TABLE usage_carried (
    scope             TEXT    NOT NULL,
    subject           TEXT    NOT NULL,
    calls             INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_nanousd      INTEGER NOT NULL,
    PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;
