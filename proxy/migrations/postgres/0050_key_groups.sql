-- As SQLite's migration of this number.
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

ALTER TABLE keys ADD COLUMN budget_id TEXT;
ALTER TABLE deleted_keys ADD COLUMN budget_id TEXT;
CREATE INDEX keys_by_budget ON keys (budget_id) WHERE budget_id IS NOT NULL;

-- The terms of a group are in memory with each of its keys. A group that is new
-- binds keys which named it before it was there.
CREATE FUNCTION tell_key_group() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    changed key_group;
BEGIN
    IF TG_OP = 'DELETE' THEN
        changed := OLD;
    ELSE
        changed := NEW;
    END IF;
    PERFORM tell_change(bound.hash, NULL, NULL, 0) FROM (
        SELECT hash FROM keys WHERE changed.kind = 'budget' AND budget_id = changed.id
        UNION ALL
        SELECT hash FROM keys WHERE changed.kind = 'team' AND team_id = changed.id
        UNION ALL
        SELECT hash FROM keys WHERE changed.kind = 'user' AND user_id = changed.id
    ) AS bound;
    RETURN NULL;
END $$;

CREATE TRIGGER tell_key_group AFTER INSERT OR UPDATE OR DELETE ON key_group
    FOR EACH ROW EXECUTE FUNCTION tell_key_group();
