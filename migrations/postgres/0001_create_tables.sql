-- First shape. Locks: none, the tables are new.
--
-- Who sees what. Statements run as one of two roles that neither own the tables nor are
-- exempt from row-level security (adapters/sql/roles.rs makes them and gives them their rights):
--   the application's: the rows of the user that the transaction names by
--       SET LOCAL genvid.user_id = '…', and with SET LOCAL genvid.scope = 'identity' the users
--       and tokens, to find out who is calling; without either, no tenant's row;
--   the worker's: what it needs to move everybody's jobs on.
-- Two roles, not one policy with OR: an OR hides from the planner that a user's rows come in
-- the order of an index. After a transaction the settings are empty texts, not NULL.
--
-- The policies hold for the owner too. A migration that changes rows therefore says
-- ALTER TABLE … NO FORCE ROW LEVEL SECURITY first and FORCE last, in its transaction.

CREATE FUNCTION genvid_user() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('genvid.user_id', TRUE), '')::uuid;

CREATE FUNCTION genvid_scope() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NULLIF(current_setting('genvid.scope', TRUE), '');

CREATE TABLE users (
    id         uuid        NOT NULL PRIMARY KEY,
    email      text        NOT NULL UNIQUE,
    name       text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('user', 'partner', 'admin', 'service')),
    created_at timestamptz NOT NULL
);

-- Opaque bearer tokens; only their SHA-256 is kept.
CREATE TABLE access_tokens (
    token_hash bytea       NOT NULL PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users (id),
    label      text        NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);
CREATE INDEX access_tokens_by_user ON access_tokens (user_id);

CREATE TABLE projects (
    id                  uuid        NOT NULL PRIMARY KEY,
    owner_id            uuid        NOT NULL REFERENCES users (id),
    name                text        NOT NULL,
    product_name        text        NOT NULL,
    product_description text        NOT NULL,
    product_images      jsonb       NOT NULL,
    created_at          timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    deleted_at          timestamptz
);
CREATE INDEX projects_by_owner ON projects (owner_id, id DESC) WHERE deleted_at IS NULL;

