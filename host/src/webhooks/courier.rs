//! Takes deliveries that are due to their endpoints.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use super::{
    Answer, Attempt, Parcel, Post, PostError, Secret, SecretError, Secrets, Settings, Taken,
    Verdict,
    message::{self, body},
    sign::seconds,
};
use crate::{
    adapters::sql::{self, Database},
    dispatch::{self, Outbox, after_failure},
    media,
    time::{self, Timestamp},
};

/// How long something waits that this host cannot sign.
const WITHHELD: Duration = Duration::from_secs(600);

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
            Ok(secrets) => secrets,
            Err(SecretError::Database(error)) => return Err(error),
            Err(error @ SecretError::Vault(..)) => {
                tracing::error!(%error, "a webhook cannot be signed, and waits");
                return self.withhold(taken, at).await;
            }
        };
        let parcel = Parcel {
            url,
            headers: headers(&taken, &secrets, at, &body),
            body: body.into(),
        };
        let answer = self.post.post(parcel).await;
        let duration_ms = dispatch::millis(began.elapsed());
        let verdict = self.judge(&answer, taken.tries);
        tracing::debug!(
            delivery = %taken.delivery, endpoint = %taken.endpoint.id, tries = taken.tries,
            duration_ms, ?verdict, "a webhook was sent"
        );
        let (status, error, response) = match answer {
            Ok(answer) => (Some(answer.status), None, answer.excerpt),
            Err(error) => (None, Some(error.to_string()), String::new()),
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

    /// Puts off what this host cannot sign: its operator gave it another key.
    async fn withhold(&self, taken: Taken, at: Timestamp) -> Result<(), sql::Error> {
        let why = "the host cannot read the endpoint's secret: rotate it, or ask the operator";
        let attempt = Attempt {
            at,
            duration_ms: 0,
            status: None,
            error: Some(why.to_owned()),
            response: String::new(),
        };
        let limit = self.settings.disable_after;
        self.database
            .settle_delivery(taken, attempt, Verdict::Withheld(WITHHELD), limit)
            .await
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

    fn judge(&self, answer: &Result<Answer, PostError>, tries: u32) -> Verdict {
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
