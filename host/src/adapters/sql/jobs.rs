//! Jobs, steps and attempts: reading, and the one write that moves them.

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    dialect::{Dialect, wait},
    events, holds, limits, mails,
    query::{Connection, Row, query},
    reuse, rows,
    rows::{ATTEMPT, JOB, STEP},
    values::{Bind, Json, to_json},
};
use crate::{
    ids::{AttemptId, JobId, UserId},
    jobs::{
        model::{Attempt, AttemptStatus, Event, Failure, Job, NewEvent, Step, StoredFile},
        store::{Applied, Change, Fence, JobFilter, MediaRole, OwnerDecision, Page},
    },
    time::{self, Timestamp},
};

impl Database {
    /// Moves a step that this worker holds, with everything that goes with it. Nothing is
    /// written when the lease was lost.
    ///
    /// # Errors
    /// `OverHold` for a new attempt that its job cannot pay, `BudgetExceeded`, `Underway` for one
    /// that another step has sent or is about to send, or when the database fails; then
    /// nothing was changed.
    pub async fn apply(&self, change: Change) -> Result<Applied, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move { apply(connection, change).await })
        })
        .await
    }

    /// The owner's wish for a job that no worker needs to hold: cancel or retry.
    ///
    /// # Errors
    /// `InsufficientCredits` for a retry that they do not pay, `TooManyJobs`, `BudgetExceeded`, or when the database fails;
    /// then nothing was changed.
    pub async fn decide(
        &self,
        id: JobId,
        decision: OwnerDecision,
    ) -> Result<(bool, Vec<Event>), Error> {
        let low = self.low_credits;
        self.write(self.scope()?, move |connection| {
            Box::pin(async move {
                let (changed, events) = decide(connection, id, decision).await?;
                if let Some(event) = events.first() {
                    mails::watch_credits(connection, event.owner, low).await?;
                }
                Ok((changed, events))
            })
        })
        .await
    }

    /// A job of `owner`; one of somebody else's is as good as missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_job(&self, owner: UserId, id: JobId) -> Result<Option<Job>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {JOB} FROM jobs WHERE id = $1 AND owner_id = $2"
        )))
        .bind(id.uuid())
        .bind(owner.uuid())
        .fetch_optional(&mut self.read(Scope::User(owner)).await?)
        .await?
        .as_ref()
        .map(rows::job)
        .transpose()
    }

    /// Those of these jobs that `owner` has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_jobs(&self, owner: UserId, ids: &[JobId]) -> Result<Vec<Job>, Error> {
        let list = placeholders(ids.len());
        let mut query = query(AssertSqlSafe(format!(
            "SELECT {JOB} FROM jobs WHERE id IN ({list}) AND owner_id = ${}",
            ids.len() + 1
        )));
        for id in ids {
            query = query.bind(id.uuid());
        }
        query
            .bind(owner.uuid())
            .fetch_all(&mut self.read(Scope::User(owner)).await?)
            .await?
            .iter()
            .map(rows::job)
            .collect()
    }

    /// A job, whoever owns it: for the worker.
    ///
    /// # Errors
    /// When the database fails or the job is missing.
    pub async fn get_job(&self, id: JobId) -> Result<Job, Error> {
        let row = query(AssertSqlSafe(format!(
            "SELECT {JOB} FROM jobs WHERE id = $1"
        )))
        .bind(id.uuid())
        .fetch_one(&mut self.read(self.scope()?).await?)
        .await?;
        rows::job(&row)
    }

    /// Jobs of `owner`, newest first, after (below) the given one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_jobs(
        &self,
        owner: UserId,
        filter: JobFilter,
        after: Option<JobId>,
        first: u32,
    ) -> Result<Page<Job>, Error> {
        let mut sql = format!("SELECT {JOB} FROM jobs WHERE owner_id = $1 AND id < $2");
        let mut values = Vec::new();
        for (column, value) in [
            ("project_id", filter.project.map(|id| id.uuid().value())),
            (
                "status",
                filter.status.map(|status| status.as_str().value()),
            ),
            ("kind", filter.kind.map(|kind| kind.as_str().value())),
        ] {
            // A condition that is not there leaves the planner no doubt about the index.
            if let Some(value) = value {
                values.push(value);
                sql.push_str(&format!(" AND {column} = ${}", values.len() + 2));
            }
        }
        sql.push_str(&format!(" ORDER BY id DESC LIMIT ${}", values.len() + 3));
        let rows = query(AssertSqlSafe(sql))
            .bind(owner.uuid())
            .bind(after.map_or(uuid::Uuid::max(), JobId::uuid))
            .bind_all(values)
            .bind(i64::from(first) + 1)
            .fetch_all(&mut self.read(Scope::User(owner)).await?)
            .await?;
        let items = rows.iter().map(rows::job).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, first))
    }

    /// The steps of jobs, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn steps_of(&self, jobs: &[JobId]) -> Result<Vec<Step>, Error> {
        let ids = placeholders(jobs.len());
        let sql =
            format!("SELECT {STEP} FROM steps WHERE job_id IN ({ids}) ORDER BY job_id, position");
        let mut query = query(AssertSqlSafe(sql));
        for id in jobs {
            query = query.bind(id.uuid());
        }
        query
            .fetch_all(&mut self.read(self.scope()?).await?)
            .await?
            .iter()
            .map(rows::step)
            .collect()
    }

    /// The attempts of jobs, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempts_of(&self, jobs: &[JobId]) -> Result<Vec<Attempt>, Error> {
        let ids = placeholders(jobs.len());
        let sql = format!("SELECT {ATTEMPT} FROM attempts WHERE job_id IN ({ids}) ORDER BY id");
        let mut query = query(AssertSqlSafe(sql));
        for id in jobs {
            query = query.bind(id.uuid());
        }
        query
            .fetch_all(&mut self.read(self.scope()?).await?)
            .await?
            .iter()
            .map(rows::attempt)
            .collect()
    }

    /// The published files of jobs, oldest first; of a job whose files were withdrawn, none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn media_of(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, MediaRole, StoredFile)>, Error> {
        let ids = placeholders(jobs.len());
        let sql = format!(
            "SELECT id, job_id, role, key, mime, size, sha256, duration_ms, width, height \
             FROM media WHERE job_id IN ({ids}) AND EXISTS (SELECT 1 FROM jobs \
             WHERE jobs.id = media.job_id AND jobs.discarded_at IS NULL \
             AND jobs.files_removed_at IS NULL) ORDER BY id"
        );
        let mut query = query(AssertSqlSafe(sql));
        for id in jobs {
            query = query.bind(id.uuid());
        }
        let rows = query
            .fetch_all(&mut self.read(self.scope()?).await?)
            .await?;
        rows.iter()
            .map(|row| {
                let role: &str = row.try_get("role")?;
                let file = StoredFile {
                    id: crate::ids::MediaId::from_uuid(rows::uuid(row, "id")?),
                    key: row.try_get("key")?,
                    mime: row.try_get("mime")?,
                    size: row.try_get::<i64>("size")?.unsigned_abs(),
                    sha256: row.try_get("sha256")?,
                    duration_ms: row
                        .try_get::<Option<i64>>("duration_ms")?
                        .map(i64::unsigned_abs),
                    width: pixels(row, "width")?,
                    height: pixels(row, "height")?,
                };
                let role = MediaRole::parse(role)
                    .ok_or_else(|| Error::decode("media role", role.to_owned()))?;
                Ok((JobId::from_uuid(rows::uuid(row, "job_id")?), role, file))
            })
            .collect()
    }

    /// The open attempt that a vendor's callback names, by our reference or by its task id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_open_attempt(
        &self,
        provider: &str,
        reference: Option<AttemptId>,
        task: Option<&str>,
    ) -> Result<Option<Attempt>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {ATTEMPT} FROM attempts WHERE provider = $1 AND finished_at IS NULL \
             AND (id = $2 OR vendor_task = $3) LIMIT 1"
        )))
        .bind(provider)
        .bind(reference.map(AttemptId::uuid))
        .bind(task)
        .fetch_optional(&mut self.read(Scope::Worker).await?)
        .await?
        .as_ref()
        .map(rows::attempt)
        .transpose()
    }

    /// Keeps a vendor's callback; false when it was there already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_callback(
        &self,
        provider: String,
        delivery: String,
        body: Vec<u8>,
        at: Timestamp,
    ) -> Result<bool, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let added = query(
                    "INSERT INTO callbacks (provider, delivery, body, received_at) \
                     VALUES ($1, $2, $3, $4) ON CONFLICT (provider, delivery) DO NOTHING",
                )
                .bind(provider)
                .bind(delivery)
                .bind(body)
                .bind(at)
                .execute(connection)
                .await?
                .rows_affected();
                Ok(added > 0)
            })
        })
        .await
    }
}

