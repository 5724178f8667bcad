//! Claims: who works on which step, until when, and with which fencing token.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    Database, Error,
    database::Scope,
    dialect::{Dialect, millis},
    query::{Connection, Row, query},
    rows,
    rows::STEP,
    values::{Bind, Value},
};
use crate::{
    ids::{JobId, NodeId, StepId, UserId},
    jobs::store::{Bench, Claimed, Fence, Rota},
};

impl Database {
    /// Takes due steps that nobody holds, each with a lease of that length and a new fencing
    /// token: one half from the owners whose turn it is by `rota`, each as many as another, the
    /// rest by age. Steps of `node` itself are in its memory, however late it renews their
    /// leases: taking them once more would have two workers at one step. Steps whose next turn
    /// takes place at one of the `busy` benches are left to others.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_steps(
        &self,
        node: NodeId,
        lease: Duration,
        limit: u32,
        busy: &[Bench],
        rota: &Rota,
    ) -> Result<Vec<Claimed>, Error> {
        let claim = Claim::new(node, lease, busy);
        let rota = rota.clone();
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let mut claimed = Vec::new();
                let in_turn = limit / 2;
                if in_turn > 0 {
                    let owners = owners_in_turn(connection, &rota).await?;
                    claimed = claim.in_turn(connection, in_turn, &owners).await?;
                }
                let rest = limit - u32::try_from(claimed.len()).unwrap_or(limit);
                claimed.extend(claim.by_age(connection, rest).await?);
                Ok(claimed)
            })
        })
        .await
    }

    /// Renews every lease of `node` at once, and answers those of its jobs that somebody asked
    /// to stop and that have not stopped yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew_leases(&self, node: NodeId, lease: Duration) -> Result<Vec<JobId>, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                query(AssertSqlSafe(format!(
                    "UPDATE steps SET lease_until = {now} + $2 * {millisecond} \
                     WHERE lease_owner = $1"
                )))
                .bind(node.uuid())
                .bind(millis(lease))
                .execute(&mut *connection)
                .await?;
                let rows = query(
                    "SELECT steps.job_id FROM steps JOIN jobs ON jobs.id = steps.job_id \
                     WHERE steps.lease_owner = $1 AND jobs.cancel_requested \
                     AND jobs.status NOT IN ('SUCCEEDED', 'FAILED', 'CANCELED')",
                )
                .bind(node.uuid())
                .fetch_all(connection)
                .await?;
                rows.iter()
                    .map(|row| Ok(JobId::from_uuid(rows::uuid(row, "job_id")?)))
                    .collect()
            })
        })
        .await
    }

    /// Hands back every lease of `node`: others may go on at once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn release_leases(&self, node: NodeId) -> Result<u64, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                Ok(
                    query("UPDATE steps SET lease_owner = NULL WHERE lease_owner = $1")
                        .bind(node.uuid())
                        .execute(connection)
                        .await?
                        .rows_affected(),
                )
            })
        })
        .await
    }

    /// Hands back what was claimed with these tokens, for whoever comes first; what was claimed
    /// anew since then stays as it is, so that this may be repeated. Steps keep their places
    /// among those that are due.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hand_back(&self, fences: Vec<Fence>) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                for fence in fences {
                    query(
                        "UPDATE steps SET lease_owner = NULL \
                         WHERE id = $1 AND lease_owner = $2 AND lease_epoch = $3",
                    )
                    .bind(fence.step.uuid())
                    .bind(fence.node.uuid())
                    .bind(fence.epoch)
                    .execute(&mut *connection)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Hands back what `node` holds of these jobs, to be claimed after a while by whoever comes.
    /// For a worker that does not know any more what it was doing with them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn let_go(
        &self,
        node: NodeId,
        jobs: Vec<JobId>,
        after: Duration,
    ) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let Dialect {
                    now, millisecond, ..
                } = connection.dialect();
                for job in jobs {
                    query(AssertSqlSafe(format!(
                        "UPDATE steps SET lease_owner = NULL, due_at = CASE WHEN due_at IS NULL \
                         THEN NULL ELSE {now} + $3 * {millisecond} END \
                         WHERE job_id = $1 AND lease_owner = $2"
                    )))
                    .bind(job.uuid())
                    .bind(node.uuid())
                    .bind(millis(after))
                    .execute(&mut *connection)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Takes back the leases of every other node. Only for a database that this process
    /// has for itself: whoever held them is dead.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire_foreign_leases(&self, node: NodeId) -> Result<u64, Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                Ok(
                    query("UPDATE steps SET lease_owner = NULL WHERE lease_owner <> $1")
                        .bind(node.uuid())
                        .execute(connection)
                        .await?
                        .rows_affected(),
                )
            })
        })
        .await
    }

    /// Makes a step due now, when nobody holds it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wake_step(&self, step: StepId) -> Result<(), Error> {
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let now = connection.dialect().now;
                query(AssertSqlSafe(format!(
                    "UPDATE steps SET due_at = {now} WHERE id = $1 AND lease_owner IS NULL \
                     AND status IN ('UNCONFIRMED', 'RUNNING')"
                )))
                .bind(step.uuid())
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }
}

