//! What users do with jobs. Every method is scoped to the caller.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::Stream;
use genvid_runtime::manifest::Speech;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use url::Url;

use super::{
    bus::Bus,
    events,
    input::{JobInput, ProviderItem, ScriptInput, VideoInput, VoiceInput},
    model::{
        Aspect, Attempt, Event, EventType, Job, JobStatus, NewEvent, Step, StepStatus, StoredFile,
        SubtitleMode,
    },
    settings::Settings,
    store::{Accepted, JobFilter, MediaRole, NewJob, OwnerDecision, Page},
};
use crate::{
    adapters::sql::{self, Database},
    ids::{JobId, ProjectId, StepId, UserId},
    input::{Problems, is_language_tag},
    projects::{self, Project, check_links},
    providers::{Kind, Need, Registry, VideoNeed},
    scripts,
    time::{self, Timestamp},
};

/// Longest script or text, in characters.
pub const MAX_TEXT: usize = 20_000;
/// Longest film, in seconds.
pub const MAX_SECONDS: u32 = 600;
const MAX_BRIEF: usize = 5_000;
const MAX_KEY: usize = 255;
const MAX_OPTIONS: usize = 16 * 1_024;
const MAX_DEADLINE: Duration = Duration::from_secs(7 * 86_400);

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
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
}

impl From<projects::Error> for Error {
    fn from(error: projects::Error) -> Self {
        match error {
            projects::Error::Invalid(problems) => Self::Invalid(problems),
            projects::Error::NotFound => Self::NotFound("project"),
            projects::Error::Database(error) => Self::Database(error),
        }
    }
}

/// A script to write.
#[derive(Debug, Clone, Default)]
pub struct ScriptWish {
    /// For which project.
    pub project: Option<ProjectId>,
    /// What the writer should know besides the project's words.
    pub brief: Option<String>,
    /// BCP 47.
    pub language: String,
    /// Longest speaking time, 1 to 600 seconds.
    pub max_seconds: Option<u32>,
    /// One of the templates.
    pub template: Option<String>,
    /// Only this provider.
    pub provider: Option<String>,
    /// Never these.
    pub exclude: Vec<String>,
    /// The provider's own options.
    pub options: Option<serde_json::Value>,
    /// The caller's key, 1 to 255 characters.
    pub idempotency_key: String,
    /// When it has to be done.
    pub deadline: Option<Timestamp>,
}

/// A text to speak.
#[derive(Debug, Clone, Default)]
pub struct VoiceWish {
    /// For which project.
    pub project: Option<ProjectId>,
    /// The text.
    pub text: String,
    /// BCP 47.
    pub language: String,
    /// Only this provider.
    pub provider: Option<String>,
    /// A voice of a catalogue.
    pub voice: Option<ProviderItem>,
    /// The provider's own options.
    pub options: Option<serde_json::Value>,
    /// The caller's key.
    pub idempotency_key: String,
    /// When it has to be done.
    pub deadline: Option<Timestamp>,
}

/// A film to make.
#[derive(Debug, Clone)]
pub struct VideoWish {
    /// For which project.
    pub project: ProjectId,
    /// The text; none: one is written first.
    pub script: Option<String>,
    /// BCP 47.
    pub language: String,
    /// Shape of the picture.
    pub aspect: Aspect,
    /// Only this provider.
    pub provider: Option<String>,
    /// Never these.
    pub exclude: Vec<String>,
    /// An avatar of a catalogue.
    pub avatar: Option<ProviderItem>,
    /// Only this provider speaks.
    pub voice_provider: Option<String>,
    /// A voice of a catalogue.
    pub voice: Option<ProviderItem>,
    /// Pictures; none: the project's.
    pub images: Vec<Url>,
    /// Longest length, 1 to 600 seconds.
    pub max_seconds: Option<u32>,
    /// What becomes of the subtitles.
    pub subtitles: SubtitleMode,
    /// The video provider's own options.
    pub options: Option<serde_json::Value>,
    /// The caller's key.
    pub idempotency_key: String,
    /// When it has to be done.
    pub deadline: Option<Timestamp>,
}

