-- What was bought is not bought again: steps are found by what was asked for.
-- Locks: steps, for as long as the columns and the empty index take to be added: an instant.

-- SHA-256 of what was asked for: by whom, for which project, of which provider and model, and the
-- whole request. From the call on; NULL on a step that was never asked for, or that came before.
ALTER TABLE steps ADD COLUMN reuse_key BLOB;
-- The step whose result was taken over, and its job.
ALTER TABLE steps ADD COLUMN reused_step BLOB REFERENCES steps (id);
ALTER TABLE steps ADD COLUMN reused_job BLOB REFERENCES jobs (id);

CREATE INDEX steps_by_request ON steps (reuse_key) WHERE reuse_key IS NOT NULL;
