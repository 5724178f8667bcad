//! The event log: sequence numbers without gaps, given in the transaction that changes the
//! job.

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{Database, Error, jobs::placeholders, rows, rows::EVENT};
use crate::{
    ids::{JobId, UserId},
    jobs::model::{Event, NewEvent},
    time::Timestamp,
};

/// Appends `new` to the job's log and answers them numbered, and whether somebody asked the
/// job to stop.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    job: JobId,
    new: Vec<NewEvent>,
    at: Timestamp,
) -> Result<(Vec<Event>, bool), Error> {
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    let row = sqlx::query(
        "UPDATE jobs SET last_seq = last_seq + $2 WHERE id = $1 \
         RETURNING last_seq, owner_id, cancel_requested",
    )
    .bind(job.uuid())
    .bind(count)
    .fetch_one(&mut *connection)
    .await?;
    let owner = UserId::from_uuid(rows::uuid(&row, "owner_id")?);
    let first = row.try_get::<i64, _>("last_seq")? - count + 1;
    let mut events = Vec::with_capacity(new.len());
    for (seq, body) in (first..).zip(new) {
        let position = sqlx::query_scalar(
            "INSERT INTO events (job_id, owner_id, seq, type, step, progress, message, text_delta, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING position",
        )
        .bind(job.uuid())
        .bind(owner.uuid())
        .bind(seq)
        .bind(body.event.as_str())
        .bind(body.step.map(crate::jobs::model::StepKind::as_str))
        .bind(body.progress)
        .bind(body.message.as_deref())
        .bind(body.text_delta.as_deref())
        .bind(at.millis())
        .fetch_one(&mut *connection)
        .await?;
        events.push(Event {
            position,
            job,
            owner,
            seq,
            at,
            body,
        });
    }
    Ok((events, row.try_get("cancel_requested")?))
}

impl Database {
    /// Events of a job after `after`, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn job_events(
        &self,
        job: JobId,
        after: i64,
        first: u32,
    ) -> Result<Vec<Event>, Error> {
        sqlx::query(AssertSqlSafe(format!(
            "SELECT {EVENT} FROM events WHERE job_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"
        )))
        .bind(job.uuid())
        .bind(after)
        .bind(i64::from(first))
        .fetch_all(self.read())
        .await?
        .iter()
        .map(rows::event)
        .collect()
    }

    /// Of each job, its first events after `after`, oldest first. Sequence numbers have no
    /// gaps, so a range of them is a page.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_of(
        &self,
        jobs: &[JobId],
        after: i64,
        first: u32,
    ) -> Result<Vec<Event>, Error> {
        let ids = placeholders(jobs.len());
        let sql = format!(
            "SELECT {EVENT} FROM events WHERE job_id IN ({ids}) AND seq > ${} AND seq <= ${} \
             ORDER BY job_id, seq",
            jobs.len() + 1,
            jobs.len() + 2,
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for id in jobs {
            query = query.bind(id.uuid());
        }
        let query = query
            .bind(after)
            .bind(after.saturating_add(i64::from(first)));
        query
            .fetch_all(self.read())
            .await?
            .iter()
            .map(rows::event)
            .collect()
    }

    /// Events of all of a user's jobs after a position, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn owner_events(
        &self,
        owner: UserId,
        after: i64,
        first: u32,
    ) -> Result<Vec<Event>, Error> {
        sqlx::query(AssertSqlSafe(format!(
            "SELECT {EVENT} FROM events WHERE owner_id = $1 AND position > $2 \
             ORDER BY position LIMIT $3"
        )))
        .bind(owner.uuid())
        .bind(after)
        .bind(i64::from(first))
        .fetch_all(self.read())
        .await?
        .iter()
        .map(rows::event)
        .collect()
    }

    /// The position of the newest event of a user's jobs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_position(&self, owner: UserId) -> Result<i64, Error> {
        Ok(
            sqlx::query_scalar("SELECT COALESCE(MAX(position), 0) FROM events WHERE owner_id = $1")
                .bind(owner.uuid())
                .fetch_one(self.read())
                .await?,
        )
    }
}
