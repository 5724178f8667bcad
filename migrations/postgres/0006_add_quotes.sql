-- Quotes: what jobs may cost, before anything is spent.
-- Locks: writes to attempts wait for as long as its index takes to be built, about a second for
-- a million rows.

-- Never changed.
CREATE TABLE quotes (
    id           uuid        NOT NULL PRIMARY KEY,
    owner_id     uuid        NOT NULL REFERENCES users (id),
    kind         text        NOT NULL CHECK (kind IN ('SCRIPT', 'VOICE', 'VIDEO')),
    -- SHA-256 of what was asked for.
    request_hash bytea       NOT NULL,
    -- The paid steps: who could make each, for how much, and who could not.
    steps        jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);

-- How long providers took lately.
CREATE INDEX attempts_delivered ON attempts (provider, submitted_at DESC) WHERE status = 'SUCCEEDED';

ALTER TABLE quotes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON quotes USING (owner_id = (SELECT genvid_user()));