/// Owners that have one turn each in a claim. Each is two look-ups in an index.
const OWNERS: usize = 32;
/// Steps that wait for somebody to claim them, in the words of their index.
const WAITING: &str = "steps.due_at IS NOT NULL AND steps.lease_owner IS NULL";

/// The next owners of waiting steps in the order of their identifiers, beginning anew after the
/// last. The index is entered once for each: how many steps an owner has costs nothing.
async fn owners_in_turn(connection: &mut Connection, rota: &Rota) -> Result<Vec<Uuid>, Error> {
    let start = rota.last();
    let mut owners = owners_behind(connection, start, OWNERS).await?;
    if owners.len() < OWNERS && !start.is_nil() {
        let missing = OWNERS - owners.len();
        let others = owners_behind(connection, Uuid::nil(), missing).await?;
        owners.extend(others.into_iter().take_while(|owner| *owner <= start));
    }
    rota.note(owners.last().copied().unwrap_or_default());
    Ok(owners)
}

async fn owners_behind(
    connection: &mut Connection,
    last: Uuid,
    most: usize,
) -> Result<Vec<Uuid>, Error> {
    let next = |last: &str| {
        format!(
            "(SELECT steps.owner_id FROM steps WHERE {WAITING} AND steps.owner_id > {last} \
             ORDER BY steps.owner_id LIMIT 1)"
        )
    };
    query(AssertSqlSafe(format!(
        "WITH RECURSIVE owners (owner_id, place) AS (SELECT {}, 1 UNION ALL \
         SELECT {}, owners.place + 1 FROM owners \
         WHERE owners.owner_id IS NOT NULL AND owners.place < $2) \
         SELECT owner_id FROM owners WHERE owner_id IS NOT NULL",
        next("$1"),
        next("owners.owner_id"),
    )))
    .bind(last)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?
    .iter()
    .map(|row| rows::uuid(row, "owner_id"))
    .collect()
}

/// A claim that is being made.
struct Claim {
    node: NodeId,
    lease: Duration,
    /// A condition on steps: their next turn takes place where there is room.
    fits: String,
}

impl Claim {
    fn new(node: NodeId, lease: Duration, busy: &[Bench]) -> Self {
        let mut fits = String::new();
        for bench in busy {
            fits.push_str(match bench {
                Bench::Fetch => " AND NOT (status = 'STORING' AND kind IN ('VOICE', 'VIDEO'))",
                Bench::Compose => {
                    " AND NOT (status = 'PENDING' AND kind IN ('COMPOSE', 'THUMBNAIL'))"
                }
            });
        }
        Self { node, lease, fits }
    }

