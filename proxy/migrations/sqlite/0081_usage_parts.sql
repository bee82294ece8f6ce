-- Calls are written a few thousand at a time. In an index that begins with the key
-- each of them has a page of its own once there are many; beginning with the part
-- that was being written, all of them go into the same few pages. A part has some
-- ten thousand calls, so whoever asks for a key's looks it up once in each part.
-- Zero is of calls from before, and of what recovery posts.
CREATE TABLE usage_part (
    part INTEGER NOT NULL PRIMARY KEY
) STRICT;

INSERT INTO usage_part (part) VALUES (0);

ALTER TABLE usage ADD COLUMN part INTEGER NOT NULL DEFAULT 0;
DROP INDEX usage_by_key;
CREATE INDEX usage_by_part ON usage (part, key_hash, started_at_us);
