//! Works off what the vendor told, and asks for what it did not.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{Bought, Due, Fact, Failure, Purchase, Subject, Subscription, Till};
use crate::{
    adapters::sql::{self, Database, Settled},
    dispatch::Outbox,
    ids::UserId,
    time::{self, Timestamp},
};

/// Events of this node at a time.
const CONCURRENCY: usize = 4;
/// How long an event belongs to the node that took it. Should a look take longer, another node
/// looks too, which does no harm: versions keep them apart.
const LEASE: Duration = Duration::from_secs(30);
/// How often an object is looked at again because somebody else wrote it down meanwhile.
const TURNS: u32 = 10;
/// First wait after a failure, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// How often an object that the vendor does not know is asked for, over half a day: somebody may
/// have paid for it, and the vendor may be wrong.
const MISSING_TRIES: u32 = 22;
/// How far back the vendor keeps events.
const KEPT: i64 = 30 * 86_400;
/// Events are looked for from so long before the newest that is known: one may have been made
/// while the last look was under way.
const OVERLAP: i64 = 3_600;
/// Pages of events in one round.
const MOST_PAGES: u32 = 1_000;

/// Works off payment events. Cheap to clone.
#[derive(Clone)]
pub struct Cashier {
    /// The truth, for the worker.
    pub database: Database,
    /// The vendor.
    pub till: Arc<dyn Till>,
    /// How often is asked for events that never came.
    pub every: Duration,
}

/// What a round of asking found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Events that the vendor told of.
    pub seen: u64,
    /// Of them, those that had not come.
    pub missed: u64,
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The vendor failed.
    #[error(transparent)]
    Vendor(#[from] Failure),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
    /// Others wrote the same down again and again.
    #[error("somebody else is at it")]
    Busy,
}

impl Cashier {
    /// Brings what an object means up to date.
    ///
    /// # Errors
    /// When the vendor or the database fails; then it is to be done again.
    pub async fn settle(&self, subject: &Subject) -> Result<(), Error> {
        for subject in self.till.behind(subject).await? {
            self.bring(&subject).await?;
        }
        Ok(())
    }

    /// One object: looked at, then written down unless somebody wrote a later look meanwhile.
    async fn bring(&self, subject: &Subject) -> Result<(), Error> {
        let (_, key) = subject.parts();
        for _ in 0..TURNS {
            let known = self.database.payment_version(key).await?;
            let Some(fact) = self.till.look(subject).await? else {
                return Ok(());
            };
            let Some(user) = self.owner(&fact).await? else {
                tracing::info!(key, "a payment of nobody here");
                return Ok(());
            };
            match self.write(fact, user, known).await? {
                Settled::Done => return Ok(()),
                Settled::Stale => {}
            }
        }
        Err(Error::Busy)
    }

    /// Whose it is: by the vendor's name of them, or else as we noted at the vendor.
    async fn owner(&self, fact: &Fact) -> Result<Option<UserId>, sql::Error> {
        let (noted, customer) = match fact {
            Fact::Bought(bought) => (bought.user, bought.customer.as_deref()),
            Fact::Subscribed { user, customer, .. } => (*user, Some(&**customer)),
        };
        if let Some(customer) = customer
            && let Some(user) = self.database.user_of_customer(customer).await?
        {
            return Ok(Some(user));
        }
        match noted {
            Some(user) if self.database.find_user(user).await?.is_some() => Ok(Some(user)),
            _ => Ok(None),
        }
    }

    async fn write(
        &self,
        fact: Fact,
        user: UserId,
        known: Option<i64>,
    ) -> Result<Settled, sql::Error> {
        match fact {
            Fact::Bought(bought) => {
                let purchase = purchase(bought, user);
                self.database.settle_purchase(purchase, known).await
            }
            Fact::Subscribed {
                id,
                plan,
                status,
                period_end,
                ends,
                since,
                ..
            } => {
                let subscription = Subscription {
                    id,
                    plan,
                    status,
                    period_end,
                    ends,
                };
                let written = self
                    .database
                    .settle_subscription(user, subscription, since, known);
                let written = written.await?;
                // Of what is written now: whoever comes later sees more and decides again.
                self.database.follow_subscriptions(user).await?;
                Ok(written)
            }
        }
    }

