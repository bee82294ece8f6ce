-- What an admin key may do, as a JSON list of names. A key that has none is an
-- ordinary one.
ALTER TABLE keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE deleted_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]';
