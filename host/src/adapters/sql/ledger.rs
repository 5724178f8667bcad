//! The books: transfers of credits, each with a key that makes it happen once, and the stored
//! balances that follow from them.
//!
//! Locks are taken in one order, so that no two transactions wait for each other: the job, its
//! owner's feed, the owner's available credits (which stand for everything of that owner), and
//! last one account of the installation.

use std::collections::HashMap;

use serde_json::json;
use sqlx::AssertSqlSafe;

use super::{
    Database, Error, acts,
    database::Scope,
    holds,
    jobs::placeholders,
    mails,
    query::{Connection, Row, query},
    rows,
};
use crate::{
    accounts::acts::ActKind,
    billing::{Account, Adjustment, Balance, Booked, Grant, Holding, Line, Shortage, TransferKind},
    ids::{JobId, TransferId, UserId},
    jobs::store::Page,
    time::{self, Timestamp},
};

/// How keys of operators begin: what has another one the server gives by itself.
const BY_HAND: &str = "operator/";

/// Credits that go from one account to another.
pub(super) struct Transfer<'a> {
    /// Whose credits it is about.
    pub(super) owner: UserId,
    /// Makes it happen once.
    pub(super) key: String,
    pub(super) kind: TransferKind,
    pub(super) from: Account,
    pub(super) to: Account,
    /// More than 0.
    pub(super) amount: i64,
    pub(super) job: Option<JobId>,
    pub(super) reason: Option<&'a str>,
    pub(super) actor: &'a str,
}

