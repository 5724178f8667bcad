-- People whom another provider vouches for (OpenID Connect), each with their account here.
-- Locks: none of other writers: the table is new.

CREATE TABLE identities (
    -- `iss` and `sub` of the provider's tokens. Of a deleted account, `sub` is a handle of ours.
    issuer     text NOT NULL,
    subject    text NOT NULL,
    user_id    uuid NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject)
);
-- One person of each provider for an account: an address that goes to somebody else there opens nothing.
CREATE UNIQUE INDEX identities_by_user ON identities (user_id, issuer);

ALTER TABLE identities ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- Whoever finds out who is calling reads and writes it.
CREATE POLICY tenant ON identities
    USING (user_id = (SELECT genvid_user()) OR (SELECT genvid_scope()) = 'identity');
