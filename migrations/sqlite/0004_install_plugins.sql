-- Plugins that are installed for every node, and what an operator set for providers.
-- Locks: none, the tables are new.

-- A version is its bytes; the digest is their SHA-256 in hex.
CREATE TABLE plugin_versions (
    digest       TEXT    NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
    id           TEXT    NOT NULL,
    version      TEXT    NOT NULL,
    -- active: makes new attempts. kept: to go back to, and for attempts that it began.
    state        TEXT    NOT NULL CHECK (state IN ('active', 'kept')),
    -- In bytes; the limit is the runtime's own (32 MiB).
    size         INTEGER NOT NULL CHECK (size BETWEEN 1 AND 33554432),
    installed_at INTEGER NOT NULL,
    -- The last column: reading the others does not touch its pages.
    wasm         BLOB    NOT NULL CHECK (length(wasm) = size),
    UNIQUE (id, version)
);
CREATE UNIQUE INDEX plugin_versions_active ON plugin_versions (id) WHERE state = 'active';

-- NULL: as the settings of each node say. Never a secret.
CREATE TABLE provider_settings (
    id                   TEXT    NOT NULL PRIMARY KEY,
    enabled              INTEGER,
    concurrency          INTEGER CHECK (concurrency BETWEEN 1 AND 10000),
    settle_after_seconds INTEGER CHECK (settle_after_seconds BETWEEN 0 AND 4294967295),
    settings             TEXT,
    updated_at           INTEGER NOT NULL
);

-- One row. Grows in each transaction that changes one of the tables above.
CREATE TABLE plugin_revision (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
);
INSERT INTO plugin_revision (id, revision) VALUES (1, 0);
