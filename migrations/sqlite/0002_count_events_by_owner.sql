-- Positions of events count within their owner's feed, without gaps, so that somebody who
-- follows a feed sees when one is missing. Positions that were given stay as they are.
-- Locks: the whole database while events are copied, about a second for a million.

CREATE TABLE feeds (
    owner_id      BLOB    NOT NULL PRIMARY KEY REFERENCES users (id),
    last_position INTEGER NOT NULL
);
INSERT INTO feeds (owner_id, last_position)
SELECT owner_id, MAX(position) FROM events GROUP BY owner_id;

CREATE TABLE feed_events (
    job_id     BLOB    NOT NULL REFERENCES jobs (id),
    seq        INTEGER NOT NULL,
    owner_id   BLOB    NOT NULL,
    -- Place among all events of this owner.
    position   INTEGER NOT NULL,
    type       TEXT    NOT NULL,
    step       TEXT,
    progress   REAL,
    message    TEXT,
    text_delta TEXT,
    at         INTEGER NOT NULL,
    PRIMARY KEY (job_id, seq)
) WITHOUT ROWID;
INSERT INTO feed_events
SELECT job_id, seq, owner_id, position, type, step, progress, message, text_delta, at FROM events;
DROP TABLE events;
ALTER TABLE feed_events RENAME TO events;
CREATE UNIQUE INDEX events_by_owner ON events (owner_id, position);

-- As the statements ask: a vendor's callback, what is free to be claimed, whom a worker has to
-- stop, jobs of a state.
DROP INDEX attempts_open;
CREATE INDEX attempts_open ON attempts (provider, vendor_task) WHERE finished_at IS NULL;
DROP INDEX steps_due;
CREATE INDEX steps_free ON steps (due_at) WHERE due_at IS NOT NULL AND lease_owner IS NULL;
CREATE INDEX jobs_stopping ON jobs (id)
    WHERE cancel_requested AND status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED');
CREATE INDEX jobs_by_status ON jobs (owner_id, status, id DESC);
