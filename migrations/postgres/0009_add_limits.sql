-- Plans, what projects spend, and whose steps are due.
-- Locks: users, jobs and steps, to add columns, without rewriting a row; and writes to jobs and
-- steps for as long as their indexes take to be built, about a second for a million rows.

-- Names one of the settings' plans; one that they do not have counts as 'free'.
ALTER TABLE users ADD COLUMN plan text NOT NULL DEFAULT 'free';
-- Its owner's plan when it was accepted: the worker does not see users.
ALTER TABLE jobs ADD COLUMN plan text NOT NULL DEFAULT 'free';
CREATE INDEX jobs_in_flight ON jobs (owner_id) WHERE status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED');

-- Its job's owner. NULL: older than this column and not claimed since.
ALTER TABLE steps ADD COLUMN owner_id uuid;
CREATE INDEX steps_due_by_owner ON steps (owner_id, due_at)
    WHERE due_at IS NOT NULL AND lease_owner IS NULL;

-- What the jobs of a project have put aside and spent, and the most that they may. Written
-- often: room on each page.
CREATE TABLE spending (
    -- The project.
    scope_id          uuid   NOT NULL PRIMARY KEY,
    owner_id          uuid   NOT NULL REFERENCES users (id),
    -- NULL: there is no budget.
    budget            bigint CHECK (budget >= 0),
    period            text   CHECK (period IN ('TOTAL', 'MONTH')),
    held              bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    captured          bigint NOT NULL DEFAULT 0 CHECK (captured >= 0),
    -- The month (UTC) of the last capture, for example 202611, and what was captured in it.
    month             bigint NOT NULL DEFAULT 0,
    captured_in_month bigint NOT NULL DEFAULT 0 CHECK (captured_in_month BETWEEN 0 AND captured),
    CHECK ((budget IS NULL) = (period IS NULL))
) WITH (fillfactor = 50);

-- Whoever migrates sees no row while the policies hold for the owner too.
ALTER TABLE jobs         NO FORCE ROW LEVEL SECURITY;
ALTER TABLE credit_holds NO FORCE ROW LEVEL SECURITY;
INSERT INTO spending (scope_id, owner_id, held, captured, month, captured_in_month)
SELECT jobs.project_id, jobs.owner_id,
       SUM(credit_holds.amount - credit_holds.captured - credit_holds.released),
       SUM(credit_holds.captured),
       to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')::bigint,
       SUM(CASE WHEN to_char(credit_holds.settled_at AT TIME ZONE 'UTC', 'YYYYMM')
           = to_char(now() AT TIME ZONE 'UTC', 'YYYYMM') THEN credit_holds.captured ELSE 0 END)
FROM credit_holds JOIN jobs ON jobs.id = credit_holds.job_id
WHERE jobs.project_id IS NOT NULL
GROUP BY jobs.project_id, jobs.owner_id;
ALTER TABLE jobs         FORCE ROW LEVEL SECURITY;
ALTER TABLE credit_holds FORCE ROW LEVEL SECURITY;

ALTER TABLE spending ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON spending USING (owner_id = (SELECT genvid_user()));
