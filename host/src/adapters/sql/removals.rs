//! What is to be removed from the store, and who sees to it.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    dialect::{Dialect, millis},
    jobs::placeholders,
    query::{Connection, query},
    rows,
};
use crate::{
    ids::{JobId, ProjectId, UserId},
    jobs::store::{Withdrawal, WithdrawalReason, job_folder},
};

/// Something that is to be removed from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// A key, or all keys that begin so when it ends with a slash.
    pub name: String,
    /// How often it was tried, this time included.
    pub tries: u32,
}

impl Database {
    /// Decides that files of jobs are to be removed: of those whose project was deleted longer
    /// ago than `deleted`, and of those that ended without a result longer ago than `failed`.
    /// A job that runs, or has a task at a vendor, keeps them. At most `limit`; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retire_jobs(
        &self,
        deleted: Duration,
        failed: Duration,
        limit: u32,
    ) -> Result<u64, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now,
                    millisecond,
                    lock_free,
                    ..
                } = connection.dialect();
                // Two look-ups, so that each has an index of its own.
                const AT_REST: &str = "files_removed_at IS NULL \
                    AND status IN ('SUCCEEDED', 'FAILED', 'CANCELED') \
                    AND NOT EXISTS (SELECT 1 FROM steps WHERE steps.job_id = jobs.id \
                    AND steps.due_at IS NOT NULL)";
                let retired = query(AssertSqlSafe(format!(
                    "WITH discarded AS MATERIALIZED (SELECT id FROM jobs \
                     WHERE discarded_at <= {now} - $1 * {millisecond} AND {AT_REST} \
                     ORDER BY discarded_at LIMIT $3 {lock_free}), \
                     fruitless AS MATERIALIZED (SELECT id FROM jobs \
                     WHERE status IN ('FAILED', 'CANCELED') \
                     AND completed_at <= {now} - $2 * {millisecond} AND {AT_REST} \
                     ORDER BY completed_at LIMIT $3 {lock_free}) \
                     UPDATE jobs SET files_removed_at = {now} WHERE id IN \
                     (SELECT id FROM discarded UNION ALL SELECT id FROM fruitless) RETURNING id"
                )))
                .bind(millis(deleted))
                .bind(millis(failed))
                .bind(limit)
                .fetch_all(&mut *connection)
                .await?;
                for row in &retired {
                    let job = JobId::from_uuid(rows::uuid(row, "id")?);
                    request(connection, &job_folder(job)).await?;
                }
                Ok(retired.len() as u64)
            })
        })
        .await
    }

    /// Writes down that these are to be removed, keys or beginnings of keys with a last slash.
    ///
    /// # Errors
    /// When the database fails; then none is written down.
    pub async fn request_removals(&self, names: Vec<String>) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                for name in names {
                    request(connection, &name).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Takes removals that are due, oldest first; nobody else gets them for `lease`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_removals(&self, lease: Duration, limit: u32) -> Result<Vec<Removal>, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now,
                    millisecond,
                    lock_free,
                    ..
                } = connection.dialect();
                let rows = query(AssertSqlSafe(format!(
                    "WITH due AS MATERIALIZED (SELECT name FROM removals WHERE due_at <= {now} \
                     ORDER BY due_at LIMIT $2 {lock_free}) \
                     UPDATE removals SET due_at = {now} + $1 * {millisecond}, tries = tries + 1 \
                     WHERE name IN (SELECT name FROM due) RETURNING name, tries"
                )))
                .bind(millis(lease))
                .bind(limit)
                .fetch_all(connection)
                .await?;
                rows.iter()
                    .map(|row| {
                        Ok(Removal {
                            name: row.try_get("name")?,
                            tries: u32::try_from(row.try_get::<i64>("tries")?).unwrap_or(u32::MAX),
                        })
                    })
                    .collect()
            })
        })
        .await
    }

    /// Nothing is left of a removal; or, with a wait, it is to be tried again after that.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_removal(&self, name: String, again: Option<Duration>) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                query(AssertSqlSafe(format!(
                    "UPDATE removals SET due_at = {now} + $2 * {millisecond}, \
                     done_at = CASE WHEN $3 THEN {now} ELSE NULL END WHERE name = $1"
                )))
                .bind(name)
                .bind(again.map(millis))
                .bind(again.is_none())
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Takes a chore that is due, for `lease`; where it stopped the last time. `None`: it is
    /// not due, or another node is at it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_chore(
        &self,
        name: &'static str,
        lease: Duration,
    ) -> Result<Option<Option<String>>, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                let row = query(AssertSqlSafe(format!(
                    "UPDATE chores SET due_at = {now} + $2 * {millisecond} \
                     WHERE name = $1 AND due_at <= {now} RETURNING place"
                )))
                .bind(name)
                .bind(millis(lease))
                .fetch_optional(connection)
                .await?;
                row.map(|row| Ok(row.try_get("place")?)).transpose()
            })
        })
        .await
    }

    /// A chore stopped at `place`, and is due again after `wait`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave_chore(
        &self,
        name: &'static str,
        place: Option<String>,
        wait: Duration,
    ) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                query(AssertSqlSafe(format!(
                    "UPDATE chores SET due_at = {now} + $2 * {millisecond}, place = $3 \
                     WHERE name = $1"
                )))
                .bind(name)
                .bind(millis(wait))
                .bind(place)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Is there any job, as far as the worker sees?
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_jobs(&self) -> Result<bool, Error> {
        let row = query("SELECT id FROM jobs LIMIT 1")
            .fetch_optional(&mut self.read(self.scope()?).await?)
            .await?;
        Ok(row.is_some())
    }

    /// Those of these jobs that are there, as far as the worker sees, with their withdrawal.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdrawals_of(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, Option<Withdrawal>)>, Error> {
        let ids = placeholders(jobs.len());
        let mut query = query(AssertSqlSafe(format!(
            "SELECT id, discarded_at, files_removed_at FROM jobs WHERE id IN ({ids})"
        )));
        for id in jobs {
            query = query.bind(id.uuid());
        }
        query
            .fetch_all(&mut self.read(self.scope()?).await?)
            .await?
            .iter()
            .map(|row| {
                let discarded = rows::optional_time(row, "discarded_at")?;
                let removed = rows::optional_time(row, "files_removed_at")?;
                let withdrawal = match (discarded, removed) {
                    (Some(at), _) => Some((WithdrawalReason::ProjectDeleted, at)),
                    (None, Some(at)) => Some((WithdrawalReason::Retention, at)),
                    (None, None) => None,
                };
                Ok((
                    JobId::from_uuid(rows::uuid(row, "id")?),
                    withdrawal.map(|(reason, at)| Withdrawal {
                        reason,
                        at,
                        removed: removed.is_some(),
                    }),
                ))
            })
            .collect()
    }
}

