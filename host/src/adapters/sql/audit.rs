//! Whether the books are in order: looked at as one moment, beside running servers.

use super::{
    Database, Error,
    database::Scope,
    query::{Connection, query},
    rows,
};
use crate::{
    billing::Audit,
    ids::{ApiKeyId, BatchId, JobId, ProjectId},
};

/// Mismatches of one kind that are told.
const TOLD: usize = 20;

/// What a row of a check names.
#[derive(Debug, Clone, Copy)]
enum Named {
    /// An account or a transfer, by a text.
    Text,
    /// A job, by its identifier.
    Job,
    /// A project, by its identifier.
    Project,
    /// A batch, by its identifier.
    Batch,
    /// An API key, by its identifier.
    Key,
}

/// Something that must not be there: what is wrong, what its rows name, and the statement that
/// finds them.
const CHECKS: &[(&str, Named, &str)] = &[
    (
        "the entries of a transfer are not its two halves",
        Named::Text,
        "SELECT credit_transfers.key AS what FROM credit_transfers \
         LEFT JOIN credit_entries ON credit_entries.transfer_id = credit_transfers.id \
         GROUP BY credit_transfers.id, credit_transfers.key, credit_transfers.amount \
         HAVING COUNT(credit_entries.account) <> 2 OR SUM(credit_entries.amount) <> 0 \
         OR MAX(credit_entries.amount) <> credit_transfers.amount",
    ),
    (
        "a stored balance is not the sum of its entries",
        Named::Text,
        "SELECT name AS what FROM credit_accounts WHERE balance <> (SELECT COALESCE(SUM(amount), 0) \
         FROM credit_entries WHERE account = name) OR last_seq <> (SELECT COUNT(*) \
         FROM credit_entries WHERE account = name)",
    ),
    (
        "a user's balance is below zero",
        Named::Text,
        "SELECT name AS what FROM credit_accounts WHERE owner_id IS NOT NULL AND balance < 0",
    ),
    (
        "what a user's jobs hold is not the held balance",
        Named::Text,
        "SELECT name AS what FROM credit_accounts WHERE kind = 'held' AND balance <> \
         (SELECT COALESCE(SUM(amount - captured - released), 0) FROM credit_holds \
         WHERE credit_holds.owner_id = credit_accounts.owner_id)",
    ),
    (
        "more credits end at a time than are available",
        Named::Text,
        "SELECT name AS what FROM credit_accounts WHERE kind = 'available' AND balance < \
         (SELECT COALESCE(SUM(remaining), 0) FROM credit_lots \
         WHERE credit_lots.owner_id = credit_accounts.owner_id)",
    ),
    (
        "captured and released are more than was held",
        Named::Job,
        "SELECT job_id AS what FROM credit_holds WHERE captured + released > amount",
    ),
    (
        "the hold is not what its transfers say",
        Named::Job,
        "SELECT credit_holds.job_id AS what FROM credit_holds LEFT JOIN credit_transfers \
         ON credit_transfers.job_id = credit_holds.job_id GROUP BY credit_holds.job_id, \
         credit_holds.amount, captured, released HAVING \
         SUM(CASE WHEN kind = 'HOLD' THEN credit_transfers.amount ELSE 0 END) <> credit_holds.amount \
         OR SUM(CASE WHEN kind = 'CAPTURE' THEN credit_transfers.amount ELSE 0 END) <> captured \
         OR SUM(CASE WHEN kind = 'RELEASE' THEN credit_transfers.amount ELSE 0 END) <> released",
    ),
    (
        "the job is over and did not spend what its attempts were charged",
        Named::Job,
        "SELECT credit_holds.job_id AS what FROM credit_holds \
         JOIN jobs ON jobs.id = credit_holds.job_id \
         LEFT JOIN attempts ON attempts.job_id = jobs.id AND charge = 'CHARGED' \
         WHERE jobs.status IN ('SUCCEEDED', 'FAILED', 'CANCELED') \
         GROUP BY credit_holds.job_id, captured, amount \
         HAVING captured <> COALESCE(SUM(credits), 0) \
         AND NOT (captured = amount AND COALESCE(SUM(credits), 0) > amount)",
    ),
    (
        "the job is over and holds credits without an open attempt",
        Named::Job,
        "SELECT credit_holds.job_id AS what FROM credit_holds \
         JOIN jobs ON jobs.id = credit_holds.job_id \
         WHERE jobs.status IN ('SUCCEEDED', 'FAILED', 'CANCELED') AND state = 'OPEN' \
         AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.job_id = credit_holds.job_id \
         AND charge = 'UNKNOWN' AND finished_at IS NULL)",
    ),
    (
        "the job is under way and holds nothing",
        Named::Job,
        "SELECT credit_holds.job_id AS what FROM credit_holds \
         JOIN jobs ON jobs.id = credit_holds.job_id \
         WHERE jobs.status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED') AND state <> 'OPEN'",
    ),
    (
        "the job holds more credits that end at a time than it holds at all",
        Named::Job,
        "SELECT credit_holds.job_id AS what FROM credit_holds WHERE amount - captured - released < \
         (SELECT COALESCE(SUM(held), 0) FROM credit_hold_lots \
         WHERE credit_hold_lots.job_id = credit_holds.job_id)",
    ),
    (
        "what counts for the project's budget is not what its jobs hold and spent",
        Named::Project,
        "SELECT scope_id AS what FROM spending LEFT JOIN jobs ON jobs.project_id = scope_id \
         LEFT JOIN credit_holds ON credit_holds.job_id = jobs.id \
         WHERE NOT EXISTS (SELECT 1 FROM batches WHERE batches.id = scope_id) \
         AND scope_id NOT IN (SELECT own.api_key_id FROM jobs AS own \
         WHERE own.api_key_id IS NOT NULL) \
         GROUP BY scope_id, spending.held, spending.captured \
         HAVING spending.held <> COALESCE(SUM(credit_holds.amount - credit_holds.captured \
         - credit_holds.released), 0) \
         OR spending.captured <> COALESCE(SUM(credit_holds.captured), 0)",
    ),
    (
        "what counts for the API key's budget is not what its jobs hold and spent",
        Named::Key,
        "SELECT scope_id AS what FROM spending JOIN jobs ON jobs.api_key_id = scope_id \
         LEFT JOIN credit_holds ON credit_holds.job_id = jobs.id \
         GROUP BY scope_id, spending.held, spending.captured \
         HAVING spending.held <> COALESCE(SUM(credit_holds.amount - credit_holds.captured \
         - credit_holds.released), 0) \
         OR spending.captured <> COALESCE(SUM(credit_holds.captured), 0)",
    ),
    (
        "what counts for the batch's budget is not what its jobs hold and spent",
        Named::Batch,
        "SELECT scope_id AS what FROM spending JOIN batches ON batches.id = scope_id \
         LEFT JOIN jobs ON jobs.batch_id = scope_id \
         LEFT JOIN credit_holds ON credit_holds.job_id = jobs.id \
         GROUP BY scope_id, spending.held, spending.captured \
         HAVING spending.held <> COALESCE(SUM(credit_holds.amount - credit_holds.captured \
         - credit_holds.released), 0) \
         OR spending.captured <> COALESCE(SUM(credit_holds.captured), 0)",
    ),
    (
        "the purchase is not what its transfers say",
        Named::Text,
        "SELECT key AS what FROM payment_purchases WHERE credits <> (SELECT \
         COALESCE(SUM(credit_entries.amount), 0) FROM credit_transfers JOIN credit_entries \
         ON credit_entries.transfer_id = credit_transfers.id \
         AND credit_entries.account <> 'payments' \
         WHERE credit_transfers.key = 'purchase/' || payment_purchases.key)",
    ),
    (
        "what was taken back of a purchase is not what its transfers say",
        Named::Text,
        "SELECT key AS what FROM payment_purchases WHERE taken <> (SELECT \
         COALESCE(-SUM(credit_entries.amount), 0) FROM credit_transfers JOIN credit_entries \
         ON credit_entries.transfer_id = credit_transfers.id \
         AND credit_entries.account <> 'payments' WHERE credit_transfers.kind = 'REFUND' \
         AND credit_transfers.reason = payment_purchases.key)",
    ),
    (
        "the credits were bought, and nobody knows for what",
        Named::Text,
        "SELECT credit_transfers.key AS what FROM credit_transfers WHERE kind = 'PURCHASE' \
         AND NOT EXISTS (SELECT 1 FROM payment_purchases \
         WHERE credit_transfers.key = 'purchase/' || payment_purchases.key)",
    ),
    (
        "nobody counts what the project's jobs hold and spent",
        Named::Project,
        "SELECT DISTINCT jobs.project_id AS what FROM credit_holds \
         JOIN jobs ON jobs.id = credit_holds.job_id WHERE jobs.project_id IS NOT NULL \
         AND amount > 0 AND NOT EXISTS (SELECT 1 FROM spending \
         WHERE spending.scope_id = jobs.project_id)",
    ),
    (
        "the job is of a batch that does not know it, or the batch knows one that is not its",
        Named::Job,
        "SELECT jobs.id AS what FROM jobs WHERE jobs.batch_id IS NOT NULL AND 1 <> \
         (SELECT COUNT(*) FROM batch_items WHERE batch_items.batch_id = jobs.batch_id \
         AND batch_items.job_id = jobs.id) UNION ALL \
         SELECT job_id AS what FROM batch_items WHERE job_id IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM jobs WHERE jobs.id = job_id AND jobs.batch_id = batch_items.batch_id)",
    ),
    (
        "nobody counts what the API key's jobs hold and spent",
        Named::Key,
        "SELECT DISTINCT jobs.api_key_id AS what FROM credit_holds \
         JOIN jobs ON jobs.id = credit_holds.job_id WHERE jobs.api_key_id IS NOT NULL \
         AND amount > 0 AND NOT EXISTS (SELECT 1 FROM spending \
         WHERE spending.scope_id = jobs.api_key_id)",
    ),
    (
        "nobody counts what the batch's jobs hold and spent",
        Named::Batch,
        "SELECT DISTINCT jobs.batch_id AS what FROM credit_holds \
         JOIN jobs ON jobs.id = credit_holds.job_id WHERE jobs.batch_id IS NOT NULL \
         AND amount > 0 AND NOT EXISTS (SELECT 1 FROM spending \
         WHERE spending.scope_id = jobs.batch_id)",
    ),
];

