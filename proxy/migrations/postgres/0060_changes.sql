-- Several processes share a PostgreSQL and keep keys and limits in memory. Each
-- change of those is written down here by the database itself, in the transaction
-- of the change, whoever makes it; the processes are told that there is one and
-- read which. An SQLite file has one process and needs none of this.
CREATE TABLE change (
    id                BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The key's value, where keys are known by it; none for a budget alone.
    hash              TEXT,
    -- The account that may have another limit now; none for an earlier value.
    scope             TEXT,
    subject           TEXT,
    -- What an operator has added to the account's spend; below zero mostly.
    corrected_nanousd BIGINT NOT NULL DEFAULT 0,
    -- Which process made it; none where it was made by hand.
    origin            TEXT DEFAULT current_setting('llm_proxy.origin', true)
);

CREATE FUNCTION tell_change(of_hash TEXT, of_scope TEXT, of_subject TEXT, corrected BIGINT)
RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    told BIGINT;
BEGIN
    -- The lock that lets changes of keys run one at a time: numbers are then in
    -- the order of commits, and who has read one has missed none before it.
    PERFORM pg_advisory_xact_lock(7310582);
    INSERT INTO change (hash, scope, subject, corrected_nanousd)
        VALUES (of_hash, of_scope, of_subject, corrected) RETURNING id INTO told;
    -- Who has not read for so long forgets all keys instead.
    DELETE FROM change WHERE id <= told - 100000;
    -- Always the same text, so that a transaction of many changes wakes once.
    PERFORM pg_notify('llm_proxy_change', '');
END $$;

CREATE FUNCTION tell_key() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_change(OLD.hash, 'key', COALESCE(OLD.account_hash, OLD.hash), 0);
    RETURN NULL;
END $$;

-- A new key needs no telling: nobody remembers that it was not there.
CREATE TRIGGER tell_key AFTER UPDATE OR DELETE ON keys
    FOR EACH ROW EXECUTE FUNCTION tell_key();

CREATE FUNCTION tell_earlier_key() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_change(OLD.hash, NULL, NULL, 0);
    RETURN NULL;
END $$;

CREATE TRIGGER tell_earlier_key AFTER UPDATE OR DELETE ON earlier_keys
    FOR EACH ROW EXECUTE FUNCTION tell_earlier_key();

CREATE FUNCTION tell_account() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_change(NULL, NEW.scope, NEW.subject,
        CASE TG_OP WHEN 'UPDATE' THEN NEW.corrected_nanousd - OLD.corrected_nanousd ELSE 0 END);
    RETURN NULL;
END $$;

-- What calls cost is no change: the ledger's batches pass without this.
CREATE TRIGGER tell_account AFTER UPDATE ON account FOR EACH ROW
    WHEN (OLD.limit_nanousd IS DISTINCT FROM NEW.limit_nanousd
        OR OLD.budget_duration IS DISTINCT FROM NEW.budget_duration
        OR OLD.corrected_nanousd IS DISTINCT FROM NEW.corrected_nanousd)
    EXECUTE FUNCTION tell_account();

-- An account of one key comes with a change of the key, and a window, which has
-- a tab in its name, with the first call in it.
CREATE TRIGGER tell_new_account AFTER INSERT ON account FOR EACH ROW
    WHEN (NEW.scope NOT LIKE 'key%' AND strpos(NEW.subject, chr(9)) = 0)
    EXECUTE FUNCTION tell_account();
