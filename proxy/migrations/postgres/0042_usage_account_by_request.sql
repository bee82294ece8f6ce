CREATE INDEX usage_account_by_request ON usage_account (request_id);
