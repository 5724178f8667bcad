//! What belongs to jobs, read for a whole page at once.
//!
//! A page of jobs is a family: the first of its members that is asked for its steps reads
//! the steps of all, and the others find them there. So a list costs one read for each
//! relation, however long it is. A family lives as long as the answer that it serves; a
//! general loader would have to guess by a timer when everybody has asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::{Context, Error};
use tokio::sync::OnceCell;

use super::{Services, error};
use crate::{
    billing::Holding,
    ids::{JobId, ProjectId, StepId, UserId},
    jobs::{
        self,
        model::{self, Attempt, Event, Step, StoredFile},
        store::{MediaRole, Page, Withdrawal},
    },
    projects::{self, Project},
};

/// Jobs of one owner that are answered together.
pub(super) struct Family {
    services: Services,
    owner: UserId,
    jobs: Vec<JobId>,
    projects: Vec<ProjectId>,
    steps: OnceCell<HashMap<JobId, Vec<Arc<Step>>>>,
    attempts: OnceCell<HashMap<JobId, Vec<Arc<Attempt>>>>,
    media: OnceCell<HashMap<(JobId, MediaRole), StoredFile>>,
    withdrawals: OnceCell<HashMap<JobId, Withdrawal>>,
    holdings: OnceCell<HashMap<JobId, Holding>>,
    project_rows: OnceCell<HashMap<ProjectId, Arc<Project>>>,
    /// By `after` and `first`.
    events: Mutex<HashMap<(i64, u32), EventPages>>,
}

type EventPages = Arc<OnceCell<HashMap<JobId, Page<Event>>>>;

impl Family {
    /// Of jobs that all belong to `owner`.
    pub(super) fn of(services: &Services, owner: UserId, jobs: &[model::Job]) -> Arc<Self> {
        let mut projects: Vec<_> = jobs.iter().filter_map(|job| job.project).collect();
        projects.sort_unstable();
        projects.dedup();
        Arc::new(Self {
            services: services.clone(),
            owner,
            jobs: jobs.iter().map(|job| job.id).collect(),
            projects,
            steps: OnceCell::new(),
            attempts: OnceCell::new(),
            media: OnceCell::new(),
            withdrawals: OnceCell::new(),
            holdings: OnceCell::new(),
            project_rows: OnceCell::new(),
            events: Mutex::default(),
        })
    }

    /// Makes links to files.
    pub(super) async fn link(&self, file: &StoredFile, role: MediaRole) -> Option<String> {
        let links = &self.services.links;
        links.link(&file.key, &file.mime, role.file_name()).await
    }

    /// A job's steps, in their order.
    pub(super) async fn steps(&self, ctx: &Context<'_>, job: JobId) -> Result<&[Arc<Step>], Error> {
        let all = self
            .steps
            .get_or_try_init(|| async {
                let mut all: HashMap<_, Vec<_>> = HashMap::new();
                for step in self.services.jobs.steps(self.owner, &self.jobs).await? {
                    all.entry(step.job).or_default().push(Arc::new(step));
                }
                Ok(all)
            })
            .await
            .map_err(|error| error::job(ctx, error))?;
        Ok(all.get(&job).map(Vec::as_slice).unwrap_or_default())
    }

    /// A job's attempts, oldest first.
    pub(super) async fn attempts(
        &self,
        ctx: &Context<'_>,
        job: JobId,
    ) -> Result<&[Arc<Attempt>], Error> {
        let all = self
            .attempts
            .get_or_try_init(|| async {
                let mut all: HashMap<_, Vec<_>> = HashMap::new();
                for attempt in self.services.jobs.attempts(self.owner, &self.jobs).await? {
                    all.entry(attempt.job).or_default().push(Arc::new(attempt));
                }
                Ok(all)
            })
            .await
            .map_err(|error| error::job(ctx, error))?;
        Ok(all.get(&job).map(Vec::as_slice).unwrap_or_default())
    }

    /// A step's attempts, oldest first.
    pub(super) async fn attempts_of_step(
        &self,
        ctx: &Context<'_>,
        job: JobId,
        step: StepId,
    ) -> Result<Vec<Arc<Attempt>>, Error> {
        let attempts = self.attempts(ctx, job).await?;
        Ok(attempts
            .iter()
            .filter(|attempt| attempt.step == step)
            .cloned()
            .collect())
    }

    /// The newest published file of a job in this role.
    pub(super) async fn file(
        &self,
        ctx: &Context<'_>,
        job: JobId,
        role: MediaRole,
    ) -> Result<Option<&StoredFile>, Error> {
        let all = self
            .media
            .get_or_try_init(|| async {
                let files = self.services.jobs.media(self.owner, &self.jobs).await?;
                // Oldest first, so a later file takes the place of an earlier one.
                Ok(files
                    .into_iter()
                    .map(|(job, role, file)| ((job, role), file))
                    .collect())
            })
            .await
            .map_err(|error| error::job(ctx, error))?;
        Ok(all.get(&(job, role)))
    }

