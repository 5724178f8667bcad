//! How far event logs go.

use sqlx::AssertSqlSafe;

use super::{Database, Error, database::Scope, jobs::placeholders, query::query, rows};
use crate::ids::{JobId, UserId};

impl Database {
    /// The number of the newest event of each of these jobs, whoever's they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_seqs(&self, jobs: &[JobId]) -> Result<Vec<(JobId, i64)>, Error> {
        let mut query = query(AssertSqlSafe(format!(
            "SELECT id, last_seq FROM jobs WHERE id IN ({})",
            placeholders(jobs.len())
        )));
        for job in jobs {
            query = query.bind(job.uuid());
        }
        query
            .fetch_all(&mut self.read(Scope::Worker).await?)
            .await?
            .iter()
            .map(|row| {
                let id = JobId::from_uuid(rows::uuid(row, "id")?);
                Ok((id, row.try_get("last_seq")?))
            })
            .collect()
    }

    /// The position of the newest event of each of these users' jobs. Users without events
    /// are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_positions(&self, owners: &[UserId]) -> Result<Vec<(UserId, i64)>, Error> {
        let mut query = query(AssertSqlSafe(format!(
            "SELECT owner_id, last_position FROM feeds WHERE owner_id IN ({})",
            placeholders(owners.len())
        )));
        for owner in owners {
            query = query.bind(owner.uuid());
        }
        query
            .fetch_all(&mut self.read(Scope::Worker).await?)
            .await?
            .iter()
            .map(|row| {
                let owner = UserId::from_uuid(rows::uuid(row, "owner_id")?);
                Ok((owner, row.try_get("last_position")?))
            })
            .collect()
    }
}
