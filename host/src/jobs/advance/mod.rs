//! Moving a job on: what to do with a step that this worker holds.
//!
//! Each turn reads what the database says, does one thing, and writes its outcome in one
//! transaction that names the lease's fencing token. A process may die between any two
//! lines: the next one finds the rows and goes on from there.

mod choose;
mod deliver;
mod finish;
mod poll;
mod recover;
mod reuse;
mod store;
mod submit;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use genvid_media::{BlobStore, ffmpeg::Studio};

use super::{
    bus::Bus,
    decide,
    lease::Lease,
    model::{Attempt, AttemptStatus, EventType, Job, NewEvent, Step, StepKind, StepStatus},
    settings::Settings,
    store::{Applied, Bench, Change, Claimed, Fence, JobChange, MediaRole},
};
use crate::{
    adapters::sql::{self, Database},
    ids::{AttemptId, UserId},
    jobs::model::StoredFile,
    media::{JobAssets, StoreError},
    providers::{Catalog, Health, Lookup, Registry, Slot},
    time::{self, Timestamp},
};

/// How long to wait for a plugin that is being loaded.
const UNTIL_LOADED: Duration = Duration::from_secs(1);
/// How long to leave a step alone after a fault of this host, such as a full disk.
const AFTER_FAULT: Duration = Duration::from_secs(2);

/// Longest wait before something that costs nothing is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A step that this worker holds.
#[derive(Debug)]
pub struct Held {
    /// Its row, as last written or read.
    pub step: Step,
    /// The right to write it.
    pub fence: Fence,
    /// How long it is sure to have it. Nothing where nobody else could take it.
    pub lease: Option<Lease>,
    /// Whose job it is.
    pub owner: UserId,
    /// How many turns it has for another's one.
    pub weight: u32,
    /// When the job has to be done.
    pub deadline: Timestamp,
    /// Its place among the vendor's tasks.
    pub slot: Option<Slot>,
    /// At which provider it waits, or waited last, for a place.
    waits_at: Option<String>,
    /// The task to ask for.
    pub watch: Option<Watch>,
    /// Somebody asked to stop: look at the database before anything else.
    pub cancel: bool,
    /// Tries of something that is free to repeat.
    tries: u32,
    /// What the rows say, as long as this worker has read or written them just now.
    known: Option<Box<Known>>,
    /// What was written since then.
    written: Vec<Wrote>,
}

/// How long rows that were read are believed. Whoever holds a step is the only one to change it
/// and its attempts; others may ask its job to stop, which every write tells, or may have taken
/// the step over, which every write refuses.
const BELIEVED: Duration = Duration::from_secs(1);

/// The rows of a job, and since when.
#[derive(Debug)]
struct Known {
    work: Work,
    at: Instant,
}

/// What a write changed.
#[derive(Debug)]
struct Wrote {
    steps: Vec<Step>,
    attempt: Option<Attempt>,
    job: Option<JobChange>,
    cancel_requested: bool,
}

impl Held {
    /// What it waits with is its step: rows are read again afterwards.
    pub fn forget(&mut self) {
        self.known = None;
        self.written = Vec::new();
    }

    /// Rows that were read at that time, with what was written since then.
    fn remember(&mut self, mut work: Work, at: Instant) {
        for wrote in std::mem::take(&mut self.written) {
            work.note(wrote);
        }
        self.known = Some(Box::new(Known { work, at }));
    }

    /// Where its next turn takes place; nowhere in particular when it needs little.
    #[must_use]
    pub fn bench(&self) -> Option<Bench> {
        if self.cancel {
            return None;
        }
        match (self.step.status, self.step.kind) {
            (StepStatus::Storing, StepKind::Voice | StepKind::Video) => Some(Bench::Fetch),
            (StepStatus::Pending, StepKind::Compose | StepKind::Thumbnail) => Some(Bench::Compose),
            _ => None,
        }
    }

    /// A fresh claim.
    #[must_use]
    pub fn new(claimed: Claimed, lease: Option<Lease>) -> Self {
        Self {
            step: claimed.step,
            fence: claimed.fence,
            lease,
            owner: claimed.owner,
            weight: 1,
            deadline: claimed.deadline,
            slot: None,
            waits_at: None,
            watch: None,
            cancel: false,
            tries: 0,
            known: None,
            written: Vec::new(),
        }
    }
}

/// A task at a vendor that is asked for from time to time.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Which attempt.
    pub attempt: AttemptId,
    /// At whom.
    pub provider: Arc<str>,
    /// SHA-256 of the plugin that submitted it, in hex.
    pub digest: Arc<str>,
    /// The vendor's task.
    pub task: Arc<str>,
    /// How often it was asked for.
    pub polls: u32,
    /// The job is over; only the attempt is to be settled, until this time.
    pub settling: Option<Timestamp>,
}

/// What becomes of a step after a turn.
#[derive(Debug)]
pub enum Next {
    /// Look at it again then.
    At(Timestamp, Box<Held>),
    /// It waits for a slot of this provider.
    Slot(String, Box<Held>),
    /// It could go on, at another bench.
    Bench(Box<Held>),
    /// This worker has nothing more to do with it.
    Gone,
}

