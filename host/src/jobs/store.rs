//! What the domain asks of the database, as plain data.

use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use super::{
    batch::Place,
    limits::Plans,
    model::{Attempt, Event, Failure, Job, JobKind, JobStatus, NewEvent, Step, StoredFile},
};
use crate::{
    ids::{ApiKeyId, JobId, NodeId, ProjectId, StepId, UserId},
    mail::Address,
    time::Timestamp,
};

/// A job to accept, with its plan and first events.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The row.
    pub job: Job,
    /// Its steps; the first one is due.
    pub steps: Vec<Step>,
    /// Its first events.
    pub events: Vec<NewEvent>,
    /// The caller's key.
    pub idempotency_key: String,
    /// Credits to put aside: what its steps may cost together.
    pub hold: i64,
    /// Refuse it when they are more than this.
    pub max_hold: Option<i64>,
    /// Refuse it when its owner's plan does not allow so many at a time.
    pub plans: Arc<Plans>,
    /// SHA-256 over the request, to tell a repetition from a reuse.
    pub request_hash: Vec<u8>,
    /// Where its end is told, besides its owner's endpoints.
    pub webhook_url: Option<String>,
    /// Where its end is told by mail.
    pub notify: Option<Address>,
    /// The place in a batch that it comes from.
    pub place: Option<Place>,
    /// The API key that asks for it.
    pub by: Option<ApiKeyId>,
}

/// A request with its key.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose.
    pub owner: UserId,
    /// For what kind of job.
    pub kind: JobKind,
    /// The caller's key.
    pub key: String,
    /// SHA-256 of what is asked for.
    pub hash: Vec<u8>,
}

/// What became of a `NewJob`.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// It is new.
    Created(Job),
    /// The same request came before: this is its job.
    Repeated(Job),
    /// Another request came before with the same key.
    KeyReused,
}

/// The right to write a step: every write names it, and fails once somebody else has
/// claimed the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// Which step.
    pub step: StepId,
    /// Who holds it.
    pub node: NodeId,
    /// The token.
    pub epoch: i64,
}

/// A step that this node holds now.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its row.
    pub step: Step,
    /// The right to write it.
    pub fence: Fence,
    /// Who owns the job.
    pub owner: UserId,
    /// The owner's plan when the job was accepted.
    pub plan: String,
    /// When the job has to be done.
    pub deadline: Timestamp,
}

/// What of a node's own a step needs for its next turn, besides a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bench {
    /// A film or a voice is fetched and looked into.
    Fetch,
    /// ffmpeg composes, or takes a picture.
    Compose,
}

/// Whose turn it is in a node's claims. Clones are one and the same.
#[derive(Debug, Clone, Default)]
pub struct Rota(Arc<Mutex<Uuid>>);

impl Rota {
    /// Whoever had a turn last.
    pub(crate) fn last(&self) -> Uuid {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This owner had a turn.
    pub(crate) fn note(&self, owner: Uuid) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = owner;
    }
}

/// What changes of a job's row.
#[derive(Debug, Clone)]
pub struct JobChange {
    /// Where it stands.
    pub status: JobStatus,
    /// Why it ended without a result.
    pub error: Option<Failure>,
}

/// One move of a step, with everything that must be written together with it.
#[derive(Debug, Clone)]
pub struct Change {
    /// The right to write.
    pub fence: Fence,
    /// The step as it is afterwards.
    pub step: Step,
    /// Go on holding it (and the next one)?
    pub keep_lease: bool,
    /// The attempt as it is afterwards.
    pub attempt: Option<Attempt>,
    /// The step that becomes due.
    pub next: Option<Step>,
    /// The step after it, which nobody holds and which is done with it.
    pub done: Option<Step>,
    /// The job as it is afterwards.
    pub job: Option<JobChange>,
    /// What to append to the log.
    pub events: Vec<NewEvent>,
    /// Files to publish.
    pub media: Vec<(UserId, MediaRole, StoredFile)>,
}

/// What became of a `Change`.
#[derive(Debug, Clone)]
pub enum Applied {
    /// It is durable.
    Done {
        /// The appended events, numbered.
        events: Vec<Event>,
        /// The right to write the next step, when it was taken along.
        next: Option<Fence>,
        /// Somebody asked to stop.
        cancel_requested: bool,
    },
    /// Somebody else holds the step; nothing was written.
    Lost,
}

/// What the owner decided about a job.
#[derive(Debug, Clone)]
pub enum OwnerDecision {
    /// Stop it.
    Cancel,
    /// Go on.
    Retry {
        /// The state in which it was decided.
        from: JobStatus,
        /// The step to try again.
        step: StepId,
        /// The new deadline.
        deadline: Timestamp,
        /// How many jobs at a time plans allow.
        plans: Arc<Plans>,
        /// What to append to the log.
        event: NewEvent,
    },
}

/// Which jobs to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobFilter {
    /// Of this project.
    pub project: Option<ProjectId>,
    /// In this state.
    pub status: Option<JobStatus>,
    /// Of this kind.
    pub kind: Option<JobKind>,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Are there more?
    pub more: bool,
}

impl<T> Page<T> {
    /// Cuts a list that was read one longer than wanted.
    #[must_use]
    pub fn cut(mut items: Vec<T>, first: u32) -> Self {
        let first = first as usize;
        let more = items.len() > first;
        items.truncate(first);
        Self { items, more }
    }
}

/// What a published file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaRole {
    /// The film.
    Video,
    /// The voice track.
    Voice,
    /// The still picture.
    Thumbnail,
    /// Subtitles.
    Subtitles,
}

impl MediaRole {
    /// The stored word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Voice => "voice",
            Self::Thumbnail => "thumbnail",
            Self::Subtitles => "subtitles",
        }
    }

    /// From the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Video, Self::Voice, Self::Thumbnail, Self::Subtitles]
            .into_iter()
            .find(|role| role.as_str() == word)
    }

    /// The file name that a browser is offered.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Video => "video.mp4",
            Self::Voice => "voice.mp3",
            Self::Thumbnail => "thumbnail.jpg",
            Self::Subtitles => "subtitles.srt",
        }
    }
}

/// Why nobody gets links to a job's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithdrawalReason {
    /// Its project was deleted.
    ProjectDeleted,
    /// It ended without a result, and its time is over.
    Retention,
}

/// Nobody gets links to a job's files any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withdrawal {
    /// Why.
    pub reason: WithdrawalReason,
    /// Since when.
    pub at: Timestamp,
    /// Are the files themselves gone, or about to be?
    pub removed: bool,
}

/// Beginning of the keys of everything that belongs to a job, with the last slash.
#[must_use]
pub fn job_folder(job: JobId) -> String {
    format!("jobs/{job}/")
}

/// The key of a job's asset in the blob store.
#[must_use]
pub fn asset_key(job: JobId, name: &str) -> String {
    format!("jobs/{job}/assets/{name}")
}