impl Database {
    /// Proves the books, or says what is wrong with them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit_credits(&self) -> Result<Audit, Error> {
        let mut connection = self.read(Scope::Worker).await?;
        // Everything is looked at as it was at one moment.
        let (begin, end) = match &connection {
            Connection::Postgres(_) => ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", None),
            Connection::Reader(_) | Connection::Writer(_) => ("BEGIN", Some("ROLLBACK")),
        };
        query(begin).execute(&mut connection).await?;
        let audit = audit(&mut connection).await;
        if let Some(end) = end {
            query(end).execute(&mut connection).await?;
        }
        audit
    }
}

async fn audit(connection: &mut Connection) -> Result<Audit, Error> {
    let row = query(
        "SELECT COUNT(*) AS entries, CAST(COALESCE(SUM(amount), 0) AS BIGINT) AS total, \
         (SELECT COUNT(*) FROM credit_holds) AS holds FROM credit_entries",
    )
    .fetch_one(&mut *connection)
    .await?;
    let sum: i64 = row.try_get("total")?;
    let mut mismatches = Vec::new();
    if sum != 0 {
        mismatches.push(format!("the sum of all entries is {sum}"));
    }
    for (what, named, sql) in CHECKS {
        let found = query(*sql).fetch_all(&mut *connection).await?;
        for row in found.iter().take(TOLD) {
            let which = match named {
                Named::Text => row.try_get("what")?,
                Named::Project => ProjectId::from_uuid(rows::uuid(row, "what")?).to_string(),
                Named::Key => ApiKeyId::from_uuid(rows::uuid(row, "what")?).to_string(),
                Named::Batch => BatchId::from_uuid(rows::uuid(row, "what")?).to_string(),
                Named::Job => JobId::from_uuid(rows::uuid(row, "what")?).to_string(),
            };
            mismatches.push(format!("{which}: {what}"));
        }
        if found.len() > TOLD {
            mismatches.push(format!("{what}: {} in all", found.len()));
        }
    }
    Ok(Audit {
        ok: mismatches.is_empty(),
        entries: row.try_get("entries")?,
        sum,
        holds: row.try_get("holds")?,
        mismatches,
    })
}
