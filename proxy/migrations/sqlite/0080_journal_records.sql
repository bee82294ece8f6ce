-- The number of the last record of its journal that is in the tables: claims that
-- are answered at once are records too, and belong to no batch.
ALTER TABLE process ADD COLUMN record INTEGER NOT NULL DEFAULT 0;