/// Writes down that something is to be removed, as soon as somebody can.
pub(super) async fn request(connection: &mut Connection, name: &str) -> Result<(), Error> {
    let now = connection.dialect().now;
    query(AssertSqlSafe(format!(
        "INSERT INTO removals (name, requested_at, due_at) VALUES ($1, {now}, {now}) \
         ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at, done_at = NULL, tries = 0"
    )))
    .bind(name)
    .execute(connection)
    .await?;
    Ok(())
}

/// From now on nobody gets links to files of this project's jobs.
pub(super) async fn discard_jobs(
    connection: &mut Connection,
    owner: UserId,
    project: ProjectId,
) -> Result<(), Error> {
    let now = connection.dialect().now;
    query(AssertSqlSafe(format!(
        "UPDATE jobs SET discarded_at = {now} \
         WHERE project_id = $1 AND owner_id = $2 AND discarded_at IS NULL"
    )))
    .bind(project.uuid())
    .bind(owner.uuid())
    .execute(connection)
    .await?;
    Ok(())
}

/// Locks a project for a job that is about to be added to it, and tells whether it was deleted
/// meanwhile. The deletion waits for the job, or the job sees the deletion. Comes first in its
/// transaction: a row that names the project holds a weaker lock on it, and two transactions
/// that want more would wait for each other.
pub(super) async fn lock_project(
    connection: &mut Connection,
    owner: UserId,
    project: ProjectId,
) -> Result<bool, Error> {
    let lock = connection.dialect().lock;
    let row = query(AssertSqlSafe(format!(
        "SELECT deleted_at FROM projects WHERE id = $1 AND owner_id = $2 {lock}"
    )))
    .bind(project.uuid())
    .bind(owner.uuid())
    .fetch_optional(connection)
    .await?;
    let deleted = row.map(|row| rows::optional_time(&row, "deleted_at"));
    Ok(deleted.transpose()?.flatten().is_some())
}

/// From now on nobody gets links to files of this job.
pub(super) async fn discard_job(connection: &mut Connection, job: JobId) -> Result<(), Error> {
    let now = connection.dialect().now;
    query(AssertSqlSafe(format!(
        "UPDATE jobs SET discarded_at = {now} WHERE id = $1"
    )))
    .bind(job.uuid())
    .execute(connection)
    .await?;
    Ok(())
}
