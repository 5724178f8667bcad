-- Quotes: what jobs may cost, before anything is spent.
-- Locks: attempts, for as long as its index takes to be built.

-- Never changed.
CREATE TABLE quotes (
    id           BLOB    NOT NULL PRIMARY KEY,
    owner_id     BLOB    NOT NULL REFERENCES users (id),
    kind         TEXT    NOT NULL CHECK (kind IN ('SCRIPT', 'VOICE', 'VIDEO')),
    -- SHA-256 of what was asked for.
    request_hash BLOB    NOT NULL,
    -- The paid steps: who could make each, for how much, and who could not.
    steps        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
);

-- How long providers took lately.
CREATE INDEX attempts_delivered ON attempts (provider, submitted_at DESC) WHERE status = 'SUCCEEDED';
