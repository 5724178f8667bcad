//! What users do with jobs. Every method is scoped to the caller.

use std::{collections::HashMap, sync::Arc};

use futures::Stream;

use super::{
    accept::Checked,
    bus::Bus,
    check::{Common, Told, check_language, check_seconds},
    events,
    input::{JobInput, ScriptInput, VideoInput, VoiceInput},
    limits::TooMany,
    model::{Attempt, Event, EventType, Job, JobStatus, NewEvent, Step, StepStatus, StoredFile},
    remote::{Nudge, Nudges},
    settings::Settings,
    store::{JobFilter, MediaRole, OwnerDecision, Page, Withdrawal, WithdrawalReason},
    wish::{ScriptWish, VideoWish, VoiceWish},
};
use crate::{
    adapters::sql::{self, Database},
    billing::{Shortage, budget::Overrun},
    ids::{JobId, ProjectId, UserId},
    input::Problems,
    projects::{self, Project, check_links},
    providers::{Health, Kind, Registry},
    scripts, time,
    uploads::check_references,
};

/// Longest script or text, in characters.
pub const MAX_TEXT: usize = 20_000;
const MAX_BRIEF: usize = 5_000;

/// Why a wish could not be granted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that cannot be taken.
    #[error("the input is not valid")]
    Invalid(Problems),
    /// There is no such thing for this caller.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The idempotency key came before, with another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// No installed provider can make this.
    #[error("{0}")]
    NoProvider(String),
    /// The job's state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The caller has fewer credits than it may cost.
    #[error("{} credits are needed and {} are available", .0.required, .0.available)]
    InsufficientCredits(Shortage),
    /// It would pass the project's budget.
    #[error("the project's budget is {}", .0.budget.limit.words())]
    BudgetExceeded(Overrun),
    /// The caller has as many jobs under way as they may.
    #[error("{} jobs are under way, and {} may be", .0.in_flight, .0.limit)]
    TooManyJobs(TooMany),
    /// The database failed.
    #[error(transparent)]
    Database(sql::Error),
}

impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Self {
        match error {
            sql::Error::InsufficientCredits(shortage) => Self::InsufficientCredits(shortage),
            sql::Error::BudgetExceeded(overrun) => Self::BudgetExceeded(overrun),
            sql::Error::TooManyJobs(too_many) => Self::TooManyJobs(too_many),
            sql::Error::OverLimit(required) => {
                let mut problems = Problems::default();
                problems.add(
                    "maxCredits",
                    format!("is less than the {required} it may cost"),
                );
                Self::Invalid(problems)
            }
            other => Self::Database(other),
        }
    }
}

impl From<projects::Error> for Error {
    fn from(error: projects::Error) -> Self {
        match error {
            projects::Error::Invalid(problems) => Self::Invalid(problems),
            projects::Error::NotFound => Self::NotFound("project"),
            projects::Error::Database(error) => error.into(),
        }
    }
}

/// What users do with jobs.
#[derive(Clone)]
pub struct Service {
    pub(super) database: Database,
    pub(super) bus: Bus,
    pub(super) projects: projects::Service,
    pub(super) registry: Registry,
    pub(super) health: Health,
    pub(super) settings: Arc<Settings>,
    pub(super) lenient_links: bool,
    pub(super) nudges: Nudges,
}

impl Service {
    /// What users get by plan.
    #[must_use]
    pub fn plans(&self) -> &super::limits::Plans {
        &self.settings.plans
    }

    /// Over a database; workers listen at the other end of `nudges`.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "wiring: each is another thing")]
    pub fn new(
        database: Database,
        bus: Bus,
        projects: projects::Service,
        registry: Registry,
        health: Health,
        settings: Arc<Settings>,
        lenient_links: bool,
        nudges: Nudges,
    ) -> Self {
        Self {
            database,
            bus,
            projects,
            registry,
            health,
            settings,
            lenient_links,
            nudges,
        }
    }

    /// Accepts a script job and puts aside what it may cost.
    ///
    /// # Errors
    /// `Invalid` names every field; a repeated key answers the first job.
    pub async fn write_script(&self, owner: UserId, wish: ScriptWish) -> Result<Job, Error> {
        let checked = self.check_script(owner, wish).await?;
        self.accept(owner, checked).await
    }

