//! Makes jobs of what batches wait for, item by item, and carries on where a server that died had
//! come.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    batch::{Reason, Refused, Taken, Verdict, refusal},
    service::{Error, Service},
    wish::VideoWish,
};
use crate::{
    adapters::sql::{self, Database},
    dispatch::Outbox,
};

/// Items of this node at a time.
const CONCURRENCY: usize = 4;
/// How long an item belongs to the node that took it.
const LEASE: Duration = Duration::from_secs(10);
/// How long an item waits at first for jobs that are under way; doubles with each try.
const WAIT: Duration = Duration::from_secs(2);
/// How often that doubles.
const DOUBLINGS: u32 = 4;

/// Makes jobs of items. Cheap to clone.
#[derive(Clone)]
pub struct Clerk {
    /// The truth, for the worker.
    pub database: Database,
    /// Who accepts jobs.
    pub jobs: Arc<Service>,
}

#[async_trait]
impl Outbox for Clerk {
    type Taken = Taken;

    const NAME: &'static str = "batches";
    const EVERY: Duration = Duration::from_secs(1);

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    async fn claim(&self, free: u32) -> Result<Vec<Taken>, sql::Error> {
        self.database.claim_batch_items(free, LEASE).await
    }

    async fn attempt(&self, taken: Taken) -> Result<(), sql::Error> {
        let wish = match serde_json::from_value(taken.wish.clone()) {
            Ok(wish) => wish,
            Err(error) => {
                tracing::error!(batch = %taken.place.batch, %error, "a film cannot be read");
                let words = "It was asked for in a form that this version does not read.";
                let refused = Refused {
                    reason: Reason::InvalidInput,
                    message: words.to_owned(),
                    field: None,
                };
                let verdict = Verdict::Refused(refused);
                return self.database.decide_batch_item(taken.place, verdict).await;
            }
        };
        let made = self.jobs.make_video(taken.owner, whole(&taken, wish)).await;
        let verdict = match made {
            // The item names its job: both were written in one transaction.
            Ok(_) => return Ok(()),
            // Canceled meanwhile, or somebody else made its job.
            Err(Error::Database(sql::Error::Decided)) => return Ok(()),
            Err(Error::Database(error)) => return Err(error),
            Err(Error::TooManyJobs(_)) => Verdict::Later(wait(taken.place.epoch)),
            Err(error) => match refusal(error) {
                Ok(refused) => Verdict::Refused(refused),
                Err(Error::Database(error)) => return Err(error),
                // Only the database hands nothing over.
                Err(_) => return Ok(()),
            },
        };
        self.database.decide_batch_item(taken.place, verdict).await
    }
}

/// The wish of an item with what belongs to the item.
fn whole(taken: &Taken, wish: VideoWish) -> VideoWish {
    VideoWish {
        idempotency_key: format!("{}/{}", taken.place.batch, taken.place.position),
        // What was refused before costs what it costs today, within the budget of its batch.
        quote: wish.quote.filter(|_| !taken.again),
        place: Some(taken.place),
        by: taken.by,
        ..wish
    }
}

/// How long an item waits that was claimed so often.
fn wait(claims: i64) -> Duration {
    let before = claims.saturating_sub(1).max(0);
    let doublings = u32::try_from(before).map_or(DOUBLINGS, |before| before.min(DOUBLINGS));
    WAIT * 2_u32.pow(doublings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_others_asks_less_and_less_often() {
        let seconds: Vec<_> = [0, 1, 2, 3, 5, 6, i64::MAX]
            .map(|claims| wait(claims).as_secs())
            .into();
        assert_eq!(seconds, [2, 2, 4, 8, 32, 32, 32]);
    }
}
