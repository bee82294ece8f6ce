-- Who changed what of keys and budgets, and when: one row a change, written in
-- the change's own transaction and never changed. id counts from 1 without gaps.
-- hash is SHA-256 over the row's content and the previous row's hash, so that a
-- row which is changed, removed or put in between breaks the chain.
CREATE TABLE audit (
    id               INTEGER NOT NULL PRIMARY KEY,
    at_us            INTEGER NOT NULL,
    actor            TEXT    NOT NULL,
    action           TEXT    NOT NULL,
    subject          TEXT    NOT NULL,
    before_json      TEXT,
    after_json       TEXT,
    vault_request_id TEXT,
    previous_hash    TEXT    NOT NULL,
    hash             TEXT    NOT NULL
) STRICT;

CREATE INDEX audit_by_subject ON audit (subject, id);
CREATE INDEX audit_by_time ON audit (at_us, id);