    pub(super) async fn check_script(
        &self,
        owner: UserId,
        wish: ScriptWish,
    ) -> Result<Checked, Error> {
        let mut problems = Problems::default();
        let project = self.project(owner, wish.project).await?;
        let brief = problems.text(
            "brief",
            wish.brief.as_deref().unwrap_or_default(),
            0,
            MAX_BRIEF,
        );
        if project.is_none() && brief.is_empty() {
            problems.add("brief", "is required when there is no project");
        }
        check_language(&wish.language, &mut problems);
        check_seconds(wish.max_seconds, &mut problems);
        if scripts::template(wish.template.as_deref()).is_none() {
            problems.add("templateId", "is not one of scriptTemplates");
        }
        let options = self.check_options(
            Kind::Script,
            wish.provider.as_deref(),
            wish.options,
            &mut problems,
        );
        self.check_provider(
            "provider",
            Kind::Script,
            wish.provider.as_deref(),
            wish.only.as_deref(),
            &mut problems,
        );
        let common = Common {
            max_credits: wish.max_credits,
            quote: wish.quote,
            ..self.common(
                &wish.idempotency_key,
                wish.deadline,
                Told {
                    webhook_url: wish.webhook_url,
                    email: wish.notification_email,
                    by: wish.by,
                },
                &mut problems,
            )
        };
        problems.into_result().map_err(Error::Invalid)?;
        let input = JobInput::Script(ScriptInput {
            product: project.as_ref().map(Project::brief).unwrap_or_default(),
            brief,
            language: wish.language,
            max_seconds: wish.max_seconds,
            template: wish.template,
            provider: wish.provider,
            exclude: wish.exclude,
            only: wish.only,
            options,
            reuse: !wish.buy_again,
        });
        Ok(Checked {
            project: project.map(|project| project.id),
            input,
            speaks_itself: false,
            common,
        })
    }

    /// Accepts a voice job and puts aside what it may cost.
    ///
    /// # Errors
    /// `Invalid` names every field; a repeated key answers the first job.
    pub async fn speak(&self, owner: UserId, wish: VoiceWish) -> Result<Job, Error> {
        let checked = self.check_voice(owner, wish).await?;
        self.accept(owner, checked).await
    }

    pub(super) async fn check_voice(
        &self,
        owner: UserId,
        wish: VoiceWish,
    ) -> Result<Checked, Error> {
        let mut problems = Problems::default();
        let project = self.project(owner, wish.project).await?;
        let text = problems.text("text", &wish.text, 1, MAX_TEXT);
        check_language(&wish.language, &mut problems);
        let provider = match (&wish.provider, &wish.voice) {
            (Some(pin), Some(voice)) if *pin != voice.provider => {
                problems.add(
                    "voiceId",
                    format!("is a voice of {}, not of {pin}", voice.provider),
                );
                None
            }
            (None, Some(voice)) => Some(voice.provider.clone()),
            (pin, _) => pin.clone(),
        };
        self.check_provider(
            "provider",
            Kind::Voice,
            provider.as_deref(),
            wish.only.as_deref(),
            &mut problems,
        );
        let options = self.check_options(
            Kind::Voice,
            provider.as_deref(),
            wish.options,
            &mut problems,
        );
        let common = Common {
            max_credits: wish.max_credits,
            quote: wish.quote,
            ..self.common(
                &wish.idempotency_key,
                wish.deadline,
                Told {
                    webhook_url: wish.webhook_url,
                    email: wish.notification_email,
                    by: wish.by,
                },
                &mut problems,
            )
        };
        problems.into_result().map_err(Error::Invalid)?;
        let input = JobInput::Voice(VoiceInput {
            text,
            language: wish.language,
            provider,
            exclude: Vec::new(),
            only: wish.only,
            voice: wish.voice.map(|voice| voice.id),
            options,
            reuse: !wish.buy_again,
        });
        Ok(Checked {
            project: project.map(|project| project.id),
            input,
            speaks_itself: false,
            common,
        })
    }

    /// Accepts a video job and puts aside what it may cost.
    ///
    /// # Errors
    /// `Invalid` names every field; a repeated key answers the first job.
    pub async fn make_video(&self, owner: UserId, wish: VideoWish) -> Result<Job, Error> {
        let checked = self.check_video(owner, wish).await?;
        self.accept(owner, checked).await
    }

