-- API keys: what programs sign in with, and the most that their jobs may cost.
-- Locks: jobs and batches, to add an empty column, and writes to jobs for as long as an index
-- takes that has no row yet.

CREATE TABLE api_keys (
    id           uuid        NOT NULL PRIMARY KEY,
    owner_id     uuid        NOT NULL REFERENCES users (id),
    name         text        NOT NULL,
    -- SHA-256 of the key, which nobody else has.
    token_hash   bytea       NOT NULL UNIQUE,
    -- Its end, for people to tell keys apart.
    hint         text        NOT NULL,
    -- Most of its jobs that are not over; NULL: as many as its owner may.
    in_flight    bigint      CHECK (in_flight >= 0),
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
CREATE INDEX api_keys_by_owner ON api_keys (owner_id, id DESC);

-- The key that asked for it. What its jobs cost together is its row of spending.
ALTER TABLE jobs    ADD COLUMN api_key_id uuid REFERENCES api_keys (id);
ALTER TABLE batches ADD COLUMN api_key_id uuid REFERENCES api_keys (id);
CREATE INDEX jobs_in_flight_by_key ON jobs (api_key_id)
    WHERE api_key_id IS NOT NULL AND status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED');

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON api_keys
    USING (owner_id = (SELECT genvid_user()) OR (SELECT genvid_scope()) = 'identity');
