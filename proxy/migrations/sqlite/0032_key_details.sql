-- Names under which a key calls models, as a JSON object of a name and the model
-- that it stands for; and from which spend on a key's answers warn.
ALTER TABLE keys ADD COLUMN aliases TEXT NOT NULL DEFAULT '{}';
ALTER TABLE keys ADD COLUMN soft_budget_nanousd INTEGER CHECK (soft_budget_nanousd >= 0);
ALTER TABLE deleted_keys ADD COLUMN aliases TEXT NOT NULL DEFAULT '{}';
ALTER TABLE deleted_keys ADD COLUMN soft_budget_nanousd INTEGER;

CREATE INDEX keys_by_expiry ON keys (expires_at_us) WHERE expires_at_us IS NOT NULL;
