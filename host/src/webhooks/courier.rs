//! Takes deliveries that are due to their endpoints.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;

use super::{
    Attempt, Parcel, Post, Settings, Taken, Verdict,
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
        let parcel = Parcel {
            url,
            headers: headers(&taken, at, &body),
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

    fn judge(&self, answer: &Result<super::Answer, super::PostError>, tries: u32) -> Verdict {
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

fn headers(taken: &Taken, at: Timestamp, body: &[u8]) -> Vec<(&'static str, String)> {
    let id = taken.message.id.to_string();
    let previous = (taken.endpoint.previous.iter())
        .filter(|(_, until)| at < *until)
        .map(|(secret, _)| secret);
    let signatures: Vec<String> = std::iter::once(&taken.endpoint.secret)
        .chain(previous)
        .filter_map(|secret| secret.sign(&id, at, body))
        .collect();
    vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id),
        ("webhook-timestamp", seconds(at).to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}
