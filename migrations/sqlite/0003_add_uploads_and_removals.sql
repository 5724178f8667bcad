-- Pictures that users send, and the removal of files.
-- Locks: the whole database while jobs are read three times, about a second for a million.

CREATE TABLE uploads (
    id            BLOB    NOT NULL PRIMARY KEY,
    owner_id      BLOB    NOT NULL REFERENCES users (id),
    status        TEXT    NOT NULL CHECK (status IN ('OPEN', 'READY', 'REFUSED', 'EXPIRED', 'REMOVED')),
    -- As its owner announced it.
    mime          TEXT    NOT NULL,
    size          INTEGER NOT NULL,
    sha256        TEXT,
    file_name     TEXT,
    -- Why it was refused: the field, and what is wrong with it.
    refused_field TEXT,
    refusal       TEXT,
    -- Of what arrived.
    found_sha256  TEXT,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    completed_at  INTEGER,
    -- Since when no project names it and no job was given it; NULL: a project does.
    unused_since  INTEGER,
    removed_at    INTEGER
);
CREATE INDEX uploads_open ON uploads (owner_id, expires_at) WHERE status = 'OPEN';
CREATE INDEX uploads_unfinished ON uploads (expires_at)
    WHERE status IN ('OPEN', 'REFUSED') AND removed_at IS NULL;
CREATE INDEX uploads_unused ON uploads (unused_since)
    WHERE status = 'READY' AND unused_since IS NOT NULL;

-- Since when a job's project is deleted: nobody gets links to its files any more.
ALTER TABLE jobs ADD COLUMN discarded_at INTEGER;
UPDATE jobs SET discarded_at = (SELECT deleted_at FROM projects WHERE projects.id = jobs.project_id)
WHERE project_id IN (SELECT id FROM projects WHERE deleted_at IS NOT NULL);
-- Since when its files are to be removed. What follows is in removals.
ALTER TABLE jobs ADD COLUMN files_removed_at INTEGER;
CREATE INDEX jobs_discarded ON jobs (discarded_at)
    WHERE discarded_at IS NOT NULL AND files_removed_at IS NULL;
CREATE INDEX jobs_without_result ON jobs (completed_at)
    WHERE status IN ('FAILED', 'CANCELED') AND files_removed_at IS NULL;

-- What is to be removed from the store: a key, or all keys that begin so when it ends with a
-- slash. Written before anything is removed, done once nothing is left.
CREATE TABLE removals (
    name         TEXT    NOT NULL PRIMARY KEY,
    requested_at INTEGER NOT NULL,
    -- When to try (again); NULL: done.
    due_at       INTEGER,
    tries        INTEGER NOT NULL DEFAULT 0,
    done_at      INTEGER
);
CREATE INDEX removals_due ON removals (due_at) WHERE due_at IS NOT NULL;

-- Work that one node at a time does, and how far it is.
CREATE TABLE chores (
    name   TEXT    NOT NULL PRIMARY KEY,
    due_at INTEGER NOT NULL,
    place  TEXT
);
INSERT INTO chores (name, due_at) VALUES ('orphans', 0);
