-- What an API key may be used for.
-- Locks: none of other writers, who wait for this one anyway.

-- A list of words; NULL: everything that a key may.
ALTER TABLE api_keys ADD COLUMN scopes TEXT;
