//! Attempts of a period, to be compared with the vendors' records.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{
    Database, Error,
    database::Scope,
    query::query,
    rows::{self, ATTEMPT},
};
use crate::{
    ids::AttemptId,
    jobs::{model::Attempt, reconcile::Period},
    time::Timestamp,
};

impl Database {
    /// Providers with attempts in a period, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn providers_of_attempts(&self, period: &Period) -> Result<Vec<String>, Error> {
        let found = query(
            "SELECT DISTINCT provider FROM attempts WHERE submitted_at >= $1 \
             AND submitted_at < $2 AND ($3 = '' OR provider = $3)",
        )
        .bind(period.since)
        .bind(period.until)
        .bind(period.provider.as_deref().unwrap_or_default())
        .fetch_all(&mut self.read(Scope::Worker).await?)
        .await?;
        let names: Result<Vec<String>, _> =
            found.iter().map(|row| row.try_get("provider")).collect();
        let mut names = names?;
        // Databases have orders of their own.
        names.sort_unstable();
        Ok(names)
    }

    /// Where an attempt stands in the order in which they are compared.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempt_place(
        &self,
        id: AttemptId,
    ) -> Result<Option<(String, Timestamp, AttemptId)>, Error> {
        let found = query("SELECT provider, submitted_at FROM attempts WHERE id = $1")
            .bind(id.uuid())
            .fetch_optional(&mut self.read(Scope::Worker).await?)
            .await?;
        found
            .map(|row| {
                Ok((
                    row.try_get("provider")?,
                    rows::time(&row, "submitted_at")?,
                    id,
                ))
            })
            .transpose()
    }

    /// A provider's attempts of a period after a place, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempts_between(
        &self,
        provider: &str,
        since: Timestamp,
        until: Timestamp,
        after: Option<(Timestamp, AttemptId)>,
        most: u32,
    ) -> Result<Vec<Attempt>, Error> {
        // Attempts' ids grow with time; this one is before all.
        let (at, id) = after.unwrap_or((since, AttemptId::from_uuid(uuid::Uuid::nil())));
        let found = query(AssertSqlSafe(format!(
            "SELECT {ATTEMPT} FROM attempts WHERE provider = $1 AND submitted_at >= $2 \
             AND submitted_at < $3 AND (submitted_at > $2 OR id > $4) \
             ORDER BY submitted_at, id LIMIT $5"
        )))
        .bind(provider)
        .bind(at.max(since))
        .bind(until)
        .bind(if at < since {
            uuid::Uuid::nil()
        } else {
            id.uuid()
        })
        .bind(most)
        .fetch_all(&mut self.read(Scope::Worker).await?)
        .await?;
        found.iter().map(rows::attempt).collect()
    }

    /// Attempts that a vendor's task belongs to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempts_with_task(
        &self,
        provider: &str,
        task: &str,
    ) -> Result<Vec<AttemptId>, Error> {
        let found = query("SELECT id FROM attempts WHERE provider = $1 AND vendor_task = $2")
            .bind(provider)
            .bind(task)
            .fetch_all(&mut self.read(Scope::Worker).await?)
            .await?;
        let ids = found.iter().map(|row| rows::uuid(row, "id"));
        ids.map(|id| id.map(AttemptId::from_uuid)).collect()
    }

    /// Other attempts at the same provider, at most so far away in time, that were charged and
    /// have no task, or whose outcome is unknown: a look-up may take them for this one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempts_without_task(
        &self,
        attempt: &Attempt,
        near: Duration,
        most: u32,
    ) -> Result<Vec<Attempt>, Error> {
        let span = chrono::TimeDelta::from_std(near).unwrap_or_default();
        let earliest: Timestamp = (attempt.submitted_at.datetime() - span).into();
        let found = query(AssertSqlSafe(format!(
            "SELECT {ATTEMPT} FROM attempts WHERE provider = $1 AND submitted_at >= $2 \
             AND submitted_at <= $3 AND vendor_task IS NULL AND id <> $4 \
             AND (charge = 'CHARGED' OR status = 'UNCONFIRMED') ORDER BY submitted_at LIMIT $5"
        )))
        .bind(&attempt.provider)
        .bind(earliest)
        .bind(attempt.submitted_at.after(near))
        .bind(attempt.id.uuid())
        .bind(most)
        .fetch_all(&mut self.read(Scope::Worker).await?)
        .await?;
        found.iter().map(rows::attempt).collect()
    }
}