    pub(super) async fn check_video(
        &self,
        owner: UserId,
        wish: VideoWish,
    ) -> Result<Checked, Error> {
        let mut problems = Problems::default();
        let project = self.project(owner, Some(wish.project)).await?;
        let script = wish
            .script
            .as_deref()
            .map(|text| problems.text("script", text, 1, MAX_TEXT));
        check_language(&wish.language, &mut problems);
        check_seconds(wish.max_seconds, &mut problems);
        let images = check_links("images", &wish.images, self.lenient_links, &mut problems);
        let database = &self.database;
        check_references(database, owner, "images", &wish.images, &mut problems).await?;
        self.check_provider(
            "provider",
            Kind::Video,
            wish.provider.as_deref(),
            wish.only.as_deref(),
            &mut problems,
        );
        self.check_provider(
            "voiceProvider",
            Kind::Voice,
            wish.voice_provider.as_deref(),
            wish.only.as_deref(),
            &mut problems,
        );
        for (field, item, pin) in [
            ("avatarId", &wish.avatar, &wish.provider),
            ("voiceId", &wish.voice, &wish.voice_provider),
        ] {
            if let (Some(item), Some(pin)) = (item, pin)
                && item.provider != *pin
            {
                problems.add(field, format!("belongs to {}, not to {pin}", item.provider));
            }
        }
        if let Some(pin) = wish
            .provider
            .as_ref()
            .filter(|pin| wish.exclude.contains(pin))
        {
            problems.add(
                "excludeProviders",
                format!("names the wanted provider {pin}"),
            );
        }
        let options = self.check_options(
            Kind::Video,
            wish.provider.as_deref(),
            wish.options,
            &mut problems,
        );
        let common = Common {
            max_credits: wish.max_credits,
            quote: wish.quote,
            place: wish.place,
            ..self.common(
                &wish.idempotency_key,
                wish.deadline,
                Told {
                    webhook_url: wish.webhook_url,
                    email: wish.notification_email,
                    by: wish.by,
                },
                &mut problems,
            )
        };
        problems.into_result().map_err(Error::Invalid)?;
        let input = VideoInput {
            product: project.as_ref().map(Project::brief).unwrap_or_default(),
            script,
            language: wish.language,
            aspect: wish.aspect,
            provider: wish.provider,
            exclude: wish.exclude,
            only: wish.only,
            avatar: wish.avatar,
            voice_provider: wish.voice_provider,
            voice: wish.voice,
            images,
            max_seconds: wish.max_seconds,
            subtitles: wish.subtitles,
            options,
            reuse: !wish.buy_again,
            edit: None,
        };
        let speaks_itself = self.speaks_itself(&input);
        let input = JobInput::Video(input);
        Ok(Checked {
            project: Some(wish.project),
            input,
            speaks_itself,
            common,
        })
    }

