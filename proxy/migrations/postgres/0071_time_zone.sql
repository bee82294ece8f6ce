-- Whose calendar the budgets with windows follow: the same for all processes that
-- share the database, or each would charge its calls to windows of its own.
CREATE TABLE time_zone (
    number   BIGINT NOT NULL PRIMARY KEY CHECK (number = 0),
    name     TEXT   NOT NULL,
    -- When a process last began with it.
    since_us BIGINT NOT NULL
);
