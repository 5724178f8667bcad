-- Credentials of vendors that administrators have set through the API, for every node.
-- Locks: none, the table is new.

CREATE TABLE provider_secrets (
    -- The provider's id, and the name that its plugin gives the secret.
    provider text NOT NULL,
    name     text NOT NULL,
    -- Sealed with a key that is not in the database; NULL: forgotten.
    sealed   bytea,
    -- Grows with every change of the row: the sum of all says whether anything is new.
    revision bigint NOT NULL,
    set_at   timestamptz NOT NULL,
    PRIMARY KEY (provider, name)
);

ALTER TABLE provider_secrets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- Of the whole installation: no user's.
CREATE POLICY identity ON provider_secrets USING ((SELECT genvid_scope()) = 'identity');
