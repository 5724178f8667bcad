//! How many jobs of a user are under way, counted in the transaction that adds one.

use super::{
    Error,
    query::{Connection, query},
};
use crate::{
    ids::UserId,
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
    if count(connection, owner, i64::from(limit) + 1).await? <= i64::from(limit) {
        return Ok(());
    }
    let all = count(connection, owner, i64::from(u32::MAX)).await?;
    Err(Error::TooManyJobs(TooMany {
        scope: Scope::User,
        limit,
        in_flight: u32::try_from(all - 1).unwrap_or(u32::MAX),
    }))
}

/// Jobs of this user that are not over, but no more than so many.
async fn count(connection: &mut Connection, owner: UserId, most: i64) -> Result<i64, Error> {
    let row = query(
        "SELECT COUNT(*) AS under_way FROM (SELECT 1 FROM jobs WHERE owner_id = $1 \
         AND status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED') LIMIT $2) AS counted",
    )
    .bind(owner.uuid())
    .bind(most)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get("under_way")?)
}
