-- Pictures that users send, and the removal of files.
-- Locks: jobs and projects against everything until it is done: two indexes of jobs are built,
-- about a second for a million rows, and jobs of deleted projects are rewritten.

CREATE TABLE uploads (
    id            uuid        NOT NULL PRIMARY KEY,
    owner_id      uuid        NOT NULL REFERENCES users (id),
    status        text        NOT NULL CHECK (status IN ('OPEN', 'READY', 'REFUSED', 'EXPIRED', 'REMOVED')),
    -- As its owner announced it.
    mime          text        NOT NULL,
    size          bigint      NOT NULL,
    sha256        text,
    file_name     text,
    -- Why it was refused: the field, and what is wrong with it.
    refused_field text,
    refusal       text,
    -- Of what arrived.
    found_sha256  text,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    completed_at  timestamptz,
    -- Since when no project names it and no job was given it; NULL: a project does.
    unused_since  timestamptz,
    removed_at    timestamptz
);
CREATE INDEX uploads_open ON uploads (owner_id, expires_at) WHERE status = 'OPEN';
CREATE INDEX uploads_unfinished ON uploads (expires_at)
    WHERE status IN ('OPEN', 'REFUSED') AND removed_at IS NULL;
CREATE INDEX uploads_unused ON uploads (unused_since)
    WHERE status = 'READY' AND unused_since IS NOT NULL;

-- Since when a job's project is deleted: nobody gets links to its files any more.
ALTER TABLE jobs ADD COLUMN discarded_at timestamptz;
ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY;
ALTER TABLE projects NO FORCE ROW LEVEL SECURITY;
UPDATE jobs SET discarded_at = projects.deleted_at
FROM projects WHERE projects.id = jobs.project_id AND projects.deleted_at IS NOT NULL;
ALTER TABLE projects FORCE ROW LEVEL SECURITY;
ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
-- Since when its files are to be removed. What follows is in removals.
ALTER TABLE jobs ADD COLUMN files_removed_at timestamptz;
CREATE INDEX jobs_discarded ON jobs (discarded_at)
    WHERE discarded_at IS NOT NULL AND files_removed_at IS NULL;
CREATE INDEX jobs_without_result ON jobs (completed_at)
    WHERE status IN ('FAILED', 'CANCELED') AND files_removed_at IS NULL;

-- What is to be removed from the store: a key, or all keys that begin so when it ends with a
-- slash. Written before anything is removed, done once nothing is left.
CREATE TABLE removals (
    name         text        NOT NULL PRIMARY KEY,
    requested_at timestamptz NOT NULL,
    -- When to try (again); NULL: done.
    due_at       timestamptz,
    tries        bigint      NOT NULL DEFAULT 0,
    done_at      timestamptz
);
CREATE INDEX removals_due ON removals (due_at) WHERE due_at IS NOT NULL;

-- Work that one node at a time does, and how far it is.
CREATE TABLE chores (
    name   text        NOT NULL PRIMARY KEY,
    due_at timestamptz NOT NULL,
    place  text
);
INSERT INTO chores (name, due_at) VALUES ('orphans', '-infinity');

ALTER TABLE uploads  ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- Nobody's but the worker's.
ALTER TABLE removals ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE chores   ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON uploads USING (owner_id = (SELECT genvid_user()));
