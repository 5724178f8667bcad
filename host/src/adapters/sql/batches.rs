//! Batches: written down whole, and their items until each is a job or refused.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Database, Error,
    database::Scope,
    dialect::{Dialect, millis},
    jobs::placeholders,
    query::{Connection, Query, Row, query},
    rows, spending,
    values::{Json, to_json},
};
use crate::{
    billing::budget::{Limit, Period},
    ids::{ApiKeyId, BatchId, BatchQuoteId, JobId, ProjectId, UserId},
    jobs::{
        batch::{
            Batch, BatchItem, Begun, Counts, NewBatch, Place, Refused, Spending, Standing,
            StoredQuote, Taken, Verdict,
        },
        limits::{self, TooMany},
        model::JobStatus,
        store::Page,
    },
    time::{self, Timestamp},
};

const BATCH: &str = "id, owner_id, project_id, name, quoted, created_at";

impl Database {
    /// Writes down a batch with its items and its budget, in one transaction, once for each key.
    ///
    /// # Errors
    /// `TooManyJobs` when too many films wait, or when the database fails; then nothing was
    /// written.
    pub async fn insert_batch(&self, new: NewBatch) -> Result<Begun, Error> {
        let owner = new.batch.owner;
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let batch = &new.batch;
                let inserted = query(
                    "INSERT INTO batches (id, owner_id, project_id, name, idempotency_key, \
                     request_hash, quoted, created_at, api_key_id) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
                     ON CONFLICT (owner_id, idempotency_key) DO NOTHING",
                )
                .bind(batch.id.uuid())
                .bind(owner.uuid())
                .bind(batch.project.uuid())
                .bind(&batch.name)
                .bind(&new.idempotency_key)
                .bind(new.request_hash.as_slice())
                .bind(batch.quoted)
                .bind(batch.created_at)
                .bind(new.by.map(ApiKeyId::uuid))
                .execute(&mut *connection)
                .await?
                .rows_affected();
                if inserted == 0 {
                    let first = by_key(connection, owner, &new.idempotency_key).await?;
                    return Ok(match first {
                        Some((batch, hash)) if hash == new.request_hash => Begun::Batch(batch),
                        _ => Begun::KeyReused,
                    });
                }
                admit(connection, &new).await?;
                if let Some(credits) = new.budget {
                    let period = Period::Total;
                    let limit = Some(Limit { credits, period });
                    spending::set(connection, owner, batch.id.uuid(), limit).await?;
                }
                let now = connection.dialect().now;
                for (position, item) in (0_i64..).zip(&new.items) {
                    let refused = item.as_ref().err();
                    query(AssertSqlSafe(format!(
                        "INSERT INTO batch_items (batch_id, position, owner_id, wish, refused, \
                         refused_at, asked_at, due_at) VALUES ($1, $2, $3, $4, $5, $6, $7, \
                         CASE WHEN $8 THEN {now} END)"
                    )))
                    .bind(batch.id.uuid())
                    .bind(position)
                    .bind(owner.uuid())
                    .bind(item.as_ref().ok().map(to_json).transpose()?)
                    .bind(refused.map(to_json).transpose()?)
                    .bind(refused.map(|_| batch.created_at))
                    .bind(batch.created_at)
                    .bind(item.is_ok())
                    .execute(&mut *connection)
                    .await?;
                }
                Ok(Begun::Batch(new.batch))
            })
        })
        .await
    }

    /// The batch of a key, with the hash of its request.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_batch_by_key(
        &self,
        owner: UserId,
        key: &str,
    ) -> Result<Option<(Batch, Vec<u8>)>, Error> {
        by_key(&mut self.read(Scope::User(owner)).await?, owner, key).await
    }

    /// A batch of this owner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_batch(&self, owner: UserId, id: BatchId) -> Result<Option<Batch>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {BATCH} FROM batches WHERE id = $1 AND owner_id = $2"
        )))
        .bind(id.uuid())
        .bind(owner.uuid())
        .fetch_optional(&mut self.read(Scope::User(owner)).await?)
        .await?
        .as_ref()
        .map(batch)
        .transpose()
    }

    /// Batches of this owner, newest first, behind (before) one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_batches(
        &self,
        owner: UserId,
        after: Option<BatchId>,
        first: u32,
    ) -> Result<Page<Batch>, Error> {
        let rows = query(AssertSqlSafe(format!(
            "SELECT {BATCH} FROM batches WHERE owner_id = $1 AND id < $2 \
             ORDER BY id DESC LIMIT $3"
        )))
        .bind(owner.uuid())
        .bind(after.map_or(Uuid::max(), BatchId::uuid))
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(Scope::User(owner)).await?)
        .await?;
        let items = rows.iter().map(batch).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, first))
    }

    /// How batches of this owner stand, in the same order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn standings(
        &self,
        owner: UserId,
        batches: Vec<Batch>,
    ) -> Result<Vec<Standing>, Error> {
        let mut connection = self.read(Scope::User(owner)).await?;
        let mut standings: Vec<_> = batches
            .into_iter()
            .map(|batch| Standing {
                batch,
                counts: Counts::default(),
                spending: Spending::default(),
            })
            .collect();
        let list = placeholders(standings.len());
        let ids = || standings.iter().map(|standing| standing.batch.id.uuid());
        let counting = query(AssertSqlSafe(format!(
            "SELECT batch_items.batch_id, jobs.status, COUNT(*) AS items, \
             COUNT(batch_items.refused) AS refused FROM batch_items \
             LEFT JOIN jobs ON jobs.id = batch_items.job_id \
             WHERE batch_items.batch_id IN ({list}) GROUP BY 1, 2"
        )));
        let counted = ids().fold(counting, Query::bind);
        let spending = query(AssertSqlSafe(format!(
            "SELECT scope_id, budget, held, captured FROM spending WHERE scope_id IN ({list})"
        )));
        let spent = ids().fold(spending, Query::bind);
        let counted = counted.fetch_all(&mut connection).await?;
        let spent = spent.fetch_all(&mut connection).await?;
        for row in &counted {
            let id = BatchId::from_uuid(rows::uuid(row, "batch_id")?);
            if let Some(standing) = standings.iter_mut().find(|one| one.batch.id == id) {
                count(row, &mut standing.counts)?;
            }
        }
        for row in &spent {
            let id = BatchId::from_uuid(rows::uuid(row, "scope_id")?);
            if let Some(standing) = standings.iter_mut().find(|one| one.batch.id == id) {
                standing.spending = Spending {
                    limit: row.try_get("budget")?,
                    held: row.try_get("held")?,
                    captured: row.try_get("captured")?,
                };
            }
        }
        Ok(standings)
    }

    /// The items of a batch of this owner behind a position, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn batch_items(
        &self,
        owner: UserId,
        id: BatchId,
        after: Option<i64>,
        first: u32,
    ) -> Result<Page<BatchItem>, Error> {
        let items = query(
            "SELECT position, job_id, refused FROM batch_items WHERE batch_id = $1 \
             AND owner_id = $2 AND position > $3 ORDER BY position LIMIT $4",
        )
        .bind(id.uuid())
        .bind(owner.uuid())
        .bind(after.unwrap_or(-1))
        .bind(i64::from(first) + 1)
        .fetch_all(&mut self.read(Scope::User(owner)).await?)
        .await?
        .iter()
        .map(|row| {
            Ok(BatchItem {
                position: row.try_get("position")?,
                job: row.try_get::<Option<Uuid>>("job_id")?.map(JobId::from_uuid),
                refused: (row.try_get::<Option<Json>>("refused")?)
                    .map(|json| json.read("refusal of an item"))
                    .transpose()?,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
        Ok(Page::cut(items, first))
    }

    /// Takes items that are due for `lease`: at most `limit`. The first ones of all batches go
    /// before the second ones, so that nobody waits for another's long batch.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_batch_items(
        &self,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<Taken>, Error> {
        if !self.has_due_batch_items().await? {
            return Ok(Vec::new());
        }
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now,
                    millisecond,
                    lock_free,
                    ..
                } = connection.dialect();
                query(AssertSqlSafe(format!(
                    "WITH chosen AS MATERIALIZED (SELECT batch_id, position FROM batch_items \
                     WHERE due_at <= {now} AND (lease_until IS NULL OR lease_until <= {now}) \
                     ORDER BY position, due_at, batch_id LIMIT $2 {lock_free}) \
                     UPDATE batch_items SET lease_until = {now} + $1 * {millisecond}, \
                     lease_epoch = lease_epoch + 1 WHERE EXISTS (SELECT 1 FROM chosen \
                     WHERE chosen.batch_id = batch_items.batch_id \
                     AND chosen.position = batch_items.position) \
                     RETURNING batch_id, position, owner_id, wish, lease_epoch, asked_at, \
                     (SELECT created_at FROM batches WHERE batches.id = batch_items.batch_id) \
                     AS created_at, (SELECT api_key_id FROM batches \
                     WHERE batches.id = batch_items.batch_id) AS api_key_id"
                )))
                .bind(millis(lease))
                .bind(limit)
                .fetch_all(connection)
                .await?
                .iter()
                .map(taken)
                .collect()
            })
        })
        .await
    }

    async fn has_due_batch_items(&self) -> Result<bool, Error> {
        let mut connection = self.read(Scope::Worker).await?;
        let now = connection.dialect().now;
        let found = query(AssertSqlSafe(format!(
            "SELECT position FROM batch_items WHERE due_at <= {now} \
             AND (lease_until IS NULL OR lease_until <= {now}) LIMIT 1"
        )))
        .fetch_optional(&mut connection)
        .await?;
        Ok(found.is_some())
    }

    /// Writes down why an item is no job. One that is decided, or in other hands, stays as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn decide_batch_item(&self, place: Place, verdict: Verdict) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                let (refused, wait) = match verdict {
                    Verdict::Refused(refused) => (Some(refused), None),
                    Verdict::Later(wait) => (None, Some(wait)),
                };
                query(AssertSqlSafe(format!(
                    "UPDATE batch_items SET lease_until = NULL, refused = $4, refused_at = $5, \
                     due_at = CASE WHEN $6 THEN {now} + $7 * {millisecond} END \
                     WHERE batch_id = $1 AND position = $2 AND lease_epoch = $3 \
                     AND due_at IS NOT NULL"
                )))
                .bind(place.batch.uuid())
                .bind(place.position)
                .bind(place.epoch)
                .bind(refused.as_ref().map(to_json).transpose()?)
                .bind(refused.as_ref().map(|_| time::now()))
                .bind(wait.is_some())
                .bind(millis(wait.unwrap_or_default()))
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// When somebody asked under this key to go on with what had failed: now, unless the key came
    /// before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_batch_retry(
        &self,
        owner: UserId,
        id: BatchId,
        key: &str,
    ) -> Result<Timestamp, Error> {
        let key = key.to_owned();
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                query(
                    "INSERT INTO batch_retries (batch_id, idempotency_key, owner_id, created_at) \
                     VALUES ($1, $2, $3, $4) ON CONFLICT (batch_id, idempotency_key) DO NOTHING",
                )
                .bind(id.uuid())
                .bind(&key)
                .bind(owner.uuid())
                .bind(time::now())
                .execute(&mut *connection)
                .await?;
                let row = query(
                    "SELECT created_at FROM batch_retries \
                     WHERE batch_id = $1 AND idempotency_key = $2",
                )
                .bind(id.uuid())
                .bind(&key)
                .fetch_one(connection)
                .await?;
                rows::time(&row, "created_at")
            })
        })
        .await
    }

    /// Has an item tried again that had been refused by then; false when it is not refused, or
    /// was refused later.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ask_batch_item_again(
        &self,
        owner: UserId,
        id: BatchId,
        position: i64,
        asked_at: Timestamp,
    ) -> Result<bool, Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let now = connection.dialect().now;
                let written = query(AssertSqlSafe(format!(
                    "UPDATE batch_items SET refused = NULL, refused_at = NULL, due_at = {now}, \
                     lease_until = NULL, asked_at = $4 WHERE batch_id = $1 AND position = $2 \
                     AND owner_id = $5 AND refused_at <= $3 AND job_id IS NULL \
                     AND wish IS NOT NULL"
                )))
                .bind(id.uuid())
                .bind(position)
                .bind(asked_at)
                .bind(time::now())
                .bind(owner.uuid())
                .execute(connection)
                .await?
                .rows_affected();
                Ok(written > 0)
            })
        })
        .await
    }

    /// Refuses all items of a batch that wait.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refuse_waiting_items(
        &self,
        owner: UserId,
        id: BatchId,
        refused: Refused,
    ) -> Result<(), Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                query(
                    "UPDATE batch_items SET refused = $2, refused_at = $3, due_at = NULL, \
                     lease_until = NULL WHERE batch_id = $1 AND owner_id = $4 \
                     AND due_at IS NOT NULL",
                )
                .bind(id.uuid())
                .bind(to_json(&refused)?)
                .bind(time::now())
                .bind(owner.uuid())
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Keeps a quote of a batch.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_batch_quote(
        &self,
        owner: UserId,
        id: BatchQuoteId,
        quote: StoredQuote,
    ) -> Result<(), Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                query(
                    "INSERT INTO batch_quotes (id, owner_id, request_hash, items, max_credits, \
                     created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(id.uuid())
                .bind(owner.uuid())
                .bind(quote.request_hash.as_slice())
                .bind(to_json(&quote.items)?)
                .bind(quote.max_credits)
                .bind(time::now())
                .bind(quote.expires_at)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// A quote of a batch of this owner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_batch_quote(
        &self,
        owner: UserId,
        id: BatchQuoteId,
    ) -> Result<Option<StoredQuote>, Error> {
        let row = query(
            "SELECT request_hash, items, max_credits, expires_at FROM batch_quotes \
             WHERE id = $1 AND owner_id = $2",
        )
        .bind(id.uuid())
        .bind(owner.uuid())
        .fetch_optional(&mut self.read(Scope::User(owner)).await?)
        .await?;
        row.map(|row| {
            Ok(StoredQuote {
                request_hash: row.try_get("request_hash")?,
                items: row.try_get::<Json>("items")?.read("items of a quote")?,
                max_credits: row.try_get("max_credits")?,
                expires_at: rows::time(&row, "expires_at")?,
            })
        })
        .transpose()
    }
}

