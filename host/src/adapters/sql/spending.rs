//! What the jobs of a project, of a batch, and of an API key hold and have spent, and whether that
//! fits its budget. Counted in the transactions that hold and settle, one row for each of them, so
//! that no look at a budget reads all its jobs. Whoever writes such a row for a job has the
//! lock of its owner's credits; `audit` proves the numbers.
//!
//! What a job counts for is said once, in `SCOPES`.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Database, Error,
    database::Scope,
    query::{Connection, Row, query},
};
use crate::{
    billing::budget::{Budget, Limit, Overrun, Period, month},
    ids::{JobId, ProjectId, UserId},
    time,
};

/// A budget's columns.
pub(super) const BUDGET: &str = "spending.budget, spending.period, spending.held, \
    spending.captured, spending.month, spending.captured_in_month";
/// What job `$1` counts for.
const SCOPES: &str = "SELECT jobs.project_id AS scope_id, jobs.owner_id AS owner_id FROM jobs \
    WHERE jobs.id = $1 AND jobs.project_id IS NOT NULL \
    UNION ALL SELECT jobs.batch_id AS scope_id, jobs.owner_id AS owner_id FROM jobs \
    WHERE jobs.id = $1 AND jobs.batch_id IS NOT NULL \
    UNION ALL SELECT jobs.api_key_id AS scope_id, jobs.owner_id AS owner_id FROM jobs \
    WHERE jobs.id = $1 AND jobs.api_key_id IS NOT NULL";

/// The budget of a row with its columns; nothing where there is none.
pub(super) fn budget(row: &Row) -> Result<Option<Budget>, Error> {
    let credits: Option<i64> = row.try_get("budget")?;
    let period: Option<&str> = row.try_get("period")?;
    let (Some(credits), Some(word)) = (credits, period) else {
        return Ok(None);
    };
    let period = Period::parse(word).ok_or_else(|| Error::decode("period", word.to_owned()))?;
    let spent = match period {
        Period::Total => row.try_get("captured")?,
        Period::Month if row.try_get::<i64>("month")? == month(time::now()) => {
            row.try_get("captured_in_month")?
        }
        Period::Month => 0,
    };
    Ok(Some(Budget {
        limit: Limit { credits, period },
        spent,
        held: row.try_get("held")?,
    }))
}

impl Database {
    /// Gives a project a budget, or none; false when the project is not there. What its jobs
    /// hold already stays; those that do not fit any more are stopped before they buy.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_project_budget(
        &self,
        owner: UserId,
        project: ProjectId,
        limit: Option<Limit>,
    ) -> Result<bool, Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let there = query(
                    "SELECT id FROM projects WHERE id = $1 AND owner_id = $2 \
                     AND deleted_at IS NULL",
                )
                .bind(project.uuid())
                .bind(owner.uuid())
                .fetch_optional(&mut *connection)
                .await?;
                if there.is_none() {
                    return Ok(false);
                }
                set(connection, owner, project.uuid(), limit).await?;
                Ok(true)
            })
        })
        .await
    }
}

/// Sets the budget of a scope, which is known to be the owner's.
pub(super) async fn set(
    connection: &mut Connection,
    owner: UserId,
    scope: Uuid,
    limit: Option<Limit>,
) -> Result<(), Error> {
    query(
        "INSERT INTO spending (scope_id, owner_id, budget, period) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (scope_id) DO UPDATE SET budget = excluded.budget, period = excluded.period",
    )
    .bind(scope)
    .bind(owner.uuid())
    .bind(limit.map(|limit| limit.credits))
    .bind(limit.map(|limit| limit.period.as_str()))
    .execute(connection)
    .await?;
    Ok(())
}

/// A job holds so many credits more; refused where that passes a budget.
pub(super) async fn hold(
    connection: &mut Connection,
    job: JobId,
    amount: i64,
) -> Result<(), Error> {
    let rows = query(AssertSqlSafe(format!(
        "INSERT INTO spending (scope_id, owner_id, held) \
         SELECT scopes.scope_id, scopes.owner_id, $2 FROM ({SCOPES}) AS scopes WHERE TRUE \
         ON CONFLICT (scope_id) DO UPDATE SET held = spending.held + excluded.held \
         RETURNING {BUDGET}"
    )))
    .bind(job.uuid())
    .bind(amount)
    .fetch_all(connection)
    .await?;
    for row in &rows {
        if let Some(now) = budget(row)?.filter(Budget::is_passed) {
            let budget = Budget {
                held: now.held - amount,
                ..now
            };
            return Err(Error::BudgetExceeded(Overrun {
                budget,
                needed: amount,
            }));
        }
    }
    Ok(())
}

/// A job spent so many of the credits that it held, and gave so many back.
pub(super) async fn settle(
    connection: &mut Connection,
    job: JobId,
    captured: i64,
    released: i64,
) -> Result<(), Error> {
    query(AssertSqlSafe(format!(
        "UPDATE spending SET held = held - $2 - $3, captured = captured + $2, \
         captured_in_month = $2 + CASE WHEN month = $4 THEN captured_in_month ELSE 0 END, \
         month = $4 WHERE scope_id IN (SELECT scopes.scope_id FROM ({SCOPES}) AS scopes)"
    )))
    .bind(job.uuid())
    .bind(captured)
    .bind(released)
    .bind(month(time::now()))
    .execute(connection)
    .await?;
    Ok(())
}

/// Refuses when more is spent and held than a budget of this job allows: it was lowered. What a
/// job may buy is within what it holds, so as long as all of that fits nothing is bought beyond
/// the budget. Whoever is stopped gives back what it held, until the others fit.
pub(super) async fn check(
    connection: &mut Connection,
    job: JobId,
    needed: i64,
) -> Result<(), Error> {
    let rows = query(AssertSqlSafe(format!(
        "SELECT {BUDGET} FROM spending WHERE spending.budget IS NOT NULL \
         AND scope_id IN (SELECT scopes.scope_id FROM ({SCOPES}) AS scopes)"
    )))
    .bind(job.uuid())
    .fetch_all(connection)
    .await?;
    for row in &rows {
        if let Some(budget) = budget(row)?.filter(Budget::is_passed) {
            return Err(Error::BudgetExceeded(Overrun { budget, needed }));
        }
    }
    Ok(())
}
