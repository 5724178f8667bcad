-- The only providers that the jobs of an API key may use.
-- Locks: none of other writers, who wait for this one anyway.

-- A list of ids; NULL: all.
ALTER TABLE api_keys ADD COLUMN providers TEXT;
