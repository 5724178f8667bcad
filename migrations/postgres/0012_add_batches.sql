-- Batches: many films that are asked for at once, each of which becomes a job or is refused.
-- Locks: jobs, for as long as it takes to add an empty column.

-- What many films may cost together. Rows are added, never changed.
CREATE TABLE batch_quotes (
    id           uuid        NOT NULL PRIMARY KEY,
    owner_id     uuid        NOT NULL REFERENCES users (id),
    -- SHA-256 of the wishes, in their order.
    request_hash bytea       NOT NULL,
    -- For each film its own quote, or why there is none.
    items        jsonb       NOT NULL,
    max_credits  bigint      NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);

-- Rows are added, never changed. What its films may cost together is its row of spending.
CREATE TABLE batches (
    id              uuid        NOT NULL PRIMARY KEY,
    owner_id        uuid        NOT NULL REFERENCES users (id),
    project_id      uuid        NOT NULL REFERENCES projects (id),
    name            text        NOT NULL,
    idempotency_key text        NOT NULL,
    -- SHA-256 of the request: the same key with another one is a mistake.
    request_hash    bytea       NOT NULL,
    -- What its quote said at most; NULL: there was none.
    quoted          bigint     ,
    created_at      timestamptz NOT NULL,
    UNIQUE (owner_id, idempotency_key)
);
CREATE INDEX batches_by_owner ON batches (owner_id, id DESC);

CREATE TABLE batch_items (
    batch_id    uuid   NOT NULL REFERENCES batches (id),
    -- 0, 1, 2 … in the order of the request.
    position    bigint NOT NULL,
    owner_id    uuid   NOT NULL REFERENCES users (id),
    -- What is asked for; NULL: it could not be read.
    wish        jsonb,
    -- What became of it: a job, or why there is none, or neither yet.
    job_id      uuid   REFERENCES jobs (id),
    refused     jsonb,
    -- When it was asked for: with the batch, or again later.
    asked_at    timestamptz NOT NULL,
    -- When it was refused.
    refused_at  timestamptz,
    -- When it is made a job; NULL: it is decided.
    due_at      timestamptz,
    -- Until when it belongs to the node that took it.
    lease_until timestamptz,
    -- Fencing token: grows with each claim, and what is written afterwards names it.
    lease_epoch bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (batch_id, position)
);
CREATE INDEX batch_items_due ON batch_items (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX batch_items_waiting ON batch_items (owner_id) WHERE due_at IS NOT NULL;

-- When somebody asked to go on with what had failed by then. Rows are added, never changed.
CREATE TABLE batch_retries (
    batch_id        uuid        NOT NULL REFERENCES batches (id),
    idempotency_key text        NOT NULL,
    owner_id        uuid        NOT NULL REFERENCES users (id),
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (batch_id, idempotency_key)
);

-- The batch that it came with.
ALTER TABLE jobs ADD COLUMN batch_id uuid REFERENCES batches (id);

ALTER TABLE batch_quotes  ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE batches       ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE batch_items   ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE batch_retries ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON batch_quotes  USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON batches       USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON batch_items   USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON batch_retries USING (owner_id = (SELECT genvid_user()));
