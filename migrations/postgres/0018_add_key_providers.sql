-- The only providers that the jobs of an API key may use.
-- Locks: api_keys, to add an empty column.

-- A list of ids; NULL: all.
ALTER TABLE api_keys ADD COLUMN providers jsonb;
