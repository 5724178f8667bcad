-- What an API key may be used for.
-- Locks: api_keys, to add an empty column.

-- A list of words; NULL: everything that a key may.
ALTER TABLE api_keys ADD COLUMN scopes jsonb;
