-- As SQLite's migration of this number.
ALTER TABLE keys ADD COLUMN seal TEXT;
ALTER TABLE earlier_keys ADD COLUMN seal TEXT;
