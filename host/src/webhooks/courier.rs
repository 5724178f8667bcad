//! Takes deliveries that are due to their endpoints.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;

use super::{
    Answer, Attempt, Parcel, Post, Secret, SecretError, Secrets, Settings, Taken, Verdict,
    message::{self, body},
    sign::seconds,
};
use crate::{
    adapters::sql::{self, Database},
    dispatch::{self, Outbox, after_failure},
    media,
    time::{self, Timestamp},
};

/// Takes deliveries to their endpoints. Cheap to clone.
#[derive(Clone)]
pub struct Courier {
    /// The truth, for the worker.
    pub database: Database,
    /// What signs.
    pub secrets: Secrets,
    /// The way out.
    pub post: Arc<dyn Post>,
    /// Links to results.
    pub links: media::Links,
    /// The numbers.
    pub settings: Arc<Settings>,
}

impl Courier {
    async fn send(&self, taken: Taken) -> Result<(), sql::Error> {
        let Some(url) = taken.url.clone() else {
            return self
                .database
                .drop_delivery(taken.delivery, taken.epoch)
                .await;
        };
        let body = body(&taken.message, self.links_of(&taken).await?);
        let at = time::now();
        let began = Instant::now();
        let secrets = match self.secrets_of(&taken, at).await {
            Ok(secrets) => Ok(secrets),
            Err(SecretError::Database(error)) => return Err(error),
            Err(error @ SecretError::Vault(..)) => {
                tracing::error!(%error, "a webhook cannot be signed");
                Err(
                    "the endpoint's secret cannot be read here; rotate it, or ask the operator"
                        .to_owned(),
                )
            }
        };
        let answer = match secrets {
            Ok(secrets) => {
                let parcel = Parcel {
                    url,
                    headers: headers(&taken, &secrets, at, &body),
                    body: body.into(),
                };
                let answer = self.post.post(parcel).await;
                answer.map_err(|error| error.to_string())
            }
            Err(error) => Err(error),
        };
        let duration_ms = dispatch::millis(began.elapsed());
        let verdict = self.judge(&answer, taken.tries);
        tracing::debug!(
            delivery = %taken.delivery, endpoint = %taken.endpoint.id, tries = taken.tries,
            duration_ms, ?verdict, "a webhook was sent"
        );
        let (status, error, response) = match answer {
            Ok(answer) => (Some(answer.status), None, answer.excerpt),
            Err(error) => (None, Some(error), String::new()),
        };
        let attempt = Attempt {
            at,
            duration_ms,
            status,
            error,
            response,
        };
        let limit = self.settings.disable_after;
        self.database
            .settle_delivery(taken, attempt, verdict, limit)
            .await
    }

    async fn links_of(&self, taken: &Taken) -> Result<message::Links, sql::Error> {
        let mut links = Vec::new();
        let Some(job) = taken.message.job else {
            return Ok(links);
        };
        for (_, role, file) in self.database.media_of(&[job]).await? {
            let name = role.file_name();
            if let Some(link) = self.links.link(&file.key, &file.mime, name).await {
                links.push((name.split_once('.').map_or(name, |(stem, _)| stem), link));
            }
        }
        Ok(links)
    }

    /// What signs now.
    async fn secrets_of(&self, taken: &Taken, at: Timestamp) -> Result<Vec<Secret>, SecretError> {
        let endpoint = &taken.endpoint;
        let mut secrets = vec![self.secrets.of(endpoint).await?];
        if let Some((previous, until)) = &endpoint.previous
            && at < *until
        {
            secrets.push(self.secrets.open(endpoint.id, previous)?);
        }
        Ok(secrets)
    }

    fn judge(&self, answer: &Result<Answer, String>, tries: u32) -> Verdict {
        let asked = match answer {
            Ok(answer) if (200..300).contains(&answer.status) => return Verdict::Succeeded,
            Ok(answer) if answer.status == 410 => return Verdict::Gone,
            Ok(answer) if [429, 502, 503, 504].contains(&answer.status) => answer.retry_after,
            Ok(_) | Err(_) => None,
        };
        match after_failure(&self.settings.retries, tries, asked, rand::random()) {
            Some(wait) => Verdict::Again(wait),
            None => Verdict::Exhausted,
        }
    }
}

#[async_trait]
impl Outbox for Courier {
    type Taken = Taken;

    const NAME: &'static str = "webhooks";

    fn concurrency(&self) -> usize {
        self.settings.concurrency
    }

    async fn claim(&self, free: u32) -> Result<Vec<Taken>, sql::Error> {
        // Mostly there is nothing, and a look costs less than a transaction.
        if !self.database.has_due_deliveries().await? {
            return Ok(Vec::new());
        }
        let lease = self.settings.timeout + dispatch::SLACK;
        let each = self.settings.endpoint_concurrency;
        self.database.claim_deliveries(lease, free, each).await
    }

    async fn attempt(&self, taken: Taken) -> Result<(), sql::Error> {
        self.send(taken).await
    }
}

fn headers(
    taken: &Taken,
    secrets: &[Secret],
    at: Timestamp,
    body: &[u8],
) -> Vec<(&'static str, String)> {
    let id = taken.message.id.to_string();
    let signatures: Vec<String> = (secrets.iter())
        .filter_map(|secret| secret.sign(&id, at, body))
        .collect();
    vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id),
        ("webhook-timestamp", seconds(at).to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}