impl Database {
    /// Gives a user credits, once for each key.
    ///
    /// # Errors
    /// When the database fails; then nothing was given.
    pub async fn grant(&self, grant: Grant) -> Result<Booked, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                open_accounts(connection, grant.user).await?;
                lock(connection, grant.user).await?;
                let transfer = Transfer {
                    owner: grant.user,
                    key: grant.key.clone(),
                    kind: TransferKind::Grant,
                    from: Account::Promotions,
                    to: Account::Available(grant.user),
                    amount: grant.credits,
                    job: None,
                    reason: Some(&grant.reason),
                    actor: &grant.actor,
                };
                let id = match book(connection, &transfer).await? {
                    Some(id) => id,
                    None => return repeated(connection, &transfer).await,
                };
                if grant.key.starts_with(BY_HAND) {
                    let details = json!({
                        "credits": grant.credits, "reason": grant.reason, "key": grant.key,
                        "expiresAt": grant.expires_at.map(|at| at.to_string()),
                    });
                    let (actor, subject) = (&grant.actor, grant.user.to_string());
                    acts::note(connection, actor, ActKind::GrantCredits, &subject, details).await?;
                }
                if let Some(expires_at) = grant.expires_at {
                    query(
                        "INSERT INTO credit_lots (id, owner_id, amount, remaining, expires_at) \
                         VALUES ($1, $2, $3, $3, $4)",
                    )
                    .bind(id.uuid())
                    .bind(grant.user.uuid())
                    .bind(grant.credits)
                    .bind(expires_at)
                    .execute(connection)
                    .await?;
                }
                Ok(Booked::Done)
            })
        })
        .await
    }

    /// Corrects a user's available credits, once for each key; never below zero.
    ///
    /// # Errors
    /// `InsufficientCredits` when fewer are there than are taken; or when the database fails.
    pub async fn adjust(&self, change: Adjustment) -> Result<Booked, Error> {
        let low = self.low_credits;
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                open_accounts(connection, change.user).await?;
                let available = lock(connection, change.user).await?.unwrap_or(0);
                let own = Account::Available(change.user);
                let (from, to) = match change.credits {
                    0.. => (Account::Adjustments, own),
                    _ => (own, Account::Adjustments),
                };
                let amount = change.credits.saturating_abs();
                let transfer = Transfer {
                    owner: change.user,
                    key: change.key.clone(),
                    kind: TransferKind::Adjustment,
                    from,
                    to,
                    amount,
                    job: None,
                    reason: Some(&change.reason),
                    actor: &change.actor,
                };
                if book(connection, &transfer).await?.is_none() {
                    return repeated(connection, &transfer).await;
                }
                let details = json!({
                    "credits": change.credits, "reason": change.reason, "key": change.key,
                });
                let (actor, subject) = (&change.actor, change.user.to_string());
                acts::note(connection, actor, ActKind::AdjustCredits, &subject, details).await?;
                if change.credits < 0 {
                    // Those without an end go first: they are the operator's to correct.
                    let ending = holds::left_in_lots(connection, change.user).await?;
                    let taken = (amount - (available - ending)).max(0);
                    holds::draw(connection, change.user, taken, holds::DrawFrom::All).await?;
                    mails::watch_credits(connection, change.user, low).await?;
                }
                Ok(Booked::Done)
            })
        })
        .await
    }

    /// A user's credits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn balance(&self, user: UserId) -> Result<Balance, Error> {
        let rows = query("SELECT kind, balance FROM credit_accounts WHERE owner_id = $1")
            .bind(user.uuid())
            .fetch_all(&mut self.read(self.scope()?).await?)
            .await?;
        let mut balance = Balance::default();
        for row in &rows {
            let credits = row.try_get("balance")?;
            match row.try_get("kind")? {
                "available" => balance.available = credits,
                _ => balance.held = credits,
            }
        }
        Ok(balance)
    }

    /// Movements of a user's available credits, newest first, behind (before) a number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ledger(
        &self,
        user: UserId,
        after: Option<i64>,
        first: u32,
    ) -> Result<Page<Line>, Error> {
        let rows = query(
            "SELECT credit_entries.seq, credit_entries.amount, credit_entries.balance_after, \
             credit_transfers.id, credit_transfers.kind, credit_transfers.job_id, \
             credit_transfers.reason, credit_transfers.at FROM credit_entries \
             JOIN credit_transfers ON credit_transfers.id = credit_entries.transfer_id \
             WHERE credit_entries.account = $1 AND credit_entries.seq < $2 \
             ORDER BY credit_entries.seq DESC LIMIT $3",
        )
        .bind(Account::Available(user).name())
        .bind(after.unwrap_or(i64::MAX))
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(self.scope()?).await?)
        .await?;
        let lines = rows.iter().map(line).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(lines, first))
    }

    /// What jobs hold and have spent. One without a hold is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn holdings_of(&self, jobs: &[JobId]) -> Result<HashMap<JobId, Holding>, Error> {
        let ids = placeholders(jobs.len());
        let mut query = query(AssertSqlSafe(format!(
            "SELECT job_id, amount, captured, released FROM credit_holds WHERE job_id IN ({ids})"
        )));
        for id in jobs {
            query = query.bind(id.uuid());
        }
        query
            .fetch_all(&mut self.read(self.scope()?).await?)
            .await?
            .iter()
            .map(|row| {
                let captured = row.try_get("captured")?;
                let gone = row.try_get::<i64>("released")? + captured;
                let held = row.try_get::<i64>("amount")? - gone;
                let job = JobId::from_uuid(rows::uuid(row, "job_id")?);
                Ok((job, Holding { held, captured }))
            })
            .collect()
    }
}