/// What the service tells the worker.
#[derive(Debug, Clone, Copy)]
pub enum Nudge {
    /// There is something new to claim.
    Work,
    /// Somebody asked this job to stop.
    Cancel(JobId),
    /// A vendor's callback says that this step's task has news.
    Look(JobId),
}

/// What users do with jobs.
#[derive(Clone)]
pub struct Service {
    database: Database,
    bus: Bus,
    projects: projects::Service,
    registry: Registry,
    settings: Arc<Settings>,
    lenient_links: bool,
    nudges: mpsc::UnboundedSender<Nudge>,
}

impl Service {
    /// Over a database; the worker listens at the other end of `nudges`.
    #[must_use]
    pub fn new(
        database: Database,
        bus: Bus,
        projects: projects::Service,
        registry: Registry,
        settings: Arc<Settings>,
        lenient_links: bool,
        nudges: mpsc::UnboundedSender<Nudge>,
    ) -> Self {
        Self {
            database,
            bus,
            projects,
            registry,
            settings,
            lenient_links,
            nudges,
        }
    }

    /// Accepts a script job.
    ///
    /// # Errors
    /// `Invalid` names every field; a repeated key answers the first job.
    pub async fn write_script(&self, owner: UserId, wish: ScriptWish) -> Result<Job, Error> {
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
            &mut problems,
        );
        let common = self.common(&wish.idempotency_key, wish.deadline, &mut problems);
        problems.into_result().map_err(Error::Invalid)?;
        let input = JobInput::Script(ScriptInput {
            product: project.as_ref().map(Project::brief).unwrap_or_default(),
            brief,
            language: wish.language,
            max_seconds: wish.max_seconds,
            template: wish.template,
            provider: wish.provider,
            exclude: wish.exclude,
            options,
        });
        self.check_route(&input, false)?;
        self.accept(owner, project.map(|p| p.id), input, false, common)
            .await
    }

    /// Accepts a voice job.
    ///
    /// # Errors
    /// `Invalid` names every field; a repeated key answers the first job.
    pub async fn speak(&self, owner: UserId, wish: VoiceWish) -> Result<Job, Error> {
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
        self.check_provider("provider", Kind::Voice, provider.as_deref(), &mut problems);
        let options = self.check_options(
            Kind::Voice,
            provider.as_deref(),
            wish.options,
            &mut problems,
        );
        let common = self.common(&wish.idempotency_key, wish.deadline, &mut problems);
        problems.into_result().map_err(Error::Invalid)?;
        let input = JobInput::Voice(VoiceInput {
            text,
            language: wish.language,
            provider,
            exclude: Vec::new(),
            voice: wish.voice.map(|voice| voice.id),
            options,
        });
        self.check_route(&input, false)?;
        self.accept(owner, project.map(|p| p.id), input, false, common)
            .await
    }

    /// Accepts a video job.
    ///
    /// # Errors
    /// `Invalid` names every field; a repeated key answers the first job.
    pub async fn make_video(&self, owner: UserId, wish: VideoWish) -> Result<Job, Error> {
        let mut problems = Problems::default();
        let project = self.project(owner, Some(wish.project)).await?;
        let script = wish
            .script
            .as_deref()
            .map(|text| problems.text("script", text, 1, MAX_TEXT));
        check_language(&wish.language, &mut problems);
        check_seconds(wish.max_seconds, &mut problems);
        let images = check_links("images", &wish.images, self.lenient_links, &mut problems);
        self.check_provider(
            "provider",
            Kind::Video,
            wish.provider.as_deref(),
            &mut problems,
        );
        self.check_provider(
            "voiceProvider",
            Kind::Voice,
            wish.voice_provider.as_deref(),
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
        let common = self.common(&wish.idempotency_key, wish.deadline, &mut problems);
        problems.into_result().map_err(Error::Invalid)?;
        let input = VideoInput {
            product: project.as_ref().map(Project::brief).unwrap_or_default(),
            script,
            language: wish.language,
            aspect: wish.aspect,
            provider: wish.provider,
            exclude: wish.exclude,
            avatar: wish.avatar,
            voice_provider: wish.voice_provider,
            voice: wish.voice,
            images,
            max_seconds: wish.max_seconds,
            subtitles: wish.subtitles,
            options,
        };
        let speaks_itself = self.speaks_itself(&input);
        let input = JobInput::Video(input);
        self.check_route(&input, speaks_itself)?;
        self.accept(owner, Some(wish.project), input, speaks_itself, common)
            .await
    }

    /// Asks a job to stop. A job that is over stays as it is.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cancel(&self, owner: UserId, id: JobId) -> Result<Job, Error> {
        self.find(owner, id).await?.ok_or(Error::NotFound("job"))?;
        let (_, events) = self.database.decide(id, OwnerDecision::Cancel).await?;
        self.bus.publish(events);
        self.nudge(Nudge::Cancel(id));
        self.nudge(Nudge::Work);
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
            .steps_of(&[id])
            .await?
            .into_iter()
            .find(|step| step.status == wanted)
            .ok_or_else(|| Error::Conflict("There is no step to try again.".to_owned()))?;
        let decision = OwnerDecision::Retry {
            from: job.status,
            step: step.id,
            deadline: time::now().after(self.settings.deadline),
            event: NewEvent::step(EventType::JobRetried, step.kind).saying(words),
        };
        let (changed, events) = self.database.decide(id, decision).await?;
        if !changed {
            return Err(Error::Conflict(
                "The job's state has changed meanwhile.".to_owned(),
            ));
        }
        self.bus.publish(events);
        self.nudge(Nudge::Work);
        self.find(owner, id).await?.ok_or(Error::NotFound("job"))
    }

    /// A job of the caller's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, owner: UserId, id: JobId) -> Result<Option<Job>, Error> {
        Ok(self.database.find_job(owner, id).await?)
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

    /// The steps of jobs that the caller may see.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn steps(&self, jobs: &[JobId]) -> Result<Vec<Step>, Error> {
        Ok(self.database.steps_of(jobs).await?)
    }

    /// The attempts of jobs that the caller may see.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn attempts(&self, jobs: &[JobId]) -> Result<Vec<Attempt>, Error> {
        Ok(self.database.attempts_of(jobs).await?)
    }

    /// The files of jobs that the caller may see.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn media(
        &self,
        jobs: &[JobId],
    ) -> Result<Vec<(JobId, MediaRole, StoredFile)>, Error> {
        Ok(self.database.media_of(jobs).await?)
    }

    /// Of each of the jobs that the caller may see, a page of its event log. A job without
    /// events behind `after` is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_of(
        &self,
        jobs: &[JobId],
        after: i64,
        first: u32,
    ) -> Result<HashMap<JobId, Page<Event>>, Error> {
        let mut logs: HashMap<JobId, Vec<Event>> = HashMap::new();
        for event in self
            .database
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
            self.database.clone(),
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
            self.database.clone(),
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

    /// Does the pinned provider voice the script, with no separate voice asked for?
    fn speaks_itself(&self, input: &VideoInput) -> bool {
        let voice_elsewhere = input
            .voice_provider
            .as_deref()
            .or(input.voice.as_ref().map(|v| v.provider.as_str()));
        let pinned = input
            .provider
            .as_deref()
            .and_then(|id| self.registry.find(id));
        pinned.is_some_and(|provider| {
            voice_elsewhere.is_none_or(|id| id == provider.id())
                && provider
                    .manifest()
                    .video
                    .as_ref()
                    .is_some_and(|video| video.speech.contains(&Speech::Script))
        })
    }

    /// Refuses at once what no installed provider can make.
    fn check_route(&self, input: &JobInput, speaks_itself: bool) -> Result<(), Error> {
        let need = |kind, language, characters, pin, exclude, video| Need {
            kind,
            language,
            characters,
            pin,
            exclude,
            prefer: None,
            video,
        };
        let mut needs = Vec::new();
        match input {
            JobInput::Script(script) => needs.push(need(
                Kind::Script,
                &script.language,
                0,
                script.provider.as_deref(),
                script.exclude.as_slice(),
                None,
            )),
            JobInput::Voice(voice) => needs.push(need(
                Kind::Voice,
                &voice.language,
                voice.text.chars().count(),
                voice.provider.as_deref(),
                &[],
                None,
            )),
            JobInput::Video(video) => {
                let characters = video
                    .script
                    .as_deref()
                    .map_or(0, |text| text.chars().count());
                if video.script.is_none() {
                    needs.push(need(Kind::Script, &video.language, 0, None, &[], None));
                }
                if !speaks_itself {
                    needs.push(need(
                        Kind::Voice,
                        &video.language,
                        characters,
                        video.voice_provider.as_deref(),
                        &[],
                        None,
                    ));
                }
                needs.push(need(
                    Kind::Video,
                    &video.language,
                    characters,
                    video.provider.as_deref(),
                    video.exclude.as_slice(),
                    Some(VideoNeed {
                        aspect: video.aspect,
                        voice_track: !speaks_itself,
                        images: video.images.len() + video.product.images.len(),
                    }),
                ));
            }
        }
        for need in needs {
            let route = self.registry.route(&need);
            if route.candidates.is_empty() {
                let what = match need.kind {
                    Kind::Script => "write the script",
                    Kind::Voice => "speak it",
                    Kind::Video => "make the film",
                };
                let reasons: Vec<_> = route
                    .ruled_out
                    .iter()
                    .map(|out| format!("{} {}", out.provider, out.reason))
                    .collect();
                return Err(Error::NoProvider(if reasons.is_empty() {
                    format!("No provider is installed that could {what}.")
                } else {
                    format!("No provider can {what}: {}.", reasons.join("; "))
                }));
            }
        }
        Ok(())
    }

    fn check_provider(&self, field: &str, kind: Kind, id: Option<&str>, problems: &mut Problems) {
        let Some(id) = id else { return };
        match self.registry.find(id) {
            None => problems.add(field, format!("{id} is not an installed provider")),
            Some(provider) if !provider.serves(kind) => {
                problems.add(field, format!("{id} does not offer this"));
            }
            Some(_) => {}
        }
    }

    /// Options belong to one provider, so they need a pin; then its schema decides.
    fn check_options(
        &self,
        kind: Kind,
        pin: Option<&str>,
        options: Option<serde_json::Value>,
        problems: &mut Problems,
    ) -> serde_json::Value {
        let options = match options {
            None | Some(serde_json::Value::Null) => return serde_json::Value::Null,
            Some(serde_json::Value::Object(map)) if map.is_empty() => {
                return serde_json::Value::Null;
            }
            Some(options) => options,
        };
        let Some(provider) = pin.and_then(|id| self.registry.find(id)) else {
            problems.add("options", "are a provider's own: name the provider too");
            return options;
        };
        let serde_json::Value::Object(map) = &options else {
            problems.add("options", "must be an object");
            return options;
        };
        if options.to_string().len() > MAX_OPTIONS {
            problems.add("options", format!("must have at most {MAX_OPTIONS} bytes"));
            return options;
        }
        let manifest = provider.manifest();
        let (schema, models) = match kind {
            Kind::Script => (
                &manifest.options.script,
                manifest.script.as_ref().map(|kind| kind.models.as_slice()),
            ),
            Kind::Voice => (
                &manifest.options.voice,
                manifest.voice.as_ref().map(|kind| kind.models.as_slice()),
            ),
            Kind::Video => (
                &manifest.options.video,
                manifest.video.as_ref().map(|kind| kind.models.as_slice()),
            ),
        };
        if let Some(model) = map.get("model") {
            let known = model.as_str().is_some_and(|id| {
                models
                    .unwrap_or_default()
                    .iter()
                    .any(|model| model.id == id)
            });
            if !known {
                problems.add("options.model", "is not a model of this provider");
            }
        }
        let mut rest = map.clone();
        rest.remove("model");
        check_schema(schema.as_ref(), &serde_json::Value::Object(rest), problems);
        options
    }

    fn common(&self, key: &str, deadline: Option<Timestamp>, problems: &mut Problems) -> Common {
        let key = key.trim();
        if key.is_empty() || key.len() > MAX_KEY {
            problems.add(
                "idempotencyKey",
                format!("must have 1 to {MAX_KEY} characters"),
            );
        }
        let now = time::now();
        if let Some(deadline) = deadline {
            if deadline <= now {
                problems.add("deadline", "has passed");
            } else if deadline.since(now) > MAX_DEADLINE {
                problems.add("deadline", "is more than seven days away");
            }
        }
        Common {
            key: key.to_owned(),
            asked_deadline: deadline,
        }
    }

    async fn accept(
        &self,
        owner: UserId,
        project: Option<ProjectId>,
        input: JobInput,
        speaks_itself: bool,
        common: Common,
    ) -> Result<Job, Error> {
        let now = time::now();
        let id = JobId::generate();
        let request = serde_json::to_vec(&(&input, project, common.asked_deadline))
            .map_err(|source| sql::Error::decode("job input", source))?;
        let steps = (0_i64..)
            .zip(input.plan(speaks_itself))
            .map(|(position, kind)| Step {
                id: StepId::generate(),
                job: id,
                position,
                kind,
                status: StepStatus::Pending,
                provider: None,
                progress: None,
                output: None,
                error: None,
                round: 1,
                due_at: (position == 0).then_some(now),
                started_at: None,
                completed_at: None,
            })
            .collect();
        let job = Job {
            id,
            owner,
            project,
            kind: input.kind(),
            status: JobStatus::Queued,
            input,
            error: None,
            cancel_requested: false,
            last_seq: 0,
            deadline: common
                .asked_deadline
                .unwrap_or(now.after(self.settings.deadline)),
            created_at: now,
            completed_at: None,
        };
        let new = NewJob {
            job,
            steps,
            events: vec![NewEvent::job(EventType::JobQueued)],
            idempotency_key: common.key,
            request_hash: Sha256::digest(&request).to_vec(),
        };
        let (accepted, events) = self.database.accept_job(new).await?;
        self.bus.publish(events);
        match accepted {
            Accepted::Created(job) => {
                self.nudge(Nudge::Work);
                Ok(job)
            }
            Accepted::Repeated(job) => Ok(job),
            Accepted::KeyReused => Err(Error::KeyReused),
        }
    }

    fn nudge(&self, nudge: Nudge) {
        // Without a worker in this process another node's, or the next start's, finds it.
        let _ = self.nudges.send(nudge);
    }
}

