//! What jobs hold of their owners' credits. Each function is a part of the transaction that
//! accepts, retries or ends the job, comes last in it, and relies on its lock of the job's row.

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    ledger::{self, Transfer},
    mails,
    query::{Connection, query},
    rows, spending,
};
use crate::{
    billing::{Account, Shortage, StepQuote, TransferKind},
    ids::{JobId, TransferId, UserId},
    jobs::model::{Attempt, StepKind},
    time,
};

/// Who moves credits when nobody asks for it.
const SERVER: &str = "server";

/// A job's hold as its row says.
struct Hold {
    amount: i64,
    captured: i64,
    released: i64,
    open: bool,
}

impl Hold {
    fn remaining(&self) -> i64 {
        self.amount - self.captured - self.released
    }
}

/// Credits that end at a time.
pub(super) struct Lot {
    id: TransferId,
    /// Left of it: among the available ones, or within a hold.
    left: i64,
}

/// Which lots are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DrawFrom {
    /// Also those whose time is over and that nobody has ended yet.
    All,
    /// Those whose time is not over.
    Alive,
}

impl Database {
    /// Ends available credits whose time is over, of at most so many users; how many credits.
    ///
    /// # Errors
    /// When the database fails; what was ended before that stays so.
    pub async fn expire_credits(&self, users: u32) -> Result<i64, Error> {
        let due = {
            let mut connection = self.read(Scope::Worker).await?;
            let now = connection.dialect().now;
            query(AssertSqlSafe(format!(
                "SELECT DISTINCT owner_id FROM credit_lots \
                 WHERE remaining > 0 AND expires_at <= {now} LIMIT $1"
            )))
            .bind(users)
            .fetch_all(&mut connection)
            .await?
        };
        let low = self.low_credits;
        let mut ended = 0;
        for row in &due {
            let owner = UserId::from_uuid(rows::uuid(row, "owner_id")?);
            ended += self
                .write(Scope::Worker, move |connection| {
                    Box::pin(async move {
                        let ended = expire(connection, owner).await?;
                        mails::watch_credits(connection, owner, low).await?;
                        Ok(ended)
                    })
                })
                .await?;
        }
        Ok(ended)
    }
}

/// Ends a user's available credits whose time is over; how many.
async fn expire(connection: &mut Connection, owner: UserId) -> Result<i64, Error> {
    ledger::lock(connection, owner).await?;
    let now = connection.dialect().now;
    let due = query(AssertSqlSafe(format!(
        "SELECT id, remaining, expired FROM credit_lots \
         WHERE owner_id = $1 AND remaining > 0 AND expires_at <= {now} ORDER BY expires_at, id"
    )))
    .bind(owner.uuid())
    .fetch_all(&mut *connection)
    .await?;
    let mut ended = 0;
    for row in &due {
        let lot = TransferId::from_uuid(rows::uuid(row, "id")?);
        let left: i64 = row.try_get("remaining")?;
        let expired = row.try_get::<i64>("expired")? + left;
        query("UPDATE credit_lots SET remaining = 0, expired = $2 WHERE id = $1")
            .bind(lot.uuid())
            .bind(expired)
            .execute(&mut *connection)
            .await?;
        once(
            connection,
            Transfer {
                owner,
                // A lot that a job gave back ends once more, with another sum.
                key: format!("expiry/{lot}/{expired}"),
                kind: TransferKind::Expiry,
                from: Account::Available(owner),
                to: Account::Promotions,
                amount: left,
                job: None,
                reason: None,
                actor: SERVER,
            },
        )
        .await?;
        ended += left;
    }
    Ok(ended)
}