    /// Asks the vendor for events since `since` (as far as it keeps them; without it since the
    /// last round) and keeps those that never came, to be worked off.
    ///
    /// # Errors
    /// When the vendor or the database fails; what was found until then is kept.
    pub async fn reconcile(&self, since: Option<Timestamp>) -> Result<Reconciled, Error> {
        let now = seconds(time::now());
        let is_whole = since.is_none();
        let known = match since {
            Some(since) => seconds(since),
            None => self.database.payment_horizon().await? - OVERLAP,
        };
        let since = known.max(now - KEPT);
        let mut found = Reconciled::default();
        let mut newest = since;
        let mut before: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let (events, more) = self.till.events(since, before.as_deref()).await?;
            for event in &events {
                newest = newest.max(event.at);
                found.seen += 1;
                found.missed += u64::from(self.database.note_payment_event(event).await?);
            }
            before = events.last().map(|event| event.id.clone());
            if !more || before.is_none() {
                // Only now: older ones of an unfinished round would be passed over, and so would
                // those before a time that somebody has chosen.
                if is_whole {
                    self.database.move_payment_horizon(newest).await?;
                }
                return Ok(found);
            }
        }
        Ok(found)
    }

    /// Works off what is due now, one after the other, until nothing is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drain(&self) -> Result<u64, Error> {
        let mut done = 0;
        loop {
            let due = self.database.claim_payment_events(1, LEASE).await?;
            let Some(due) = due.into_iter().next() else {
                return Ok(done);
            };
            let result = self.settle(&due.subject).await;
            self.finish(due, &result).await?;
            // One that failed is due later, and the log says why: the others need not wait.
            done += u64::from(result.is_ok());
        }
    }

    async fn finish(&self, due: Due, result: &Result<(), Error>) -> Result<(), sql::Error> {
        let over = |error: &Error| {
            matches!(error, Error::Vendor(Failure::Missing)) && due.tries >= MISSING_TRIES
        };
        if let Err(error) = result
            && over(error)
        {
            tracing::error!(
                event = due.id,
                "what a payment event is about is not to be found"
            );
        }
        let failed = result.as_ref().err().filter(|error| !over(error));
        let again = failed.map(|error| {
            let wait = FIRST_WAIT * 2_u32.saturating_pow(due.tries.min(12));
            let wait = wait.min(LONGEST_WAIT);
            tracing::warn!(
                error = error as &dyn std::error::Error,
                event = due.id,
                wait_seconds = wait.as_secs(),
                "a payment event could not be worked off; it is tried again"
            );
            (
                wait.mul_f64(0.75 + rand::random::<f64>() / 2.0),
                error.to_string(),
            )
        });
        self.database.finish_payment_event(due, again).await
    }

    /// Asks for what never came, now and then, until `stop` turns true. One node at a time does.
    pub async fn keep(self, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(self.every.min(Duration::from_secs(60)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // An error means that the app is gone, which is a stop too.
                _ = stop.wait_for(|stop| *stop) => return,
                _ = tick.tick() => {}
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.round() => {}
            }
        }
    }

    async fn round(&self) {
        let asked = async {
            if !self.database.claim_reconciliation(self.every).await? {
                return Ok(None);
            }
            self.reconcile(None).await.map(Some)
        };
        match asked.await {
            Ok(None) => {}
            Ok(Some(found)) if found.missed == 0 => {}
            Ok(Some(Reconciled { seen, missed })) => {
                tracing::info!(seen, missed, "payment events that never came were found");
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "payment events could not be asked for; they are asked for again"
            ),
        }
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.millis() / 1_000
}

fn purchase(bought: Bought, user: UserId) -> Purchase {
    Purchase {
        key: bought.key,
        user,
        credits: bought.credits,
        amount: bought.amount,
        currency: bought.currency,
        payment: bought.payment,
        invoice_url: bought.invoice_url,
        recalled: bought.recalled,
    }
}

#[async_trait]
impl Outbox for Cashier {
    type Taken = Due;

    const NAME: &'static str = "payments";
    /// Nobody pays so often that more looks would be worth what they cost.
    const EVERY: Duration = Duration::from_secs(2);

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    async fn claim(&self, free: u32) -> Result<Vec<Due>, sql::Error> {
        self.database.claim_payment_events(free, LEASE).await
    }

    async fn attempt(&self, due: Due) -> Result<(), sql::Error> {
        let result = self.settle(&due.subject).await;
        self.finish(due, &result).await
    }
}
