-- Accounts: passwords, sessions with their refresh tokens, links that change an account, and the
-- keys that sign access tokens.
-- Locks: none of other writers, who wait for this one anyway.

-- `email` is whose the address is. Whoever registers with an address that another account has gets a
-- handle there that is no address, and the address into `claimed`, until one of both shows that it
-- is theirs.
ALTER TABLE users ADD COLUMN claimed           TEXT;
ALTER TABLE users ADD COLUMN email_verified_at INTEGER;
-- PHC string of argon2id; NULL: nobody signs in with a password.
ALTER TABLE users ADD COLUMN password_hash     TEXT;
ALTER TABLE users ADD COLUMN deleted_at        INTEGER;
CREATE INDEX users_by_claim ON users (claimed, id DESC) WHERE claimed IS NOT NULL;
-- Operators made those that are there.
UPDATE users SET email_verified_at = created_at;
-- Capital letters do not matter from now on.
UPDATE users SET email = lower(email) WHERE email <> lower(email)
    AND NOT EXISTS (SELECT 1 FROM users AS other
        WHERE other.id <> users.id AND lower(other.email) = lower(users.email));

CREATE TABLE sessions (
    id           BLOB    NOT NULL PRIMARY KEY,
    user_id      BLOB    NOT NULL REFERENCES users (id),
    -- For people to tell sessions apart: from where, and with what.
    address      TEXT    NOT NULL,
    agent        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    -- Whatever happens, not longer than this.
    expires_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    end_reason   TEXT    CHECK (end_reason IN ('LOGOUT', 'REVOKED', 'REUSED', 'PASSWORD', 'DELETED')),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
CREATE INDEX sessions_by_user ON sessions (user_id, id DESC);

-- Every refresh token of a session, used ones too: one that comes twice gives a thief away.
CREATE TABLE refresh_tokens (
    token_hash BLOB    NOT NULL PRIMARY KEY,
    session_id BLOB    NOT NULL REFERENCES sessions (id),
    user_id    BLOB    NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER,
    -- Makes its successor out of the token itself, for those who ask twice for the same.
    salt       BLOB,
    -- What its user called the attempt.
    attempt    TEXT
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

-- Links of mails that change an account, each good once. Only their SHA-256 is kept.
CREATE TABLE account_links (
    token_hash BLOB    NOT NULL PRIMARY KEY,
    user_id    BLOB    NOT NULL REFERENCES users (id),
    purpose    TEXT    NOT NULL CHECK (purpose IN ('VERIFY', 'RESET')),
    address    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
);
CREATE INDEX account_links_by_user ON account_links (user_id, purpose);

-- Keys that sign access tokens. The private half is sealed with a key that is not in the database.
CREATE TABLE signing_keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    public     BLOB    NOT NULL,
    private    BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    signs_from INTEGER NOT NULL,
    revoked_at INTEGER
);
