-- People whom another provider vouches for (OpenID Connect), each with their account here.
-- Locks: none of other writers, who wait for this one anyway.

CREATE TABLE identities (
    -- `iss` and `sub` of the provider's tokens. Of a deleted account, `sub` is a handle of ours.
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    user_id    BLOB NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
);
-- One person of each provider for an account: an address that goes to somebody else there opens nothing.
CREATE UNIQUE INDEX identities_by_user ON identities (user_id, issuer);
