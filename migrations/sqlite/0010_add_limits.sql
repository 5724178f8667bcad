-- Plans, what projects spend, and whose steps are due.
-- Locks: jobs and steps, for as long as their indexes take to be built.

-- Names one of the settings' plans; one that they do not have counts as 'free'.
ALTER TABLE users ADD COLUMN plan TEXT NOT NULL DEFAULT 'free';
-- Its owner's plan when it was accepted.
ALTER TABLE jobs ADD COLUMN plan TEXT NOT NULL DEFAULT 'free';
CREATE INDEX jobs_in_flight ON jobs (owner_id) WHERE status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED');

-- Its job's owner. NULL: older than this column and not claimed since.
ALTER TABLE steps ADD COLUMN owner_id BLOB;
CREATE INDEX steps_due_by_owner ON steps (owner_id, due_at)
    WHERE due_at IS NOT NULL AND lease_owner IS NULL;

-- What the jobs of a project have put aside and spent, and the most that they may.
CREATE TABLE spending (
    -- The project.
    scope_id          BLOB    NOT NULL PRIMARY KEY,
    owner_id          BLOB    NOT NULL REFERENCES users (id),
    -- NULL: there is no budget.
    budget            INTEGER CHECK (budget >= 0),
    period            TEXT    CHECK (period IN ('TOTAL', 'MONTH')),
    held              INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    captured          INTEGER NOT NULL DEFAULT 0 CHECK (captured >= 0),
    -- The month (UTC) of the last capture, for example 202611, and what was captured in it.
    month             INTEGER NOT NULL DEFAULT 0,
    captured_in_month INTEGER NOT NULL DEFAULT 0 CHECK (captured_in_month BETWEEN 0 AND captured),
    CHECK ((budget IS NULL) = (period IS NULL))
);

INSERT INTO spending (scope_id, owner_id, held, captured, month, captured_in_month)
SELECT jobs.project_id, jobs.owner_id,
       SUM(credit_holds.amount - credit_holds.captured - credit_holds.released),
       SUM(credit_holds.captured),
       CAST(strftime('%Y%m', 'now') AS INTEGER),
       SUM(CASE WHEN strftime('%Y%m', credit_holds.settled_at / 1000, 'unixepoch') = strftime('%Y%m', 'now')
           THEN credit_holds.captured ELSE 0 END)
FROM credit_holds JOIN jobs ON jobs.id = credit_holds.job_id
WHERE jobs.project_id IS NOT NULL
GROUP BY jobs.project_id, jobs.owner_id;
