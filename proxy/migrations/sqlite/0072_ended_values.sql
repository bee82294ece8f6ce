-- The values that deleted keys had before they were regenerated: an import brings
-- none of them back unless it is asked to.
CREATE TABLE ended_values (
    hash         TEXT NOT NULL PRIMARY KEY,
    account_hash TEXT NOT NULL
) STRICT, WITHOUT ROWID;