struct Common {
    key: String,
    asked_deadline: Option<Timestamp>,
}

fn check_language(tag: &str, problems: &mut Problems) {
    if !is_language_tag(tag) {
        problems.add("language", "must be a language tag such as en or zh-CN");
    }
}

fn check_seconds(seconds: Option<u32>, problems: &mut Problems) {
    if seconds.is_some_and(|seconds| !(1..=MAX_SECONDS).contains(&seconds)) {
        problems.add("maxSeconds", format!("must be 1 to {MAX_SECONDS}"));
    }
}

fn check_schema(
    schema: Option<&serde_json::Value>,
    options: &serde_json::Value,
    problems: &mut Problems,
) {
    let Some(schema) = schema else {
        if options.as_object().is_some_and(|map| !map.is_empty()) {
            problems.add("options", "this provider takes none");
        }
        return;
    };
    match jsonschema::validator_for(schema) {
        Ok(validator) => {
            for error in validator.iter_errors(options).take(20) {
                let path = error.instance_path().to_string().replace('/', ".");
                problems.add(format!("options{path}"), error.to_string());
            }
        }
        Err(error) => {
            tracing::error!(%error, "a manifest's options schema is unusable");
            problems.add(
                "options",
                "cannot be checked: the provider's schema is faulty",
            );
        }
    }
}