/// One turn's outcome.
enum Turn {
    Again,
    Wait(Timestamp),
    Slot(String),
    Gone,
}

/// What a job looks like at the beginning of a turn.
#[derive(Debug)]
struct Work {
    job: Job,
    steps: Vec<Step>,
    attempts: Vec<Attempt>,
}

impl Work {
    fn attempts_of(&self, step: &Step) -> impl DoubleEndedIterator<Item = &Attempt> + use<'_> {
        let id = step.id;
        self.attempts
            .iter()
            .filter(move |attempt| attempt.step == id)
    }

    /// Takes in what a write changed.
    fn note(&mut self, wrote: Wrote) {
        for new in wrote.steps {
            if let Some(step) = self.steps.iter_mut().find(|step| step.id == new.id) {
                *step = new;
            }
        }
        if let Some(new) = wrote.attempt {
            match self.attempts.iter_mut().find(|old| old.id == new.id) {
                Some(attempt) => *attempt = new,
                None => self.attempts.push(new),
            }
        }
        if let Some(job) = wrote.job {
            self.job.status = job.status;
            self.job.error = job.error;
        }
        self.job.cancel_requested = wrote.cancel_requested;
    }

    /// The attempt that the step is about now.
    fn current(&self, step: &Step) -> Option<&Attempt> {
        self.attempts_of(step).next_back()
    }
}

/// Moves jobs on.
#[derive(Clone)]
pub struct Advance {
    /// The truth.
    pub database: Database,
    /// Live events.
    pub bus: Bus,
    /// Who can do what.
    pub registry: Registry,
    /// What they offer.
    pub catalog: Catalog,
    /// How they do.
    pub health: Health,
    /// Where files go.
    pub blobs: Arc<dyn BlobStore>,
    /// Who composes films.
    pub studio: Studio,
    /// The numbers.
    pub settings: Arc<Settings>,
}

impl Advance {
    /// Takes turns with a step until it has to wait.
    pub async fn run(&self, mut held: Box<Held>) -> Next {
        let bench = held.bench();
        loop {
            let turn = self.turn(&mut held).await;
            if !matches!(turn, Ok(Turn::Again | Turn::Slot(_))) {
                held.forget();
            }
            match turn {
                Ok(Turn::Again) if held.bench().is_none_or(|next| bench == Some(next)) => {}
                Ok(Turn::Again) => {
                    held.forget();
                    return Next::Bench(held);
                }
                Ok(Turn::Wait(at)) => return Next::At(at, held),
                Ok(Turn::Slot(provider)) => {
                    held.waits_at = Some(provider.clone());
                    return Next::Slot(provider, held);
                }
                Ok(Turn::Gone) => return Next::Gone,
                Err(error) => {
                    tracing::error!(
                        job = %held.step.job, step = held.step.kind.as_str(),
                        error = &error as &dyn std::error::Error,
                        "a step could not be moved on; it will be looked at again"
                    );
                    held.slot = None;
                    return Next::At(time::now().after(AFTER_FAULT), held);
                }
            }
        }
    }

    async fn turn(&self, held: &mut Held) -> Result<Turn, sql::Error> {
        let known = (held.known.take())
            .filter(|known| !held.cancel && known.at.elapsed() < BELIEVED)
            .map(|known| (known.work, known.at));
        held.written.clear();
        let (work, at) = match known {
            Some(known) => known,
            None => {
                let at = Instant::now();
                (self.load(held).await?, at)
            }
        };
        let turn = self.go_on(held, &work).await?;
        held.remember(work, at);
        Ok(turn)
    }

    /// A turn, with what its job looks like.
    async fn go_on(&self, held: &mut Held, work: &Work) -> Result<Turn, sql::Error> {
        let Some(step) = work.steps.iter().find(|step| step.id == held.fence.step) else {
            return Ok(Turn::Gone);
        };
        held.step = step.clone();
        held.deadline = work.job.deadline;
        if work.job.cancel_requested && !is_over(step.status) {
            return self.cancel(held, work).await;
        }
        let late = time::now() >= work.job.deadline;
        match step.status {
            StepStatus::Pending if late => self.expire(held, work).await,
            StepStatus::Running if late => self.expire(held, work).await,
            StepStatus::Pending if step.kind.is_paid() => match work.job.input.edit() {
                Some(edit) => self.take_from(held, work, edit.source).await,
                None => self.submit(held, work).await,
            },
            StepStatus::Pending => self.make(held, work).await,
            // Only ever read after a crash or a failed write: whoever submits goes on from
            // memory. Was the request on its way? Nobody knows.
            StepStatus::Submitting => {
                self.doubt(held, work, "The server stopped during the call.")
                    .await
            }
            StepStatus::Unconfirmed => self.recover(held, work).await,
            StepStatus::Running => Ok(self.watch(held, work, None)),
            StepStatus::Storing => self.store(held, work).await,
            StepStatus::Failed | StepStatus::Canceled => self.settle(held, work).await,
            StepStatus::Succeeded => Ok(Turn::Gone),
        }
    }

