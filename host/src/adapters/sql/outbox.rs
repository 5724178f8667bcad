//! Webhooks on their way: written down with the event that causes them, taken when due, settled
//! after each attempt.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    dialect::{Dialect, millis},
    jobs::placeholders,
    mails,
    query::{Connection, Row, query},
    rows::{self, JOB},
    values::{Json, to_json},
    webhooks::{self, ENDPOINT},
};
use crate::{
    ids::{DeliveryId, EndpointId, JobId, MessageId, UserId},
    jobs::model::Event,
    mail::{Content, NewMail, Recipient},
    time::Timestamp,
    webhooks::{Attempt, Kind, Message, Taken, Verdict, facts},
};

/// Due deliveries that one claim looks at, so that a long queue costs no more than a short one.
const LOOKED_AT: i64 = 1_000;

/// Writes down who is told of these events of one job, in the transaction that appends them.
pub(super) async fn announce(connection: &mut Connection, events: &[Event]) -> Result<(), Error> {
    for event in events {
        let Some(kind) = Kind::of(event.body.event) else {
            continue;
        };
        let endpoints = listeners(connection, event, kind).await?;
        if endpoints.is_empty() {
            continue;
        }
        let row = query(AssertSqlSafe(format!(
            "SELECT {JOB} FROM jobs WHERE id = $1"
        )))
        .bind(event.job.uuid())
        .fetch_one(&mut *connection)
        .await?;
        let message = Message {
            id: MessageId::generate(),
            kind,
            job: Some(event.job),
            data: facts(&rows::job(&row)?, event.seq),
            at: event.at,
        };
        insert_message(connection, event.owner, &message).await?;
        for endpoint in endpoints {
            insert_delivery(connection, event.owner, message.id, endpoint, event.at).await?;
        }
    }
    Ok(())
}

/// The endpoints that hear of an event: those that asked for its kind, and at a job's end the
/// address that the job names.
async fn listeners(
    connection: &mut Connection,
    event: &Event,
    kind: Kind,
) -> Result<Vec<EndpointId>, Error> {
    query(
        "SELECT e.id AS id FROM webhook_endpoints AS e WHERE e.owner_id = $1 \
         AND e.url IS NOT NULL AND e.deleted_at IS NULL AND e.disabled_at IS NULL \
         AND CAST(e.events AS TEXT) LIKE $2 \
         UNION ALL SELECT e.id AS id FROM job_webhooks AS w JOIN webhook_endpoints AS e \
         ON e.owner_id = w.owner_id AND e.url IS NULL WHERE w.job_id = $3 AND $4",
    )
    .bind(event.owner.uuid())
    .bind(format!("%\"{}\"%", kind.as_str()))
    .bind(event.job.uuid())
    .bind(kind.is_at_rest())
    .fetch_all(connection)
    .await?
    .iter()
    .map(|row| Ok(EndpointId::from_uuid(rows::uuid(row, "id")?)))
    .collect()
}

