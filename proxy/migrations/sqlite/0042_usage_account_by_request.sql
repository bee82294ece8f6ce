-- Sums of a span of time by role or entity, and rows that go, start from calls.
CREATE INDEX usage_account_by_request ON usage_account (request_id);
