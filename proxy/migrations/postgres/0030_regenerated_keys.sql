-- As SQLite's migration of this number.
ALTER TABLE keys ADD COLUMN account_hash TEXT;
ALTER TABLE deleted_keys ADD COLUMN account_hash TEXT;
CREATE UNIQUE INDEX keys_by_account ON keys (account_hash) WHERE account_hash IS NOT NULL;

CREATE TABLE earlier_keys (
    hash         TEXT   NOT NULL PRIMARY KEY,
    account_hash TEXT   NOT NULL,
    ends_at_us   BIGINT NOT NULL
);

CREATE INDEX earlier_keys_by_account ON earlier_keys (account_hash);
