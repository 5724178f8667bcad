-- Payments: who is a customer, what the vendor told, what was bought, who subscribes to what.
-- Locks: none, the tables are new.

-- The payment vendor's name of a user. Rows are added, never changed.
CREATE TABLE payment_customers (
    owner_id BLOB    NOT NULL PRIMARY KEY REFERENCES users (id),
    customer TEXT    NOT NULL UNIQUE,
    at       INTEGER NOT NULL
);

-- What the vendor told, each once, and whether it was worked off. Of the whole installation.
CREATE TABLE payment_events (
    -- The vendor's id.
    id           TEXT    NOT NULL PRIMARY KEY,
    type         TEXT    NOT NULL,
    -- What to look at; NULL: nothing here changes by it.
    kind         TEXT    CHECK (kind IN ('session', 'subscription', 'invoice', 'payment')),
    subject      TEXT,
    -- When it happened, in seconds since 1970.
    happened     INTEGER NOT NULL,
    tries        INTEGER NOT NULL DEFAULT 0,
    -- When it is worked off (again); NULL: it is done.
    due_at       INTEGER,
    -- Until when it belongs to the node that took it.
    lease_until  INTEGER,
    -- Fencing token: grows with each claim, and what is written afterwards names it.
    lease_epoch  INTEGER NOT NULL DEFAULT 0,
    -- Why the last attempt failed.
    error        TEXT,
    created_at   INTEGER NOT NULL,
    CHECK ((kind IS NULL) = (subject IS NULL))
);
CREATE INDEX payment_events_due ON payment_events (due_at) WHERE due_at IS NOT NULL;

-- What was paid for, each once.
CREATE TABLE payment_purchases (
    -- The vendor's id of the payment page or the invoice.
    key      TEXT    NOT NULL PRIMARY KEY,
    owner_id BLOB    NOT NULL REFERENCES users (id),
    credits  INTEGER NOT NULL CHECK (credits >= 0),
    -- What was paid, in the currency's smallest unit.
    amount   INTEGER NOT NULL,
    currency TEXT    NOT NULL,
    -- The vendor's id of the payment.
    payment  TEXT,
    -- Of the credits whose money went back: those that were taken back, and those that had been
    -- spent before.
    taken    INTEGER NOT NULL DEFAULT 0 CHECK (taken >= 0),
    owed     INTEGER NOT NULL DEFAULT 0 CHECK (owed >= 0),
    -- Grows with each change: who has looked at the vendor before it looks again.
    version  INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    CHECK (taken + owed <= credits)
);
CREATE INDEX payment_purchases_by_owner ON payment_purchases (owner_id);

CREATE TABLE payment_subscriptions (
    -- The vendor's id.
    id         TEXT    NOT NULL PRIMARY KEY,
    owner_id   BLOB    NOT NULL REFERENCES users (id),
    plan       TEXT    NOT NULL,
    status     TEXT    NOT NULL CHECK (status IN ('INCOMPLETE', 'INCOMPLETE_EXPIRED',
        'TRIALING', 'ACTIVE', 'PAST_DUE', 'CANCELED', 'UNPAID', 'PAUSED')),
    -- Until when it is paid.
    period_end INTEGER,
    -- Does it end then?
    ends       INTEGER NOT NULL,
    -- Since when it is there.
    since      INTEGER NOT NULL,
    -- Grows with each change: who has looked at the vendor before it looks again.
    version    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX payment_subscriptions_by_owner ON payment_subscriptions (owner_id);

-- How far the vendor was asked for events that never came. One row.
CREATE TABLE payment_rounds (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Seconds since 1970.
    horizon INTEGER NOT NULL,
    -- When it is asked again.
    due_at  INTEGER NOT NULL
);
INSERT INTO payment_rounds (id, horizon, due_at) VALUES (1, 0, 0);
