-- After how long a shared budget counts from zero again, as in 30d; null = never.
-- It stands in the row that defines the budget. Each window is a row of its own,
-- whose subject is the budget's id, a tab, and the window as an interval of
-- ISO 8601; no id holds a tab.
ALTER TABLE account ADD COLUMN budget_duration TEXT;
