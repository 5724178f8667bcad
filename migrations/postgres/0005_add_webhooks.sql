-- Webhooks of users: where they are sent, what is to be sent, and every attempt.
-- Locks: none, the tables are new.

CREATE TABLE webhook_endpoints (
    id               uuid        NOT NULL PRIMARY KEY,
    owner_id         uuid        NOT NULL REFERENCES users (id),
    -- NULL: the one of each user that signs what goes to the addresses that jobs name.
    url              text,
    -- Which events, a list of words.
    events           jsonb       NOT NULL,
    description      text        NOT NULL,
    -- whsec_ and base64. Read by the worker for each attempt, shown to the owner when made.
    secret           text        NOT NULL,
    -- The one before, while it signs too.
    previous_secret  text,
    previous_until   timestamptz,
    -- Since when nothing arrives; NULL: the last attempt arrived, or there was none.
    failing_since    timestamptz,
    disabled_at      timestamptz,
    disabled_because text        CHECK (disabled_because IN ('OWNER', 'GONE', 'FAILING')),
    created_at       timestamptz NOT NULL,
    deleted_at       timestamptz
);
CREATE UNIQUE INDEX webhook_endpoints_of_jobs ON webhook_endpoints (owner_id) WHERE url IS NULL;
CREATE INDEX webhook_endpoints_by_owner ON webhook_endpoints (owner_id, id DESC)
    WHERE deleted_at IS NULL;

-- Where a job's own webhooks go, as its owner asked.
CREATE TABLE job_webhooks (
    job_id   uuid        NOT NULL PRIMARY KEY REFERENCES jobs (id),
    owner_id uuid        NOT NULL,
    url      text        NOT NULL
);

-- What is to be told: written in the transaction that appends the event. Never changed.
CREATE TABLE webhook_messages (
    id       uuid        NOT NULL PRIMARY KEY,
    owner_id uuid        NOT NULL,
    job_id   uuid        REFERENCES jobs (id),
    type     text        NOT NULL,
    data     jsonb       NOT NULL,
    at       timestamptz NOT NULL
);

-- A message on its way to one endpoint.
CREATE TABLE webhook_deliveries (
    id           uuid        NOT NULL PRIMARY KEY,
    message_id   uuid        NOT NULL REFERENCES webhook_messages (id),
    endpoint_id  uuid        NOT NULL REFERENCES webhook_endpoints (id),
    owner_id     uuid        NOT NULL,
    status       text        NOT NULL
        CHECK (status IN ('PENDING', 'SUCCEEDED', 'EXHAUSTED', 'CANCELED')),
    -- Attempts of the current round; a redelivery begins a new one.
    tries        bigint      NOT NULL DEFAULT 0,
    -- When it is tried (again); NULL: not any more.
    due_at       timestamptz,
    -- Until when it belongs to the node that took it.
    lease_until  timestamptz,
    -- Fencing token: grows with each claim, and what is written afterwards names it.
    lease_epoch  bigint      NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL,
    completed_at timestamptz,
    UNIQUE (message_id, endpoint_id)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_leased ON webhook_deliveries (endpoint_id)
    WHERE lease_until IS NOT NULL;
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, id DESC);

-- Rows are added, never changed.
CREATE TABLE webhook_attempts (
    id          uuid        NOT NULL PRIMARY KEY,
    delivery_id uuid        NOT NULL REFERENCES webhook_deliveries (id),
    owner_id    uuid        NOT NULL,
    at          timestamptz NOT NULL,
    duration_ms bigint      NOT NULL,
    -- The answer's status; NULL: there was none, and error says why.
    status      bigint,
    error       text,
    -- The beginning of the answer.
    response    text        NOT NULL
);
CREATE INDEX webhook_attempts_by_delivery ON webhook_attempts (delivery_id, id DESC);

ALTER TABLE webhook_endpoints  ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE job_webhooks       ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE webhook_messages   ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE webhook_deliveries ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE webhook_attempts   ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON webhook_endpoints  USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON job_webhooks       USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON webhook_messages   USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON webhook_deliveries USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON webhook_attempts   USING (owner_id = (SELECT genvid_user()));