async fn by_key(
    connection: &mut Connection,
    owner: UserId,
    key: &str,
) -> Result<Option<(Batch, Vec<u8>)>, Error> {
    let row = query(AssertSqlSafe(format!(
        "SELECT {BATCH}, request_hash FROM batches WHERE owner_id = $1 AND idempotency_key = $2"
    )))
    .bind(owner.uuid())
    .bind(key)
    .fetch_optional(connection)
    .await?;
    row.map(|row| Ok((batch(&row)?, row.try_get("request_hash")?)))
        .transpose()
}

/// Refuses when the owner has more films that wait than they may. Two requests at the same moment
/// may pass it together: it keeps a queue short, no more.
async fn admit(connection: &mut Connection, new: &NewBatch) -> Result<(), Error> {
    let row = query(
        "SELECT COUNT(*) AS waiting FROM batch_items WHERE owner_id = $1 AND due_at IS NOT NULL",
    )
    .bind(new.batch.owner.uuid())
    .fetch_one(connection)
    .await?;
    let waiting: i64 = row.try_get("waiting")?;
    let more = i64::try_from(new.items.len()).unwrap_or(i64::MAX);
    if waiting.saturating_add(more) <= i64::from(new.most_waiting) {
        return Ok(());
    }
    Err(Error::TooManyJobs(TooMany {
        scope: limits::Scope::Waiting,
        limit: new.most_waiting,
        in_flight: u32::try_from(waiting).unwrap_or(u32::MAX),
    }))
}

