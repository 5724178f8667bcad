-- Webhooks of users: where they are sent, what is to be sent, and every attempt.
-- Locks: none, the tables are new.

CREATE TABLE webhook_endpoints (
    id               BLOB    NOT NULL PRIMARY KEY,
    owner_id         BLOB    NOT NULL REFERENCES users (id),
    -- NULL: the one of each user that signs what goes to the addresses that jobs name.
    url              TEXT,
    -- Which events, a list of words.
    events           TEXT    NOT NULL,
    description      TEXT    NOT NULL,
    -- whsec_ and base64. Read by the worker for each attempt, shown to the owner when made.
    secret           TEXT    NOT NULL,
    -- The one before, while it signs too.
    previous_secret  TEXT,
    previous_until   INTEGER,
    -- Since when nothing arrives; NULL: the last attempt arrived, or there was none.
    failing_since    INTEGER,
    disabled_at      INTEGER,
    disabled_because TEXT    CHECK (disabled_because IN ('OWNER', 'GONE', 'FAILING')),
    created_at       INTEGER NOT NULL,
    deleted_at       INTEGER
);
CREATE UNIQUE INDEX webhook_endpoints_of_jobs ON webhook_endpoints (owner_id) WHERE url IS NULL;
CREATE INDEX webhook_endpoints_by_owner ON webhook_endpoints (owner_id, id DESC)
    WHERE deleted_at IS NULL;

-- Where a job's own webhooks go, as its owner asked.
CREATE TABLE job_webhooks (
    job_id   BLOB    NOT NULL PRIMARY KEY REFERENCES jobs (id),
    owner_id BLOB    NOT NULL,
    url      TEXT    NOT NULL
);

-- What is to be told: written in the transaction that appends the event. Never changed.
CREATE TABLE webhook_messages (
    id       BLOB    NOT NULL PRIMARY KEY,
    owner_id BLOB    NOT NULL,
    job_id   BLOB    REFERENCES jobs (id),
    type     TEXT    NOT NULL,
    data     TEXT    NOT NULL,
    at       INTEGER NOT NULL
);

-- A message on its way to one endpoint.
CREATE TABLE webhook_deliveries (
    id           BLOB    NOT NULL PRIMARY KEY,
    message_id   BLOB    NOT NULL REFERENCES webhook_messages (id),
    endpoint_id  BLOB    NOT NULL REFERENCES webhook_endpoints (id),
    owner_id     BLOB    NOT NULL,
    status       TEXT    NOT NULL
        CHECK (status IN ('PENDING', 'SUCCEEDED', 'EXHAUSTED', 'CANCELED')),
    -- Attempts of the current round; a redelivery begins a new one.
    tries        INTEGER NOT NULL DEFAULT 0,
    -- When it is tried (again); NULL: not any more.
    due_at       INTEGER,
    -- Until when it belongs to the node that took it.
    lease_until  INTEGER,
    -- Fencing token: grows with each claim, and what is written afterwards names it.
    lease_epoch  INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    completed_at INTEGER,
    UNIQUE (message_id, endpoint_id)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_leased ON webhook_deliveries (endpoint_id)
    WHERE lease_until IS NOT NULL;
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, id DESC);

-- Rows are added, never changed.
CREATE TABLE webhook_attempts (
    id          BLOB    NOT NULL PRIMARY KEY,
    delivery_id BLOB    NOT NULL REFERENCES webhook_deliveries (id),
    owner_id    BLOB    NOT NULL,
    at          INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    -- The answer's status; NULL: there was none, and error says why.
    status      INTEGER,
    error       TEXT,
    -- The beginning of the answer.
    response    TEXT    NOT NULL
);
CREATE INDEX webhook_attempts_by_delivery ON webhook_attempts (delivery_id, id DESC);
