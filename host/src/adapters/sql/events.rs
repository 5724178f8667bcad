//! The event log: sequence numbers without gaps, given in the transaction that changes the
//! job.

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    jobs::placeholders,
    outbox,
    query::{Connection, query},
    rows,
    rows::EVENT,
};
use crate::{
    ids::{JobId, UserId},
    jobs::model::{Event, JobStatus, NewEvent, StepKind},
    time::Timestamp,
};

/// Events that one statement inserts.
const MOST_AT_ONCE: usize = 100;

/// What a job's row says.
pub(super) struct Head {
    /// Somebody asked to stop it.
    pub(super) cancel_requested: bool,
    /// Where it stands.
    pub(super) status: JobStatus,
}

/// Appends `new` to the job's log and answers them numbered, and what the job's row says.
pub(super) async fn append(
    connection: &mut Connection,
    job: JobId,
    new: Vec<NewEvent>,
    at: Timestamp,
) -> Result<(Vec<Event>, Head), Error> {
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    let row = query(
        "UPDATE jobs SET last_seq = last_seq + $2 WHERE id = $1 \
         RETURNING last_seq, owner_id, cancel_requested, status",
    )
    .bind(job.uuid())
    .bind(count)
    .fetch_one(&mut *connection)
    .await?;
    let head = Head {
        cancel_requested: row.try_get("cancel_requested")?,
        status: rows::word("job status", row.try_get("status")?, JobStatus::parse)?,
    };
    if new.is_empty() {
        return Ok((Vec::new(), head));
    }
    let owner = UserId::from_uuid(rows::uuid(&row, "owner_id")?);
    let first = row.try_get::<i64>("last_seq")? - count + 1;
    // The counter's row stays locked until the commit, so whoever has read one position of
    // this owner has been able to read all before it.
    let row = query(
        "INSERT INTO feeds (owner_id, last_position) VALUES ($1, $2) \
         ON CONFLICT (owner_id) DO UPDATE SET last_position = feeds.last_position + $2 \
         RETURNING last_position",
    )
    .bind(owner.uuid())
    .bind(count)
    .fetch_one(&mut *connection)
    .await?;
    let position = row.try_get::<i64>("last_position")? - count + 1;
    let events: Vec<Event> = (0_i64..)
        .zip(new)
        .map(|(index, body)| Event {
            position: position + index,
            job,
            owner,
            seq: first + index,
            at,
            body,
        })
        .collect();
    for some in events.chunks(MOST_AT_ONCE) {
        insert(connection, some).await?;
    }
    outbox::announce(connection, &events).await?;
    Ok((events, head))
}

async fn insert(connection: &mut Connection, events: &[Event]) -> Result<(), Error> {
    let rows: Vec<String> = (0..events.len())
        .map(|row| {
            let columns: Vec<String> = (1..=10).map(|n| format!("${}", row * 10 + n)).collect();
            format!("({})", columns.join(", "))
        })
        .collect();
    let mut query = query(AssertSqlSafe(format!(
        "INSERT INTO events ({EVENT}) VALUES {}",
        rows.join(", ")
    )));
    for event in events {
        query = query
            .bind(event.position)
            .bind(event.job.uuid())
            .bind(event.owner.uuid())
            .bind(event.seq)
            .bind(event.body.event.as_str())
            .bind(event.body.step.map(StepKind::as_str))
            .bind(event.body.progress)
            .bind(event.body.message.as_deref())
            .bind(event.body.text_delta.as_deref())
            .bind(event.at);
    }
    query.execute(connection).await?;
    Ok(())
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
        query(AssertSqlSafe(format!(
            "SELECT {EVENT} FROM events WHERE job_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"
        )))
        .bind(job.uuid())
        .bind(after)
        .bind(i64::from(first))
        .fetch_all(&mut self.read(self.scope()?).await?)
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
        let mut query = query(AssertSqlSafe(sql));
        for id in jobs {
            query = query.bind(id.uuid());
        }
        let query = query
            .bind(after)
            .bind(after.saturating_add(i64::from(first)));
        query
            .fetch_all(&mut self.read(self.scope()?).await?)
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
        query(AssertSqlSafe(format!(
            "SELECT {EVENT} FROM events WHERE owner_id = $1 AND position > $2 \
             ORDER BY position LIMIT $3"
        )))
        .bind(owner.uuid())
        .bind(after)
        .bind(i64::from(first))
        .fetch_all(&mut self.read(Scope::User(owner)).await?)
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
        let row = query("SELECT last_position FROM feeds WHERE owner_id = $1")
            .bind(owner.uuid())
            .fetch_optional(&mut self.read(Scope::User(owner)).await?)
            .await?;
        Ok(row.map_or(Ok(0), |row| row.try_get("last_position"))?)
    }
}
