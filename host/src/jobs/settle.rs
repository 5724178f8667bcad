//! Settling an attempt by hand: what an operator found in a vendor's own records about a call
//! whose outcome nobody else could find out.

use super::{
    model::{Attempt, Event, JobStatus},
    remote::Nudge,
    service::{Error, Service},
    store::Page,
};
use crate::{
    ids::{AttemptId, JobId},
    input::Problems,
    time::{self, Timestamp},
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
    /// The same, for the log of administrative acts: a user's id, or what did it.
    pub actor: String,
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

impl Service {
    /// Attempts of all users that are not settled, oldest first, behind one. For operators.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_attempts(
        &self,
        unconfirmed: bool,
        after: Option<AttemptId>,
        first: u32,
    ) -> Result<Page<OpenAttempt>, Error> {
        let page = self.database.open_attempts(unconfirmed, after, first);
        Ok(page.await?)
    }

    /// Settles an attempt whose outcome is unknown. For operators: who, by id and by name.
    ///
    /// # Errors
    /// `Invalid` names fields, `NotFound`, or `Conflict` when it is not to be settled so.
    pub async fn settle_attempt(
        &self,
        attempt: AttemptId,
        finding: Finding,
        (actor, by): (String, String),
        reason: String,
    ) -> Result<OpenAttempt, Error> {
        let mut problems = Problems::default();
        let reason = problems.text("reason", &reason, 1, MAX_REASON);
        let finding = match finding {
            Finding::Task(task) => {
                let task = task.trim().to_owned();
                if !(1..=MAX_TASK).contains(&task.len()) {
                    problems.add("providerTaskId", format!("must have 1 to {MAX_TASK} bytes"));
                }
                Finding::Task(task)
            }
            other => other,
        };
        problems.into_result().map_err(Error::Invalid)?;
        let settlement = Settlement {
            attempt,
            finding,
            by,
            actor,
            reason,
            deadline: time::now().after(self.settings.deadline),
        };
        match self.database.settle_attempt(settlement).await? {
            Settled::Done {
                attempt,
                job,
                events,
            } => {
                self.bus.publish(events);
                self.nudges.send(Nudge::Work);
                Ok(OpenAttempt {
                    attempt: *attempt,
                    job,
                })
            }
            Settled::Refused(why) => Err(Error::Conflict(format!("Not to be settled so: {why}."))),
            Settled::Missing => Err(Error::NotFound("attempt")),
        }
    }
}
