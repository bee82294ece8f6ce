-- hash_version 2: besides the SHA-256, by which it is looked up, the key has a
-- seal in hexadecimal digits: an HMAC of that hash with a pepper that is not in
-- the store. Each value that a key has had has its own.
ALTER TABLE keys ADD COLUMN seal TEXT;
ALTER TABLE earlier_keys ADD COLUMN seal TEXT;
