-- What finds the calls of a key: a table of its own and no index of usage, because
-- calls are written in the order of time, and an index takes each of them at another
-- place of its part. Of this table, what is written at once is written in its order.
CREATE TABLE usage_of_key (
    part          INTEGER NOT NULL,
    key_hash      TEXT    NOT NULL,
    started_at_us INTEGER NOT NULL,
    request_id    TEXT    NOT NULL,
    PRIMARY KEY (part, key_hash, started_at_us, request_id)
) STRICT, WITHOUT ROWID;

INSERT INTO usage_of_key (part, key_hash, started_at_us, request_id)
    SELECT part, key_hash, started_at_us, request_id FROM usage
    WHERE key_hash IS NOT NULL ORDER BY part, key_hash, started_at_us, request_id;
DROP INDEX usage_by_part;
