-- First shape. Locks: none, the tables are new.
-- Identifiers are 16-byte UUIDv7 values, times are milliseconds since 1970, JSON is text.

CREATE TABLE users (
    id         BLOB    NOT NULL PRIMARY KEY,
    email      TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    role       TEXT    NOT NULL CHECK (role IN ('user', 'partner', 'admin', 'service')),
    created_at INTEGER NOT NULL
);

-- Opaque bearer tokens; only their SHA-256 is kept.
CREATE TABLE access_tokens (
    token_hash BLOB    NOT NULL PRIMARY KEY,
    user_id    BLOB    NOT NULL REFERENCES users (id),
    label      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
);

CREATE TABLE projects (
    id                  BLOB    NOT NULL PRIMARY KEY,
    owner_id            BLOB    NOT NULL REFERENCES users (id),
    name                TEXT    NOT NULL,
    product_name        TEXT    NOT NULL,
    product_description TEXT    NOT NULL,
    product_images      TEXT    NOT NULL,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    deleted_at          INTEGER
);
CREATE INDEX projects_by_owner ON projects (owner_id, id DESC) WHERE deleted_at IS NULL;

CREATE TABLE jobs (
    id               BLOB    NOT NULL PRIMARY KEY,
    owner_id         BLOB    NOT NULL REFERENCES users (id),
    project_id       BLOB    REFERENCES projects (id),
    kind             TEXT    NOT NULL,
    status           TEXT    NOT NULL,
    input            TEXT    NOT NULL,
    idempotency_key  TEXT    NOT NULL,
    request_hash     BLOB    NOT NULL,
    error            TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    last_seq         INTEGER NOT NULL DEFAULT 0,
    deadline         INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    completed_at     INTEGER,
    UNIQUE (owner_id, kind, idempotency_key)
);
CREATE INDEX jobs_by_owner ON jobs (owner_id, id DESC);
CREATE INDEX jobs_by_project ON jobs (project_id, id DESC);

CREATE TABLE steps (
    id           BLOB    NOT NULL PRIMARY KEY,
    job_id       BLOB    NOT NULL REFERENCES jobs (id),
    position     INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    provider     TEXT,
    progress     REAL,
    output       TEXT,
    error        TEXT,
    round        INTEGER NOT NULL DEFAULT 1,
    -- When a worker should look at it; NULL: nothing to do.
    due_at       INTEGER,
    lease_owner  BLOB,
    lease_until  INTEGER,
    -- Fencing token: grows with each claim, and every later write names it.
    lease_epoch  INTEGER NOT NULL DEFAULT 0,
    started_at   INTEGER,
    completed_at INTEGER,
    UNIQUE (job_id, position)
);
CREATE INDEX steps_due ON steps (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX steps_leased ON steps (lease_owner) WHERE lease_owner IS NOT NULL;

CREATE TABLE attempts (
    id             BLOB    NOT NULL PRIMARY KEY,
    step_id        BLOB    NOT NULL REFERENCES steps (id),
    job_id         BLOB    NOT NULL REFERENCES jobs (id),
    number         INTEGER NOT NULL,
    round          INTEGER NOT NULL,
    provider       TEXT    NOT NULL,
    plugin_version TEXT    NOT NULL,
    plugin_digest  TEXT    NOT NULL,
    status         TEXT    NOT NULL,
    charge         TEXT    NOT NULL,
    vendor_task    TEXT,
    request        TEXT    NOT NULL,
    delivered      TEXT,
    error          TEXT,
    cost_micro_usd INTEGER,
    submitted_at   INTEGER NOT NULL,
    accepted_at    INTEGER,
    uncertain_at   INTEGER,
    finished_at    INTEGER,
    -- 0: not accepted because all slots were taken; not a try.
    counts         INTEGER NOT NULL DEFAULT 1,
    UNIQUE (step_id, number)
);
CREATE INDEX attempts_by_job ON attempts (job_id);
CREATE INDEX attempts_open ON attempts (provider) WHERE finished_at IS NULL;

CREATE TABLE events (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id     BLOB    NOT NULL REFERENCES jobs (id),
    owner_id   BLOB    NOT NULL,
    seq        INTEGER NOT NULL,
    type       TEXT    NOT NULL,
    step       TEXT,
    progress   REAL,
    message    TEXT,
    text_delta TEXT,
    at         INTEGER NOT NULL,
    UNIQUE (job_id, seq)
);
CREATE INDEX events_by_owner ON events (owner_id, position);

-- What users see of a job's files. Rows are added, never changed.
CREATE TABLE media (
    id          BLOB    NOT NULL PRIMARY KEY,
    job_id      BLOB    NOT NULL REFERENCES jobs (id),
    owner_id    BLOB    NOT NULL,
    role        TEXT    NOT NULL,
    key         TEXT    NOT NULL UNIQUE,
    mime        TEXT    NOT NULL,
    size        INTEGER NOT NULL,
    sha256      TEXT    NOT NULL,
    duration_ms INTEGER,
    width       INTEGER,
    height      INTEGER,
    created_at  INTEGER NOT NULL
);
CREATE INDEX media_by_job ON media (job_id);

-- Vendors' callbacks, kept before they are acted on; the key drops repetitions.
CREATE TABLE callbacks (
    provider    TEXT    NOT NULL,
    delivery    TEXT    NOT NULL,
    body        BLOB    NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (provider, delivery)
);

-- Small facts of this installation, for example the key that signs media links.
CREATE TABLE installation (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);
