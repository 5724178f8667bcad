//! How many jobs of a user, and of an API key, are under way, counted in the transaction that adds one.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Error,
    query::{Connection, query},
};
use crate::{
    ids::{JobId, UserId},
    jobs::limits::{Scope, TooMany},
};

/// Refuses when more than `limit` jobs of this user are not over, the one that this transaction
/// accepted or began again among them. Its events are written: the lock of its owner's feed has
/// those who would count at the same time wait for each other. What is counted is an index that
/// has only such jobs, and of it no more than the limit; there is no stored number that could
/// be wrong.
pub(super) async fn admit(
    connection: &mut Connection,
    owner: UserId,
    limit: u32,
) -> Result<(), Error> {
    refuse_beyond(connection, Scope::User, owner.uuid(), limit).await
}

/// The same for the API key of a job, if it has one with a limit.
pub(super) async fn admit_key(connection: &mut Connection, job: JobId) -> Result<(), Error> {
    let key = query(
        "SELECT api_keys.id, api_keys.in_flight FROM jobs \
         JOIN api_keys ON api_keys.id = jobs.api_key_id \
         WHERE jobs.id = $1 AND api_keys.in_flight IS NOT NULL",
    )
    .bind(job.uuid())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(key) = key else { return Ok(()) };
    let limit: i64 = key.try_get("in_flight")?;
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    refuse_beyond(connection, Scope::Key, key.try_get("id")?, limit).await
}

async fn refuse_beyond(
    connection: &mut Connection,
    scope: Scope,
    whose: Uuid,
    limit: u32,
) -> Result<(), Error> {
    if count(connection, scope, whose, i64::from(limit) + 1).await? <= i64::from(limit) {
        return Ok(());
    }
    let all = count(connection, scope, whose, i64::from(u32::MAX)).await?;
    Err(Error::TooManyJobs(TooMany {
        scope,
        limit,
        in_flight: u32::try_from(all - 1).unwrap_or(u32::MAX),
    }))
}

/// Jobs of a user or a key that are not over, but no more than so many.
async fn count(
    connection: &mut Connection,
    scope: Scope,
    whose: Uuid,
    most: i64,
) -> Result<i64, Error> {
    let column = match scope {
        Scope::Key => "api_key_id",
        Scope::User | Scope::Waiting => "owner_id",
    };
    let row = query(AssertSqlSafe(format!(
        "SELECT COUNT(*) AS under_way FROM (SELECT 1 FROM jobs WHERE {column} = $1 \
         AND status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED') LIMIT $2) AS counted"
    )))
    .bind(whose)
    .bind(most)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("under_way")?)
}