/// Makes a user's accounts when they are missing.
pub(super) async fn open_accounts(connection: &mut Connection, user: UserId) -> Result<(), Error> {
    for (account, kind) in [
        (Account::Available(user), "available"),
        (Account::Held(user), "held"),
    ] {
        query(
            "INSERT INTO credit_accounts (name, owner_id, kind) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(account.name())
        .bind(user.uuid())
        .bind(kind)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Locks everything about a user's credits until the transaction ends, and answers how many
/// are available; nothing when the user has never had any.
pub(super) async fn lock(connection: &mut Connection, user: UserId) -> Result<Option<i64>, Error> {
    let lock = connection.dialect().lock;
    let row = query(AssertSqlSafe(format!(
        "SELECT balance FROM credit_accounts WHERE name = $1 {lock}"
    )))
    .bind(Account::Available(user).name())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| row.try_get("balance")).transpose()?)
}

/// Books a transfer, unless its key came before: then nothing is written and there is no id.
/// The user is locked.
pub(super) async fn book(
    connection: &mut Connection,
    transfer: &Transfer<'_>,
) -> Result<Option<TransferId>, Error> {
    let id = TransferId::generate();
    let inserted = query(
        "INSERT INTO credit_transfers (id, owner_id, key, kind, amount, job_id, reason, actor, at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (key) DO NOTHING",
    )
    .bind(id.uuid())
    .bind(transfer.owner.uuid())
    .bind(&transfer.key)
    .bind(transfer.kind.as_str())
    .bind(transfer.amount)
    .bind(transfer.job.map(JobId::uuid))
    .bind(transfer.reason)
    .bind(transfer.actor)
    .bind(time::now())
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if inserted == 0 {
        return Ok(None);
    }
    let mut halves = [
        (transfer.from, -transfer.amount),
        (transfer.to, transfer.amount),
    ];
    // The installation's account is everybody's: it is locked last, and for a moment only.
    halves.sort_by_key(|(account, _)| account.owner().is_none());
    let [(first, its), (last, other)] = halves;
    let entries = [
        enter(connection, first, its).await?,
        enter(connection, last, other).await?,
    ];
    insert(connection, id, &entries).await?;
    if let (Account::Available(owner), None) = (transfer.to, transfer.job) {
        mails::refill(connection, owner).await?;
    }
    Ok(Some(id))
}

/// One half of a transfer, as its account has it.
struct Entry {
    account: Account,
    seq: i64,
    change: i64,
    balance: i64,
}

/// Moves an account by one half of a transfer.
async fn enter(connection: &mut Connection, account: Account, change: i64) -> Result<Entry, Error> {
    let name = account.name();
    let row = query(
        "UPDATE credit_accounts SET balance = balance + $2, last_seq = last_seq + 1 \
         WHERE name = $1 AND (owner_id IS NULL OR balance + $2 >= 0) RETURNING balance, last_seq",
    )
    .bind(&name)
    .bind(change)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else {
        return Err(short(connection, &name, change).await?);
    };
    Ok(Entry {
        account,
        seq: row.try_get("last_seq")?,
        change,
        balance: row.try_get("balance")?,
    })
}

/// Writes both halves down.
async fn insert(
    connection: &mut Connection,
    id: TransferId,
    entries: &[Entry; 2],
) -> Result<(), Error> {
    let mut query = query(
        "INSERT INTO credit_entries (account, seq, transfer_id, owner_id, amount, balance_after) \
         VALUES ($1, $2, $3, $4, $5, $6), ($7, $8, $9, $10, $11, $12)",
    );
    for entry in entries {
        query = query
            .bind(entry.account.name())
            .bind(entry.seq)
            .bind(id.uuid())
            .bind(entry.account.owner().map(UserId::uuid))
            .bind(entry.change)
            .bind(entry.balance);
    }
    query.execute(connection).await?;
    Ok(())
}

async fn short(connection: &mut Connection, name: &str, change: i64) -> Result<Error, Error> {
    let row = query("SELECT balance FROM credit_accounts WHERE name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await?;
    let available = row.map(|row| row.try_get("balance")).transpose()?;
    Ok(Error::InsufficientCredits(Shortage {
        required: -change,
        available: available.unwrap_or(0),
    }))
}

/// A key that came before: with the same transfer, or with another one?
async fn repeated(connection: &mut Connection, transfer: &Transfer<'_>) -> Result<Booked, Error> {
    let row = query(
        "SELECT credit_transfers.id FROM credit_transfers \
         JOIN credit_entries ON credit_entries.transfer_id = credit_transfers.id \
         WHERE key = $1 AND kind = $2 AND credit_transfers.amount = $3 \
         AND credit_entries.account = $4 AND credit_entries.amount > 0",
    )
    .bind(&transfer.key)
    .bind(transfer.kind.as_str())
    .bind(transfer.amount)
    .bind(transfer.to.name())
    .fetch_optional(connection)
    .await?;
    Ok(match row {
        Some(_) => Booked::Repeated,
        None => Booked::KeyReused,
    })
}

fn line(row: &Row) -> Result<Line, Error> {
    let kind: &str = row.try_get("kind")?;
    Ok(Line {
        id: TransferId::from_uuid(rows::uuid(row, "id")?),
        seq: row.try_get("seq")?,
        at: row.try_get::<Timestamp>("at")?,
        kind: TransferKind::parse(kind)
            .ok_or_else(|| Error::decode("kind of a transfer", kind.to_owned()))?,
        amount: row.try_get("amount")?,
        balance_after: row.try_get("balance_after")?,
        job: row
            .try_get::<Option<uuid::Uuid>>("job_id")?
            .map(JobId::from_uuid),
        reason: row.try_get("reason")?,
    })
}
