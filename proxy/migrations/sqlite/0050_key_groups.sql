-- What several keys have in common: a named budget, a team, a user. What binds
-- their keys stands in terms, as a JSON object; what is not in it binds nothing.
-- What may be spent of a team's or user's budget stands in the table account, in
-- the scopes team and user.
CREATE TABLE key_group (
    kind          TEXT   NOT NULL CHECK (kind IN ('budget', 'team', 'user')),
    id            TEXT   NOT NULL,
    alias         TEXT,
    email         TEXT,
    metadata      TEXT   NOT NULL DEFAULT '{}',
    terms         TEXT   NOT NULL DEFAULT '{}',
    created_at_us BIGINT NOT NULL,
    updated_at_us BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE INDEX key_group_by_creation ON key_group (kind, created_at_us, id);

-- The named budget that a key takes the limits from which it does not set itself.
ALTER TABLE keys ADD COLUMN budget_id TEXT;
ALTER TABLE deleted_keys ADD COLUMN budget_id TEXT;
CREATE INDEX keys_by_budget ON keys (budget_id) WHERE budget_id IS NOT NULL;
