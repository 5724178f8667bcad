-- Plugins that are installed for every node, and what an operator set for providers.
-- Locks: none, the tables are new.

-- A version is its bytes; the digest is their SHA-256 in hex.
CREATE TABLE plugin_versions (
    digest       text        NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
    id           text        NOT NULL,
    version      text        NOT NULL,
    -- active: makes new attempts. kept: to go back to, and for attempts that it began.
    state        text        NOT NULL CHECK (state IN ('active', 'kept')),
    -- In bytes; the limit is the runtime's own (32 MiB).
    size         bigint      NOT NULL CHECK (size BETWEEN 1 AND 33554432),
    installed_at timestamptz NOT NULL,
    wasm         bytea       NOT NULL CHECK (length(wasm) = size),
    UNIQUE (id, version)
);
CREATE UNIQUE INDEX plugin_versions_active ON plugin_versions (id) WHERE state = 'active';

-- NULL: as the settings of each node say. Never a secret.
CREATE TABLE provider_settings (
    id                   text        NOT NULL PRIMARY KEY,
    enabled              boolean,
    concurrency          bigint CHECK (concurrency BETWEEN 1 AND 10000),
    settle_after_seconds bigint CHECK (settle_after_seconds BETWEEN 0 AND 4294967295),
    settings             jsonb,
    updated_at           timestamptz NOT NULL
);

-- One row. Grows in each transaction that changes one of the tables above.
CREATE TABLE plugin_revision (
    id       bigint NOT NULL PRIMARY KEY CHECK (id = 1),
    revision bigint NOT NULL
);

-- Nobody's rows: both roles read them all, and only the owner of the tables has the right to
-- write (adapters/sql/roles.rs), which is `genvid admin`. Row-level security is on all the
-- same, because a version before this one refuses to start beside a table without it.
ALTER TABLE plugin_versions   ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE provider_settings ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE plugin_revision   ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY everybody ON plugin_versions   USING (TRUE);
CREATE POLICY everybody ON provider_settings USING (TRUE);
CREATE POLICY everybody ON plugin_revision   USING (TRUE);

INSERT INTO plugin_revision (id, revision) VALUES (1, 0);
