//! Accepting jobs, once for each key.

use sqlx::AssertSqlSafe;

use super::{
    Database, Error, batches,
    database::Scope,
    dialect::{Dialect, wait},
    events, holds, limits, mails,
    query::{Connection, query},
    removals, rows,
    rows::JOB,
    uploads,
    values::to_json,
    webhooks,
};
use crate::{
    ids::{ApiKeyId, ProjectId, UserId},
    jobs::{
        model::{Event, Job, Step},
        store::{Accepted, NewJob, Request},
    },
};

impl Database {
    /// Accepts a job: the row, its plan and its first event, in one transaction. A repeated
    /// idempotency key answers the first job; with another request it is refused.
    ///
    /// # Errors
    /// `InsufficientCredits`, `OverLimit`, `TooManyJobs`, `BudgetExceeded`, `Decided` for an item
    /// of a batch, or when the database fails; then nothing was accepted.
    pub async fn accept_job(&self, new: NewJob) -> Result<(Accepted, Vec<Event>), Error> {
        let low = self.low_credits;
        self.write(Scope::User(new.job.owner), move |connection| {
            Box::pin(async move {
                if let Some(place) = &new.place {
                    batches::lock_item(connection, new.job.owner, place).await?;
                }
                let project_is_deleted = match new.job.project {
                    Some(id) => removals::lock_project(connection, new.job.owner, id).await?,
                    None => false,
                };
                let inserted = query(
                    "INSERT INTO jobs (id, owner_id, project_id, kind, status, input, \
                     idempotency_key, request_hash, deadline, created_at, batch_id, api_key_id, plan) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
                     (SELECT users.plan FROM users WHERE users.id = $2)) \
                     ON CONFLICT (owner_id, kind, idempotency_key) DO NOTHING RETURNING plan",
                )
                .bind(new.job.id.uuid())
                .bind(new.job.owner.uuid())
                .bind(new.job.project.map(ProjectId::uuid))
                .bind(new.job.kind.as_str())
                .bind(new.job.status.as_str())
                .bind(to_json(&new.job.input)?)
                .bind(&new.idempotency_key)
                .bind(new.request_hash.as_slice())
                .bind(new.job.deadline)
                .bind(new.job.created_at)
                .bind(new.place.map(|place| place.batch.uuid()))
                .bind(new.by.map(ApiKeyId::uuid))
                .fetch_optional(&mut *connection)
                .await?;
                let Some(inserted) = inserted else {
                    if new.place.is_some() {
                        // The item has no job, so this one came from outside.
                        return Ok((Accepted::KeyReused, Vec::new()));
                    }
                    let request = Request {
                        owner: new.job.owner,
                        kind: new.job.kind,
                        key: new.idempotency_key,
                        hash: new.request_hash,
                    };
                    let first = first_answer(connection, &request).await?;
                    // The row is there: rows of jobs are never deleted.
                    let first = first.ok_or_else(|| {
                        Error::decode("idempotency key", "its job is gone".to_owned())
                    })?;
                    return Ok((first, Vec::new()));
                };
                if new.max_hold.is_some_and(|most| new.hold > most) {
                    return Err(Error::OverLimit(new.hold));
                }
                if let Some(place) = &new.place {
                    batches::note_job(connection, place, new.job.id).await?;
                }
                insert_steps(connection, new.job.owner, &new.steps).await?;
                let job = &new.job;
                if project_is_deleted {
                    removals::discard_job(connection, job.id).await?;
                }
                uploads::note_job(connection, job.owner, &job.input.uploads()).await?;
                if let Some(url) = &new.webhook_url {
                    webhooks::note_job(connection, job.id, job.owner, url, job.created_at).await?;
                }
                if let Some(address) = &new.notify {
                    mails::note_job(connection, job, address).await?;
                }
                let (events, _) =
                    events::append(connection, new.job.id, new.events, new.job.created_at).await?;
                let last_seq = events.last().map_or(0, |event| event.seq);
                let plan = new.plans.of(inserted.try_get("plan")?);
                limits::admit(connection, new.job.owner, plan.in_flight).await?;
                if new.by.is_some() {
                    limits::admit_key(connection, new.job.id).await?;
                }
                holds::hold(connection, new.job.owner, new.job.id, new.hold).await?;
                mails::watch_credits(connection, new.job.owner, low).await?;
                Ok((
                    Accepted::Created(Job {
                        last_seq,
                        ..new.job
                    }),
                    events,
                ))
            })
        })
        .await
    }

    /// What became of a request whose key came before; nothing when it is new.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn answer_to(&self, request: Request) -> Result<Option<Accepted>, Error> {
        let mut connection = self.read(self.scope()?).await?;
        first_answer(&mut connection, &request).await
    }
}

async fn first_answer(
    connection: &mut Connection,
    request: &Request,
) -> Result<Option<Accepted>, Error> {
    let row = query(AssertSqlSafe(format!(
        "SELECT {JOB}, request_hash FROM jobs \
         WHERE owner_id = $1 AND kind = $2 AND idempotency_key = $3"
    )))
    .bind(request.owner.uuid())
    .bind(request.kind.as_str())
    .bind(&request.key)
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        let same = row.try_get::<Vec<u8>>("request_hash")? == request.hash;
        Ok(if same {
            Accepted::Repeated(rows::job(&row)?)
        } else {
            Accepted::KeyReused
        })
    })
    .transpose()
}

/// The plan of a job, which has a handful of steps.
async fn insert_steps(
    connection: &mut Connection,
    owner: UserId,
    steps: &[Step],
) -> Result<(), Error> {
    let Dialect {
        now, millisecond, ..
    } = connection.dialect();
    let rows: Vec<String> = (0..steps.len())
        .map(|row| {
            let at = |column| row * 8 + column;
            format!(
                "(${}, ${}, ${}, ${}, ${}, {now} + ${} * {millisecond}, ${}, ${})",
                at(1),
                at(2),
                at(3),
                at(4),
                at(5),
                at(6),
                at(7),
                at(8),
            )
        })
        .collect();
    let mut query = query(AssertSqlSafe(format!(
        "INSERT INTO steps (id, job_id, position, kind, status, due_at, quote, owner_id) \
         VALUES {}",
        rows.join(", ")
    )));
    for step in steps {
        query = query
            .bind(step.id.uuid())
            .bind(step.job.uuid())
            .bind(step.position)
            .bind(step.kind.as_str())
            .bind(step.status.as_str())
            .bind(step.due_at.map(wait))
            .bind(step.quote.as_ref().map(to_json).transpose()?)
            .bind(owner.uuid());
    }
    query.execute(connection).await?;
    Ok(())
}