pub(super) async fn insert_message(
    connection: &mut Connection,
    owner: UserId,
    message: &Message,
) -> Result<(), Error> {
    query(
        "INSERT INTO webhook_messages (id, owner_id, job_id, type, data, at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(message.id.uuid())
    .bind(owner.uuid())
    .bind(message.job.map(JobId::uuid))
    .bind(message.kind.as_str())
    .bind(to_json(&message.data)?)
    .bind(message.at)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn insert_delivery(
    connection: &mut Connection,
    owner: UserId,
    message: MessageId,
    endpoint: EndpointId,
    at: Timestamp,
) -> Result<DeliveryId, Error> {
    let now = connection.dialect().now;
    let id = DeliveryId::generate();
    query(AssertSqlSafe(format!(
        "INSERT INTO webhook_deliveries (id, message_id, endpoint_id, owner_id, status, due_at, \
         created_at) VALUES ($1, $2, $3, $4, 'PENDING', {now}, $5)"
    )))
    .bind(id.uuid())
    .bind(message.uuid())
    .bind(endpoint.uuid())
    .bind(owner.uuid())
    .bind(at)
    .execute(connection)
    .await?;
    Ok(id)
}

/// Ends what is to be delivered to an endpoint.
pub(super) async fn cancel_deliveries(
    connection: &mut Connection,
    endpoint: EndpointId,
) -> Result<(), Error> {
    let now = connection.dialect().now;
    query(AssertSqlSafe(format!(
        "UPDATE webhook_deliveries SET status = 'CANCELED', due_at = NULL, completed_at = {now} \
         WHERE endpoint_id = $1 AND status = 'PENDING'"
    )))
    .bind(endpoint.uuid())
    .execute(connection)
    .await?;
    Ok(())
}

impl Database {
    /// Whether a claim may find something.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_due_deliveries(&self) -> Result<bool, Error> {
        let mut connection = self.read(Scope::Worker).await?;
        let now = connection.dialect().now;
        let row = query(AssertSqlSafe(format!(
            "SELECT id FROM webhook_deliveries WHERE due_at <= {now} \
             AND (lease_until IS NULL OR lease_until <= {now}) LIMIT 1"
        )))
        .fetch_optional(&mut connection)
        .await?;
        Ok(row.is_some())
    }

    /// Takes deliveries that are due, oldest first, for `lease`: at most `limit`, and of one
    /// endpoint so many that no more than `each` are on their way, whichever node has them.
    /// Nodes that claim at the same moment may together take that many each.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_deliveries(
        &self,
        lease: Duration,
        limit: u32,
        each: u32,
    ) -> Result<Vec<Taken>, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now,
                    millisecond,
                    lock_free,
                    ..
                } = connection.dialect();
                let claimed = query(AssertSqlSafe(format!(
                    "WITH busy AS MATERIALIZED (SELECT endpoint_id, COUNT(*) AS running \
                     FROM webhook_deliveries WHERE lease_until > {now} GROUP BY endpoint_id), \
                     due AS (SELECT id, endpoint_id, due_at FROM webhook_deliveries \
                     WHERE due_at <= {now} AND (lease_until IS NULL OR lease_until <= {now}) \
                     AND endpoint_id NOT IN (SELECT endpoint_id FROM busy WHERE running >= $3) \
                     ORDER BY due_at LIMIT $4), \
                     ranked AS (SELECT due.id, ROW_NUMBER() OVER (PARTITION BY due.endpoint_id \
                     ORDER BY due.due_at, due.id) + COALESCE(busy.running, 0) AS place \
                     FROM due LEFT JOIN busy ON busy.endpoint_id = due.endpoint_id), \
                     chosen AS MATERIALIZED (SELECT id FROM webhook_deliveries \
                     WHERE id IN (SELECT id FROM ranked WHERE place <= $3) AND due_at <= {now} \
                     AND (lease_until IS NULL OR lease_until <= {now}) \
                     ORDER BY due_at LIMIT $2 {lock_free}) \
                     UPDATE webhook_deliveries SET lease_until = {now} + $1 * {millisecond}, \
                     lease_epoch = lease_epoch + 1, tries = tries + 1 \
                     WHERE id IN (SELECT id FROM chosen) RETURNING id"
                )))
                .bind(millis(lease))
                .bind(limit)
                .bind(each)
                .bind(LOOKED_AT)
                .fetch_all(&mut *connection)
                .await?;
                let ids = claimed
                    .iter()
                    .map(|row| Ok(DeliveryId::from_uuid(rows::uuid(row, "id")?)))
                    .collect::<Result<Vec<_>, Error>>()?;
                taken(connection, &ids).await
            })
        })
        .await
    }

    /// Writes down what came of an attempt. Of a delivery that somebody else has taken since,
    /// only the attempt is kept. `disable_after`: how long an endpoint may do nothing but fail.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_delivery(
        &self,
        taken: Taken,
        attempt: Attempt,
        verdict: Verdict,
        disable_after: Duration,
    ) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                lock_endpoint(connection, taken.endpoint.id).await?;
                let sql = "INSERT INTO webhook_attempts (id, delivery_id, owner_id, at, \
                     duration_ms, status, error, response) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
                let (delivery, owner) = (taken.delivery.uuid(), taken.endpoint.owner);
                insert_attempt(connection, sql, delivery, owner, &attempt).await?;
                if settle(connection, &taken, verdict).await? {
                    judge_endpoint(connection, &taken, verdict, disable_after).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Ends a delivery whose endpoint is deleted or disabled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_delivery(&self, id: DeliveryId, epoch: i64) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let now = connection.dialect().now;
                query(AssertSqlSafe(format!(
                    "UPDATE webhook_deliveries SET status = 'CANCELED', due_at = NULL, \
                     lease_until = NULL, completed_at = {now} \
                     WHERE id = $1 AND lease_epoch = $2"
                )))
                .bind(id.uuid())
                .bind(epoch)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }
}

