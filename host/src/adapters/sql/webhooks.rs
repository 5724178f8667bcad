//! Endpoints of users' webhooks, and what their owners see of deliveries.

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    dialect::{Dialect, millis},
    jobs::placeholders,
    outbox,
    query::{Connection, Row, query},
    rows,
    values::to_json,
};
use crate::{
    ids::{DeliveryId, EndpointId, JobId, MessageId, UserId},
    jobs::store::Page,
    time::Timestamp,
    webhooks::{
        Attempt, Delivery, DeliveryStatus, DisabledReason, Endpoint, Kind, Message, OVERLAP,
        Sealed, SealedSecret,
    },
};

/// Columns of an endpoint, of `webhook_endpoints AS e`.
pub(super) const ENDPOINT: &str = "e.id AS endpoint_id, e.owner_id, e.url, e.events, \
    e.description, e.secret, e.previous_secret, e.previous_until, e.failing_since, \
    e.disabled_at, e.disabled_because, e.created_at";
/// Columns of a delivery, of `webhook_deliveries AS d` and `webhook_messages AS m`.
const DELIVERY: &str = "d.id, d.message_id, m.type, m.job_id, d.status, d.due_at, d.created_at, \
    d.completed_at FROM webhook_deliveries AS d JOIN webhook_messages AS m ON m.id = d.message_id";
/// Most attempts of one delivery that are shown.
const SHOWN: i64 = 30;

fn secret(row: &Row) -> Result<SealedSecret, Error> {
    Ok(SealedSecret::from_stored(row.try_get("secret")?))
}

fn previous(row: &Row) -> Result<Option<SealedSecret>, Error> {
    let text: Option<String> = row.try_get("previous_secret")?;
    // Before the first one there was none.
    let text = text.filter(|text| !text.is_empty());
    Ok(text.map(SealedSecret::from_stored))
}

pub(super) fn endpoint(row: &Row) -> Result<Endpoint, Error> {
    let words: Vec<String> = row
        .try_get::<super::values::Json>("events")?
        .read("webhook events")?;
    let reason = row
        .try_get::<Option<&str>>("disabled_because")?
        .and_then(DisabledReason::parse);
    Ok(Endpoint {
        id: EndpointId::from_uuid(rows::uuid(row, "endpoint_id")?),
        owner: UserId::from_uuid(rows::uuid(row, "owner_id")?),
        url: row.try_get("url")?,
        // A word of a newer version is nothing that this one sends.
        events: words.iter().filter_map(|word| Kind::parse(word)).collect(),
        description: row.try_get("description")?,
        secret: secret(row)?,
        previous: previous(row)?.zip(rows::optional_time(row, "previous_until")?),
        failing_since: rows::optional_time(row, "failing_since")?,
        disabled: rows::optional_time(row, "disabled_at")?.zip(reason),
        created_at: rows::time(row, "created_at")?,
    })
}

fn delivery(row: &Row) -> Result<Delivery, Error> {
    let status: &str = row.try_get("status")?;
    Ok(Delivery {
        id: DeliveryId::from_uuid(rows::uuid(row, "id")?),
        message: MessageId::from_uuid(rows::uuid(row, "message_id")?),
        kind: kind(row)?,
        job: row
            .try_get::<Option<uuid::Uuid>>("job_id")?
            .map(JobId::from_uuid),
        status: DeliveryStatus::parse(status)
            .ok_or_else(|| Error::decode("delivery status", status.to_owned()))?,
        due_at: rows::optional_time(row, "due_at")?,
        created_at: rows::time(row, "created_at")?,
        completed_at: rows::optional_time(row, "completed_at")?,
    })
}

pub(super) fn kind(row: &Row) -> Result<Kind, Error> {
    let word: &str = row.try_get("type")?;
    Kind::parse(word).ok_or_else(|| Error::decode("webhook type", word.to_owned()))
}

fn attempt(row: &Row) -> Result<Attempt, Error> {
    let status: Option<i64> = row.try_get("status")?;
    Ok(Attempt {
        at: rows::time(row, "at")?,
        duration_ms: row.try_get("duration_ms")?,
        status: status.and_then(|status| u16::try_from(status).ok()),
        error: row.try_get("error")?,
        response: row.try_get("response")?,
    })
}

fn words(events: &[Kind]) -> Vec<&'static str> {
    events.iter().map(|kind| kind.as_str()).collect()
}

