//! Pictures that users send.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    dialect::{Dialect, millis, wait},
    jobs::placeholders,
    query::{Connection, Row, query},
    removals, rows,
};
use crate::{
    ids::{UploadId, UserId},
    time::Timestamp,
    uploads::{self, Status, Upload},
};

const UPLOAD: &str = "id, owner_id, status, mime, size, sha256, file_name, refused_field, refusal, \
    found_sha256, created_at, expires_at, completed_at";

fn upload(row: &Row) -> Result<Upload, Error> {
    let status: &str = row.try_get("status")?;
    let field: Option<String> = row.try_get("refused_field")?;
    let refusal: Option<String> = row.try_get("refusal")?;
    Ok(Upload {
        id: UploadId::from_uuid(rows::uuid(row, "id")?),
        owner: UserId::from_uuid(rows::uuid(row, "owner_id")?),
        status: Status::parse(status)
            .ok_or_else(|| Error::decode("upload status", status.to_owned()))?,
        mime: row.try_get("mime")?,
        size: row.try_get::<i64>("size")?.unsigned_abs(),
        sha256: row.try_get("sha256")?,
        file_name: row.try_get("file_name")?,
        refusal: field.zip(refusal),
        found_sha256: row.try_get("found_sha256")?,
        created_at: rows::time(row, "created_at")?,
        expires_at: rows::time(row, "expires_at")?,
        completed_at: rows::optional_time(row, "completed_at")?,
    })
}

impl Database {
    /// Adds an upload; false when its owner has `most` open ones already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_upload(&self, new: Upload, most: u32) -> Result<bool, Error> {
        self.write(Scope::User(new.owner), move |connection| {
            Box::pin(async move {
                let Dialect {
                    now,
                    millisecond,
                    lock,
                    ..
                } = connection.dialect();
                // One after the other for each owner, so that the count is right.
                query(AssertSqlSafe(format!(
                    "SELECT id FROM users WHERE id = $1 {lock}"
                )))
                .bind(new.owner.uuid())
                .fetch_one(&mut *connection)
                .await?;
                let open: i64 = query(AssertSqlSafe(format!(
                    "SELECT COUNT(*) AS open FROM uploads \
                     WHERE owner_id = $1 AND status = 'OPEN' AND expires_at > {now}"
                )))
                .bind(new.owner.uuid())
                .fetch_one(&mut *connection)
                .await?
                .try_get("open")?;
                if open >= i64::from(most) {
                    return Ok(false);
                }
                query(AssertSqlSafe(format!(
                    "INSERT INTO uploads (id, owner_id, status, mime, size, sha256, file_name, \
                     created_at, expires_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, {now} + $9 * {millisecond})"
                )))
                .bind(new.id.uuid())
                .bind(new.owner.uuid())
                .bind(new.status.as_str())
                .bind(&new.mime)
                .bind(i64::try_from(new.size).unwrap_or(i64::MAX))
                .bind(new.sha256.as_deref())
                .bind(new.file_name.as_deref())
                .bind(new.created_at)
                .bind(wait(new.expires_at))
                .execute(connection)
                .await?;
                Ok(true)
            })
        })
        .await
    }

    /// An upload of `owner`; one of somebody else's is as good as missing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_upload(&self, owner: UserId, id: UploadId) -> Result<Option<Upload>, Error> {
        Ok(self.find_uploads(owner, &[id]).await?.pop())
    }

    /// Those of these uploads that are `owner`'s, in no order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_uploads(
        &self,
        owner: UserId,
        ids: &[UploadId],
    ) -> Result<Vec<Upload>, Error> {
        let list = placeholders(ids.len());
        let sql = format!(
            "SELECT {UPLOAD} FROM uploads WHERE id IN ({list}) AND owner_id = ${}",
            ids.len() + 1
        );
        let mut query = query(AssertSqlSafe(sql));
        for id in ids {
            query = query.bind(id.uuid());
        }
        query
            .bind(owner.uuid())
            .fetch_all(&mut self.read(Scope::User(owner)).await?)
            .await?
            .iter()
            .map(upload)
            .collect()
    }

    /// Uploads, whoever owns them: for the worker.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get_uploads(&self, ids: &[UploadId]) -> Result<Vec<Upload>, Error> {
        let list = placeholders(ids.len());
        let sql = format!("SELECT {UPLOAD} FROM uploads WHERE id IN ({list})");
        let mut query = query(AssertSqlSafe(sql));
        for id in ids {
            query = query.bind(id.uuid());
        }
        query
            .fetch_all(&mut self.read(Scope::Worker).await?)
            .await?
            .iter()
            .map(upload)
            .collect()
    }

    /// An open upload is ready; false when it is not open any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn complete_upload(
        &self,
        owner: UserId,
        id: UploadId,
        sha256: String,
        at: Timestamp,
    ) -> Result<bool, Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let now = connection.dialect().now;
                let written = query(AssertSqlSafe(format!(
                    "UPDATE uploads SET status = 'READY', found_sha256 = $3, completed_at = $4, \
                     unused_since = {now} WHERE id = $1 AND owner_id = $2 AND status = 'OPEN'"
                )))
                .bind(id.uuid())
                .bind(owner.uuid())
                .bind(sha256)
                .bind(at)
                .execute(connection)
                .await?
                .rows_affected();
                Ok(written > 0)
            })
        })
        .await
    }

    /// An open upload is refused, for a field and with words; false when it is not open any
    /// more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refuse_upload(
        &self,
        owner: UserId,
        id: UploadId,
        (field, message): (String, String),
    ) -> Result<bool, Error> {
        self.write(Scope::User(owner), move |connection| {
            Box::pin(async move {
                let written = query(
                    "UPDATE uploads SET status = 'REFUSED', refused_field = $3, refusal = $4 \
                     WHERE id = $1 AND owner_id = $2 AND status = 'OPEN'",
                )
                .bind(id.uuid())
                .bind(owner.uuid())
                .bind(field)
                .bind(message)
                .execute(connection)
                .await?
                .rows_affected();
                Ok(written > 0)
            })
        })
        .await
    }

    /// Ends uploads that were not completed, or were refused, and whose link has been dead for
    /// `slack`; their files are to be removed. At most `limit`; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire_uploads(&self, slack: Duration, limit: u32) -> Result<u64, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now,
                    millisecond,
                    lock_free,
                    ..
                } = connection.dialect();
                let sql = format!(
                    "WITH late AS MATERIALIZED (SELECT id FROM uploads \
                     WHERE status IN ('OPEN', 'REFUSED') AND removed_at IS NULL \
                     AND expires_at <= {now} - $1 * {millisecond} \
                     ORDER BY expires_at LIMIT $2 {lock_free}) \
                     UPDATE uploads SET removed_at = {now}, \
                     status = CASE WHEN status = 'OPEN' THEN 'EXPIRED' ELSE status END \
                     WHERE id IN (SELECT id FROM late) RETURNING id"
                );
                retire(connection, sql, slack, limit).await
            })
        })
        .await
    }

    /// Ends ready uploads that no project has named for `after`, and that no running job was
    /// given; their files are to be removed. At most `limit`; how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retire_uploads(&self, after: Duration, limit: u32) -> Result<u64, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now,
                    millisecond,
                    lock_free,
                    ..
                } = connection.dialect();
                let found = query(AssertSqlSafe(format!(
                    "SELECT id, owner_id FROM uploads \
                     WHERE status = 'READY' AND unused_since <= {now} - $1 * {millisecond} \
                     ORDER BY unused_since LIMIT $2 {lock_free}"
                )))
                .bind(millis(after))
                .bind(limit)
                .fetch_all(&mut *connection)
                .await?;
                let mut retired = 0;
                for row in &found {
                    let id = UploadId::from_uuid(rows::uuid(row, "id")?);
                    let given: i64 = query(
                        "SELECT COUNT(*) AS jobs FROM jobs WHERE owner_id = $1 \
                         AND status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED') \
                         AND CAST(input AS TEXT) LIKE $2",
                    )
                    .bind(rows::uuid(row, "owner_id")?)
                    .bind(pattern(id))
                    .fetch_one(&mut *connection)
                    .await?
                    .try_get("jobs")?;
                    if given > 0 {
                        // Looked at again when it has been unused for as long once more.
                        query(AssertSqlSafe(format!(
                            "UPDATE uploads SET unused_since = {now} WHERE id = $1"
                        )))
                        .bind(id.uuid())
                        .execute(&mut *connection)
                        .await?;
                        continue;
                    }
                    query(AssertSqlSafe(format!(
                        "UPDATE uploads SET status = 'REMOVED', removed_at = {now} WHERE id = $1"
                    )))
                    .bind(id.uuid())
                    .execute(&mut *connection)
                    .await?;
                    removals::request(connection, &uploads::folder(id)).await?;
                    retired += 1;
                }
                Ok(retired)
            })
        })
        .await
    }
}

