-- What administrators did.
-- Locks: none of other writers, who wait for this one anyway.

-- Rows are added, never changed, in the transaction of the act.
CREATE TABLE admin_acts (
    id      BLOB    NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    -- A user's id, or what did it on the command line.
    actor   TEXT    NOT NULL,
    act     TEXT    NOT NULL,
    -- What it was done to: an id, or a name.
    subject TEXT    NOT NULL,
    details TEXT    NOT NULL
);
