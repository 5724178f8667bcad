//! Attempts that an operator settles. One transaction: of an operator, the job's owner and a
//! worker that found the task after all, whoever comes first decides.

use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Database, Error, acts,
    database::Scope,
    events, holds,
    jobs::{optional_failure, write_attempt},
    mails,
    query::{Connection, query},
    rows::{self, ATTEMPT, STEP},
};
use crate::{
    accounts::acts::ActKind,
    ids::AttemptId,
    jobs::{
        model::{
            Attempt, AttemptStatus, Charge, EventType, Failure, FailureCode, JobStatus, NewEvent,
            Step, StepStatus,
        },
        settle::{Finding, OpenAttempt, Settled, Settlement},
        store::Page,
    },
    time::{self, Timestamp},
};

impl Database {
    /// Attempts that are not settled, oldest first, behind one: all of them, or those whose
    /// outcome is unknown.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_attempts(
        &self,
        unconfirmed: bool,
        after: Option<AttemptId>,
        first: u32,
    ) -> Result<Page<OpenAttempt>, Error> {
        let found = query(AssertSqlSafe(format!(
            "SELECT {ATTEMPT}, (SELECT jobs.status FROM jobs WHERE jobs.id = attempts.job_id) \
             AS job_status FROM attempts WHERE finished_at IS NULL \
             AND (status = 'UNCONFIRMED' OR NOT $1) AND id > $2 ORDER BY id LIMIT $3"
        )))
        .bind(unconfirmed)
        .bind(after.map_or(Uuid::nil(), AttemptId::uuid))
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(Scope::Worker).await?)
        .await?;
        let items = found.iter().map(|row| {
            Ok(OpenAttempt {
                attempt: rows::attempt(row)?,
                job: rows::word("job status", row.try_get("job_status")?, JobStatus::parse)?,
            })
        });
        Ok(Page::cut(items.collect::<Result<Vec<_>, Error>>()?, first))
    }

    /// Settles an attempt whose outcome is unknown and that nobody looks up at this moment.
    ///
    /// # Errors
    /// When the database fails; nothing was changed then.
    pub async fn settle_attempt(&self, settlement: Settlement) -> Result<Settled, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move { settle(connection, settlement).await })
        })
        .await
    }
}

/// What a settlement is about, its job locked.
struct Case {
    attempt: Attempt,
    step: Step,
    /// A worker has the step.
    leased: bool,
    job: JobStatus,
    /// The job's project was deleted, or its files were removed.
    gone: bool,
}

async fn settle(connection: &mut Connection, wanted: Settlement) -> Result<Settled, Error> {
    let Some(case) = load(connection, wanted.attempt).await? else {
        return Ok(Settled::Missing);
    };
    if let Some(refusal) = refusal(connection, &case, &wanted.finding).await? {
        return Ok(Settled::Refused(refusal));
    }
    let at = time::now();
    let words = format!("{}: {}", wanted.by, wanted.reason);
    let kind = case.step.kind;
    let goes_on = !case.gone && wanted.finding != Finding::Charged;
    let (attempt, told) = settled(case.attempt, &wanted.finding, &words, at);
    write_attempt(connection, &attempt).await?;
    let mut events = vec![told.about(kind)];
    if goes_on {
        let status = match wanted.finding {
            Finding::Task(_) => StepStatus::Running,
            _ => StepStatus::Pending,
        };
        go_on(connection, &case.step, status, wanted.deadline).await?;
        events.push(NewEvent::step(EventType::JobRetried, kind).saying("Settled by the operator"));
    } else {
        let failure = match wanted.finding {
            Finding::NotCharged => Failure::new(
                FailureCode::ProviderUnavailable,
                "The provider did not take the call, and the job's project was deleted.",
            ),
            _ => Failure::new(
                FailureCode::ProviderRejected,
                "The provider took the call, and its result cannot be had any more.",
            ),
        };
        give_up(connection, &case.step, &failure, at).await?;
        events.push(NewEvent::step(EventType::StepFailed, kind).saying(&failure.message));
        events.push(NewEvent::job(EventType::JobFailed).saying(&failure.message));
    }
    let (events, head) = events::append(connection, attempt.job, events, at).await?;
    if goes_on {
        holds::hold_again(connection, attempt.job).await?;
    } else {
        holds::settle(connection, attempt.job).await?;
    }
    mails::announce(connection, &events).await?;
    let found = match &wanted.finding {
        Finding::NotCharged => json!({ "found": "NOT_CHARGED" }),
        Finding::Charged => json!({ "found": "CHARGED" }),
        Finding::Task(task) => json!({ "found": "CHARGED", "providerTaskId": task }),
    };
    let mut details = found;
    details["reason"] = wanted.reason.clone().into();
    let subject = wanted.attempt.to_string();
    acts::note(
        connection,
        &wanted.actor,
        ActKind::SettleAttempt,
        &subject,
        details,
    )
    .await?;
    Ok(Settled::Done {
        attempt: Box::new(attempt),
        job: head.status,
        events,
    })
}

