//! Credits: what users have, what their jobs hold, and what was spent. Whole numbers, double
//! entry, nothing is ever changed or deleted. `adapters/sql/ledger.rs` keeps the books and
//! `adapters/sql/holds.rs` what jobs hold; both write within the transaction that they are
//! part of. What something costs is in `price`.

pub mod budget;
pub mod desk;
pub mod price;

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{
    adapters::sql::{self, Database},
    ids::{JobId, TransferId, UserId},
    jobs::{model::words, store::Page},
    time::Timestamp,
};
pub use price::{RoutePrice, StepQuote, Tariff};

/// Most credits that are moved at once.
pub const MOST: i64 = 1_000_000_000;
/// Longest reason, in characters.
pub const MAX_REASON: usize = 500;

words!(
    /// Why credits went from one account to another.
    TransferKind {
        /// Given away by the operator.
        Grant = "GRANT",
        /// Put aside for a job.
        Hold = "HOLD",
        /// What a job held was spent.
        Capture = "CAPTURE",
        /// What a job held and did not need came back.
        Release = "RELEASE",
        /// Corrected by the operator.
        Adjustment = "ADJUSTMENT",
        /// Bought.
        Purchase = "PURCHASE",
        /// Paid back.
        Refund = "REFUND",
        /// Ended at their time.
        Expiry = "EXPIRY",
    }
);

/// Who has credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// What a user may spend.
    Available(UserId),
    /// What a user's jobs hold.
    Held(UserId),
    /// What was spent.
    Revenue,
    /// What was given away; below zero.
    Promotions,
    /// What was bought; below zero.
    Payments,
    /// What was corrected.
    Adjustments,
}

impl Account {
    /// Its name in the books.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Available(user) => format!("available:{user}"),
            Self::Held(user) => format!("held:{user}"),
            Self::Revenue => "revenue".to_owned(),
            Self::Promotions => "promotions".to_owned(),
            Self::Payments => "payments".to_owned(),
            Self::Adjustments => "adjustments".to_owned(),
        }
    }

    /// Whose it is; nothing: the installation's.
    #[must_use]
    pub fn owner(self) -> Option<UserId> {
        match self {
            Self::Available(user) | Self::Held(user) => Some(user),
            Self::Revenue | Self::Promotions | Self::Payments | Self::Adjustments => None,
        }
    }
}

/// There are not enough credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// How many are needed.
    pub required: i64,
    /// How many there are.
    pub available: i64,
}

/// A user's credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    /// May be spent.
    pub available: i64,
    /// Put aside for jobs.
    pub held: i64,
}

/// What a job holds, and what it has spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holding {
    /// Put aside now.
    pub held: i64,
    /// Spent.
    pub captured: i64,
}

/// Credits that an operator gives.
#[derive(Debug, Clone)]
pub struct Grant {
    /// To whom.
    pub user: UserId,
    /// How many, 1 or more.
    pub credits: i64,
    /// What for, in words that the user reads.
    pub reason: String,
    /// Who gives them.
    pub actor: String,
    /// Makes it happen once, however often it is repeated.
    pub key: String,
    /// When what is left of them ends.
    pub expires_at: Option<Timestamp>,
}

/// A correction by an operator.
#[derive(Debug, Clone)]
pub struct Adjustment {
    /// Whose credits.
    pub user: UserId,
    /// How many more, or fewer; not 0.
    pub credits: i64,
    /// What for, in words that the user reads.
    pub reason: String,
    /// Who corrects.
    pub actor: String,
    /// Makes it happen once, however often it is repeated.
    pub key: String,
}

/// What became of a transfer with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booked {
    /// It is new.
    Done,
    /// The same came before; nothing was moved.
    Repeated,
    /// Something else came before with this key; nothing was moved.
    KeyReused,
}

/// A movement of a user's available credits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The transfer.
    pub id: TransferId,
    /// 1, 2, 3 … among all of the user.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub kind: TransferKind,
    /// How many more, or fewer.
    pub amount: i64,
    /// How many there were afterwards.
    pub balance_after: i64,
    /// For which job.
    pub job: Option<JobId>,
    /// What for, in words.
    pub reason: Option<String>,
}

/// Whether the books are in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Are they?
    pub ok: bool,
    /// Entries of all accounts.
    pub entries: i64,
    /// Their sum, which must be zero.
    pub sum: i64,
    /// Jobs that held credits, ever.
    pub holds: i64,
    /// What is wrong, the first of each kind.
    pub mismatches: Vec<String>,
}

/// A user's view of the books.
#[derive(Clone)]
pub struct Service {
    database: Database,
}

impl Service {
    /// Over a database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// A user's credits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn balance(&self, user: UserId) -> Result<Balance, sql::Error> {
        self.database.for_user(user).balance(user).await
    }

    /// Movements of a user's available credits, newest first, behind (before) a number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ledger(
        &self,
        user: UserId,
        after: Option<i64>,
        first: u32,
    ) -> Result<Page<Line>, sql::Error> {
        self.database
            .for_user(user)
            .ledger(user, after, first)
            .await
    }

    /// What jobs of a user hold and have spent. One without a hold is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn holdings(
        &self,
        user: UserId,
        jobs: &[JobId],
    ) -> Result<HashMap<JobId, Holding>, sql::Error> {
        self.database.for_user(user).holdings_of(jobs).await
    }

    /// Gives the local user of a development server its credits, once.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn endow(&self, user: UserId, credits: i64) -> Result<(), sql::Error> {
        if credits == 0 {
            return Ok(());
        }
        let grant = Grant {
            user,
            credits,
            reason: "For development".to_owned(),
            actor: "development".to_owned(),
            key: format!("development/{user}"),
            expires_at: None,
        };
        // With another number in the settings than the first time, the first one stays.
        self.database.grant(grant).await?;
        Ok(())
    }
}

/// Users whose credits are ended in one round.
const BATCH: u32 = 100;

/// Ends credits whose time is over, until `stop` turns true. Any number of nodes may do so.
pub async fn expire(database: Database, every: Duration, mut stop: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            // An error means that the app is gone, which is a stop too.
            _ = stop.wait_for(|stop| *stop) => return,
            _ = tick.tick() => {}
        }
        let ended = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            ended = database.expire_credits(BATCH) => ended,
        };
        match ended {
            Ok(0) => {}
            Ok(credits) => tracing::info!(credits, "credits ended at their time"),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "credits could not be ended; they are looked at again"
            ),
        }
    }
}
