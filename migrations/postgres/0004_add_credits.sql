-- The ledger of credits, and what jobs hold of them.
-- Locks: steps and attempts for a moment, to add columns; no row is rewritten.

-- One balance of a user (available, held) or of the installation (the others, which may be
-- below zero: promotions is what was given away). Written often: room on each page.
CREATE TABLE credit_accounts (
    name     text   NOT NULL PRIMARY KEY,
    owner_id uuid   REFERENCES users (id),
    kind     text   NOT NULL CHECK (kind IN
        ('available', 'held', 'revenue', 'promotions', 'payments', 'adjustments')),
    balance  bigint NOT NULL DEFAULT 0 CHECK (owner_id IS NULL OR balance >= 0),
    -- Number of its last entry.
    last_seq bigint NOT NULL DEFAULT 0,
    CHECK ((owner_id IS NOT NULL) = (kind IN ('available', 'held')))
) WITH (fillfactor = 50);
CREATE INDEX credit_accounts_by_owner ON credit_accounts (owner_id) WHERE owner_id IS NOT NULL;
INSERT INTO credit_accounts (name, kind) VALUES
    ('revenue', 'revenue'), ('promotions', 'promotions'),
    ('payments', 'payments'), ('adjustments', 'adjustments');

-- Credits that went from one account to another. The key makes each happen once.
CREATE TABLE credit_transfers (
    id       uuid        NOT NULL PRIMARY KEY,
    owner_id uuid        NOT NULL REFERENCES users (id),
    key      text        NOT NULL UNIQUE,
    kind     text        NOT NULL CHECK (kind IN
        ('GRANT', 'HOLD', 'CAPTURE', 'RELEASE', 'ADJUSTMENT', 'PURCHASE', 'REFUND', 'EXPIRY')),
    amount   bigint      NOT NULL CHECK (amount > 0),
    job_id   uuid        REFERENCES jobs (id),
    reason   text,
    actor    text        NOT NULL,
    at       timestamptz NOT NULL
);
CREATE INDEX credit_transfers_by_job ON credit_transfers (job_id) WHERE job_id IS NOT NULL;

-- Its two halves; they sum to zero.
CREATE TABLE credit_entries (
    account       text   NOT NULL REFERENCES credit_accounts (name),
    -- 1, 2, 3 … within the account.
    seq           bigint NOT NULL,
    transfer_id   uuid   NOT NULL REFERENCES credit_transfers (id),
    owner_id      uuid,
    amount        bigint NOT NULL CHECK (amount <> 0),
    balance_after bigint NOT NULL,
    PRIMARY KEY (account, seq)
);
CREATE UNIQUE INDEX credit_entries_by_transfer ON credit_entries (transfer_id, account);

-- Nobody has the right to change or delete them (adapters/sql/roles.rs); this holds for the
-- owner of the tables and for superusers too.
CREATE FUNCTION genvid_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or deleted', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_transfers
    FOR EACH STATEMENT EXECUTE FUNCTION genvid_append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION genvid_append_only();

-- What a job has put aside of its owner's credits. A retry adds to the amount.
CREATE TABLE credit_holds (
    job_id     uuid        NOT NULL PRIMARY KEY REFERENCES jobs (id),
    owner_id   uuid        NOT NULL REFERENCES users (id),
    amount     bigint      NOT NULL CHECK (amount >= 0),
    captured   bigint      NOT NULL DEFAULT 0 CHECK (captured >= 0),
    released   bigint      NOT NULL DEFAULT 0 CHECK (released >= 0),
    state      text        NOT NULL CHECK (state IN ('OPEN', 'SETTLED')),
    created_at timestamptz NOT NULL,
    settled_at timestamptz,
    CHECK (captured + released <= amount),
    CHECK (state = 'OPEN' OR captured + released = amount)
) WITH (fillfactor = 80);
CREATE INDEX credit_holds_open ON credit_holds (owner_id) WHERE state = 'OPEN';

-- Credits that end at a time, and what is left of them among the available ones.
CREATE TABLE credit_lots (
    id         uuid        NOT NULL PRIMARY KEY REFERENCES credit_transfers (id),
    owner_id   uuid        NOT NULL REFERENCES users (id),
    amount     bigint      NOT NULL CHECK (amount > 0),
    remaining  bigint      NOT NULL CHECK (remaining BETWEEN 0 AND amount),
    expired    bigint      NOT NULL DEFAULT 0 CHECK (expired BETWEEN 0 AND amount),
    expires_at timestamptz NOT NULL
);
CREATE INDEX credit_lots_left ON credit_lots (owner_id, expires_at) WHERE remaining > 0;
CREATE INDEX credit_lots_due ON credit_lots (expires_at) WHERE remaining > 0;

-- Which of them a job holds.
CREATE TABLE credit_hold_lots (
    job_id   uuid   NOT NULL REFERENCES credit_holds (job_id),
    lot_id   uuid   NOT NULL REFERENCES credit_lots (id),
    owner_id uuid   NOT NULL,
    held     bigint NOT NULL CHECK (held >= 0),
    PRIMARY KEY (job_id, lot_id)
);

-- What the step may cost at each provider; NULL: nothing is paid, or it is older than credits.
ALTER TABLE steps ADD COLUMN quote jsonb;
-- Credits that an attempt costs its owner at most, and once it is charged.
ALTER TABLE attempts ADD COLUMN max_credits bigint NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN credits bigint NOT NULL DEFAULT 0;

ALTER TABLE credit_accounts  ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE credit_transfers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE credit_entries   ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE credit_holds     ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE credit_lots      ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE credit_hold_lots ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- Accounts of the installation are nobody's: only the worker writes them.
CREATE POLICY tenant ON credit_accounts  USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON credit_transfers USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON credit_entries   USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON credit_holds     USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON credit_lots      USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON credit_hold_lots USING (owner_id = (SELECT genvid_user()));
