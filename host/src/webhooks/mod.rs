//! What users are told by webhook: where to, what, how it is signed, and how often it is tried.
//! The form is that of Standard Webhooks 1.0.0.
//!
//! A message and its deliveries are written in the transaction that appends the event, so a
//! crash loses none. Workers take deliveries that are due for a time (`courier`), make one
//! attempt without holding a row or a connection, and write down what came of it. Each arrives
//! at least once; receivers tell repetitions by the message's id.

mod courier;
mod message;
mod post;
mod secrets;
mod service;
mod sign;

use std::time::Duration;

pub use crate::dispatch::{Attempt, EXCERPT};
pub use courier::Courier;
pub use message::{Links, body, facts};
pub use post::{Answer, Parcel, Post, PostError};
pub use secrets::{Resealed, Sealed, SecretError, Secrets};
pub use service::{Change, Draft, Error, Service};
pub use sign::{SealedSecret, Secret};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{DeliveryId, EndpointId, JobId, MessageId, UserId},
    jobs::model::{EventType, words},
    time::Timestamp,
};

/// How long a secret goes on signing beside the one that replaced it.
pub const OVERLAP: Duration = Duration::from_secs(86_400);

/// The numbers by which webhooks run. `config.default.toml` explains each.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Most endpoints of one user.
    pub most_endpoints: u32,
    /// Waits before the first attempt, the second, and so on; as many as there are attempts.
    pub retries: Vec<Duration>,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// Attempts of this node at a time.
    pub concurrency: usize,
    /// Attempts at one endpoint at a time.
    pub endpoint_concurrency: u32,
    /// How long an endpoint may do nothing but fail.
    pub disable_after: Duration,
    /// Take http and private addresses?
    pub lenient: bool,
}

impl Default for Settings {
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        let hours = [2, 5, 10, 14, 20, 24].map(|hours| hours * HOUR);
        let waits = [0, 5, 300, 1_800].into_iter().chain(hours);
        Self {
            most_endpoints: 10,
            retries: waits.map(Duration::from_secs).collect(),
            timeout: Duration::from_secs(15),
            concurrency: 32,
            endpoint_concurrency: 4,
            disable_after: Duration::from_secs(5 * 24 * HOUR),
            lenient: false,
        }
    }
}

words!(
    /// What a message tells.
    Kind {
        /// A job was accepted.
        JobQueued = "job.queued",
        /// Work at it began.
        JobStarted = "job.started",
        /// Its results are there.
        JobSucceeded = "job.succeeded",
        /// It ended without a result.
        JobFailed = "job.failed",
        /// It was stopped.
        JobCanceled = "job.canceled",
        /// It waits for its owner's decision.
        JobUnconfirmed = "job.unconfirmed",
        /// Its owner goes on with it after a failure.
        JobRetried = "job.retried",
        /// Somebody tries an endpoint.
        Test = "webhook.test",
    }
);

impl Kind {
    /// Those that tell that a job rests: what endpoints hear that do not say what they want.
    pub const AT_REST: [Self; 4] = [
        Self::JobSucceeded,
        Self::JobFailed,
        Self::JobCanceled,
        Self::JobUnconfirmed,
    ];

    /// What an event of the log is told as; most are not.
    #[must_use]
    pub fn of(event: EventType) -> Option<Self> {
        Some(match event {
            EventType::JobQueued => Self::JobQueued,
            EventType::JobStarted => Self::JobStarted,
            EventType::JobSucceeded => Self::JobSucceeded,
            EventType::JobFailed => Self::JobFailed,
            EventType::JobCanceled => Self::JobCanceled,
            EventType::JobUnconfirmed => Self::JobUnconfirmed,
            EventType::JobRetried => Self::JobRetried,
            _ => return None,
        })
    }

    /// Does the job rest after it?
    #[must_use]
    pub fn is_at_rest(self) -> bool {
        Self::AT_REST.contains(&self)
    }
}

words!(
    /// Why nothing is sent to an endpoint.
    DisabledReason {
        /// Its owner said so.
        Owner = "OWNER",
        /// It answered 410.
        Gone = "GONE",
        /// For days nothing arrived.
        Failing = "FAILING",
    }
);

words!(
    /// Where a delivery stands.
    DeliveryStatus {
        /// To be tried, for the first time or again.
        Pending = "PENDING",
        /// It arrived.
        Succeeded = "SUCCEEDED",
        /// All attempts failed.
        Exhausted = "EXHAUSTED",
        /// The endpoint was deleted or disabled.
        Canceled = "CANCELED",
    }
);

/// An endpoint's row.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its identifier.
    pub id: EndpointId,
    /// Whose it is.
    pub owner: UserId,
    /// Where it is; nothing for the one that signs what goes where jobs say.
    pub url: Option<String>,
    /// What it hears.
    pub events: Vec<Kind>,
    /// For people.
    pub description: String,
    /// What signs. Missing until somebody needs it.
    pub secret: SealedSecret,
    /// What signs too, and until when.
    pub previous: Option<(SealedSecret, Timestamp)>,
    /// Since when nothing arrives.
    pub failing_since: Option<Timestamp>,
    /// Since when nothing is sent, and why.
    pub disabled: Option<(Timestamp, DisabledReason)>,
    /// Since when it is there.
    pub created_at: Timestamp,
}

/// A delivery's row, with what it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its identifier.
    pub id: DeliveryId,
    /// The message: what receivers see as `webhook-id`.
    pub message: MessageId,
    /// What it tells.
    pub kind: Kind,
    /// About which job.
    pub job: Option<JobId>,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// When it is tried (again).
    pub due_at: Option<Timestamp>,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When it came to rest.
    pub completed_at: Option<Timestamp>,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its identifier.
    pub id: MessageId,
    /// What it tells.
    pub kind: Kind,
    /// About which job.
    pub job: Option<JobId>,
    /// What receivers find in `data`.
    pub data: serde_json::Value,
    /// When it happened.
    pub at: Timestamp,
}

/// A delivery that this node has taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Fencing token.
    pub epoch: i64,
    /// Which attempt of the round this is, from 1.
    pub tries: u32,
    /// What is sent.
    pub message: Message,
    /// To whom.
    pub endpoint: Endpoint,
    /// Where to; nothing when it is to be sent no more.
    pub url: Option<String>,
}

/// What comes of a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived.
    Succeeded,
    /// To be tried again after this.
    Again(Duration),
    /// That was the last attempt.
    Exhausted,
    /// The receiver wants no more of anything.
    Gone,
    /// The host could not send it, to be tried again after this. It does not count, neither as
    /// an attempt of the round nor against the endpoint.
    Withheld(Duration),
}

impl Endpoint {
    /// A new one, which has no secret yet.
    #[must_use]
    pub fn new(owner: UserId, url: Option<String>, events: Vec<Kind>, at: Timestamp) -> Self {
        Self {
            id: EndpointId::generate(),
            owner,
            url,
            events,
            description: String::new(),
            secret: SealedSecret::default(),
            previous: None,
            failing_since: None,
            disabled: None,
            created_at: at,
        }
    }

    /// The one of a user that signs what goes to the addresses that jobs name.
    #[must_use]
    pub fn of_jobs(owner: UserId, at: Timestamp) -> Self {
        Self::new(owner, None, Kind::AT_REST.to_vec(), at)
    }
}