/// What deliveries carry, and where to.
async fn taken(connection: &mut Connection, ids: &[DeliveryId]) -> Result<Vec<Taken>, Error> {
    let list = placeholders(ids.len());
    let mut query = query(AssertSqlSafe(format!(
        "SELECT d.id, d.lease_epoch, d.tries, m.id AS message_id, m.type, m.job_id, m.data, \
         m.at, CASE WHEN e.deleted_at IS NULL AND e.disabled_at IS NULL \
         THEN COALESCE(e.url, w.url) END AS target, {ENDPOINT} FROM webhook_deliveries AS d \
         JOIN webhook_messages AS m ON m.id = d.message_id \
         JOIN webhook_endpoints AS e ON e.id = d.endpoint_id \
         LEFT JOIN job_webhooks AS w ON w.job_id = m.job_id WHERE d.id IN ({list})"
    )));
    for id in ids {
        query = query.bind(id.uuid());
    }
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(one_taken).collect()
}

fn one_taken(row: &Row) -> Result<Taken, Error> {
    let tries: i64 = row.try_get("tries")?;
    Ok(Taken {
        delivery: DeliveryId::from_uuid(rows::uuid(row, "id")?),
        epoch: row.try_get("lease_epoch")?,
        tries: u32::try_from(tries).unwrap_or(u32::MAX),
        message: Message {
            id: MessageId::from_uuid(rows::uuid(row, "message_id")?),
            kind: webhooks::kind(row)?,
            job: row
                .try_get::<Option<uuid::Uuid>>("job_id")?
                .map(JobId::from_uuid),
            data: row.try_get::<Json>("data")?.read("webhook message")?,
            at: rows::time(row, "at")?,
        },
        endpoint: webhooks::endpoint(row)?,
        url: row.try_get("target")?,
    })
}

/// The endpoint is locked before its deliveries, as by whoever deletes it, so that no two
/// transactions wait for each other.
async fn lock_endpoint(connection: &mut Connection, id: EndpointId) -> Result<(), Error> {
    let lock = connection.dialect().lock;
    query(AssertSqlSafe(format!(
        "SELECT id FROM webhook_endpoints WHERE id = $1 {lock}"
    )))
    .bind(id.uuid())
    .fetch_optional(connection)
    .await?;
    Ok(())
}

/// Keeps an attempt at something that is on its way; `sql` says in which table.
pub(super) async fn insert_attempt(
    connection: &mut Connection,
    sql: &'static str,
    of: uuid::Uuid,
    owner: UserId,
    attempt: &Attempt,
) -> Result<(), Error> {
    query(sql)
        .bind(uuid::Uuid::now_v7())
        .bind(of)
        .bind(owner.uuid())
        .bind(attempt.at)
        .bind(attempt.duration_ms)
        .bind(attempt.status.map(i64::from))
        .bind(attempt.error.as_deref())
        .bind(&attempt.response)
        .execute(connection)
        .await?;
    Ok(())
}

