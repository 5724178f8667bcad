-- API keys: what programs sign in with, and the most that their jobs may cost.
-- Locks: none of other writers, who wait for this one anyway.

CREATE TABLE api_keys (
    id           BLOB    NOT NULL PRIMARY KEY,
    owner_id     BLOB    NOT NULL REFERENCES users (id),
    name         TEXT    NOT NULL,
    -- SHA-256 of the key, which nobody else has.
    token_hash   BLOB    NOT NULL UNIQUE,
    -- Its end, for people to tell keys apart.
    hint         TEXT    NOT NULL,
    -- Most of its jobs that are not over; NULL: as many as its owner may.
    in_flight    INTEGER CHECK (in_flight >= 0),
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER
);
CREATE INDEX api_keys_by_owner ON api_keys (owner_id, id DESC);

-- The key that asked for it. What its jobs cost together is its row of spending.
ALTER TABLE jobs    ADD COLUMN api_key_id BLOB REFERENCES api_keys (id);
ALTER TABLE batches ADD COLUMN api_key_id BLOB REFERENCES api_keys (id);
CREATE INDEX jobs_in_flight_by_key ON jobs (api_key_id)
    WHERE api_key_id IS NOT NULL AND status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED');