    /// So many free steps in all, each of these owners' oldest.
    async fn in_turn(
        &self,
        connection: &mut Connection,
        limit: u32,
        owners: &[Uuid],
    ) -> Result<Vec<Claimed>, Error> {
        if owners.is_empty() {
            return Ok(Vec::new());
        }
        let Dialect { now, lock_free, .. } = connection.dialect();
        let fits = &self.fits;
        let each = limit.div_ceil(u32::try_from(owners.len()).unwrap_or(u32::MAX));
        // Few texts, so that the databases know them: the last places of some are nobody's.
        let places = owners.len().next_power_of_two();
        let free: Vec<_> = (0..places)
            .map(|place| {
                format!(
                    "SELECT id FROM (SELECT id FROM steps WHERE {WAITING} \
                     AND steps.owner_id = ${} AND due_at <= {now}{fits} \
                     ORDER BY due_at LIMIT $4 {lock_free}) AS owner{place}",
                    place + 5
                )
            })
            .collect();
        let chosen = format!("free AS MATERIALIZED ({})", free.join(" UNION ALL "));
        let mut values: Vec<_> = vec![i64::from(each).value()];
        let nobody = std::iter::repeat_n(Uuid::nil(), places - owners.len());
        let owners = owners.iter().copied().chain(nobody);
        values.extend(owners.map(|owner| owner.value()));
        self.take(connection, &chosen, "SELECT id FROM free", limit, values)
            .await
    }

    /// So many steps, the oldest first; those of nodes that are gone before all others.
    async fn by_age(&self, connection: &mut Connection, limit: u32) -> Result<Vec<Claimed>, Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let Dialect { now, lock_free, .. } = connection.dialect();
        let fits = &self.fits;
        // Two look-ups, so that each has an index of its own.
        let chosen = format!(
            "abandoned AS MATERIALIZED (SELECT id FROM steps \
             WHERE lease_owner <> $1 AND lease_until < {now} AND due_at <= {now}{fits} \
             ORDER BY due_at LIMIT $3 {lock_free}), \
             free AS MATERIALIZED (SELECT id FROM steps \
             WHERE lease_owner IS NULL AND due_at <= {now}{fits} \
             ORDER BY due_at LIMIT $3 {lock_free})"
        );
        let all = "SELECT id FROM abandoned UNION ALL SELECT id FROM free";
        self.take(connection, &chosen, all, limit, Vec::new()).await
    }

    /// Takes what was chosen. `chosen` is MATERIALIZED: joined in any other way, a subselect may
    /// run more than once and lock more than it answers.
    async fn take(
        &self,
        connection: &mut Connection,
        chosen: &str,
        all: &str,
        limit: u32,
        values: Vec<Value>,
    ) -> Result<Vec<Claimed>, Error> {
        let Dialect {
            now, millisecond, ..
        } = connection.dialect();
        let rows = query(AssertSqlSafe(format!(
            "WITH {chosen} \
             UPDATE steps SET lease_owner = $1, lease_until = {now} + $2 * {millisecond}, \
             lease_epoch = lease_epoch + 1, owner_id = COALESCE(owner_id, \
             (SELECT jobs.owner_id FROM jobs WHERE jobs.id = steps.job_id)) \
             WHERE id IN ({all} LIMIT $3) RETURNING {STEP}, lease_epoch, owner_id, \
             (SELECT deadline FROM jobs WHERE jobs.id = steps.job_id) AS deadline, \
             (SELECT plan FROM jobs WHERE jobs.id = steps.job_id) AS plan"
        )))
        .bind(self.node.uuid())
        .bind(millis(self.lease))
        .bind(i64::from(limit))
        .bind_all(values)
        .fetch_all(connection)
        .await?;
        rows.iter().map(|row| self.claimed(row)).collect()
    }

    fn claimed(&self, row: &Row) -> Result<Claimed, Error> {
        let step = rows::step(row)?;
        let fence = Fence {
            step: step.id,
            node: self.node,
            epoch: row.try_get("lease_epoch")?,
        };
        Ok(Claimed {
            step,
            fence,
            owner: UserId::from_uuid(rows::uuid(row, "owner_id")?),
            plan: row.try_get("plan")?,
            deadline: rows::time(row, "deadline")?,
        })
    }
}
