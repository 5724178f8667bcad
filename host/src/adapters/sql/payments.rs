//! What was paid: events of the payment vendor until they are worked off, purchases with their
//! credits, subscriptions with their plans.
//!
//! A purchase and a subscription have a version. Whoever looks at the vendor reads it before,
//! and writes only when it is still the same: so a look that took long never overwrites one that
//! began later.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    dialect::{Dialect, millis},
    holds,
    ledger::{Transfer, book, lock, open_accounts},
    mails,
    query::{Connection, Row, query},
    rows,
};
use crate::{
    billing::{Account, TransferKind},
    ids::UserId,
    mail::{NewMail, Receipt},
    payments::{Due, Owing, Purchase, Seen, Status, Subject, Subscription},
    time::{self, Timestamp},
};

/// Longest error that is kept of an event.
const MAX_ERROR: usize = 500;
/// Who moves credits.
const ACTOR: &str = "payments";

/// What became of a look that was to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is written.
    Done,
    /// Somebody else has written meanwhile: look again.
    Stale,
}

impl Database {
    /// The vendor's name of a user.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn customer_of(&self, user: UserId) -> Result<Option<String>, Error> {
        let row = query("SELECT customer FROM payment_customers WHERE owner_id = $1")
            .bind(user.uuid())
            .fetch_optional(&mut self.read(Scope::User(user)).await?)
            .await?;
        Ok(row.map(|row| row.try_get("customer")).transpose()?)
    }

    /// Keeps the vendor's name of a user, and answers the one that counts: the first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_customer(&self, user: UserId, customer: String) -> Result<String, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                query(
                    "INSERT INTO payment_customers (owner_id, customer, at) VALUES ($1, $2, $3) \
                     ON CONFLICT (owner_id) DO NOTHING",
                )
                .bind(user.uuid())
                .bind(customer)
                .bind(time::now())
                .execute(&mut *connection)
                .await?;
                let row = query("SELECT customer FROM payment_customers WHERE owner_id = $1")
                    .bind(user.uuid())
                    .fetch_one(connection)
                    .await?;
                Ok(row.try_get("customer")?)
            })
        })
        .await
    }

    /// Whom the vendor calls so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_of_customer(&self, customer: &str) -> Result<Option<UserId>, Error> {
        let row = query("SELECT owner_id FROM payment_customers WHERE customer = $1")
            .bind(customer)
            .fetch_optional(&mut self.read(Scope::Worker).await?)
            .await?;
        row.map(|row| Ok(UserId::from_uuid(rows::uuid(&row, "owner_id")?)))
            .transpose()
    }

    /// Keeps an event; false when it came before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_payment_event(&self, event: &Seen) -> Result<bool, Error> {
        let event = event.clone();
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let now = connection.dialect().now;
                let parts = event.subject.as_ref().map(Subject::parts);
                let added = query(AssertSqlSafe(format!(
                    "INSERT INTO payment_events (id, type, kind, subject, happened, due_at, \
                     created_at) VALUES ($1, $2, $3, $4, $5, CASE WHEN $6 THEN {now} END, $7) \
                     ON CONFLICT (id) DO NOTHING"
                )))
                .bind(&event.id)
                .bind(&event.kind)
                .bind(parts.map(|(kind, _)| kind))
                .bind(parts.map(|(_, id)| id))
                .bind(event.at)
                .bind(parts.is_some())
                .bind(time::now())
                .execute(connection)
                .await?
                .rows_affected();
                Ok(added > 0)
            })
        })
        .await
    }

    /// Takes events that are due, oldest first, for `lease`: at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_payment_events(
        &self,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<Due>, Error> {
        if !self.has_due_payment_events().await? {
            return Ok(Vec::new());
        }
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now,
                    millisecond,
                    lock_free,
                    ..
                } = connection.dialect();
                query(AssertSqlSafe(format!(
                    "WITH chosen AS MATERIALIZED (SELECT id FROM payment_events \
                     WHERE due_at <= {now} AND (lease_until IS NULL OR lease_until <= {now}) \
                     ORDER BY due_at LIMIT $2 {lock_free}) \
                     UPDATE payment_events SET lease_until = {now} + $1 * {millisecond}, \
                     lease_epoch = lease_epoch + 1, tries = tries + 1 \
                     WHERE id IN (SELECT id FROM chosen) \
                     RETURNING id, kind, subject, tries, lease_epoch"
                )))
                .bind(millis(lease))
                .bind(limit)
                .fetch_all(connection)
                .await?
                .iter()
                .map(due)
                .collect()
            })
        })
        .await
    }

    async fn has_due_payment_events(&self) -> Result<bool, Error> {
        let mut connection = self.read(Scope::Worker).await?;
        let now = connection.dialect().now;
        let found = query(AssertSqlSafe(format!(
            "SELECT id FROM payment_events WHERE due_at <= {now} \
             AND (lease_until IS NULL OR lease_until <= {now}) LIMIT 1"
        )))
        .fetch_optional(&mut connection)
        .await?;
        Ok(found.is_some())
    }

    /// Writes down what came of an event: it is worked off, or is to be tried again after a
    /// time, with the reason. One that somebody else has taken since stays as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_payment_event(
        &self,
        due: Due,
        again: Option<(Duration, String)>,
    ) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                let (wait, error) = again.unzip();
                let error: Option<String> =
                    error.map(|error| error.chars().take(MAX_ERROR).collect());
                query(AssertSqlSafe(format!(
                    "UPDATE payment_events SET lease_until = NULL, error = $3, \
                     due_at = CASE WHEN $4 THEN {now} + $5 * {millisecond} END \
                     WHERE id = $1 AND lease_epoch = $2 AND due_at IS NOT NULL"
                )))
                .bind(due.id)
                .bind(due.epoch)
                .bind(error)
                .bind(wait.is_some())
                .bind(millis(wait.unwrap_or_default()))
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Events that are not worked off yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_payment_events(&self) -> Result<i64, Error> {
        let row = query("SELECT COUNT(*) AS there FROM payment_events WHERE due_at IS NOT NULL")
            .fetch_one(&mut self.read(Scope::Worker).await?)
            .await?;
        Ok(row.try_get("there")?)
    }

    /// The version under which something is written down; nothing when it is not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn payment_version(&self, key: &str) -> Result<Option<i64>, Error> {
        let row = query(
            "SELECT version FROM payment_purchases WHERE key = $1 \
             UNION ALL SELECT version FROM payment_subscriptions WHERE id = $1",
        )
        .bind(key)
        .fetch_optional(&mut self.read(Scope::Worker).await?)
        .await?;
        Ok(row.map(|row| row.try_get("version")).transpose()?)
    }

    /// Writes down a purchase as it is now, and moves the credits that follow: all of them the
    /// first time; back, those whose money went back and that are there; and to the user again
    /// when a dispute is won. `known` is its version before the vendor was asked.
    ///
    /// # Errors
    /// When the database fails; then nothing was moved.
    pub async fn settle_purchase(
        &self,
        bought: Purchase,
        known: Option<i64>,
    ) -> Result<Settled, Error> {
        let low = self.low_credits;
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                open_accounts(connection, bought.user).await?;
                let available = lock(connection, bought.user).await?.unwrap_or(0);
                let row = query(
                    "SELECT owner_id, credits, taken, owed, version FROM payment_purchases \
                     WHERE key = $1",
                )
                .bind(&bought.key)
                .fetch_optional(&mut *connection)
                .await?;
                let version: Option<i64> = match &row {
                    Some(row) => Some(row.try_get("version")?),
                    None => None,
                };
                if version != known {
                    return Ok(Settled::Stale);
                }
                let (mut there, available, credits) = match row {
                    Some(row) => (Back::of(&row)?, available, row.try_get("credits")?),
                    None => {
                        first(connection, &bought).await?;
                        let available = available + bought.credits;
                        (Back::default(), available, bought.credits)
                    }
                };
                let version = version.unwrap_or(0) + 1;
                // What was given counts, whatever the vendor's notes say by now.
                let recalled = bought.recalled.clamp(0, credits);
                let change = recalled - there.taken - there.owed;
                if change > 0 {
                    there
                        .recall(connection, &bought, change, available, version)
                        .await?;
                    mails::watch_credits(connection, bought.user, low).await?;
                } else if change < 0 {
                    there.give(connection, &bought, -change, version).await?;
                }
                query(
                    "UPDATE payment_purchases SET taken = $2, owed = $3, version = $4 \
                     WHERE key = $1",
                )
                .bind(&bought.key)
                .bind(there.taken)
                .bind(there.owed)
                .bind(version)
                .execute(connection)
                .await?;
                Ok(Settled::Done)
            })
        })
        .await
    }

    /// Writes down a subscription as it is now. `known` is its version before the vendor was
    /// asked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_subscription(
        &self,
        user: UserId,
        present: Subscription,
        since: Timestamp,
        known: Option<i64>,
    ) -> Result<Settled, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let written = query(
                    "INSERT INTO payment_subscriptions (id, owner_id, plan, status, period_end, \
                     ends, since, version, updated_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, COALESCE($8, 0) + 1, $9) \
                     ON CONFLICT (id) DO UPDATE SET plan = excluded.plan, \
                     status = excluded.status, period_end = excluded.period_end, \
                     ends = excluded.ends, version = excluded.version, \
                     updated_at = excluded.updated_at \
                     WHERE payment_subscriptions.version = $8",
                )
                .bind(present.id)
                .bind(user.uuid())
                .bind(present.plan)
                .bind(present.status.as_str())
                .bind(present.period_end)
                .bind(present.ends)
                .bind(since)
                .bind(known)
                .bind(time::now())
                .execute(connection)
                .await?
                .rows_affected();
                Ok(match written {
                    0 => Settled::Stale,
                    _ => Settled::Done,
                })
            })
        })
        .await
    }

    /// Puts a user on the plan that their subscriptions entitle them to, or on the plan `free`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_subscriptions(&self, user: UserId) -> Result<(), Error> {
        self.write(Scope::Identity, move |connection| {
            Box::pin(async move {
                let entitling: Vec<_> = Status::ALL
                    .iter()
                    .filter(|status| status.entitles())
                    .map(|status| format!("'{}'", status.as_str()))
                    .collect();
                let entitling = entitling.join(", ");
                query(AssertSqlSafe(format!(
                    "UPDATE users SET plan = COALESCE((SELECT plan FROM payment_subscriptions \
                     WHERE owner_id = $1 AND status IN ({entitling}) \
                     ORDER BY since DESC, id LIMIT 1), 'free') WHERE id = $1"
                )))
                .bind(user.uuid())
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// What a user subscribes to: what entitles them, or else what was last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn subscription_of(&self, user: UserId) -> Result<Option<Subscription>, Error> {
        let all = query(
            "SELECT id, plan, status, period_end, ends FROM payment_subscriptions \
             WHERE owner_id = $1 ORDER BY since DESC, id",
        )
        .bind(user.uuid())
        .fetch_all(&mut self.read(Scope::User(user)).await?)
        .await?;
        let all = all
            .iter()
            .map(subscription)
            .collect::<Result<Vec<_>, _>>()?;
        let holds = all.iter().position(|one| one.status.entitles());
        Ok(all.into_iter().nth(holds.unwrap_or(0)))
    }

    /// What a user owes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owing(&self, user: UserId) -> Result<Owing, Error> {
        let row = query(
            "SELECT CAST(COALESCE(SUM(owed), 0) AS BIGINT) AS owed FROM payment_purchases \
             WHERE owner_id = $1",
        )
        .bind(user.uuid())
        .fetch_one(&mut self.read(Scope::User(user)).await?)
        .await?;
        Ok(Owing {
            credits: row.try_get("owed")?,
        })
    }

    /// From when on events may be unknown, in seconds since 1970.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn payment_horizon(&self) -> Result<i64, Error> {
        let row = query("SELECT horizon FROM payment_rounds WHERE id = 1")
            .fetch_one(&mut self.read(Scope::Worker).await?)
            .await?;
        Ok(row.try_get("horizon")?)
    }

    /// All events until then are known. It never moves back.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn move_payment_horizon(&self, until: i64) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                query("UPDATE payment_rounds SET horizon = $1 WHERE id = 1 AND horizon < $1")
                    .bind(until)
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Takes the turn to ask the vendor for events; false when it is not time yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_reconciliation(&self, every: Duration) -> Result<bool, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                let taken = query(AssertSqlSafe(format!(
                    "UPDATE payment_rounds SET due_at = {now} + $1 * {millisecond} \
                     WHERE id = 1 AND due_at <= {now}"
                )))
                .bind(millis(every))
                .execute(connection)
                .await?
                .rows_affected();
                Ok(taken > 0)
            })
        })
        .await
    }
}

