-- Credentials of vendors that administrators have set through the API, for every node.
-- Locks: none of other writers, who wait for this one anyway.

CREATE TABLE provider_secrets (
    -- The provider's id, and the name that its plugin gives the secret.
    provider TEXT NOT NULL,
    name     TEXT NOT NULL,
    -- Sealed with a key that is not in the database; NULL: forgotten.
    sealed   BLOB,
    -- Grows with every change of the row: the sum of all says whether anything is new.
    revision INTEGER NOT NULL,
    set_at   INTEGER NOT NULL,
    PRIMARY KEY (provider, name)
);
