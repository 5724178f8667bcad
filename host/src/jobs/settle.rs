//! Settling an attempt by hand: what an operator found in a vendor's own records about a call
//! whose outcome nobody else could find out.

use super::model::{Attempt, Event, JobStatus};
use crate::{
    ids::{AttemptId, JobId},
    time::Timestamp,
};

/// Longest reason, in characters.
pub const MAX_REASON: usize = 500;
/// Longest name of whoever settles, in characters.
pub const MAX_NAME: usize = 100;
/// Longest id of a vendor's task, in bytes.
pub const MAX_TASK: usize = 512;

/// What the vendor's records say of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It was not accepted, and will not be billed: the step is tried again.
    NotCharged,
    /// It was accepted as this task, which goes on from here.
    Task(String),
    /// It is billed and nothing can be had for it: the job fails, and its owner does not pay.
    Charged,
}

/// An attempt to settle.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Which one.
    pub attempt: AttemptId,
    /// What was found.
    pub finding: Finding,
    /// Who found it. The job's owner reads that.
    pub by: String,
    /// Where, or why. The job's owner reads that.
    pub reason: String,
    /// Until when a job that goes on has to be done, at least.
    pub deadline: Timestamp,
}

/// What became of a `Settlement`.
#[derive(Debug, Clone)]
pub enum Settled {
    /// It is durable.
    Done {
        /// The attempt as it is now.
        attempt: Box<Attempt>,
        /// Where its job stands now.
        job: JobStatus,
        /// The appended events.
        events: Vec<Event>,
    },
    /// Nothing was changed, and why.
    Refused(String),
    /// There is no such attempt.
    Missing,
}

/// An attempt that is not settled, for operators.
#[derive(Debug, Clone)]
pub struct OpenAttempt {
    /// Its row.
    pub attempt: Attempt,
    /// Where its job stands.
    pub job: JobStatus,
}

impl OpenAttempt {
    /// Its job.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        self.attempt.job
    }
}
