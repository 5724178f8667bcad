//! Claims: who works on which step, until when, and with which fencing token.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    dialect::{Dialect, millis},
    query::query,
    rows,
    rows::STEP,
};
use crate::{
    ids::{JobId, NodeId, StepId, UserId},
    jobs::store::{Bench, Claimed, Fence},
};

impl Database {
    /// Takes due steps that nobody holds, oldest first, each with a lease of that length and
    /// a new fencing token. Steps of `node` itself are in its memory, however late it renews
    /// their leases: taking them once more would have two workers at one step. Steps whose
    /// next turn takes place at one of the `busy` benches are left to others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_steps(
        &self,
        node: NodeId,
        lease: Duration,
        limit: u32,
        busy: &[Bench],
    ) -> Result<Vec<Claimed>, Error> {
        let mut fits = String::new();
        for bench in busy {
            fits.push_str(match bench {
                Bench::Fetch => " AND NOT (status = 'STORING' AND kind IN ('VOICE', 'VIDEO'))",
                Bench::Compose => {
                    " AND NOT (status = 'PENDING' AND kind IN ('COMPOSE', 'THUMBNAIL'))"
                }
            });
        }
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now,
                    millisecond,
                    lock_free,
                    ..
                } = connection.dialect();
                // Two look-ups, so that each has an index of its own. MATERIALIZED: joined in
                // any other way, the subselect may run more than once and lock more than it
                // answers.
                let rows = query(AssertSqlSafe(format!(
                    "WITH abandoned AS MATERIALIZED (SELECT id FROM steps \
                     WHERE lease_owner <> $1 AND lease_until < {now} AND due_at <= {now}{fits} \
                     ORDER BY due_at LIMIT $3 {lock_free}), \
                     free AS MATERIALIZED (SELECT id FROM steps \
                     WHERE lease_owner IS NULL AND due_at <= {now}{fits} \
                     ORDER BY due_at LIMIT $3 {lock_free}) \
                     UPDATE steps SET lease_owner = $1, lease_until = {now} + $2 * {millisecond}, \
                     lease_epoch = lease_epoch + 1 WHERE id IN \
                     (SELECT id FROM abandoned UNION ALL SELECT id FROM free LIMIT $3) \
                     RETURNING {STEP}, lease_epoch, \
                     (SELECT owner_id FROM jobs WHERE jobs.id = steps.job_id) AS owner_id, \
                     (SELECT deadline FROM jobs WHERE jobs.id = steps.job_id) AS deadline"
                )))
                .bind(node.uuid())
                .bind(millis(lease))
                .bind(i64::from(limit))
                .fetch_all(connection)
                .await?;
                rows.iter()
                    .map(|row| {
                        let step = rows::step(row)?;
                        let epoch = row.try_get("lease_epoch")?;
                        let fence = Fence {
                            step: step.id,
                            node,
                            epoch,
                        };
                        Ok(Claimed {
                            step,
                            fence,
                            owner: UserId::from_uuid(rows::uuid(row, "owner_id")?),
                            deadline: rows::time(row, "deadline")?,
                        })
                    })
                    .collect()
            })
        })
        .await
    }

    /// Renews every lease of `node` at once, and answers those of its jobs that somebody asked
    /// to stop and that have not stopped yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew_leases(&self, node: NodeId, lease: Duration) -> Result<Vec<JobId>, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                query(AssertSqlSafe(format!(
                    "UPDATE steps SET lease_until = {now} + $2 * {millisecond} \
                     WHERE lease_owner = $1"
                )))
                .bind(node.uuid())
                .bind(millis(lease))
                .execute(&mut *connection)
                .await?;
                let rows = query(
                    "SELECT steps.job_id FROM steps JOIN jobs ON jobs.id = steps.job_id \
                     WHERE steps.lease_owner = $1 AND jobs.cancel_requested \
                     AND jobs.status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED')",
                )
                .bind(node.uuid())
                .fetch_all(connection)
                .await?;
                rows.iter()
                    .map(|row| Ok(JobId::from_uuid(rows::uuid(row, "job_id")?)))
                    .collect()
            })
        })
        .await
    }

    /// Hands back every lease of `node`: others may go on at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_leases(&self, node: NodeId) -> Result<u64, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                Ok(
                    query("UPDATE steps SET lease_owner = NULL WHERE lease_owner = $1")
                        .bind(node.uuid())
                        .execute(connection)
                        .await?
                        .rows_affected(),
                )
            })
        })
        .await
    }

    /// Hands back what was claimed with these tokens, for whoever comes first; what was claimed
    /// anew since then stays as it is, so that this may be repeated. Steps keep their places
    /// among those that are due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hand_back(&self, fences: Vec<Fence>) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                for fence in fences {
                    query(
                        "UPDATE steps SET lease_owner = NULL \
                         WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3",
                    )
                    .bind(fence.step.uuid())
                    .bind(fence.node.uuid())
                    .bind(fence.epoch)
                    .execute(&mut *connection)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Hands back what `node` holds of these jobs, to be claimed after a while by whoever comes.
    /// For a worker that does not know any more what it was doing with them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn let_go(
        &self,
        node: NodeId,
        jobs: Vec<JobId>,
        after: Duration,
    ) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                for job in jobs {
                    query(AssertSqlSafe(format!(
                        "UPDATE steps SET lease_owner = NULL, due_at = CASE WHEN due_at IS NULL \
                         THEN NULL ELSE {now} + $3 * {millisecond} END \
                         WHERE job_id = $1 AND lease_owner = $2"
                    )))
                    .bind(job.uuid())
                    .bind(node.uuid())
                    .bind(millis(after))
                    .execute(&mut *connection)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Takes back the leases of every other node. Only for a database that this process
    /// has for itself: whoever held them is dead.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire_foreign_leases(&self, node: NodeId) -> Result<u64, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                Ok(
                    query("UPDATE steps SET lease_owner = NULL WHERE lease_owner <> $1")
                        .bind(node.uuid())
                        .execute(connection)
                        .await?
                        .rows_affected(),
                )
            })
        })
        .await
    }

    /// Makes a step due now, when nobody holds it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wake_step(&self, step: StepId) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let now = connection.dialect().now;
                query(AssertSqlSafe(format!(
                    "UPDATE steps SET due_at = {now} WHERE id = $1 AND lease_owner IS NULL \
                     AND status IN ('UNCONFIRMED', 'RUNNING')"
                )))
                .bind(step.uuid())
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }
}
