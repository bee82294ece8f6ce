-- From where a key may be used, as a JSON list of blocks of addresses; empty =
-- from anywhere.
ALTER TABLE keys ADD COLUMN allowed_cidrs TEXT NOT NULL DEFAULT '[]';
ALTER TABLE deleted_keys ADD COLUMN allowed_cidrs TEXT NOT NULL DEFAULT '[]';