/// Writes down a purchase and gives its credits.
async fn first(connection: &mut Connection, bought: &Purchase) -> Result<(), Error> {
    query(
        "INSERT INTO payment_purchases (key, owner_id, credits, amount, currency, payment, \
         version, at) VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
    )
    .bind(&bought.key)
    .bind(bought.user.uuid())
    .bind(bought.credits)
    .bind(bought.amount)
    .bind(&bought.currency)
    .bind(bought.payment.clone())
    .bind(time::now())
    .execute(&mut *connection)
    .await?;
    if bought.credits > 0 {
        let transfer = Transfer {
            owner: bought.user,
            key: format!("purchase/{}", bought.key),
            kind: TransferKind::Purchase,
            from: Account::Payments,
            to: Account::Available(bought.user),
            amount: bought.credits,
            job: None,
            reason: Some(&bought.key),
            actor: ACTOR,
        };
        book(connection, &transfer).await?;
    }
    let receipt = Receipt {
        user: bought.user,
        credits: bought.credits,
        amount_minor: bought.amount,
        currency: bought.currency.clone(),
        invoice_url: bought.invoice_url.clone(),
        key: bought.key.clone(),
    };
    mails::insert(connection, &NewMail::from(receipt)).await?;
    Ok(())
}

/// Credits of a purchase whose money went back.
#[derive(Default)]
struct Back {
    /// Taken back.
    taken: i64,
    /// Spent before they could be.
    owed: i64,
}

