-- Batches: many films that are asked for at once, each of which becomes a job or is refused.
-- Locks: none of other writers, who wait for this one anyway.

-- What many films may cost together. Rows are added, never changed.
CREATE TABLE batch_quotes (
    id           BLOB    NOT NULL PRIMARY KEY,
    owner_id     BLOB    NOT NULL REFERENCES users (id),
    -- SHA-256 of the wishes, in their order.
    request_hash BLOB    NOT NULL,
    -- For each film its own quote, or why there is none.
    items        TEXT    NOT NULL,
    max_credits  INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
);

-- Rows are added, never changed. What its films may cost together is its row of spending.
CREATE TABLE batches (
    id              BLOB    NOT NULL PRIMARY KEY,
    owner_id        BLOB    NOT NULL REFERENCES users (id),
    project_id      BLOB    NOT NULL REFERENCES projects (id),
    name            TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    -- SHA-256 of the request: the same key with another one is a mistake.
    request_hash    BLOB    NOT NULL,
    -- What its quote said at most; NULL: there was none.
    quoted          INTEGER,
    created_at      INTEGER NOT NULL,
    UNIQUE (owner_id, idempotency_key)
);
CREATE INDEX batches_by_owner ON batches (owner_id, id DESC);

CREATE TABLE batch_items (
    batch_id    BLOB    NOT NULL REFERENCES batches (id),
    -- 0, 1, 2 … in the order of the request.
    position    INTEGER NOT NULL,
    owner_id    BLOB    NOT NULL REFERENCES users (id),
    -- What is asked for; NULL: it could not be read.
    wish        TEXT,
    -- What became of it: a job, or why there is none, or neither yet.
    job_id      BLOB    REFERENCES jobs (id),
    refused     TEXT,
    -- When it was asked for: with the batch, or again later.
    asked_at    INTEGER NOT NULL,
    -- When it was refused.
    refused_at  INTEGER,
    -- When it is made a job; NULL: it is decided.
    due_at      INTEGER,
    -- Until when it belongs to the node that took it.
    lease_until INTEGER,
    -- Fencing token: grows with each claim, and what is written afterwards names it.
    lease_epoch INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch_id, position)
);
CREATE INDEX batch_items_due ON batch_items (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX batch_items_waiting ON batch_items (owner_id) WHERE due_at IS NOT NULL;

-- When somebody asked to go on with what had failed by then. Rows are added, never changed.
CREATE TABLE batch_retries (
    batch_id        BLOB    NOT NULL REFERENCES batches (id),
    idempotency_key TEXT    NOT NULL,
    owner_id        BLOB    NOT NULL REFERENCES users (id),
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (batch_id, idempotency_key)
);

-- The batch that it came with.
ALTER TABLE jobs ADD COLUMN batch_id BLOB REFERENCES batches (id);
