-- What was bought is not bought again: steps are found by what was asked for.
-- Locks: steps and jobs, exclusively, for as long as the columns take to be added (an instant:
-- they are empty), and writes to steps while its rows are read once for the empty index, about a
-- second for a million rows.

-- SHA-256 of what was asked for: by whom, for which project, of which provider and model, and the
-- whole request. From the call on; NULL on a step that was never asked for, or that came before.
ALTER TABLE steps ADD COLUMN reuse_key bytea;
-- The step whose result was taken over, and its job.
ALTER TABLE steps ADD COLUMN reused_step uuid REFERENCES steps (id);
ALTER TABLE steps ADD COLUMN reused_job uuid REFERENCES jobs (id);

CREATE INDEX steps_by_request ON steps (reuse_key) WHERE reuse_key IS NOT NULL;
