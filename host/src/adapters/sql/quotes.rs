//! Quotes, and what they are reckoned from.

use std::time::Duration;

use super::{Database, Error, query::query, rows, values::to_json};
use crate::{
    ids::{QuoteId, UserId},
    jobs::{
        model::{JobKind, StepKind},
        quote::Quote,
    },
    time::Timestamp,
};

impl Database {
    /// Keeps a quote.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_quote(&self, quote: &Quote) -> Result<(), Error> {
        let quote = quote.clone();
        self.write(self.scope()?, move |connection| {
            Box::pin(async move {
                query(
                    "INSERT INTO quotes (id, owner_id, kind, request_hash, steps, created_at, \
                     expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(quote.id.uuid())
                .bind(quote.owner.uuid())
                .bind(quote.kind.as_str())
                .bind(quote.request_hash.as_slice())
                .bind(to_json(&quote.steps)?)
                .bind(quote.created_at)
                .bind(quote.expires_at)
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// A quote of this owner.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_quote(&self, owner: UserId, id: QuoteId) -> Result<Option<Quote>, Error> {
        let row = query(
            "SELECT kind, request_hash, steps, created_at, expires_at FROM quotes \
             WHERE id = $1 AND owner_id = $2",
        )
        .bind(id.uuid())
        .bind(owner.uuid())
        .fetch_optional(&mut self.read(self.scope()?).await?)
        .await?;
        row.map(|row| {
            let kind: &str = row.try_get("kind")?;
            Ok(Quote {
                id,
                owner,
                kind: JobKind::parse(kind)
                    .ok_or_else(|| Error::decode("kind of a quote", kind.to_owned()))?,
                request_hash: row.try_get("request_hash")?,
                steps: row
                    .try_get::<super::values::Json>("steps")?
                    .read("steps of a quote")?,
                created_at: rows::time(&row, "created_at")?,
                expires_at: rows::time(&row, "expires_at")?,
            })
        })
        .transpose()
    }

    /// How long a provider took for its newest deliveries for this kind of step, at most so
    /// many of them, whoever's they were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delivery_times(
        &self,
        provider: &str,
        kind: StepKind,
        most: u32,
    ) -> Result<Vec<Duration>, Error> {
        query(
            "SELECT attempts.submitted_at AS submitted_at, attempts.finished_at AS finished_at \
             FROM attempts JOIN steps ON steps.id = attempts.step_id \
             WHERE attempts.provider = $1 AND attempts.status = 'SUCCEEDED' AND steps.kind = $2 \
             AND attempts.finished_at IS NOT NULL ORDER BY attempts.submitted_at DESC LIMIT $3",
        )
        .bind(provider)
        .bind(kind.as_str())
        .bind(i64::from(most))
        .fetch_all(&mut self.read(super::database::Scope::Worker).await?)
        .await?
        .iter()
        .map(|row| {
            let finished: Timestamp = rows::time(row, "finished_at")?;
            Ok(finished.since(rows::time(row, "submitted_at")?))
        })
        .collect()
    }
}
