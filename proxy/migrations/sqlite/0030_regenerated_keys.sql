-- A key keeps its account when it is regenerated: account_hash is the hash of
-- its first value; null, in rows written before this, means the row's own hash.
ALTER TABLE keys ADD COLUMN account_hash TEXT;
ALTER TABLE deleted_keys ADD COLUMN account_hash TEXT;
CREATE UNIQUE INDEX keys_by_account ON keys (account_hash) WHERE account_hash IS NOT NULL;

-- The values that a live key had before. Each works until its end; its row stays
-- as long as the key, to say why it is refused.
CREATE TABLE earlier_keys (
    hash         TEXT    NOT NULL PRIMARY KEY,
    account_hash TEXT    NOT NULL,
    ends_at_us   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX earlier_keys_by_account ON earlier_keys (account_hash);