/// Moves a delivery on; false when this node has it no more.
async fn settle(
    connection: &mut Connection,
    taken: &Taken,
    verdict: Verdict,
) -> Result<bool, Error> {
    let Dialect {
        now, millisecond, ..
    } = connection.dialect();
    let (status, again) = match verdict {
        Verdict::Succeeded => ("SUCCEEDED", None),
        Verdict::Again(wait) | Verdict::Withheld(wait) => ("PENDING", Some(millis(wait))),
        Verdict::Exhausted | Verdict::Gone => ("EXHAUSTED", None),
    };
    // What was canceled meanwhile is not tried again.
    let written = query(AssertSqlSafe(format!(
        "UPDATE webhook_deliveries SET lease_until = NULL, tries = tries - $5, \
         status = CASE WHEN status = 'CANCELED' AND $3 = 'PENDING' THEN status ELSE $3 END, \
         due_at = CASE WHEN status = 'CANCELED' THEN NULL ELSE {now} + $4 * {millisecond} END, \
         completed_at = CASE WHEN $3 = 'PENDING' THEN completed_at ELSE {now} END \
         WHERE id = $1 AND lease_epoch = $2"
    )))
    .bind(taken.delivery.uuid())
    .bind(taken.epoch)
    .bind(status)
    .bind(again)
    .bind(i64::from(matches!(verdict, Verdict::Withheld(_))))
    .execute(connection)
    .await?
    .rows_affected();
    Ok(written > 0)
}

/// Notes how an endpoint does, and disables one that is gone or has failed for too long. The
/// one of jobs' own addresses stays: one address says nothing of the others.
async fn judge_endpoint(
    connection: &mut Connection,
    taken: &Taken,
    verdict: Verdict,
    disable_after: Duration,
) -> Result<(), Error> {
    if taken.endpoint.url.is_none() || matches!(verdict, Verdict::Withheld(_)) {
        return Ok(());
    }
    let id = taken.endpoint.id;
    if verdict == Verdict::Succeeded {
        query(
            "UPDATE webhook_endpoints SET failing_since = NULL \
             WHERE id = $1 AND failing_since IS NOT NULL",
        )
        .bind(id.uuid())
        .execute(connection)
        .await?;
        return Ok(());
    }
    let Dialect {
        now, millisecond, ..
    } = connection.dialect();
    query(AssertSqlSafe(format!(
        "UPDATE webhook_endpoints SET failing_since = {now} \
         WHERE id = $1 AND failing_since IS NULL"
    )))
    .bind(id.uuid())
    .execute(&mut *connection)
    .await?;
    let gone = verdict == Verdict::Gone;
    let disabled = query(AssertSqlSafe(format!(
        "UPDATE webhook_endpoints SET disabled_at = {now}, \
         disabled_because = CASE WHEN $2 THEN 'GONE' ELSE 'FAILING' END \
         WHERE id = $1 AND disabled_at IS NULL AND deleted_at IS NULL \
         AND ($2 OR failing_since <= {now} - $3 * {millisecond})"
    )))
    .bind(id.uuid())
    .bind(gone)
    .bind(millis(disable_after))
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if disabled > 0 {
        cancel_deliveries(connection, id).await?;
        tell_owner(connection, taken, gone).await?;
    }
    Ok(())
}

/// Tells an endpoint's owner that nothing is sent to it any more.
async fn tell_owner(connection: &mut Connection, taken: &Taken, gone: bool) -> Result<(), Error> {
    let Some(url) = taken.endpoint.url.clone() else {
        return Ok(());
    };
    let new = NewMail {
        owner: taken.endpoint.owner,
        key: format!("endpoint/{}/{}", taken.endpoint.id, taken.delivery),
        to: Recipient::Owner,
        content: Content::EndpointDisabled { url, gone },
    };
    mails::insert(connection, &new).await?;
    Ok(())
}
