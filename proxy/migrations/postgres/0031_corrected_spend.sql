-- As SQLite's migration of this number.
ALTER TABLE account ADD COLUMN corrected_nanousd BIGINT NOT NULL DEFAULT 0;
