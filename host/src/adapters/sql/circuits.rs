//! Which providers are left alone for a while, and how providers did lately. For all nodes.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    query::{Connection, Row, query},
    rows,
    values::Json,
};
use crate::{
    jobs::model::{AttemptStatus, Failure},
    providers::{Circuit, CircuitState, Entry, Kind, Lane, Outcome, Rules, Sign, Trial},
    time::{self, Timestamp},
};

const CIRCUIT: &str = "state, failures, opened, until, failed_at, closed_at, reason";

impl Database {
    /// All circuits that were ever anything but closed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn circuits(&self) -> Result<Vec<(Lane, Circuit)>, Error> {
        query(AssertSqlSafe(format!(
            "SELECT provider, kind, model, {CIRCUIT} FROM circuits"
        )))
        .fetch_all(&mut self.read(Scope::Worker).await?)
        .await?
        .iter()
        .map(|row| Ok((lane(row)?, circuit(row)?)))
        .collect()
    }

    /// Changes a circuit by what a call said: as it was, and as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell_circuit(
        &self,
        lane: &Lane,
        sign: Sign,
        rules: Rules,
    ) -> Result<(Circuit, Circuit), Error> {
        let lane = lane.clone();
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let before = lock(connection, &lane).await?;
                let after = before.after(&sign, time::now(), &rules);
                if after != before {
                    write(connection, &lane, &after).await?;
                }
                Ok((before, after))
            })
        })
        .await
    }

    /// Asks whether a call may be made. Of many who ask at once, one makes the trial.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enter_circuit(&self, lane: &Lane, rules: Rules) -> Result<Trial, Error> {
        let lane = lane.clone();
        self.write(Scope::Worker, move |connection| {
            Box::pin(async move {
                let before = lock(connection, &lane).await?;
                let entry = before.enter(time::now(), &rules);
                if let Entry::Trial(after) = &entry {
                    write(connection, &lane, after).await?;
                }
                Ok(Trial { before, entry })
            })
        })
        .await
    }

    /// How a provider's newest attempts went that were begun within so long, at most so many,
    /// whoever's they were. Those that wait for an answer are left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn outcomes(
        &self,
        provider: &str,
        within: Duration,
        most: u32,
    ) -> Result<Vec<Outcome>, Error> {
        let since = Timestamp::from_millis(
            time::now()
                .millis()
                .saturating_sub(i64::try_from(within.as_millis()).unwrap_or(i64::MAX)),
        );
        let found = query(
            "SELECT steps.kind AS kind, attempts.model AS model, attempts.status AS status, \
             attempts.error AS error, attempts.submitted_at AS submitted_at, \
             attempts.finished_at AS finished_at FROM attempts \
             JOIN steps ON steps.id = attempts.step_id \
             WHERE attempts.provider = $1 AND attempts.submitted_at >= $2 AND attempts.counts \
             ORDER BY attempts.submitted_at DESC LIMIT $3",
        )
        .bind(provider)
        .bind(since)
        .bind(most)
        .fetch_all(&mut self.read(Scope::Worker).await?)
        .await?;
        let outcomes = found.iter().map(|row| outcome(provider, row));
        outcomes.filter_map(Result::transpose).collect()
    }
}

/// The circuit, which nobody else changes until the transaction ends.
async fn lock(connection: &mut Connection, lane: &Lane) -> Result<Circuit, Error> {
    let lock = connection.dialect().lock;
    query(
        "INSERT INTO circuits (provider, kind, model, state, failures, opened) \
         VALUES ($1, $2, $3, 'CLOSED', 0, 0) ON CONFLICT (provider, kind, model) DO NOTHING",
    )
    .bind(&lane.provider)
    .bind(lane.kind.map_or("", Kind::as_str))
    .bind(&lane.model)
    .execute(&mut *connection)
    .await?;
    let row = query(AssertSqlSafe(format!(
        "SELECT {CIRCUIT} FROM circuits WHERE provider = $1 AND kind = $2 AND model = $3 {lock}"
    )))
    .bind(&lane.provider)
    .bind(lane.kind.map_or("", Kind::as_str))
    .bind(&lane.model)
    .fetch_one(connection)
    .await?;
    circuit(&row)
}

async fn write(connection: &mut Connection, lane: &Lane, circuit: &Circuit) -> Result<(), Error> {
    query(
        "UPDATE circuits SET state = $4, failures = $5, opened = $6, until = $7, failed_at = $8, \
         closed_at = $9, reason = $10 WHERE provider = $1 AND kind = $2 AND model = $3",
    )
    .bind(&lane.provider)
    .bind(lane.kind.map_or("", Kind::as_str))
    .bind(&lane.model)
    .bind(circuit.state.as_str())
    .bind(circuit.failures)
    .bind(circuit.opened)
    .bind(circuit.until)
    .bind(circuit.failed_at)
    .bind(circuit.closed_at)
    .bind(circuit.reason.as_deref())
    .execute(connection)
    .await?;
    Ok(())
}

fn lane(row: &Row) -> Result<Lane, Error> {
    let kind: &str = row.try_get("kind")?;
    Ok(Lane {
        provider: row.try_get("provider")?,
        kind: match kind {
            "" => None,
            word => Some(
                Kind::parse(word)
                    .ok_or_else(|| Error::decode("kind of a circuit", word.to_owned()))?,
            ),
        },
        model: row.try_get("model")?,
    })
}

fn circuit(row: &Row) -> Result<Circuit, Error> {
    let state: &str = row.try_get("state")?;
    let count = |column: &str| -> Result<u32, Error> {
        Ok(u32::try_from(row.try_get::<i64>(column)?).unwrap_or(u32::MAX))
    };
    Ok(Circuit {
        state: CircuitState::parse(state)
            .ok_or_else(|| Error::decode("state of a circuit", state.to_owned()))?,
        failures: count("failures")?,
        opened: count("opened")?,
        until: rows::optional_time(row, "until")?,
        failed_at: rows::optional_time(row, "failed_at")?,
        closed_at: rows::optional_time(row, "closed_at")?,
        reason: row.try_get("reason")?,
    })
}

fn outcome(provider: &str, row: &Row) -> Result<Option<Outcome>, Error> {
    let Some(kind) = Kind::parse(row.try_get("kind")?) else {
        return Ok(None);
    };
    let status: &str = row.try_get("status")?;
    let status = AttemptStatus::parse(status)
        .ok_or_else(|| Error::decode("attempt status", status.to_owned()))?;
    let error: Option<Json> = row.try_get("error")?;
    let error: Option<Failure> = error.map(|error| error.read("attempt error")).transpose()?;
    let Some(worked) = status.worked(error.as_ref()) else {
        return Ok(None);
    };
    let submitted = rows::time(row, "submitted_at")?;
    let finished: Option<Timestamp> = rows::optional_time(row, "finished_at")?;
    let model: Option<&str> = row.try_get("model")?;
    Ok(Some(Outcome {
        lane: Lane::of(provider, kind, model),
        worked,
        took: finished
            .filter(|_| status == AttemptStatus::Succeeded)
            .map(|finished| finished.since(submitted)),
    }))
}
