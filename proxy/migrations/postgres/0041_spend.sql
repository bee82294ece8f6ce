DROP INDEX usage_by_key;
CREATE INDEX usage_by_key ON usage (key_hash, started_at_us);
CREATE INDEX usage_by_start ON usage (started_at_us);
CREATE INDEX deleted_keys_by_account ON deleted_keys (account_hash);

CREATE TABLE usage_carried (
    scope             TEXT   NOT NULL,
    subject           TEXT   NOT NULL,
    calls             BIGINT NOT NULL,
    prompt_tokens     BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cost_nanousd      BIGINT NOT NULL,
    PRIMARY KEY (scope, subject)
);
