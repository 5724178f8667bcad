//! What every outbox has in common: a chore takes what is due for a time, makes one attempt
//! without holding a row or a connection, and writes down what came of it. Webhooks and mail are
//! such chores.

use std::time::Duration;

use async_trait::async_trait;
use tokio::{sync::watch, task::JoinSet, time::MissedTickBehavior};

use crate::{adapters::sql, time::Timestamp};

/// How much longer than an attempt something belongs to the node that took it: time to prepare
/// it and to write down what came of it.
pub const SLACK: Duration = Duration::from_secs(10);
/// Longest wait that a receiver may ask for.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Longest beginning of an answer that is kept, in bytes.
pub const EXCERPT: usize = 1_024;

/// An attempt's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The answer's status.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// The beginning of the answer.
    pub response: String,
}

/// An outbox and the way out of it.
#[async_trait]
pub trait Outbox: Clone + Send + Sync + 'static {
    /// Something that this node has taken.
    type Taken: Send + 'static;

    /// What it is called in the log.
    const NAME: &'static str;
    /// How often is looked for what is due.
    const EVERY: Duration = Duration::from_millis(500);

    /// Attempts of this node at a time.
    fn concurrency(&self) -> usize;

    /// Takes at most `free` that are due.
    ///
    /// # Errors
    /// When the database fails.
    async fn claim(&self, free: u32) -> Result<Vec<Self::Taken>, sql::Error>;

    /// One attempt, with its words written down. A failure leaves it to its lease's end: then it
    /// is made again.
    ///
    /// # Errors
    /// When the database fails.
    async fn attempt(&self, taken: Self::Taken) -> Result<(), sql::Error>;
}

/// Works until `stop` turns true, then finishes the attempts under way.
pub async fn run<O: Outbox>(outbox: O, mut stop: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(O::EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            // An error means that the app is gone, which is a stop too.
            _ = stop.wait_for(|stop| *stop) => break,
            _ = tick.tick() => {}
            // There is room for the next one.
            Some(_) = running.join_next(), if !running.is_empty() => {}
        }
        while running.try_join_next().is_some() {}
        let free = outbox.concurrency().saturating_sub(running.len());
        if free == 0 {
            continue;
        }
        match outbox.claim(u32::try_from(free).unwrap_or(u32::MAX)).await {
            Ok(taken) => {
                for taken in taken {
                    let outbox = outbox.clone();
                    running.spawn(async move { deliver(&outbox, taken).await });
                }
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                outbox = O::NAME,
                "what is due cannot be claimed; it is looked at again"
            ),
        }
    }
    while running.join_next().await.is_some() {}
}

async fn deliver<O: Outbox>(outbox: &O, taken: O::Taken) {
    if let Err(error) = outbox.attempt(taken).await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            outbox = O::NAME,
            "an attempt cannot be written down; it is made again"
        );
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

/// A length of time as it is written down.
#[must_use]
pub fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::Settings;

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