/// Puts credits aside for a job, or more of them. Those that end soonest go first.
pub(super) async fn hold(
    connection: &mut Connection,
    owner: UserId,
    job: JobId,
    amount: i64,
) -> Result<(), Error> {
    let available = ledger::lock(connection, owner).await?.unwrap_or(0);
    let usable = available - overdue(connection, owner).await?;
    if usable < amount {
        return Err(Error::InsufficientCredits(Shortage {
            required: amount,
            available: usable,
        }));
    }
    let row = query(
        "INSERT INTO credit_holds (job_id, owner_id, amount, state, created_at) \
         VALUES ($1, $2, $3, 'OPEN', $4) ON CONFLICT (job_id) DO UPDATE SET \
         amount = credit_holds.amount + excluded.amount, state = 'OPEN', settled_at = NULL \
         RETURNING amount",
    )
    .bind(job.uuid())
    .bind(owner.uuid())
    .bind(amount)
    .bind(time::now())
    .fetch_one(&mut *connection)
    .await?;
    if amount == 0 {
        return Ok(());
    }
    spending::hold(connection, job, amount).await?;
    let total: i64 = row.try_get("amount")?;
    once(
        connection,
        Transfer {
            owner,
            key: format!("hold/{job}/{total}"),
            kind: TransferKind::Hold,
            from: Account::Available(owner),
            to: Account::Held(owner),
            amount,
            job: Some(job),
            reason: None,
            actor: &owner.to_string(),
        },
    )
    .await?;
    for lot in draw(connection, owner, amount, DrawFrom::Alive).await? {
        query(
            "INSERT INTO credit_hold_lots (job_id, lot_id, owner_id, held) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (job_id, lot_id) DO UPDATE SET \
             held = credit_hold_lots.held + excluded.held",
        )
        .bind(job.uuid())
        .bind(lot.id.uuid())
        .bind(owner.uuid())
        .bind(lot.left)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Puts aside what a job needs that goes on after it was over: what its unfinished steps may
/// cost, less what it still holds. A job from before there were credits holds nothing.
pub(super) async fn hold_again(connection: &mut Connection, job: JobId) -> Result<(), Error> {
    let Some((owner, hold)) = find(connection, job).await? else {
        return Ok(());
    };
    let mut needed = spent(connection, job, None).await?.open;
    // What is polled or fetched is bought already.
    let unbought = query(
        "SELECT kind, quote FROM steps WHERE job_id = $1 \
         AND status NOT IN ('SUCCEEDED', 'STORING', 'RUNNING')",
    )
    .bind(job.uuid())
    .fetch_all(&mut *connection)
    .await?;
    for row in &unbought {
        let quote: Option<super::values::Json> = row.try_get("quote")?;
        let paid = StepKind::parse(row.try_get("kind")?).is_some_and(StepKind::is_paid);
        if let Some(quote) = quote.filter(|_| paid) {
            needed += quote.read::<StepQuote>("step quote")?.max_credits();
        }
    }
    let more = (needed - hold.remaining()).max(0);
    self::hold(connection, owner, job, more).await
}

/// Whether an attempt fits into what its job may spend, whatever becomes of it, and its job into
/// the budgets that it counts for. Asked in the
/// transaction that writes down that it is about to be sent.
pub(super) async fn reserve(connection: &mut Connection, attempt: &Attempt) -> Result<(), Error> {
    if attempt.max_credits == 0 {
        return Ok(());
    }
    let limit = find(connection, attempt.job)
        .await?
        .map_or(0, |(_, hold)| hold.amount - hold.released);
    let spent = spent(connection, attempt.job, Some(attempt)).await?;
    if spent.charged + spent.open + attempt.max_credits > limit {
        return Err(Error::OverHold);
    }
    spending::check(connection, attempt.job, attempt.max_credits).await
}

/// Settles the hold of a job that is over: spends what its attempts were charged, gives back
/// the rest. While attempts are open that the vendor may still bill, what they may cost stays.
pub(super) async fn settle(connection: &mut Connection, job: JobId) -> Result<(), Error> {
    let Some((owner, hold)) = find(connection, job).await? else {
        return Ok(());
    };
    if !hold.open {
        return Ok(());
    }
    ledger::lock(connection, owner).await?;
    let spent = spent(connection, job, None).await?;
    let remaining = hold.remaining();
    let capture = (spent.charged - hold.captured).clamp(0, remaining);
    let keep = spent.open.min(remaining - capture);
    let release = remaining - capture - keep;
    let (captured, released) = (hold.captured + capture, hold.released + release);
    settle_lots(connection, job, remaining, capture, release).await?;
    spending::settle(connection, job, capture, release).await?;
    query(
        "UPDATE credit_holds SET captured = $2, released = $3, state = $4, settled_at = $5 \
         WHERE job_id = $1",
    )
    .bind(job.uuid())
    .bind(captured)
    .bind(released)
    .bind(if keep == 0 { "SETTLED" } else { "OPEN" })
    .bind((keep == 0).then(time::now))
    .execute(&mut *connection)
    .await?;
    let held = Account::Held(owner);
    // The account that everybody shares comes last.
    for (kind, to, amount, total, word) in [
        (
            TransferKind::Release,
            Account::Available(owner),
            release,
            released,
            "release",
        ),
        (
            TransferKind::Capture,
            Account::Revenue,
            capture,
            captured,
            "capture",
        ),
    ] {
        if amount == 0 {
            continue;
        }
        once(
            connection,
            Transfer {
                owner,
                key: format!("{word}/{job}/{total}"),
                kind,
                from: held,
                to,
                amount,
                job: Some(job),
                reason: None,
                actor: SERVER,
            },
        )
        .await?;
    }
    Ok(())
}

/// Of the lots in a hold, those that end soonest are spent first, and those that end last come
/// back first, after credits without an end.
async fn settle_lots(
    connection: &mut Connection,
    job: JobId,
    remaining: i64,
    capture: i64,
    release: i64,
) -> Result<(), Error> {
    let mut lots = query(
        "SELECT credit_lots.id, credit_hold_lots.held AS held FROM credit_hold_lots \
         JOIN credit_lots ON credit_lots.id = credit_hold_lots.lot_id \
         WHERE credit_hold_lots.job_id = $1 AND credit_hold_lots.held > 0 \
         ORDER BY credit_lots.expires_at, credit_lots.id",
    )
    .bind(job.uuid())
    .fetch_all(&mut *connection)
    .await?
    .iter()
    .map(|row| {
        Ok(Lot {
            id: TransferId::from_uuid(rows::uuid(row, "id")?),
            left: row.try_get("held")?,
        })
    })
    .collect::<Result<Vec<_>, Error>>()?;
    let endless = remaining - lots.iter().map(|lot| lot.left).sum::<i64>();
    let mut to_spend = capture;
    for lot in &mut lots {
        let spent = lot.left.min(to_spend);
        to_spend -= spent;
        lot.left -= spent;
        leave(connection, job, lot, spent, 0).await?;
    }
    // What was spent beyond the lots was without an end.
    let mut to_return = (release - (endless - to_spend)).max(0);
    for lot in lots.iter().rev() {
        let returned = lot.left.min(to_return);
        to_return -= returned;
        leave(connection, job, lot, returned, returned).await?;
    }
    Ok(())
}

/// So many of a lot leave a hold; so many of them are available again.
async fn leave(
    connection: &mut Connection,
    job: JobId,
    lot: &Lot,
    leaving: i64,
    returned: i64,
) -> Result<(), Error> {
    if leaving == 0 {
        return Ok(());
    }
    query("UPDATE credit_hold_lots SET held = held - $3 WHERE job_id = $1 AND lot_id = $2")
        .bind(job.uuid())
        .bind(lot.id.uuid())
        .bind(leaving)
        .execute(&mut *connection)
        .await?;
    if returned > 0 {
        query("UPDATE credit_lots SET remaining = remaining + $2 WHERE id = $1")
            .bind(lot.id.uuid())
            .bind(returned)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Takes up to so many credits out of a user's lots, those that end soonest first.
pub(super) async fn draw(
    connection: &mut Connection,
    owner: UserId,
    amount: i64,
    from: DrawFrom,
) -> Result<Vec<Lot>, Error> {
    let mut missing = amount;
    let mut drawn = Vec::new();
    if missing == 0 {
        return Ok(drawn);
    }
    let now = connection.dialect().now;
    let alive = match from {
        DrawFrom::All => String::new(),
        DrawFrom::Alive => format!("AND expires_at > {now}"),
    };
    let rows = query(AssertSqlSafe(format!(
        "SELECT id, remaining FROM credit_lots WHERE owner_id = $1 AND remaining > 0 {alive} \
         ORDER BY expires_at, id"
    )))
    .bind(owner.uuid())
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        let id = TransferId::from_uuid(rows::uuid(row, "id")?);
        let taken = row.try_get::<i64>("remaining")?.min(missing);
        missing -= taken;
        query("UPDATE credit_lots SET remaining = remaining - $2 WHERE id = $1")
            .bind(id.uuid())
            .bind(taken)
            .execute(&mut *connection)
            .await?;
        drawn.push(Lot { id, left: taken });
        if missing == 0 {
            break;
        }
    }
    Ok(drawn)
}

/// Available credits of a user that end at some time.
pub(super) async fn left_in_lots(connection: &mut Connection, owner: UserId) -> Result<i64, Error> {
    let row = query(
        "SELECT CAST(COALESCE(SUM(remaining), 0) AS BIGINT) AS remaining FROM credit_lots \
         WHERE owner_id = $1 AND remaining > 0",
    )
    .bind(owner.uuid())
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("remaining")?)
}

/// Credits of a user whose time is over and that nobody has ended yet.
async fn overdue(connection: &mut Connection, owner: UserId) -> Result<i64, Error> {
    let now = connection.dialect().now;
    let row = query(AssertSqlSafe(format!(
        "SELECT CAST(COALESCE(SUM(remaining), 0) AS BIGINT) AS remaining FROM credit_lots \
         WHERE owner_id = $1 AND remaining > 0 AND expires_at <= {now}"
    )))
    .bind(owner.uuid())
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("remaining")?)
}

async fn find(connection: &mut Connection, job: JobId) -> Result<Option<(UserId, Hold)>, Error> {
    let row = query(
        "SELECT owner_id, amount, captured, released, state FROM credit_holds WHERE job_id = $1",
    )
    .bind(job.uuid())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let hold = Hold {
            amount: row.try_get("amount")?,
            captured: row.try_get("captured")?,
            released: row.try_get("released")?,
            open: row.try_get::<&str>("state")? == "OPEN",
        };
        Ok((UserId::from_uuid(rows::uuid(&row, "owner_id")?), hold))
    })
    .transpose()
}

