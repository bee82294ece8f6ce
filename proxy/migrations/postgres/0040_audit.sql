CREATE TABLE audit (
    id               BIGINT NOT NULL PRIMARY KEY,
    at_us            BIGINT NOT NULL,
    actor            TEXT   NOT NULL,
    action           TEXT   NOT NULL,
    subject          TEXT   NOT NULL,
    before_json      TEXT,
    after_json       TEXT,
    vault_request_id TEXT,
    previous_hash    TEXT   NOT NULL,
    hash             TEXT   NOT NULL
);

CREATE INDEX audit_by_subject ON audit (subject, id);
CREATE INDEX audit_by_time ON audit (at_us, id);