/// Locks an item that is to become a job.
///
/// # Errors
/// `Decided` when it does not wait any more, or somebody else has taken it, or it is not of this
/// owner.
pub(super) async fn lock_item(
    connection: &mut Connection,
    owner: UserId,
    place: &Place,
) -> Result<(), Error> {
    let lock = connection.dialect().lock;
    let found = query(AssertSqlSafe(format!(
        "SELECT position FROM batch_items WHERE batch_id = $1 AND position = $2 \
         AND lease_epoch = $3 AND owner_id = $4 AND due_at IS NOT NULL {lock}"
    )))
    .bind(place.batch.uuid())
    .bind(place.position)
    .bind(place.epoch)
    .bind(owner.uuid())
    .fetch_optional(connection)
    .await?;
    found.map(drop).ok_or(Error::Decided)
}

/// Writes down that an item, which this transaction has locked, is this job.
pub(super) async fn note_job(
    connection: &mut Connection,
    place: &Place,
    job: JobId,
) -> Result<(), Error> {
    query(
        "UPDATE batch_items SET job_id = $3, due_at = NULL, lease_until = NULL \
         WHERE batch_id = $1 AND position = $2",
    )
    .bind(place.batch.uuid())
    .bind(place.position)
    .bind(job.uuid())
    .execute(connection)
    .await?;
    Ok(())
}

