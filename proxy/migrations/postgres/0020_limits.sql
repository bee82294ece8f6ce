-- The limits of a key besides its lifetime budget, as a JSON object; what is not
-- in it is no limit. What may be spent of a budget in it stands in the table
-- account, in the scopes key_budget, key_limit and key_model, whose subjects begin
-- with the key's hash and a slash.
ALTER TABLE keys ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
ALTER TABLE deleted_keys ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