    /// Asks a job to stop. A job that is over stays as it is.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cancel(&self, owner: UserId, id: JobId) -> Result<Job, Error> {
        self.find(owner, id).await?.ok_or(Error::NotFound("job"))?;
        let (_, events) = self
            .database
            .for_user(owner)
            .decide(id, OwnerDecision::Cancel)
            .await?;
        self.bus.publish(events);
        self.nudges.send(Nudge::Cancel(id));
        self.nudges.send(Nudge::Work);
        self.find(owner, id).await?.ok_or(Error::NotFound("job"))
    }

    /// Goes on with a job that failed, or whose outcome is unknown. The latter may be billed
    /// twice, and asks for `accept_double_charge`.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` when the state does not allow it.
    pub async fn retry(
        &self,
        owner: UserId,
        id: JobId,
        accept_double_charge: bool,
    ) -> Result<Job, Error> {
        let job = self.find(owner, id).await?.ok_or(Error::NotFound("job"))?;
        match self.withdrawals(owner, &[id]).await?.get(&id) {
            Some(Withdrawal {
                reason: WithdrawalReason::ProjectDeleted,
                ..
            }) => {
                return Err(Error::Conflict("The job's project was deleted.".to_owned()));
            }
            Some(_) => {
                return Err(Error::Conflict(
                    "The job's files were removed after their time; start a new one.".to_owned(),
                ));
            }
            None => {}
        }
        let (wanted, words) = match job.status {
            JobStatus::Failed if job.error.as_ref().is_some_and(|error| error.retryable) => {
                (StepStatus::Failed, "Tried again")
            }
            JobStatus::Failed => {
                return Err(Error::Conflict(
                    "The job failed for a reason that stays; change the request and start a new one.".to_owned(),
                ));
            }
            JobStatus::Unconfirmed if accept_double_charge => (
                StepStatus::Unconfirmed,
                "Tried again; a double charge was accepted",
            ),
            JobStatus::Unconfirmed => {
                return Err(Error::Conflict(
                    "The provider may bill this job already. Set acceptDoubleCharge to try again all the same.".to_owned(),
                ));
            }
            other => {
                return Err(Error::Conflict(format!(
                    "A job that is {} cannot be retried.",
                    other.as_str()
                )));
            }
        };
        let step = self
            .database
            .for_user(owner)
            .steps_of(&[id])
            .await?
            .into_iter()
            .find(|step| step.status == wanted)
            .ok_or_else(|| Error::Conflict("There is no step to try again.".to_owned()))?;
        let decision = OwnerDecision::Retry {
            from: job.status,
            step: step.id,
            deadline: time::now().after(self.settings.deadline),
            plans: Arc::clone(&self.settings.plans),
            event: NewEvent::step(EventType::JobRetried, step.kind).saying(words),
        };
        let (changed, events) = self.database.for_user(owner).decide(id, decision).await?;
        if !changed {
            return Err(Error::Conflict(
                "The job's state has changed meanwhile.".to_owned(),
            ));
        }
        self.bus.publish(events);
        self.nudges.send(Nudge::Work);
        self.find(owner, id).await?.ok_or(Error::NotFound("job"))
    }

    /// A job of the caller's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, owner: UserId, id: JobId) -> Result<Option<Job>, Error> {
        Ok(self.database.find_job(owner, id).await?)
    }

    /// Those of these jobs that are the caller's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_many(&self, owner: UserId, ids: &[JobId]) -> Result<Vec<Job>, Error> {
        Ok(self.database.find_jobs(owner, ids).await?)
    }

    /// The caller's jobs, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(
        &self,
        owner: UserId,
        filter: JobFilter,
        after: Option<JobId>,
        first: u32,
    ) -> Result<Page<Job>, Error> {
        Ok(self.database.list_jobs(owner, filter, after, first).await?)
    }

    /// The steps of jobs of the caller's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn steps(&self, owner: UserId, jobs: &[JobId]) -> Result<Vec<Step>, Error> {
        Ok(self.database.for_user(owner).steps_of(jobs).await?)
    }

    /// The attempts of jobs of the caller's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempts(&self, owner: UserId, jobs: &[JobId]) -> Result<Vec<Attempt>, Error> {
        Ok(self.database.for_user(owner).attempts_of(jobs).await?)
    }

    /// The files of jobs of the caller's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn media(
        &self,
        owner: UserId,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, MediaRole, StoredFile)>, Error> {
        Ok(self.database.for_user(owner).media_of(jobs).await?)
    }

    /// Why nobody gets links to the files of jobs of the caller's; those with links are left
    /// out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn withdrawals(
        &self,
        owner: UserId,
        jobs: &[JobId],
    ) -> Result<HashMap<JobId, Withdrawal>, Error> {
        let found = self.database.for_user(owner).withdrawals_of(jobs).await?;
        Ok(found
            .into_iter()
            .filter_map(|(job, withdrawal)| Some((job, withdrawal?)))
            .collect())
    }

    /// Of each of these jobs of the caller's, a page of its event log. A job without
    /// events behind `after` is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_of(
        &self,
        owner: UserId,
        jobs: &[JobId],
        after: i64,
        first: u32,
    ) -> Result<HashMap<JobId, Page<Event>>, Error> {
        let mut logs: HashMap<JobId, Vec<Event>> = HashMap::new();
        for event in self
            .database
            .for_user(owner)
            .events_of(jobs, after, first.saturating_add(1))
            .await?
        {
            logs.entry(event.job).or_default().push(event);
        }
        Ok(logs
            .into_iter()
            .map(|(job, events)| (job, Page::cut(events, first)))
            .collect())
    }

    /// Follows a job of the caller's: replay after `after`, then live.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn follow(
        &self,
        owner: UserId,
        id: JobId,
        after: i64,
    ) -> Result<impl Stream<Item = Result<Arc<Event>, sql::Error>> + Send + 'static, Error> {
        self.find(owner, id).await?.ok_or(Error::NotFound("job"))?;
        Ok(events::follow_job(
            self.database.for_user(owner),
            self.bus.clone(),
            id,
            after.max(0),
        ))
    }

    /// Follows all of the caller's jobs: replay after a position, or live from here on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow_all(
        &self,
        owner: UserId,
        after: Option<i64>,
    ) -> Result<impl Stream<Item = Result<Arc<Event>, sql::Error>> + Send + 'static, Error> {
        let after = match after {
            Some(position) => position.max(0),
            None => self.database.last_position(owner).await?,
        };
        Ok(events::follow_owner(
            self.database.for_user(owner),
            self.bus.clone(),
            owner,
            after,
        ))
    }

    async fn project(
        &self,
        owner: UserId,
        id: Option<ProjectId>,
    ) -> Result<Option<Project>, Error> {
        match id {
            None => Ok(None),
            Some(id) => match self.projects.find(owner, id).await? {
                Some(project) => Ok(Some(project)),
                None => Err(Error::NotFound("project")),
            },
        }
    }
}