/// Counts the items of a row where they belong.
fn count(row: &Row, counts: &mut Counts) -> Result<(), Error> {
    let items: i64 = row.try_get("items")?;
    let status = row.try_get::<Option<String>>("status")?;
    let which = match status.as_deref().and_then(JobStatus::parse) {
        None => {
            counts.refused = row.try_get("refused")?;
            counts.waiting = items - counts.refused;
            return Ok(());
        }
        Some(JobStatus::Succeeded) => &mut counts.succeeded,
        Some(JobStatus::Failed) => &mut counts.failed,
        Some(JobStatus::Canceled) => &mut counts.canceled,
        Some(JobStatus::Queued | JobStatus::Running | JobStatus::Unconfirmed) => {
            &mut counts.under_way
        }
    };
    *which += items;
    Ok(())
}

fn batch(row: &Row) -> Result<Batch, Error> {
    Ok(Batch {
        id: BatchId::from_uuid(rows::uuid(row, "id")?),
        owner: UserId::from_uuid(rows::uuid(row, "owner_id")?),
        project: ProjectId::from_uuid(rows::uuid(row, "project_id")?),
        name: row.try_get("name")?,
        quoted: row.try_get("quoted")?,
        created_at: rows::time(row, "created_at")?,
    })
}

fn taken(row: &Row) -> Result<Taken, Error> {
    let asked_at = rows::time(row, "asked_at")?;
    Ok(Taken {
        place: Place {
            batch: BatchId::from_uuid(rows::uuid(row, "batch_id")?),
            position: row.try_get("position")?,
            epoch: row.try_get("lease_epoch")?,
            asked_at,
        },
        owner: UserId::from_uuid(rows::uuid(row, "owner_id")?),
        wish: row.try_get::<Json>("wish")?.read("wish of an item")?,
        again: asked_at > rows::time(row, "created_at")?,
        by: (row.try_get::<Option<Uuid>>("api_key_id")?).map(ApiKeyId::from_uuid),
    })
}
