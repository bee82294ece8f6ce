-- What gateways that share this database have taken of the rates of keys: of the
-- requests and tokens of a minute, and of the calls that may run at once. Each
-- takes its part ahead and counts its own calls in memory, so a row changes a few
-- times a second at most. An SQLite file has one process, which needs none of this.
CREATE TABLE rate (
    -- The key's account, and the model where the limit is that of one.
    account TEXT   NOT NULL,
    model   TEXT   NOT NULL,
    unit    TEXT   NOT NULL,
    -- Since 1970; 0 for calls at once.
    minute  BIGINT NOT NULL,
    -- Of all processes, whether their calls have used it or not.
    taken   BIGINT NOT NULL CHECK (taken >= 0),
    PRIMARY KEY (account, model, unit, minute)
);

CREATE INDEX rate_minute ON rate (minute);

-- Who has how many of the calls that a key may have at once. They add up to the
-- rate's row.
CREATE TABLE slot (
    process TEXT   NOT NULL,
    account TEXT   NOT NULL,
    amount  BIGINT NOT NULL,
    PRIMARY KEY (process, account)
);

-- Corrects what a process has taken, then gives it more where the limit (`most`)
-- has room: all of `demand` if it can and `at_least` if it must, and some ahead, a
-- part of what is left, so that the last units go one by one. `change` is what the
-- process has taken besides, below zero what it gives back; of calls at once it is
-- how many it has, so that an answer which never reached it is put right. Nulls
-- where the process was taken for dead.
CREATE FUNCTION claim_rate(of_process TEXT, of_account TEXT, of_model TEXT, of_unit TEXT,
    of_minute BIGINT, most BIGINT, change BIGINT, at_least BIGINT, demand BIGINT, ahead BIGINT,
    OUT granted BIGINT, OUT stands BIGINT)
LANGUAGE plpgsql AS $$
DECLARE
    is_slots BOOLEAN := of_unit = 'max_parallel_requests';
    moved BIGINT := change;
    rest BIGINT;
    given BIGINT := 0;
BEGIN
    IF is_slots THEN
        -- Nobody buries it before this has ended.
        PERFORM 1 FROM process WHERE id = of_process FOR KEY SHARE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        moved := change - COALESCE(
            (SELECT amount FROM slot WHERE process = of_process AND account = of_account), 0);
    END IF;
    -- Locks the row, so that what is read here stays true until this has ended.
    INSERT INTO rate AS r (account, model, unit, minute, taken)
        VALUES (of_account, of_model, of_unit, of_minute, GREATEST(moved, 0))
        ON CONFLICT (account, model, unit, minute)
            DO UPDATE SET taken = GREATEST(r.taken + moved, 0)
        RETURNING taken INTO stands;
    rest := most - stands;
    IF at_least > 0 AND rest >= at_least THEN
        given := LEAST(demand, rest);
        given := given + LEAST(ahead, (rest - given) / 4);
        UPDATE rate SET taken = taken + given WHERE account = of_account AND model = of_model
            AND unit = of_unit AND minute = of_minute;
    END IF;
    granted := given;
    stands := stands + given;
    IF stands = 0 THEN
        DELETE FROM rate WHERE account = of_account AND model = of_model
            AND unit = of_unit AND minute = of_minute;
    END IF;
    IF is_slots AND change + given > 0 THEN
        INSERT INTO slot (process, account, amount) VALUES (of_process, of_account, change + given)
            ON CONFLICT (process, account) DO UPDATE SET amount = excluded.amount;
    ELSIF is_slots THEN
        DELETE FROM slot WHERE process = of_process AND account = of_account;
    END IF;
END $$;

-- Calls of a process that has left or was taken for dead run no longer. In the
-- order in which claims lock rows.
CREATE FUNCTION free_slots() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    freed RECORD;
BEGIN
    FOR freed IN SELECT account, amount FROM slot WHERE process = OLD.id ORDER BY account LOOP
        UPDATE rate SET taken = GREATEST(taken - freed.amount, 0)
            WHERE account = freed.account AND model = '' AND unit = 'max_parallel_requests'
                AND minute = 0;
        DELETE FROM rate WHERE account = freed.account AND model = ''
            AND unit = 'max_parallel_requests' AND minute = 0 AND taken = 0;
    END LOOP;
    DELETE FROM slot WHERE process = OLD.id;
    RETURN NULL;
END $$;

CREATE TRIGGER free_slots AFTER DELETE ON process FOR EACH ROW EXECUTE FUNCTION free_slots();
