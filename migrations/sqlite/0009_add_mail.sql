-- Mail: what is to be sent, every attempt, and addresses that get none.
-- Locks: none, the tables are new; users are read once.

-- Where a user's own mail goes. Whoever changes a user's address changes it here too.
CREATE TABLE mail_contacts (
    owner_id  BLOB    NOT NULL PRIMARY KEY REFERENCES users (id),
    address   TEXT    NOT NULL,
    language  TEXT    NOT NULL CHECK (language IN ('en', 'zh')),
    -- The user was told that fewer credits than these are left; NULL: there are enough, or nobody
    -- said so.
    low_below INTEGER
);
INSERT INTO mail_contacts (owner_id, address, language) SELECT id, email, 'en' FROM users;

-- Where a job's end is told, as its owner asked.
CREATE TABLE job_mails (
    job_id   BLOB NOT NULL PRIMARY KEY REFERENCES jobs (id),
    owner_id BLOB NOT NULL,
    address  TEXT NOT NULL,
    language TEXT NOT NULL CHECK (language IN ('en', 'zh'))
);

-- One row for each thing that is told, written in the transaction of its cause.
CREATE TABLE mails (
    id           BLOB    NOT NULL PRIMARY KEY,
    owner_id     BLOB    NOT NULL REFERENCES users (id),
    -- Names the cause: it is told once.
    key          TEXT    NOT NULL UNIQUE,
    kind         TEXT    NOT NULL,
    job_id       BLOB    REFERENCES jobs (id),
    address      TEXT    NOT NULL,
    language     TEXT    NOT NULL CHECK (language IN ('en', 'zh')),
    -- What the words are made of.
    data         TEXT    NOT NULL,
    status       TEXT    NOT NULL CHECK (status IN ('PENDING', 'SENT', 'DELIVERED', 'BOUNCED',
        'COMPLAINED', 'FAILED', 'SUPPRESSED', 'DROPPED')),
    -- Why it came to nothing.
    reason       TEXT,
    -- What the vendor calls it.
    vendor_id    TEXT,
    tries        INTEGER NOT NULL DEFAULT 0,
    -- When it is tried (again); NULL: not any more.
    due_at       INTEGER,
    -- Until when it belongs to the node that took it.
    lease_until  INTEGER,
    -- Fencing token: grows with each claim, and what is written afterwards names it.
    lease_epoch  INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    completed_at INTEGER
);
CREATE INDEX mails_due ON mails (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX mails_by_owner ON mails (owner_id, created_at DESC);

-- Rows are added, never changed.
CREATE TABLE mail_attempts (
    id          BLOB    NOT NULL PRIMARY KEY,
    mail_id     BLOB    NOT NULL REFERENCES mails (id),
    owner_id    BLOB    NOT NULL,
    at          INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    -- The answer's status; NULL: there was none, and error says why.
    status      INTEGER,
    error       TEXT,
    -- The beginning of the answer.
    response    TEXT    NOT NULL
);
CREATE INDEX mail_attempts_by_mail ON mail_attempts (mail_id, id DESC);

-- Addresses that get no mail, in small letters. Of the whole installation. Rows are added,
-- never changed.
CREATE TABLE mail_suppressions (
    address TEXT    NOT NULL,
    reason  TEXT    NOT NULL CHECK (reason IN ('BOUNCED', 'COMPLAINED', 'UNSUBSCRIBED')),
    at      INTEGER NOT NULL,
    PRIMARY KEY (address, reason)
);

-- What the vendor told of mails, each once. Rows are added, never changed.
CREATE TABLE mail_events (
    id      TEXT    NOT NULL PRIMARY KEY,
    type    TEXT    NOT NULL,
    mail_id BLOB    NOT NULL REFERENCES mails (id),
    at      INTEGER NOT NULL
);

-- Mail that is kept here and not sent: for development.
CREATE TABLE mailbox (
    mail_id  BLOB    NOT NULL PRIMARY KEY REFERENCES mails (id),
    owner_id BLOB    NOT NULL,
    sender   TEXT    NOT NULL,
    address  TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    text     TEXT    NOT NULL,
    html     TEXT    NOT NULL,
    headers  TEXT    NOT NULL,
    at       INTEGER NOT NULL
);
