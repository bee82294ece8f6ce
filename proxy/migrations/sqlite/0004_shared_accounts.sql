-- The accounts that a key shares with others, as a JSON list of pairs of scope
-- and id. What they may spend and have spent stands in the table account, and
-- stays there when the last of their keys is gone.
ALTER TABLE keys ADD COLUMN shared_accounts TEXT NOT NULL DEFAULT '[]';
ALTER TABLE deleted_keys ADD COLUMN shared_accounts TEXT NOT NULL DEFAULT '[]';

-- The shared accounts that a call was charged to besides its key's own. What a
-- stopped process had allotted of a shared account is a row of usage without a
-- model and without a key: the keys' own rows may tell of the same calls, so a
-- sum over keys leaves it out.
CREATE TABLE usage_account (
    scope      TEXT NOT NULL,
    subject    TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (scope, subject, request_id)
) STRICT, WITHOUT ROWID;