/// `$1, $2, …`; an empty list matches nothing.
pub(super) fn placeholders(count: usize) -> String {
    if count == 0 {
        return "NULL".to_owned();
    }
    (1..=count)
        .map(|n| format!("${n}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn pixels(row: &Row, column: &str) -> Result<Option<u32>, Error> {
    let stored: Option<i64> = row.try_get(column)?;
    Ok(stored.and_then(|pixels| u32::try_from(pixels).ok()))
}

pub(super) fn optional_failure(failure: Option<&Failure>) -> Result<Option<Json>, Error> {
    failure.map(to_json).transpose()
}

async fn apply(connection: &mut Connection, change: Change) -> Result<Applied, Error> {
    let Change {
        fence,
        step,
        keep_lease,
        attempt,
        next,
        done,
        job,
        events,
        media,
    } = change;
    let at = time::now();
    if !write_step(connection, &fence, &step, keep_lease).await? {
        return Ok(Applied::Lost);
    }
    let about_money = attempt.is_some() || job.is_some();
    let intends = attempt
        .as_ref()
        .is_some_and(|attempt| attempt.status == AttemptStatus::Submitting);
    if let Some(attempt) = attempt {
        if attempt.status == AttemptStatus::Submitting {
            holds::reserve(connection, &attempt).await?;
        }
        write_attempt(connection, &attempt).await?;
    }
    let mut next_fence = None;
    if let Some(next) = next {
        next_fence = start_next(connection, &fence, &next, keep_lease).await?;
    }
    if let Some(done) = done {
        end_too(connection, &done).await?;
    }
    for (owner, role, file) in media {
        insert_media(connection, step.job, owner, role, &file, at).await?;
    }
    if let Some(job) = job {
        // A job that came to rest stays so, whatever a late worker thinks.
        query(
            "UPDATE jobs SET status = $2, error = $3, completed_at = $4 \
             WHERE id = $1 AND status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED')",
        )
        .bind(step.job.uuid())
        .bind(job.status.as_str())
        .bind(optional_failure(job.error.as_ref())?)
        .bind(job.status.is_final().then_some(at))
        .execute(&mut *connection)
        .await?;
    }
    let (events, head) = events::append(connection, step.job, events, at).await?;
    if intends {
        // Last: with the owner's log locked by the events, of two that ask for the same the
        // second one sees the first.
        reuse::refuse_twin(connection, &step).await?;
    }
    if about_money && head.status.is_final() {
        holds::settle(connection, step.job).await?;
    }
    mails::announce(connection, &events).await?;
    Ok(Applied::Done {
        events,
        next: next_fence,
        cancel_requested: head.cancel_requested,
    })
}

async fn write_step(
    connection: &mut Connection,
    fence: &Fence,
    step: &Step,
    keep_lease: bool,
) -> Result<bool, Error> {
    let Dialect {
        now,
        millisecond,
        lock,
        ..
    } = connection.dialect();
    // The job is locked before its step, as everywhere, so that no two transactions wait for
    // each other.
    let written = query(AssertSqlSafe(format!(
        "UPDATE steps SET status = $1, provider = $2, progress = $3, output = $4, error = $5, \
         round = $6, due_at = {now} + $7 * {millisecond}, started_at = $8, completed_at = $9, \
         lease_owner = CASE WHEN $10 THEN lease_owner ELSE NULL END, \
         reuse_key = $15, reused_step = $16, reused_job = $17 \
         WHERE id = $11 AND lease_owner = $12 AND lease_epoch = $13 \
         AND job_id = (SELECT jobs.id FROM jobs WHERE jobs.id = $14 {lock})"
    )))
    .bind(step.status.as_str())
    .bind(step.provider.as_deref())
    .bind(step.progress)
    .bind(step.output.as_ref().map(to_json).transpose()?)
    .bind(optional_failure(step.error.as_ref())?)
    .bind(step.round)
    .bind(step.due_at.map(wait))
    .bind(step.started_at)
    .bind(step.completed_at)
    .bind(keep_lease && step.due_at.is_some())
    .bind(fence.step.uuid())
    .bind(fence.node.uuid())
    .bind(fence.epoch)
    .bind(step.job.uuid())
    .bind(step.reuse_key.as_deref())
    .bind(step.reused_from.map(|source| source.step.uuid()))
    .bind(step.reused_from.map(|source| source.job.uuid()))
    .execute(connection)
    .await?
    .rows_affected();
    Ok(written > 0)
}

pub(super) async fn write_attempt(
    connection: &mut Connection,
    attempt: &Attempt,
) -> Result<(), Error> {
    query(
        "INSERT INTO attempts (id, step_id, job_id, number, round, provider, plugin_version, \
         plugin_digest, status, charge, vendor_task, request, delivered, error, cost_micro_usd, \
         submitted_at, accepted_at, uncertain_at, finished_at, counts, max_credits, credits, model) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         $19, $20, $21, $22, $23) \
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, charge = excluded.charge, \
         vendor_task = excluded.vendor_task, delivered = excluded.delivered, \
         error = excluded.error, cost_micro_usd = excluded.cost_micro_usd, \
         accepted_at = excluded.accepted_at, uncertain_at = excluded.uncertain_at, \
         finished_at = excluded.finished_at, counts = excluded.counts, \
         credits = excluded.credits",
    )
    .bind(attempt.id.uuid())
    .bind(attempt.step.uuid())
    .bind(attempt.job.uuid())
    .bind(attempt.number)
    .bind(attempt.round)
    .bind(&attempt.provider)
    .bind(&attempt.plugin_version)
    .bind(&attempt.plugin_digest)
    .bind(attempt.status.as_str())
    .bind(attempt.charge.as_str())
    .bind(attempt.vendor_task.as_deref())
    .bind(to_json(&attempt.request)?)
    .bind(attempt.delivered.as_ref().map(to_json).transpose()?)
    .bind(optional_failure(attempt.error.as_ref())?)
    .bind(attempt.cost_micro_usd)
    .bind(attempt.submitted_at)
    .bind(attempt.accepted_at)
    .bind(attempt.uncertain_at)
    .bind(attempt.finished_at)
    .bind(attempt.counts)
    .bind(attempt.max_credits)
    .bind(attempt.credits)
    .bind(attempt.model.as_deref())
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes the next step due and hands it to the same worker, so that going on costs no claim.
/// The lease goes on as it was renewed last.
async fn start_next(
    connection: &mut Connection,
    fence: &Fence,
    next: &Step,
    keep_lease: bool,
) -> Result<Option<Fence>, Error> {
    let Dialect {
        now, millisecond, ..
    } = connection.dialect();
    let row = query(AssertSqlSafe(format!(
        "UPDATE steps SET due_at = {now} + $2 * {millisecond}, lease_owner = $3, \
         lease_until = (SELECT held.lease_until FROM steps AS held WHERE held.id = $4), \
         lease_epoch = lease_epoch + 1 WHERE id = $1 RETURNING lease_epoch"
    )))
    .bind(next.id.uuid())
    .bind(next.due_at.map(wait))
    .bind(keep_lease.then_some(fence.node.uuid()))
    .bind(fence.step.uuid())
    .fetch_one(connection)
    .await?;
    Ok(keep_lease.then_some(Fence {
        step: next.id,
        node: fence.node,
        epoch: row.try_get("lease_epoch")?,
    }))
}

/// Ends a step that waits for the one before it, whose job is locked.
async fn end_too(connection: &mut Connection, done: &Step) -> Result<(), Error> {
    query(
        "UPDATE steps SET status = $2, output = $3, started_at = $4, completed_at = $5, \
         due_at = NULL WHERE id = $1 AND status = 'PENDING'",
    )
    .bind(done.id.uuid())
    .bind(done.status.as_str())
    .bind(done.output.as_ref().map(to_json).transpose()?)
    .bind(done.started_at)
    .bind(done.completed_at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_media(
    connection: &mut Connection,
    job: JobId,
    owner: UserId,
    role: MediaRole,
    file: &StoredFile,
    at: Timestamp,
) -> Result<(), Error> {
    query(
        "INSERT INTO media (id, job_id, owner_id, role, key, mime, size, sha256, duration_ms, \
         width, height, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(file.id.uuid())
    .bind(job.uuid())
    .bind(owner.uuid())
    .bind(role.as_str())
    .bind(&file.key)
    .bind(&file.mime)
    .bind(i64::try_from(file.size).unwrap_or(i64::MAX))
    .bind(&file.sha256)
    .bind(file.duration_ms.and_then(|ms| i64::try_from(ms).ok()))
    .bind(file.width)
    .bind(file.height)
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn decide(
    connection: &mut Connection,
    id: JobId,
    decision: OwnerDecision,
) -> Result<(bool, Vec<Event>), Error> {
    let at = time::now();
    let now = connection.dialect().now;
    let mut again = None;
    let changed = match &decision {
        OwnerDecision::Cancel => query(
            "UPDATE jobs SET cancel_requested = TRUE WHERE id = $1 AND NOT cancel_requested \
                 AND status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED')",
        )
        .bind(id.uuid())
        .execute(&mut *connection)
        .await?
        .rows_affected(),
        OwnerDecision::Retry {
            from,
            deadline,
            plans,
            ..
        } => {
            let row = query(
                "UPDATE jobs SET status = 'RUNNING', error = NULL, completed_at = NULL, \
                 cancel_requested = FALSE, deadline = $3, \
                 plan = (SELECT users.plan FROM users WHERE users.id = jobs.owner_id) \
                 WHERE id = $1 AND status = $2 \
                 AND discarded_at IS NULL AND files_removed_at IS NULL RETURNING owner_id, plan",
            )
            .bind(id.uuid())
            .bind(from.as_str())
            .bind(*deadline)
            .fetch_optional(&mut *connection)
            .await?;
            if let Some(row) = &row {
                let owner = UserId::from_uuid(rows::uuid(row, "owner_id")?);
                let limit = plans.of(row.try_get("plan")?).in_flight;
                again = Some((owner, from.is_final().then_some(limit)));
            }
            u64::from(row.is_some())
        }
    };
    if changed == 0 {
        return Ok((false, Vec::new()));
    }
    let event = match decision {
        OwnerDecision::Cancel => {
            // A parked step has nobody who would look at it by itself.
            query(AssertSqlSafe(format!(
                "UPDATE steps SET due_at = {now} WHERE job_id = $1 AND status = 'UNCONFIRMED' \
                 AND due_at IS NULL"
            )))
            .bind(id.uuid())
            .execute(&mut *connection)
            .await?;
            NewEvent::job(crate::jobs::model::EventType::CancelRequested)
        }
        OwnerDecision::Retry { step, event, .. } => {
            query(
                "UPDATE attempts SET status = 'ABANDONED', finished_at = $2 \
                 WHERE step_id = $1 AND status = 'UNCONFIRMED'",
            )
            .bind(step.uuid())
            .bind(at)
            .execute(&mut *connection)
            .await?;
            // What the provider has, or has delivered, is paid for: that goes on, and nothing
            // is bought in its place.
            query(AssertSqlSafe(format!(
                "UPDATE steps SET error = NULL, progress = NULL, completed_at = NULL, \
                 round = round + 1, due_at = {now}, lease_owner = NULL, \
                 status = COALESCE((SELECT CASE \
                 WHEN last.status = 'SUCCEEDED' AND last.delivered IS NOT NULL THEN 'STORING' \
                 WHEN last.status IN ('ACCEPTED', 'SUCCEEDED') AND last.vendor_task IS NOT NULL \
                 THEN 'RUNNING' ELSE 'PENDING' END FROM attempts AS last \
                 WHERE last.step_id = $1 ORDER BY last.number DESC LIMIT 1), 'PENDING') \
                 WHERE id = $1"
            )))
            .bind(step.uuid())
            .execute(&mut *connection)
            .await?;
            event
        }
    };
    let (events, _) = events::append(connection, id, vec![event], at).await?;
    if let Some((owner, limit)) = again {
        // One that was parked was counted all the time.
        if let Some(limit) = limit {
            limits::admit(connection, owner, limit).await?;
            limits::admit_key(connection, id).await?;
        }
        holds::hold_again(connection, id).await?;
    }
    Ok((true, events))
}
