-- Accounts: passwords, sessions with their refresh tokens, links that change an account, and the
-- keys that sign access tokens.
-- Locks: users, to add empty columns and to write one of them once.

-- `email` is whose the address is. Whoever registers with an address that another account has gets a
-- handle there that is no address, and the address into `claimed`, until one of both shows that it
-- is theirs.
ALTER TABLE users ADD COLUMN claimed           text;
ALTER TABLE users ADD COLUMN email_verified_at timestamptz;
-- PHC string of argon2id; NULL: nobody signs in with a password.
ALTER TABLE users ADD COLUMN password_hash     text;
ALTER TABLE users ADD COLUMN deleted_at        timestamptz;
CREATE INDEX users_by_claim ON users (claimed, id DESC) WHERE claimed IS NOT NULL;
-- Operators made those that are there.
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
UPDATE users SET email_verified_at = created_at;
-- Capital letters do not matter from now on.
UPDATE users SET email = lower(email) WHERE email <> lower(email)
    AND NOT EXISTS (SELECT 1 FROM users AS other
        WHERE other.id <> users.id AND lower(other.email) = lower(users.email));
ALTER TABLE users FORCE ROW LEVEL SECURITY;

CREATE TABLE sessions (
    id           uuid        NOT NULL PRIMARY KEY,
    user_id      uuid        NOT NULL REFERENCES users (id),
    -- For people to tell sessions apart: from where, and with what.
    address      text        NOT NULL,
    agent        text        NOT NULL,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    -- Whatever happens, not longer than this.
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    end_reason   text CHECK (end_reason IN ('LOGOUT', 'REVOKED', 'REUSED', 'PASSWORD', 'DELETED')),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
CREATE INDEX sessions_by_user ON sessions (user_id, id DESC);

-- Every refresh token of a session, used ones too: one that comes twice gives a thief away.
CREATE TABLE refresh_tokens (
    token_hash bytea       NOT NULL PRIMARY KEY,
    session_id uuid        NOT NULL REFERENCES sessions (id),
    user_id    uuid        NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    -- Makes its successor out of the token itself, for those who ask twice for the same.
    salt       bytea,
    -- What its user called the attempt.
    attempt    text
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

-- Links of mails that change an account, each good once. Only their SHA-256 is kept.
CREATE TABLE account_links (
    token_hash bytea       NOT NULL PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users (id),
    purpose    text        NOT NULL CHECK (purpose IN ('VERIFY', 'RESET')),
    address    text        NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX account_links_by_user ON account_links (user_id, purpose);

-- Keys that sign access tokens. The private half is sealed with a key that is not in the database.
CREATE TABLE signing_keys (
    id         text        NOT NULL PRIMARY KEY,
    public     bytea       NOT NULL,
    private    bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    signs_from timestamptz NOT NULL,
    revoked_at timestamptz
);

ALTER TABLE sessions       ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE refresh_tokens ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE account_links  ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE signing_keys   ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON sessions
    USING (user_id = (SELECT genvid_user()) OR (SELECT genvid_scope()) = 'identity');
CREATE POLICY tenant ON refresh_tokens
    USING (user_id = (SELECT genvid_user()) OR (SELECT genvid_scope()) = 'identity');
CREATE POLICY tenant ON account_links
    USING (user_id = (SELECT genvid_user()) OR (SELECT genvid_scope()) = 'identity');
-- Of the whole installation: whoever finds out who is calling reads them.
CREATE POLICY identity ON signing_keys USING ((SELECT genvid_scope()) = 'identity');

-- Accounts write mail, too: to those who sign up, ask for a new password, or have been robbed.
ALTER POLICY tenant ON mails
    USING (owner_id = (SELECT genvid_user()) OR (SELECT genvid_scope()) = 'identity');