/// Credits that a job's attempts cost.
struct Spent {
    /// For certain.
    charged: i64,
    /// At most, by those that are open.
    open: i64,
}

/// What a job's attempts cost, but for one of them.
async fn spent(
    connection: &mut Connection,
    job: JobId,
    but: Option<&Attempt>,
) -> Result<Spent, Error> {
    let row = query(
        "SELECT CAST(COALESCE(SUM(CASE WHEN charge = 'CHARGED' THEN credits ELSE 0 END), 0) \
         AS BIGINT) AS charged, CAST(COALESCE(SUM(CASE WHEN charge = 'UNKNOWN' \
         AND finished_at IS NULL THEN max_credits ELSE 0 END), 0) AS BIGINT) AS open_credits \
         FROM attempts WHERE job_id = $1 AND id <> $2",
    )
    .bind(job.uuid())
    .bind(but.map_or(uuid::Uuid::nil(), |attempt| attempt.id.uuid()))
    .fetch_one(connection)
    .await?;
    Ok(Spent {
        charged: row.try_get("charged")?,
        open: row.try_get("open_credits")?,
    })
}

/// Books a transfer that cannot have come before, because the rows that it follows from say so.
async fn once(connection: &mut Connection, transfer: Transfer<'_>) -> Result<(), Error> {
    match ledger::book(connection, &transfer).await? {
        Some(_) => Ok(()),
        None => Err(Error::decode(
            "hold",
            format!("the transfer {} is there already", transfer.key),
        )),
    }
}