impl Back {
    fn of(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            taken: row.try_get("taken")?,
            owed: row.try_get("owed")?,
        })
    }

    /// Takes back what is there of so many more, and notes the rest.
    async fn recall(
        &mut self,
        connection: &mut Connection,
        bought: &Purchase,
        credits: i64,
        available: i64,
        version: i64,
    ) -> Result<(), Error> {
        let now = credits.min(available);
        self.taken += now;
        self.owed += credits - now;
        if now == 0 {
            return Ok(());
        }
        let transfer = Transfer {
            owner: bought.user,
            key: format!("recall/{}/{version}", bought.key),
            kind: TransferKind::Refund,
            from: Account::Available(bought.user),
            to: Account::Payments,
            amount: now,
            job: None,
            reason: Some(&bought.key),
            actor: ACTOR,
        };
        book(connection, &transfer).await?;
        // Those that end at a time were given, not bought: they go last.
        let ending = holds::left_in_lots(connection, bought.user).await?;
        let from_lots = (now - (available - ending)).max(0);
        holds::draw(connection, bought.user, from_lots, holds::DrawFrom::All).await?;
        Ok(())
    }

    /// Gives back so many: first what nobody took.
    async fn give(
        &mut self,
        connection: &mut Connection,
        bought: &Purchase,
        credits: i64,
        version: i64,
    ) -> Result<(), Error> {
        let forgiven = credits.min(self.owed);
        self.owed -= forgiven;
        let now = credits - forgiven;
        if now == 0 {
            return Ok(());
        }
        self.taken -= now;
        let transfer = Transfer {
            owner: bought.user,
            key: format!("recall/{}/{version}", bought.key),
            kind: TransferKind::Refund,
            from: Account::Payments,
            to: Account::Available(bought.user),
            amount: now,
            job: None,
            reason: Some(&bought.key),
            actor: ACTOR,
        };
        book(connection, &transfer).await?;
        Ok(())
    }
}

fn due(row: &Row) -> Result<Due, Error> {
    let kind: &str = row.try_get("kind")?;
    let id: String = row.try_get("subject")?;
    let tries: i64 = row.try_get("tries")?;
    Ok(Due {
        id: row.try_get("id")?,
        subject: Subject::from_parts(kind, id)
            .ok_or_else(|| Error::decode("subject of an event", kind.to_owned()))?,
        // The claim has counted this one already.
        tries: u32::try_from(tries - 1).unwrap_or(u32::MAX),
        epoch: row.try_get("lease_epoch")?,
    })
}

fn subscription(row: &Row) -> Result<Subscription, Error> {
    Ok(Subscription {
        id: row.try_get("id")?,
        plan: row.try_get("plan")?,
        status: rows::word("status", row.try_get("status")?, Status::parse)?,
        period_end: row.try_get("period_end")?,
        ends: row.try_get("ends")?,
    })
}
