-- Circuits: which providers are left alone for a while, and attempts by model.
-- Locks: attempts, for as long as its index takes to be built.

-- Changed only while a provider fails; one that always worked has no row.
CREATE TABLE circuits (
    provider  TEXT    NOT NULL,
    -- What is made; empty: the whole account at the provider.
    kind      TEXT    NOT NULL CHECK (kind IN ('', 'SCRIPT', 'VOICE', 'VIDEO')),
    -- Empty: the account, or a provider without models.
    model     TEXT    NOT NULL,
    state     TEXT    NOT NULL CHECK (state IN ('CLOSED', 'OPEN', 'HALF_OPEN')),
    -- In a row.
    failures  INTEGER NOT NULL CHECK (failures >= 0),
    -- Openings one soon after the other.
    opened    INTEGER NOT NULL CHECK (opened >= 0),
    -- Open: when a trial may be made. Half open: how long the trial has.
    until     INTEGER CHECK ((until IS NULL) = (state = 'CLOSED')),
    failed_at INTEGER,
    closed_at INTEGER,
    -- In plain words.
    reason    TEXT,
    PRIMARY KEY (provider, kind, model)
);

-- The model that was asked for, or the usual one; nothing for attempts from before this.
ALTER TABLE attempts ADD COLUMN model TEXT;

-- How providers did lately.
CREATE INDEX attempts_lately ON attempts (provider, submitted_at DESC);
