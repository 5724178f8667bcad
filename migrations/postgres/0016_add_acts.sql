-- What administrators did.
-- Locks: none, the table is new.

-- Rows are added, never changed, in the transaction of the act.
CREATE TABLE admin_acts (
    id      uuid        NOT NULL PRIMARY KEY,
    at      timestamptz NOT NULL,
    -- A user's id, or what did it on the command line.
    actor   text        NOT NULL,
    act     text        NOT NULL,
    -- What it was done to: an id, or a name.
    subject text        NOT NULL,
    details jsonb       NOT NULL
);

ALTER TABLE admin_acts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- Whoever acts says so, as whomever; only whoever finds out who is calling reads it.
CREATE POLICY added ON admin_acts FOR INSERT WITH CHECK (TRUE);
CREATE POLICY identity ON admin_acts FOR SELECT USING ((SELECT genvid_scope()) = 'identity');