pub(super) async fn insert_endpoint(
    connection: &mut Connection,
    new: &Endpoint,
) -> Result<(), Error> {
    query(
        "INSERT INTO webhook_endpoints (id, owner_id, url, events, description, secret, \
         created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
    )
    .bind(new.id.uuid())
    .bind(new.owner.uuid())
    .bind(new.url.as_deref())
    .bind(to_json(&words(&new.events))?)
    .bind(&new.description)
    .bind(new.secret.stored())
    .bind(new.created_at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn read_endpoint(
    connection: &mut Connection,
    owner: UserId,
    id: EndpointId,
) -> Result<Option<Endpoint>, Error> {
    query(AssertSqlSafe(format!(
        "SELECT {ENDPOINT} FROM webhook_endpoints AS e \
         WHERE e.id = $1 AND e.owner_id = $2 AND e.deleted_at IS NULL"
    )))
    .bind(id.uuid())
    .bind(owner.uuid())
    .fetch_optional(connection)
    .await?
    .as_ref()
    .map(endpoint)
    .transpose()
}

impl Database {
    /// Adds an endpoint; false when its owner has `most`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_endpoint(&self, new: Endpoint, most: u32) -> Result<bool, Error> {
        self.write(Scope::User(new.owner), move |connection| {
            Box::pin(async move {
                let lock = connection.dialect().lock;
                // One after the other for each owner, so that the count is right.
                query(AssertSqlSafe(format!(
                    "SELECT id FROM users WHERE id = $1 {lock}"
                )))
                .bind(new.owner.uuid())
                .fetch_one(&mut *connection)
                .await?;
                let there: i64 = query(
                    "SELECT COUNT(*) AS there FROM webhook_endpoints \
                     WHERE owner_id = $1 AND url IS NOT NULL AND deleted_at IS NULL",
                )
                .bind(new.owner.uuid())
                .fetch_one(&mut *connection)
                .await?
                .try_get("there")?;
                if there >= i64::from(most) {
                    return Ok(false);
                }
                insert_endpoint(connection, &new).await?;
                Ok(true)
            })
        })
        .await
    }

    /// The owner's endpoint of jobs' own webhooks: `new`, unless there is one already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_job_endpoint(&self, new: Endpoint) -> Result<Endpoint, Error> {
        self.write(Scope::User(new.owner), move |connection| {
            Box::pin(async move {
                insert_endpoint(connection, &new).await?;
                let row = query(AssertSqlSafe(format!(
                    "SELECT {ENDPOINT} FROM webhook_endpoints AS e \
                     WHERE e.owner_id = $1 AND e.url IS NULL"
                )))
                .bind(new.owner.uuid())
                .fetch_one(connection)
                .await?;
                endpoint(&row)
            })
        })
        .await
    }

    /// An endpoint of `owner`; one of somebody else's is as good as missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_endpoint(
        &self,
        owner: UserId,
        id: EndpointId,
    ) -> Result<Option<Endpoint>, Error> {
        read_endpoint(&mut self.read(Scope::User(owner)).await?, owner, id).await
    }

    /// Endpoints of `owner`, newest first, after (below) the given one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_endpoints(
        &self,
        owner: UserId,
        after: Option<EndpointId>,
        first: u32,
    ) -> Result<Page<Endpoint>, Error> {
        let rows = query(AssertSqlSafe(format!(
            "SELECT {ENDPOINT} FROM webhook_endpoints AS e WHERE e.owner_id = $1 AND e.id < $2 \
             AND e.deleted_at IS NULL ORDER BY e.id DESC LIMIT $3"
        )))
        .bind(owner.uuid())
        .bind(after.map_or(uuid::Uuid::max(), EndpointId::uuid))
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(Scope::User(owner)).await?)
        .await?;
        let items = rows.iter().map(endpoint).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, first))
    }

    /// Writes where an endpoint is and what it hears, as `changed` has them; `None` when there
    /// is no such one. `enabled` switches it on, which forgets its failures, or off, which ends
    /// what is under way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_endpoint(
        &self,
        changed: Endpoint,
        enabled: Option<bool>,
    ) -> Result<Option<Endpoint>, Error> {
        self.write(Scope::User(changed.owner), move |connection| {
            Box::pin(async move {
                let now = connection.dialect().now;
                let off = enabled == Some(false);
                // Somebody may disable it between two statements: only a wish changes that.
                let written = query(AssertSqlSafe(format!(
                    "UPDATE webhook_endpoints SET url = $3, events = $4, description = $5, \
                     failing_since = CASE WHEN $6 THEN NULL ELSE failing_since END, \
                     disabled_at = CASE WHEN $6 THEN NULL WHEN $7 THEN \
                     COALESCE(disabled_at, {now}) ELSE disabled_at END, \
                     disabled_because = CASE WHEN $6 THEN NULL WHEN $7 THEN \
                     COALESCE(disabled_because, 'OWNER') ELSE disabled_because END \
                     WHERE id = $1 AND owner_id = $2 AND deleted_at IS NULL"
                )))
                .bind(changed.id.uuid())
                .bind(changed.owner.uuid())
                .bind(changed.url.as_deref())
                .bind(to_json(&words(&changed.events))?)
                .bind(&changed.description)
                .bind(enabled == Some(true))
                .bind(off)
                .execute(&mut *connection)
                .await?
                .rows_affected();
                if written > 0 && off {
                    outbox::cancel_deliveries(connection, changed.id).await?;
                }
                read_endpoint(connection, changed.owner, changed.id).await
            })
        })
        .await
    }

    /// Deletes an endpoint and forgets its secrets; false when there is no such one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_endpoint(&self, owner: UserId, id: EndpointId) -> Result<bool, Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let now = connection.dialect().now;
                let deleted = query(AssertSqlSafe(format!(
                    "UPDATE webhook_endpoints SET deleted_at = {now}, secret = '', \
                     previous_secret = NULL, previous_until = NULL WHERE id = $1 \
                     AND owner_id = $2 AND url IS NOT NULL AND deleted_at IS NULL"
                )))
                .bind(id.uuid())
                .bind(owner.uuid())
                .execute(&mut *connection)
                .await?
                .rows_affected();
                if deleted > 0 {
                    outbox::cancel_deliveries(connection, id).await?;
                }
                Ok(deleted > 0)
            })
        })
        .await
    }

    /// Gives an endpoint a new secret; the old one signs too for a while.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotate_secret(
        &self,
        owner: UserId,
        id: EndpointId,
        secret: SealedSecret,
    ) -> Result<Option<Endpoint>, Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                query(AssertSqlSafe(format!(
                    "UPDATE webhook_endpoints SET previous_secret = secret, \
                     previous_until = {now} + $4 * {millisecond}, secret = $3 \
                     WHERE id = $1 AND owner_id = $2 AND deleted_at IS NULL"
                )))
                .bind(id.uuid())
                .bind(owner.uuid())
                .bind(secret.stored())
                .bind(millis(OVERLAP))
                .execute(&mut *connection)
                .await?;
                read_endpoint(connection, owner, id).await
            })
        })
        .await
    }

    /// The secret of an endpoint: `fresh`, unless it has one. `None` when there is no such
    /// endpoint.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_secret(
        &self,
        owner: UserId,
        id: EndpointId,
        fresh: SealedSecret,
    ) -> Result<Option<SealedSecret>, Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                query(
                    "UPDATE webhook_endpoints SET secret = $3 \
                     WHERE id = $1 AND owner_id = $2 AND deleted_at IS NULL AND secret = ''",
                )
                .bind(id.uuid())
                .bind(owner.uuid())
                .bind(fresh.stored())
                .execute(&mut *connection)
                .await?;
                let found = read_endpoint(connection, owner, id).await?;
                Ok(found.map(|endpoint| endpoint.secret))
            })
        })
        .await
    }

    /// Secrets as they are stored, by endpoint. For a handle of the worker.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sealed_secrets(
        &self,
        after: Option<EndpointId>,
        first: u32,
    ) -> Result<Vec<Sealed>, Error> {
        query(
            "SELECT id, owner_id, secret, previous_secret FROM webhook_endpoints \
             WHERE id > $1 AND secret <> '' ORDER BY id LIMIT $2",
        )
        .bind(after.map_or(uuid::Uuid::nil(), EndpointId::uuid))
        .bind(i64::from(first))
        .fetch_all(&mut self.read(self.scope).await?)
        .await?
        .iter()
        .map(|row| {
            Ok(Sealed {
                endpoint: EndpointId::from_uuid(rows::uuid(row, "id")?),
                owner: UserId::from_uuid(rows::uuid(row, "owner_id")?),
                secret: secret(row)?,
                previous: previous(row)?,
            })
        })
        .collect()
    }

    /// Puts the same secrets in another seal, unless they changed meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replace_secrets(&self, old: Sealed, new: Sealed) -> Result<bool, Error> {
        self.write(Scope::User(old.owner), move |connection| {
            Box::pin(async move {
                let of = |secret: &Option<SealedSecret>| {
                    secret.as_ref().map(|secret| secret.stored().to_owned())
                };
                let replaced = query(
                    "UPDATE webhook_endpoints SET secret = $3, previous_secret = $4 \
                     WHERE id = $1 AND owner_id = $2 AND secret = $5 \
                     AND COALESCE(previous_secret, '') = $6",
                )
                .bind(old.endpoint.uuid())
                .bind(old.owner.uuid())
                .bind(new.secret.stored())
                .bind(of(&new.previous))
                .bind(old.secret.stored())
                .bind(of(&old.previous).unwrap_or_default())
                .execute(connection)
                .await?
                .rows_affected();
                Ok(replaced > 0)
            })
        })
        .await
    }

    /// Writes down a message to one endpoint, to be delivered now; `None` when there is no such
    /// endpoint, or nothing is sent to it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn send_message(
        &self,
        owner: UserId,
        to: EndpointId,
        message: Message,
    ) -> Result<Option<Delivery>, Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let found = read_endpoint(connection, owner, to).await?;
                if found.is_none_or(|found| found.disabled.is_some() || found.url.is_none()) {
                    return Ok(None);
                }
                outbox::insert_message(connection, owner, &message).await?;
                let id =
                    outbox::insert_delivery(connection, owner, message.id, to, message.at).await?;
                read_delivery(connection, owner, id).await
            })
        })
        .await
    }

    /// Begins a delivery anew, from the first attempt on; false when that is not possible
    /// because it is being made just now, or nothing is sent to its endpoint any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn redeliver(&self, owner: UserId, id: DeliveryId) -> Result<bool, Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let now = connection.dialect().now;
                let begun = query(AssertSqlSafe(format!(
                    "UPDATE webhook_deliveries SET status = 'PENDING', tries = 0, \
                     due_at = {now}, lease_until = NULL, completed_at = NULL \
                     WHERE id = $1 AND owner_id = $2 \
                     AND (lease_until IS NULL OR lease_until <= {now}) \
                     AND EXISTS (SELECT 1 FROM webhook_endpoints AS e WHERE \
                     e.id = webhook_deliveries.endpoint_id AND e.deleted_at IS NULL \
                     AND e.disabled_at IS NULL)"
                )))
                .bind(id.uuid())
                .bind(owner.uuid())
                .execute(connection)
                .await?
                .rows_affected();
                Ok(begun > 0)
            })
        })
        .await
    }

    /// A delivery of `owner`'s.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_delivery(
        &self,
        owner: UserId,
        id: DeliveryId,
    ) -> Result<Option<Delivery>, Error> {
        read_delivery(&mut self.read(Scope::User(owner)).await?, owner, id).await
    }

    /// Deliveries to an endpoint of `owner`'s, newest first, after (below) the given one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_deliveries(
        &self,
        owner: UserId,
        to: EndpointId,
        after: Option<DeliveryId>,
        first: u32,
    ) -> Result<Page<Delivery>, Error> {
        let rows = query(AssertSqlSafe(format!(
            "SELECT {DELIVERY} WHERE d.endpoint_id = $1 AND d.owner_id = $2 AND d.id < $3 \
             ORDER BY d.id DESC LIMIT $4"
        )))
        .bind(to.uuid())
        .bind(owner.uuid())
        .bind(after.map_or(uuid::Uuid::max(), DeliveryId::uuid))
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(Scope::User(owner)).await?)
        .await?;
        let items = rows.iter().map(delivery).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, first))
    }

    /// The latest attempts of deliveries of `owner`'s, of each the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempts_at(
        &self,
        owner: UserId,
        deliveries: &[DeliveryId],
    ) -> Result<Vec<(DeliveryId, Attempt)>, Error> {
        let ids = placeholders(deliveries.len());
        let count = deliveries.len();
        let sql = format!(
            "SELECT delivery_id, at, duration_ms, status, error, response FROM (SELECT id, \
             delivery_id, at, duration_ms, status, error, response, ROW_NUMBER() OVER \
             (PARTITION BY delivery_id ORDER BY id DESC) AS place FROM webhook_attempts \
             WHERE delivery_id IN ({ids}) AND owner_id = ${}) AS latest WHERE place <= ${} \
             ORDER BY id",
            count + 1,
            count + 2
        );
        let mut query = query(AssertSqlSafe(sql));
        for id in deliveries {
            query = query.bind(id.uuid());
        }
        query
            .bind(owner.uuid())
            .bind(SHOWN)
            .fetch_all(&mut self.read(Scope::User(owner)).await?)
            .await?
            .iter()
            .map(|row| {
                let id = DeliveryId::from_uuid(rows::uuid(row, "delivery_id")?);
                Ok((id, attempt(row)?))
            })
            .collect()
    }
}

async fn read_delivery(
    connection: &mut Connection,
    owner: UserId,
    id: DeliveryId,
) -> Result<Option<Delivery>, Error> {
    query(AssertSqlSafe(format!(
        "SELECT {DELIVERY} WHERE d.id = $1 AND d.owner_id = $2"
    )))
    .bind(id.uuid())
    .bind(owner.uuid())
    .fetch_optional(connection)
    .await?
    .as_ref()
    .map(delivery)
    .transpose()
}

/// Where a job's own webhooks go.
pub(super) async fn note_job(
    connection: &mut Connection,
    job: JobId,
    owner: UserId,
    url: &str,
    at: Timestamp,
) -> Result<(), Error> {
    insert_endpoint(connection, &Endpoint::of_jobs(owner, at)).await?;
    query("INSERT INTO job_webhooks (job_id, owner_id, url) VALUES ($1, $2, $3)")
        .bind(job.uuid())
        .bind(owner.uuid())
        .bind(url)
        .execute(connection)
        .await?;
    Ok(())
}