    /// Why nobody gets links to a job's files, if so.
    pub(super) async fn withdrawal(
        &self,
        ctx: &Context<'_>,
        job: JobId,
    ) -> Result<Option<Withdrawal>, Error> {
        let all = self
            .withdrawals
            .get_or_try_init(|| self.services.jobs.withdrawals(self.owner, &self.jobs))
            .await
            .map_err(|error| error::job(ctx, error))?;
        Ok(all.get(&job).copied())
    }

    /// What a job holds and has spent; one from before there were credits, nothing.
    pub(super) async fn holding(&self, ctx: &Context<'_>, job: JobId) -> Result<Holding, Error> {
        let all = self
            .holdings
            .get_or_try_init(|| self.services.billing.holdings(self.owner, &self.jobs))
            .await
            .map_err(|failed| error::database(ctx, &failed))?;
        Ok(all.get(&job).copied().unwrap_or_default())
    }

    /// A project of the owner's; nothing when it was deleted.
    pub(super) async fn project(
        &self,
        ctx: &Context<'_>,
        id: ProjectId,
    ) -> Result<Option<Arc<Project>>, Error> {
        let all = self
            .project_rows
            .get_or_try_init(|| async {
                let rows = self
                    .services
                    .projects
                    .find_many(self.owner, &self.projects)
                    .await?;
                Ok(rows
                    .into_iter()
                    .map(|project| (project.id, Arc::new(project)))
                    .collect())
            })
            .await
            .map_err(|error: projects::Error| error::project(ctx, error))?;
        Ok(all.get(&id).cloned())
    }

    /// A page of a job's events.
    pub(super) async fn events(
        &self,
        ctx: &Context<'_>,
        job: JobId,
        after: i64,
        first: u32,
    ) -> Result<Page<Event>, Error> {
        let pages = Arc::clone(
            self.events
                .lock()
                // The map is whole between any two of its calls.
                .unwrap_or_else(PoisonError::into_inner)
                .entry((after, first))
                .or_default(),
        );
        let pages = pages
            .get_or_try_init(|| {
                self.services
                    .jobs
                    .events_of(self.owner, &self.jobs, after, first)
            })
            .await
            .map_err(|error: jobs::Error| error::job(ctx, error))?;
        Ok(pages.get(&job).cloned().unwrap_or(Page {
            items: Vec::new(),
            more: false,
        }))
    }
}

/// A job with its family.
#[derive(Clone)]
pub(super) struct Kin {
    pub(super) row: Arc<model::Job>,
    pub(super) family: Arc<Family>,
}

impl Kin {
    /// A job that is answered alone.
    pub(super) fn alone(services: &Services, row: model::Job) -> Self {
        let family = Family::of(services, row.owner, std::slice::from_ref(&row));
        Self {
            row: Arc::new(row),
            family,
        }
    }

    /// Jobs that are answered together.
    pub(super) fn together(
        services: &Services,
        owner: UserId,
        rows: Vec<model::Job>,
    ) -> impl Iterator<Item = Self> {
        let family = Family::of(services, owner, &rows);
        rows.into_iter().map(move |row| Self {
            row: Arc::new(row),
            family: Arc::clone(&family),
        })
    }
}

/// Jobs as events saw them, shared by everybody who follows the same job.
///
/// An event's `job` is the job at that event or later. Whoever comes first reads it; all
/// others take what was read, as long as it is not older than their event.
#[derive(Clone)]
pub(super) struct Sightings {
    recent: moka::future::Cache<JobId, Kin>,
}

/// Jobs that are kept for followers; the rest is read again.
const SIGHTINGS: u64 = 1_000;
/// Only followers of the same moment share; this is longer than their fan-out takes.
const SIGHTING_SECONDS: u64 = 2;

impl Sightings {
    pub(super) fn new() -> Self {
        let recent = moka::future::Cache::builder()
            .max_capacity(SIGHTINGS)
            .time_to_live(std::time::Duration::from_secs(SIGHTING_SECONDS))
            .build();
        Self { recent }
    }

    /// The job of an event that its owner follows; nothing when the job is gone.
    pub(super) async fn job(
        &self,
        services: &Services,
        event: &Event,
    ) -> Result<Option<Kin>, jobs::Error> {
        use moka::ops::compute::{CompResult, Op};
        let fresh = |kin: &Kin| kin.row.last_seq >= event.seq && kin.row.owner == event.owner;
        if let Some(kin) = self.recent.get(&event.job).await.filter(fresh) {
            return Ok(Some(kin));
        }
        let outcome = self
            .recent
            .entry(event.job)
            .and_try_compute_with(|present| async move {
                if present.is_some_and(|entry| fresh(entry.value())) {
                    return Ok(Op::Nop);
                }
                let job = services.jobs.find(event.owner, event.job).await?;
                Ok::<_, jobs::Error>(
                    job.map_or(Op::Remove, |row| Op::Put(Kin::alone(services, row))),
                )
            })
            .await?;
        Ok(match outcome {
            CompResult::Inserted(entry)
            | CompResult::ReplacedWith(entry)
            | CompResult::Unchanged(entry) => Some(entry.into_value()),
            CompResult::Removed(_) | CompResult::StillNone(_) => None,
        })
    }
}
