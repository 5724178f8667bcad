//! Takes deliveries that are due to their endpoints.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet, time::MissedTickBehavior};

use super::{
    Attempt, Parcel, Post, Settings, Taken, Verdict,
    message::{self, body},
    sign::seconds,
};
use crate::{
    adapters::sql::{self, Database},
    media,
    time::{self, Timestamp},
};

/// How often is looked for what is due.
const EVERY: Duration = Duration::from_millis(500);
/// How much longer than an attempt a delivery belongs to the node that took it: time to
/// prepare it and to write down what came of it.
const SLACK: Duration = Duration::from_secs(10);
/// Longest wait that a receiver may ask for.
const LONGEST: Duration = Duration::from_secs(86_400);

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
    /// Works until `stop` turns true, then finishes the attempts under way.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                // An error means that the app is gone, which is a stop too.
                _ = stop.wait_for(|stop| *stop) => break,
                _ = tick.tick() => {}
                // There is room for the next one, perhaps at the same endpoint.
                Some(_) = running.join_next(), if !running.is_empty() => {}
            }
            while running.try_join_next().is_some() {}
            match self.claim(running.len()).await {
                Ok(taken) => {
                    for taken in taken {
                        let courier = self.clone();
                        running.spawn(async move { courier.deliver(taken).await });
                    }
                }
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "deliveries cannot be claimed; they are looked at again"
                ),
            }
        }
        while running.join_next().await.is_some() {}
    }

    async fn claim(&self, running: usize) -> Result<Vec<Taken>, sql::Error> {
        let free = self.settings.concurrency.saturating_sub(running);
        if free == 0 {
            return Ok(Vec::new());
        }
        // Mostly there is nothing, and a look costs less than a transaction.
        if !self.database.has_due_deliveries().await? {
            return Ok(Vec::new());
        }
        self.database
            .claim_deliveries(
                self.settings.timeout + SLACK,
                u32::try_from(free).unwrap_or(u32::MAX),
                self.settings.endpoint_concurrency,
            )
            .await
    }

    /// One attempt. A failure to write it down leaves the delivery to its lease's end: then it
    /// is made again.
    pub async fn deliver(&self, taken: Taken) {
        let delivery = taken.delivery;
        if let Err(error) = self.attempt(taken).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                %delivery,
                "an attempt cannot be written down; it is made again"
            );
        }
    }

    async fn attempt(&self, taken: Taken) -> Result<(), sql::Error> {
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
        let duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
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

/// How long to wait after the attempt number `tries`, from 1; nothing when it was the last.
/// `asked`: what the receiver wants. `chance`, 0.0 to 1.0, keeps retries from coming together.
#[must_use]
pub fn after_failure(
    waits: &[Duration],
    tries: u32,
    asked: Option<Duration>,
    chance: f64,
) -> Option<Duration> {
    let wait = waits.get(tries as usize)?;
    let wait = wait.mul_f64(0.9 + 0.2 * chance.clamp(0.0, 1.0));
    Some(wait.max(asked.unwrap_or_default().min(LONGEST)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_attempts_over_three_days() {
        let waits = Settings::default().retries;
        let mut tries = 1;
        let mut whole = Duration::ZERO;
        while let Some(wait) = after_failure(&waits, tries, None, 0.5) {
            assert_eq!(wait.as_secs(), waits[tries as usize].as_secs());
            whole += wait;
            tries += 1;
        }
        assert_eq!(tries, 10);
        assert!(whole > Duration::from_secs(3 * 86_400), "{whole:?}");
    }

    #[test]
    fn who_asks_for_time_gets_it_within_a_day() {
        let waits = [Duration::ZERO, Duration::from_secs(10)];
        let asked = |seconds| after_failure(&waits, 1, Some(Duration::from_secs(seconds)), 0.0);
        assert_eq!(asked(1), Some(Duration::from_secs(9)));
        assert_eq!(asked(60), Some(Duration::from_secs(60)));
        assert_eq!(asked(1_000_000), Some(LONGEST));
        assert_eq!(after_failure(&waits, 2, Some(LONGEST), 0.0), None);
    }
}
