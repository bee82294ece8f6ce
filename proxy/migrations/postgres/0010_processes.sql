-- Each process that writes the ledger, the number of its last batch (after a
-- commit that failed it tells whether the batch is in the store) and when it was
-- last seen, by the clock of a database that several share.
CREATE TABLE process (
    id      TEXT  NOT NULL PRIMARY KEY,
    batch   BIGINT NOT NULL,
    seen_us BIGINT NOT NULL
);

-- What each process has been allotted and has not settled. An account's own
-- allotted_nanousd is the sum of these.
CREATE TABLE allotment (
    process        TEXT   NOT NULL,
    scope          TEXT   NOT NULL,
    subject        TEXT   NOT NULL,
    amount_nanousd BIGINT NOT NULL CHECK (amount_nanousd >= 0),
    PRIMARY KEY (process, scope, subject)
);

-- Whoever wrote the ledger until now has ended.
INSERT INTO process (id, batch, seen_us) VALUES ('00000000-0000-0000-0000-000000000000', 0, 0);
INSERT INTO allotment (process, scope, subject, amount_nanousd)
    SELECT '00000000-0000-0000-0000-000000000000', scope, subject, allotted_nanousd FROM account
    WHERE allotted_nanousd > 0;
DROP TABLE ledger_writer;