async fn load(connection: &mut Connection, id: AttemptId) -> Result<Option<Case>, Error> {
    let (lock, now) = (connection.dialect().lock, connection.dialect().now);
    // The job is locked before anything of it is read, as everywhere.
    let job = query(AssertSqlSafe(format!(
        "SELECT status, (discarded_at IS NOT NULL OR files_removed_at IS NOT NULL) AS gone \
         FROM jobs WHERE id = (SELECT job_id FROM attempts WHERE id = $1) {lock}"
    )))
    .bind(id.uuid())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(job) = job else { return Ok(None) };
    let attempt = query(AssertSqlSafe(format!(
        "SELECT {ATTEMPT} FROM attempts WHERE id = $1"
    )))
    .bind(id.uuid())
    .fetch_one(&mut *connection)
    .await?;
    let attempt = rows::attempt(&attempt)?;
    let step = query(AssertSqlSafe(format!(
        "SELECT {STEP}, (lease_owner IS NOT NULL AND lease_until > {now}) AS leased \
         FROM steps WHERE id = $1"
    )))
    .bind(attempt.step.uuid())
    .fetch_one(&mut *connection)
    .await?;
    Ok(Some(Case {
        attempt,
        leased: step.try_get("leased")?,
        step: rows::step(&step)?,
        job: rows::word("job status", job.try_get("status")?, JobStatus::parse)?,
        gone: job.try_get("gone")?,
    }))
}

/// Why it cannot be settled so.
async fn refusal(
    connection: &mut Connection,
    case: &Case,
    finding: &Finding,
) -> Result<Option<String>, Error> {
    let Case { attempt, step, .. } = case;
    if attempt.status != AttemptStatus::Unconfirmed || attempt.finished_at.is_some() {
        return Ok(Some(format!(
            "it is not open: it is {} and {}",
            attempt.status.as_str(),
            attempt.charge.as_str()
        )));
    }
    if step.status != StepStatus::Unconfirmed {
        return Ok(Some(format!("its step is {}", step.status.as_str())));
    }
    if case.leased || case.job != JobStatus::Unconfirmed {
        let words = "the server is looking it up at this moment; it can be settled once its job \
                     rests as UNCONFIRMED";
        return Ok(Some(words.to_owned()));
    }
    let Finding::Task(task) = finding else {
        return Ok(None);
    };
    if case.gone {
        let words = "its project was deleted: nobody would get the result. Settle it as charged, \
                     without a task";
        return Ok(Some(words.to_owned()));
    }
    let other = query("SELECT id FROM attempts WHERE provider = $1 AND vendor_task = $2 LIMIT 1")
        .bind(&attempt.provider)
        .bind(task)
        .fetch_optional(connection)
        .await?;
    other
        .map(|row| {
            let other = AttemptId::from_uuid(rows::uuid(&row, "id")?);
            Ok(format!("the task belongs to {other}"))
        })
        .transpose()
}

/// An event that is still to be put under its step.
struct Told(EventType, String);

impl Told {
    fn about(self, kind: crate::jobs::model::StepKind) -> NewEvent {
        NewEvent::step(self.0, kind).saying(self.1)
    }
}

fn settled(attempt: Attempt, finding: &Finding, words: &str, at: Timestamp) -> (Attempt, Told) {
    match finding {
        Finding::Task(task) => (
            Attempt {
                status: AttemptStatus::Accepted,
                vendor_task: Some(task.clone()),
                accepted_at: Some(at),
                uncertain_at: None,
                ..attempt
            },
            Told(
                EventType::AttemptAccepted,
                format!("Found at the provider by {words}"),
            ),
        ),
        Finding::NotCharged => (
            Attempt {
                status: AttemptStatus::Failed,
                charge: Charge::NotCharged,
                error: Some(Failure::new(
                    FailureCode::ProviderUnavailable,
                    format!("Settled as not charged by {words}"),
                )),
                finished_at: Some(at),
                ..attempt
            },
            Told(
                EventType::AttemptFailed,
                format!("Settled as not charged by {words}"),
            ),
        ),
        Finding::Charged => (
            Attempt {
                status: AttemptStatus::Failed,
                charge: Charge::Charged,
                // Nobody pays for what nobody got.
                credits: 0,
                error: Some(Failure::new(
                    FailureCode::ProviderRejected,
                    format!("Settled as charged by {words}"),
                )),
                finished_at: Some(at),
                ..attempt
            },
            Told(
                EventType::AttemptFailed,
                format!("Settled as charged by {words}"),
            ),
        ),
    }
}

/// The step is due again, and its job runs. Somebody's wish to stop it stays.
async fn go_on(
    connection: &mut Connection,
    step: &Step,
    status: StepStatus,
    deadline: Timestamp,
) -> Result<(), Error> {
    query(
        "UPDATE jobs SET status = 'RUNNING', error = NULL, \
         deadline = CASE WHEN deadline < $2 THEN $2 ELSE deadline END WHERE id = $1",
    )
    .bind(step.job.uuid())
    .bind(deadline)
    .execute(&mut *connection)
    .await?;
    let now = connection.dialect().now;
    query(AssertSqlSafe(format!(
        "UPDATE steps SET status = $2, error = NULL, progress = NULL, due_at = {now}, \
         lease_owner = NULL, round = round + CASE WHEN $2 = 'PENDING' THEN 1 ELSE 0 END \
         WHERE id = $1"
    )))
    .bind(step.id.uuid())
    .bind(status.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// The step and its job end without a result.
async fn give_up(
    connection: &mut Connection,
    step: &Step,
    failure: &Failure,
    at: Timestamp,
) -> Result<(), Error> {
    query("UPDATE jobs SET status = 'FAILED', error = $2, completed_at = $3 WHERE id = $1")
        .bind(step.job.uuid())
        .bind(optional_failure(Some(failure))?)
        .bind(at)
        .execute(&mut *connection)
        .await?;
    query(
        "UPDATE steps SET status = 'FAILED', error = $2, completed_at = $3, due_at = NULL, \
         lease_owner = NULL WHERE id = $1",
    )
    .bind(step.id.uuid())
    .bind(optional_failure(Some(failure))?)
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}