-- Written at every event: room on each page keeps those writes out of the indexes.
CREATE TABLE jobs (
    id               uuid        NOT NULL PRIMARY KEY,
    owner_id         uuid        NOT NULL REFERENCES users (id),
    project_id       uuid        REFERENCES projects (id),
    kind             text        NOT NULL,
    status           text        NOT NULL,
    input            jsonb       NOT NULL,
    idempotency_key  text        NOT NULL,
    request_hash     bytea       NOT NULL,
    error            jsonb,
    cancel_requested boolean     NOT NULL DEFAULT FALSE,
    last_seq         bigint      NOT NULL DEFAULT 0,
    deadline         timestamptz NOT NULL,
    created_at       timestamptz NOT NULL,
    completed_at     timestamptz,
    UNIQUE (owner_id, kind, idempotency_key)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX jobs_by_owner ON jobs (owner_id, id DESC);
CREATE INDEX jobs_by_status ON jobs (owner_id, status, id DESC);
CREATE INDEX jobs_by_project ON jobs (project_id, id DESC);
-- Those whose worker has to be told.
CREATE INDEX jobs_stopping ON jobs (id)
    WHERE cancel_requested AND status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED');

-- Leases are renewed several times a minute: the same, and lease_until is in no index.
CREATE TABLE steps (
    id           uuid             NOT NULL PRIMARY KEY,
    job_id       uuid             NOT NULL REFERENCES jobs (id),
    position     bigint           NOT NULL,
    kind         text             NOT NULL,
    status       text             NOT NULL,
    provider     text,
    progress     double precision,
    output       jsonb,
    error        jsonb,
    round        bigint           NOT NULL DEFAULT 1,
    -- When a worker should look at it; NULL: nothing to do.
    due_at       timestamptz,
    lease_owner  uuid,
    lease_until  timestamptz,
    -- Fencing token: grows with each claim, and every later write names it.
    lease_epoch  bigint           NOT NULL DEFAULT 0,
    started_at   timestamptz,
    completed_at timestamptz,
    UNIQUE (job_id, position)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE INDEX steps_free ON steps (due_at) WHERE due_at IS NOT NULL AND lease_owner IS NULL;
CREATE INDEX steps_leased ON steps (lease_owner) WHERE lease_owner IS NOT NULL;

CREATE TABLE attempts (
    id             uuid        NOT NULL PRIMARY KEY,
    step_id        uuid        NOT NULL REFERENCES steps (id),
    job_id         uuid        NOT NULL REFERENCES jobs (id),
    number         bigint      NOT NULL,
    round          bigint      NOT NULL,
    provider       text        NOT NULL,
    plugin_version text        NOT NULL,
    plugin_digest  text        NOT NULL,
    status         text        NOT NULL,
    charge         text        NOT NULL,
    vendor_task    text,
    request        jsonb       NOT NULL,
    delivered      jsonb,
    error          jsonb,
    cost_micro_usd bigint,
    submitted_at   timestamptz NOT NULL,
    accepted_at    timestamptz,
    uncertain_at   timestamptz,
    finished_at    timestamptz,
    -- FALSE: not accepted because all slots were taken; not a try.
    counts         boolean     NOT NULL DEFAULT TRUE,
    UNIQUE (step_id, number)
);
CREATE INDEX attempts_by_job ON attempts (job_id);
CREATE INDEX attempts_open ON attempts (provider, vendor_task) WHERE finished_at IS NULL;

-- Where each user's feed of events is. Counting within the transaction that appends makes
-- the order of positions the order of commits, and leaves no gaps.
CREATE TABLE feeds (
    owner_id      uuid   NOT NULL PRIMARY KEY REFERENCES users (id),
    last_position bigint NOT NULL
) WITH (fillfactor = 50);

-- Rows are added, never changed.
CREATE TABLE events (
    job_id     uuid             NOT NULL REFERENCES jobs (id),
    seq        bigint           NOT NULL,
    owner_id   uuid             NOT NULL,
    -- Place among all events of this owner.
    position   bigint           NOT NULL,
    type       text             NOT NULL,
    step       text,
    progress   double precision,
    message    text,
    text_delta text,
    at         timestamptz      NOT NULL,
    PRIMARY KEY (job_id, seq)
);
CREATE UNIQUE INDEX events_by_owner ON events (owner_id, position);

-- What users see of a job's files. Rows are added, never changed.
CREATE TABLE media (
    id          uuid        NOT NULL PRIMARY KEY,
    job_id      uuid        NOT NULL REFERENCES jobs (id),
    owner_id    uuid        NOT NULL,
    role        text        NOT NULL,
    key         text        NOT NULL UNIQUE,
    mime        text        NOT NULL,
    size        bigint      NOT NULL,
    sha256      text        NOT NULL,
    duration_ms bigint,
    width       bigint,
    height      bigint,
    created_at  timestamptz NOT NULL
);
CREATE INDEX media_by_job ON media (job_id);

-- Vendors' callbacks, kept before they are acted on; the key drops repetitions.
CREATE TABLE callbacks (
    provider    text        NOT NULL,
    delivery    text        NOT NULL,
    body        bytea       NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (provider, delivery)
);

-- Small facts of this installation, for example the key that signs media links.
CREATE TABLE installation (
    name  text  NOT NULL PRIMARY KEY,
    value bytea NOT NULL
);

-- The policies of the application's role. Settings are read within a subselect, so once for
-- a statement and not once for a row.

ALTER TABLE users         ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE access_tokens ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE projects      ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE jobs          ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE steps         ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE attempts      ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE feeds         ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE events        ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE media         ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- Nobody's but the worker's.
ALTER TABLE callbacks     ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON users
    USING (id = (SELECT genvid_user()) OR (SELECT genvid_scope()) = 'identity');
CREATE POLICY tenant ON access_tokens
    USING (user_id = (SELECT genvid_user()) OR (SELECT genvid_scope()) = 'identity');
CREATE POLICY tenant ON projects USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON jobs     USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON feeds    USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON events   USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON media    USING (owner_id = (SELECT genvid_user()));
-- Steps and attempts belong to whom their job belongs: the job's own policy decides.
CREATE POLICY tenant ON steps
    USING (EXISTS (SELECT 1 FROM jobs WHERE jobs.id = steps.job_id));
CREATE POLICY tenant ON attempts
    USING (EXISTS (SELECT 1 FROM jobs WHERE jobs.id = attempts.job_id));