/// Runs a statement that ends uploads and answers their ids; their files are to be removed.
async fn retire(
    connection: &mut Connection,
    sql: String,
    length: Duration,
    limit: u32,
) -> Result<u64, Error> {
    let ended = query(AssertSqlSafe(sql))
        .bind(millis(length))
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
    for row in &ended {
        let id = UploadId::from_uuid(rows::uuid(row, "id")?);
        removals::request(connection, &uploads::folder(id)).await?;
    }
    Ok(ended.len() as u64)
}

/// Finds the reference of an upload within a document.
fn pattern(id: UploadId) -> String {
    format!("%{}%", uploads::reference(id))
}

/// Notes which of these uploads of `owner` a project names now, and since when none does.
/// Belongs at the end of a transaction that changes what projects name.
pub(super) async fn note_use(
    connection: &mut Connection,
    owner: UserId,
    ids: &[UploadId],
) -> Result<(), Error> {
    let Dialect { now, lock, .. } = connection.dialect();
    for id in ids {
        // Locked by a statement of its own, so that the next one sees what whoever held the
        // lock before has written.
        query(AssertSqlSafe(format!(
            "SELECT id FROM uploads WHERE id = $1 AND owner_id = $2 {lock}"
        )))
        .bind(id.uuid())
        .bind(owner.uuid())
        .fetch_optional(&mut *connection)
        .await?;
        query(AssertSqlSafe(format!(
            "UPDATE uploads SET unused_since = CASE WHEN EXISTS (SELECT 1 FROM projects \
             WHERE projects.owner_id = $1 AND projects.deleted_at IS NULL \
             AND CAST(projects.product_images AS TEXT) LIKE $3) \
             THEN NULL ELSE COALESCE(unused_since, {now}) END \
             WHERE id = $2 AND owner_id = $1 AND status = 'READY'"
        )))
        .bind(owner.uuid())
        .bind(id.uuid())
        .bind(pattern(*id))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Notes that a job was given these uploads of `owner`.
pub(super) async fn note_job(
    connection: &mut Connection,
    owner: UserId,
    ids: &[UploadId],
) -> Result<(), Error> {
    let now = connection.dialect().now;
    for id in ids {
        query(AssertSqlSafe(format!(
            "UPDATE uploads SET unused_since = {now} \
             WHERE id = $1 AND owner_id = $2 AND unused_since IS NOT NULL"
        )))
        .bind(id.uuid())
        .bind(owner.uuid())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
