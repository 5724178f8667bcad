-- Mail: what is to be sent, every attempt, and addresses that get none.
-- Locks: users, for as long as they are read once.

-- Where a user's own mail goes. Whoever changes a user's address changes it here too.
CREATE TABLE mail_contacts (
    owner_id  uuid        NOT NULL PRIMARY KEY REFERENCES users (id),
    address   text        NOT NULL,
    language  text        NOT NULL CHECK (language IN ('en', 'zh')),
    -- The user was told that fewer credits than these are left; NULL: there are enough, or nobody
    -- said so.
    low_below bigint
);
-- The owner of the tables sees all users only without their row-level security.
ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
INSERT INTO mail_contacts (owner_id, address, language) SELECT id, email, 'en' FROM users;
ALTER TABLE users FORCE ROW LEVEL SECURITY;

-- Where a job's end is told, as its owner asked.
CREATE TABLE job_mails (
    job_id   uuid        NOT NULL PRIMARY KEY REFERENCES jobs (id),
    owner_id uuid        NOT NULL,
    address  text        NOT NULL,
    language text        NOT NULL CHECK (language IN ('en', 'zh'))
);

-- One row for each thing that is told, written in the transaction of its cause.
CREATE TABLE mails (
    id           uuid        NOT NULL PRIMARY KEY,
    owner_id     uuid        NOT NULL REFERENCES users (id),
    -- Names the cause: it is told once.
    key          text        NOT NULL UNIQUE,
    kind         text        NOT NULL,
    job_id       uuid        REFERENCES jobs (id),
    address      text        NOT NULL,
    language     text        NOT NULL CHECK (language IN ('en', 'zh')),
    -- What the words are made of.
    data         jsonb       NOT NULL,
    status       text        NOT NULL CHECK (status IN ('PENDING', 'SENT', 'DELIVERED', 'BOUNCED',
        'COMPLAINED', 'FAILED', 'SUPPRESSED', 'DROPPED')),
    -- Why it came to nothing.
    reason       text,
    -- What the vendor calls it.
    vendor_id    text,
    tries        bigint      NOT NULL DEFAULT 0,
    -- When it is tried (again); NULL: not any more.
    due_at       timestamptz,
    -- Until when it belongs to the node that took it.
    lease_until  timestamptz,
    -- Fencing token: grows with each claim, and what is written afterwards names it.
    lease_epoch  bigint      NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL,
    completed_at timestamptz
);
CREATE INDEX mails_due ON mails (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX mails_by_owner ON mails (owner_id, created_at DESC);

-- Rows are added, never changed.
CREATE TABLE mail_attempts (
    id          uuid        NOT NULL PRIMARY KEY,
    mail_id     uuid        NOT NULL REFERENCES mails (id),
    owner_id    uuid        NOT NULL,
    at          timestamptz NOT NULL,
    duration_ms bigint      NOT NULL,
    -- The answer's status; NULL: there was none, and error says why.
    status      bigint,
    error       text,
    -- The beginning of the answer.
    response    text        NOT NULL
);
CREATE INDEX mail_attempts_by_mail ON mail_attempts (mail_id, id DESC);

-- Addresses that get no mail, in small letters. Of the whole installation. Rows are added,
-- never changed.
CREATE TABLE mail_suppressions (
    address text        NOT NULL,
    reason  text        NOT NULL CHECK (reason IN ('BOUNCED', 'COMPLAINED', 'UNSUBSCRIBED')),
    at      timestamptz NOT NULL,
    PRIMARY KEY (address, reason)
);

-- What the vendor told of mails, each once. Rows are added, never changed.
CREATE TABLE mail_events (
    id      text        NOT NULL PRIMARY KEY,
    type    text        NOT NULL,
    mail_id uuid        NOT NULL REFERENCES mails (id),
    at      timestamptz NOT NULL
);

-- Mail that is kept here and not sent: for development.
CREATE TABLE mailbox (
    mail_id  uuid        NOT NULL PRIMARY KEY REFERENCES mails (id),
    owner_id uuid        NOT NULL,
    sender   text        NOT NULL,
    address  text        NOT NULL,
    subject  text        NOT NULL,
    text     text        NOT NULL,
    html     text        NOT NULL,
    headers  jsonb       NOT NULL,
    at       timestamptz NOT NULL
);

ALTER TABLE mail_contacts     ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE job_mails         ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE mails             ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE mail_attempts     ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE mail_suppressions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE mail_events       ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE mailbox           ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON mail_contacts
    USING (owner_id = (SELECT genvid_user()) OR (SELECT genvid_scope()) = 'identity');
CREATE POLICY tenant ON job_mails     USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON mails         USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON mail_attempts USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON mailbox       USING (owner_id = (SELECT genvid_user()));
-- Addresses belong to nobody, and events are the vendor's: only the worker sees them.
