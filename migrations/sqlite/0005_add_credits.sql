-- The ledger of credits, and what jobs hold of them.
-- Locks: the whole database for a moment; no row is rewritten.

-- One balance of a user (available, held) or of the installation (the others, which may be
-- below zero: promotions is what was given away).
CREATE TABLE credit_accounts (
    name     TEXT    NOT NULL PRIMARY KEY,
    owner_id BLOB    REFERENCES users (id),
    kind     TEXT    NOT NULL CHECK (kind IN
        ('available', 'held', 'revenue', 'promotions', 'payments', 'adjustments')),
    balance  INTEGER NOT NULL DEFAULT 0 CHECK (owner_id IS NULL OR balance >= 0),
    -- Number of its last entry.
    last_seq INTEGER NOT NULL DEFAULT 0,
    CHECK ((owner_id IS NOT NULL) = (kind IN ('available', 'held')))
);
INSERT INTO credit_accounts (name, kind) VALUES
    ('revenue', 'revenue'), ('promotions', 'promotions'),
    ('payments', 'payments'), ('adjustments', 'adjustments');

-- Credits that went from one account to another. The key makes each happen once.
CREATE TABLE credit_transfers (
    id       BLOB    NOT NULL PRIMARY KEY,
    owner_id BLOB    NOT NULL REFERENCES users (id),
    key      TEXT    NOT NULL UNIQUE,
    kind     TEXT    NOT NULL CHECK (kind IN
        ('GRANT', 'HOLD', 'CAPTURE', 'RELEASE', 'ADJUSTMENT', 'PURCHASE', 'REFUND', 'EXPIRY')),
    amount   INTEGER NOT NULL CHECK (amount > 0),
    job_id   BLOB    REFERENCES jobs (id),
    reason   TEXT,
    actor    TEXT    NOT NULL,
    at       INTEGER NOT NULL
);
CREATE INDEX credit_transfers_by_job ON credit_transfers (job_id) WHERE job_id IS NOT NULL;

-- Its two halves; they sum to zero.
CREATE TABLE credit_entries (
    account       TEXT    NOT NULL REFERENCES credit_accounts (name),
    -- 1, 2, 3 … within the account.
    seq           INTEGER NOT NULL,
    transfer_id   BLOB    NOT NULL REFERENCES credit_transfers (id),
    owner_id      BLOB,
    amount        INTEGER NOT NULL CHECK (amount <> 0),
    balance_after INTEGER NOT NULL,
    PRIMARY KEY (account, seq)
) WITHOUT ROWID;
CREATE UNIQUE INDEX credit_entries_by_transfer ON credit_entries (transfer_id, account);

CREATE TRIGGER credit_transfers_stay BEFORE UPDATE ON credit_transfers
BEGIN SELECT RAISE(ABORT, 'transfers of credits are never changed'); END;
CREATE TRIGGER credit_transfers_remain BEFORE DELETE ON credit_transfers
BEGIN SELECT RAISE(ABORT, 'transfers of credits are never deleted'); END;
CREATE TRIGGER credit_entries_stay BEFORE UPDATE ON credit_entries
BEGIN SELECT RAISE(ABORT, 'entries of credits are never changed'); END;
CREATE TRIGGER credit_entries_remain BEFORE DELETE ON credit_entries
BEGIN SELECT RAISE(ABORT, 'entries of credits are never deleted'); END;

-- What a job has put aside of its owner's credits. A retry adds to the amount.
CREATE TABLE credit_holds (
    job_id     BLOB    NOT NULL PRIMARY KEY REFERENCES jobs (id),
    owner_id   BLOB    NOT NULL REFERENCES users (id),
    amount     INTEGER NOT NULL CHECK (amount >= 0),
    captured   INTEGER NOT NULL DEFAULT 0 CHECK (captured >= 0),
    released   INTEGER NOT NULL DEFAULT 0 CHECK (released >= 0),
    state      TEXT    NOT NULL CHECK (state IN ('OPEN', 'SETTLED')),
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    CHECK (captured + released <= amount),
    CHECK (state = 'OPEN' OR captured + released = amount)
);
CREATE INDEX credit_holds_open ON credit_holds (owner_id) WHERE state = 'OPEN';

-- Credits that end at a time, and what is left of them among the available ones.
CREATE TABLE credit_lots (
    id         BLOB    NOT NULL PRIMARY KEY REFERENCES credit_transfers (id),
    owner_id   BLOB    NOT NULL REFERENCES users (id),
    amount     INTEGER NOT NULL CHECK (amount > 0),
    remaining  INTEGER NOT NULL CHECK (remaining BETWEEN 0 AND amount),
    expired    INTEGER NOT NULL DEFAULT 0 CHECK (expired BETWEEN 0 AND amount),
    expires_at INTEGER NOT NULL
);
CREATE INDEX credit_lots_left ON credit_lots (owner_id, expires_at) WHERE remaining > 0;
CREATE INDEX credit_lots_due ON credit_lots (expires_at) WHERE remaining > 0;

-- Which of them a job holds.
CREATE TABLE credit_hold_lots (
    job_id   BLOB    NOT NULL REFERENCES credit_holds (job_id),
    lot_id   BLOB    NOT NULL REFERENCES credit_lots (id),
    owner_id BLOB    NOT NULL,
    held     INTEGER NOT NULL CHECK (held >= 0),
    PRIMARY KEY (job_id, lot_id)
) WITHOUT ROWID;

-- What the step may cost at each provider; NULL: nothing is paid, or it is older than credits.
ALTER TABLE steps ADD COLUMN quote TEXT;
-- Credits that an attempt costs its owner at most, and once it is charged.
ALTER TABLE attempts ADD COLUMN max_credits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN credits INTEGER NOT NULL DEFAULT 0;