    async fn load(&self, held: &Held) -> Result<Work, sql::Error> {
        let ids = [held.step.job];
        let (job, steps, attempts) = tokio::try_join!(
            self.database.get_job(held.step.job),
            self.database.steps_of(&ids),
            self.database.attempts_of(&ids),
        )?;
        Ok(Work {
            job,
            steps,
            attempts,
        })
    }

    /// Sets out to ask for the step's task from now on.
    fn watch(&self, held: &mut Held, work: &Work, settling: Option<Timestamp>) -> Turn {
        let Some(attempt) = work.current(&held.step) else {
            return Turn::Gone;
        };
        let Some(task) = attempt.vendor_task.as_deref() else {
            return Turn::Gone;
        };
        held.watch = Some(Watch {
            attempt: attempt.id,
            provider: attempt.provider.as_str().into(),
            digest: attempt.plugin_digest.as_str().into(),
            task: task.into(),
            polls: 0,
            settling,
        });
        Turn::Wait(time::now())
    }

    /// A job that is over may have a task that is not: its attempt is followed to its end.
    async fn settle(&self, held: &mut Held, work: &Work) -> Result<Turn, sql::Error> {
        let open = work
            .current(&held.step)
            .filter(|attempt| attempt.status == AttemptStatus::Accepted)
            .and_then(|attempt| attempt.accepted_at);
        if let Some(accepted) = open {
            let until = accepted.after(self.settings.settle_window);
            if time::now() < until {
                return Ok(self.watch(held, work, Some(until)));
            }
        }
        let attempt = work
            .current(&held.step)
            .filter(|_| open.is_some())
            .map(|attempt| Attempt {
                status: AttemptStatus::Abandoned,
                finished_at: Some(time::now()),
                ..attempt.clone()
            });
        let step = Step {
            due_at: None,
            ..held.step.clone()
        };
        self.write(
            held,
            step,
            Draft {
                attempt,
                ..Draft::default()
            },
        )
        .await?;
        Ok(Turn::Gone)
    }

    /// Writes the step as it is now, with what belongs to it, and tells the events.
    async fn write(
        &self,
        held: &mut Held,
        step: Step,
        draft: Draft,
    ) -> Result<Written, sql::Error> {
        let keep_lease = step.due_at.is_some() || draft.next.is_some();
        let applied = self
            .database
            .apply(Change {
                fence: held.fence,
                step: step.clone(),
                keep_lease,
                attempt: draft.attempt.clone(),
                next: draft.next.clone(),
                done: draft.done.clone(),
                job: draft.job.clone(),
                events: draft.events,
                media: draft.media,
            })
            .await?;
        match applied {
            Applied::Lost => {
                tracing::warn!(job = %step.job, step = step.kind.as_str(), "the lease was lost");
                Ok(Written::Lost)
            }
            Applied::Done {
                events,
                next,
                cancel_requested,
            } => {
                self.bus.publish(events);
                held.written.push(Wrote {
                    steps: (std::iter::once(&step))
                        .chain(&draft.next)
                        .chain(&draft.done)
                        .cloned()
                        .collect(),
                    attempt: draft.attempt,
                    job: draft.job,
                    cancel_requested,
                });
                held.step = step;
                if let (Some(fence), Some(next)) = (next, draft.next) {
                    held.fence = fence;
                    held.step = next;
                    held.slot = None;
                    held.watch = None;
                    held.tries = 0;
                }
                Ok(Written::Done { cancel_requested })
            }
        }
    }

    /// When to try once more what costs nothing; nothing when it was tried often enough.
    /// Faults of this host pass: what was bought is not given up for them before the job has
    /// to be done.
    fn once_more(&self, held: &Held, error: &StoreError, most: u32) -> Option<Timestamp> {
        let now = time::now();
        let ours = matches!(error, StoreError::Host(_)) && now < held.deadline;
        if held.tries >= most && !ours {
            return None;
        }
        let tries = i64::from(held.tries);
        let wait = decide::backoff(self.settings.retry_base, tries, None, rand::random());
        Some(now.after(wait.min(LONGEST_WAIT)))
    }

    /// The plugin that submitted an attempt.
    fn plugin_of(&self, attempt: &Attempt) -> Lookup {
        self.registry
            .version(&attempt.provider, &attempt.plugin_digest)
    }

    fn assets(&self, job: crate::ids::JobId) -> JobAssets {
        JobAssets::new(Arc::clone(&self.blobs), job)
    }
}

/// What is written beside the step.
#[derive(Default)]
struct Draft {
    attempt: Option<Attempt>,
    next: Option<Step>,
    done: Option<Step>,
    job: Option<JobChange>,
    events: Vec<NewEvent>,
    media: Vec<(UserId, MediaRole, StoredFile)>,
}

enum Written {
    Done { cancel_requested: bool },
    Lost,
}

fn is_over(status: StepStatus) -> bool {
    matches!(
        status,
        StepStatus::Succeeded | StepStatus::Failed | StepStatus::Canceled
    )
}

fn about(step: StepKind, event: EventType) -> NewEvent {
    NewEvent::step(event, step)
}
