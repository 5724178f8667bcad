-- Circuits: which providers are left alone for a while, and attempts by model.
-- Locks: attempts for the moment in which the column is added; then writes to attempts wait for as
-- long as its index takes to be built, about a second for a million rows.

-- Changed only while a provider fails; one that always worked has no row.
CREATE TABLE circuits (
    provider  text        NOT NULL,
    -- What is made; empty: the whole account at the provider.
    kind      text        NOT NULL CHECK (kind IN ('', 'SCRIPT', 'VOICE', 'VIDEO')),
    -- Empty: the account, or a provider without models.
    model     text        NOT NULL,
    state     text        NOT NULL CHECK (state IN ('CLOSED', 'OPEN', 'HALF_OPEN')),
    -- In a row.
    failures  bigint      NOT NULL CHECK (failures >= 0),
    -- Openings one soon after the other.
    opened    bigint      NOT NULL CHECK (opened >= 0),
    -- Open: when a trial may be made. Half open: how long the trial has.
    until     timestamptz CHECK ((until IS NULL) = (state = 'CLOSED')),
    failed_at timestamptz,
    closed_at timestamptz,
    -- In plain words.
    reason    text,
    PRIMARY KEY (provider, kind, model)
);

-- The model that was asked for, or the usual one; nothing for attempts from before this.
ALTER TABLE attempts ADD COLUMN model text;

-- How providers did lately.
CREATE INDEX attempts_lately ON attempts (provider, submitted_at DESC);

-- Nobody's but the worker's.
ALTER TABLE circuits ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
