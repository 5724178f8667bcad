-- Payments: who is a customer, what the vendor told, what was bought, who subscribes to what.
-- Locks: none, the tables are new.

-- The payment vendor's name of a user. Rows are added, never changed.
CREATE TABLE payment_customers (
    owner_id uuid        NOT NULL PRIMARY KEY REFERENCES users (id),
    customer text        NOT NULL UNIQUE,
    at       timestamptz NOT NULL
);

-- What the vendor told, each once, and whether it was worked off. Of the whole installation.
CREATE TABLE payment_events (
    -- The vendor's id.
    id           text        NOT NULL PRIMARY KEY,
    type         text        NOT NULL,
    -- What to look at; NULL: nothing here changes by it.
    kind         text        CHECK (kind IN ('session', 'subscription', 'invoice', 'payment')),
    subject      text,
    -- When it happened, in seconds since 1970.
    happened     bigint      NOT NULL,
    tries        bigint      NOT NULL DEFAULT 0,
    -- When it is worked off (again); NULL: it is done.
    due_at       timestamptz,
    -- Until when it belongs to the node that took it.
    lease_until  timestamptz,
    -- Fencing token: grows with each claim, and what is written afterwards names it.
    lease_epoch  bigint      NOT NULL DEFAULT 0,
    -- Why the last attempt failed.
    error        text,
    created_at   timestamptz NOT NULL,
    CHECK ((kind IS NULL) = (subject IS NULL))
);
CREATE INDEX payment_events_due ON payment_events (due_at) WHERE due_at IS NOT NULL;

-- What was paid for, each once.
CREATE TABLE payment_purchases (
    -- The vendor's id of the payment page or the invoice.
    key      text        NOT NULL PRIMARY KEY,
    owner_id uuid        NOT NULL REFERENCES users (id),
    credits  bigint      NOT NULL CHECK (credits >= 0),
    -- What was paid, in the currency's smallest unit.
    amount   bigint      NOT NULL,
    currency text        NOT NULL,
    -- The vendor's id of the payment.
    payment  text,
    -- Of the credits whose money went back: those that were taken back, and those that had been
    -- spent before.
    taken    bigint      NOT NULL DEFAULT 0 CHECK (taken >= 0),
    owed     bigint      NOT NULL DEFAULT 0 CHECK (owed >= 0),
    -- Grows with each change: who has looked at the vendor before it looks again.
    version  bigint      NOT NULL,
    at       timestamptz NOT NULL,
    CHECK (taken + owed <= credits)
);
CREATE INDEX payment_purchases_by_owner ON payment_purchases (owner_id);

CREATE TABLE payment_subscriptions (
    -- The vendor's id.
    id         text        NOT NULL PRIMARY KEY,
    owner_id   uuid        NOT NULL REFERENCES users (id),
    plan       text        NOT NULL,
    status     text        NOT NULL CHECK (status IN ('INCOMPLETE', 'INCOMPLETE_EXPIRED',
        'TRIALING', 'ACTIVE', 'PAST_DUE', 'CANCELED', 'UNPAID', 'PAUSED')),
    -- Until when it is paid.
    period_end timestamptz,
    -- Does it end then?
    ends       boolean     NOT NULL,
    -- Since when it is there.
    since      timestamptz NOT NULL,
    -- Grows with each change: who has looked at the vendor before it looks again.
    version    bigint      NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX payment_subscriptions_by_owner ON payment_subscriptions (owner_id);

-- How far the vendor was asked for events that never came. One row.
CREATE TABLE payment_rounds (
    id      bigint      NOT NULL PRIMARY KEY CHECK (id = 1),
    -- Seconds since 1970.
    horizon bigint      NOT NULL,
    -- When it is asked again.
    due_at  timestamptz NOT NULL
);
INSERT INTO payment_rounds (id, horizon, due_at) VALUES (1, 0, now());

ALTER TABLE payment_customers     ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE payment_events        ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE payment_purchases     ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE payment_subscriptions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE payment_rounds        ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant ON payment_customers USING (owner_id = (SELECT genvid_user()));
CREATE POLICY tenant ON payment_purchases USING (owner_id = (SELECT genvid_user()));
-- A user's plan follows from them.
CREATE POLICY tenant ON payment_subscriptions
    USING (owner_id = (SELECT genvid_user()) OR (SELECT genvid_scope()) = 'identity');
-- Events and rounds are the vendor's: only the worker sees them.
