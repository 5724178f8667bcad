//! Steps that asked for the same: whose result can be taken over, and who is at it now.

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    query::{Connection, query},
    rows,
    rows::STEP,
};
use crate::{
    ids::{StepId, UserId},
    jobs::model::Step,
};

/// Steps that were sent and are not over. One whose outcome is unknown is not among them:
/// nobody waits for a person's decision about somebody else's job.
const UNDERWAY: &str = "'SUBMITTING', 'RUNNING', 'STORING'";
/// Results that are looked at; more of the same would be copies of copies.
const MOST: u32 = 8;

impl Database {
    /// Other steps of this owner that asked for the same: those that succeeded and whose files
    /// are there, newest first, and those that are under way.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn steps_like(
        &self,
        owner: UserId,
        but: StepId,
        key: &[u8],
    ) -> Result<Vec<Step>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT {STEP} FROM steps WHERE reuse_key = $1 AND id <> $2 \
             AND (status IN ({UNDERWAY}) OR (status = 'SUCCEEDED' AND output IS NOT NULL)) \
             AND EXISTS (SELECT 1 FROM jobs WHERE jobs.id = steps.job_id AND jobs.owner_id = $3 \
             AND jobs.discarded_at IS NULL AND jobs.files_removed_at IS NULL) \
             ORDER BY CASE WHEN status = 'SUCCEEDED' THEN 1 ELSE 0 END, completed_at DESC LIMIT $4"
        )))
        .bind(key)
        .bind(but.uuid())
        .bind(owner.uuid())
        .bind(MOST)
        .fetch_all(&mut self.read(self.scope()?).await?)
        .await?
        .iter()
        .map(rows::step)
        .collect()
    }
}

/// Refuses to send what another step has under way. A step without a key asks nobody.
pub(super) async fn refuse_twin(connection: &mut Connection, step: &Step) -> Result<(), Error> {
    let Some(key) = &step.reuse_key else {
        return Ok(());
    };
    let twin = query(AssertSqlSafe(format!(
        "SELECT id FROM steps WHERE reuse_key = $1 AND id <> $2 AND status IN ({UNDERWAY}) LIMIT 1"
    )))
    .bind(key.as_slice())
    .bind(step.id.uuid())
    .fetch_optional(connection)
    .await?;
    match twin {
        Some(_) => Err(Error::Underway),
        None => Ok(()),
    }
}
