//! The mutations that start jobs and decide about them.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::{
    context,
    enums::{Aspect, SubtitleMode},
    error::{Refusal, settle},
    family::Kin,
    fields::Fields,
    job::Job,
    problems::{
        BudgetExceededProblem, ConflictProblem, IdempotencyKeyReusedProblem,
        InsufficientCreditsProblem, InvalidInputProblem, NotFoundProblem,
        ProviderUnavailableProblem, RateLimitedProblem, TooManyJobsProblem, outcome,
    },
    scalars::{DateTime, Json, Url},
};
use crate::{
    ids::JobId,
    jobs::{
        captions::{EditWish, MAX_CAPTIONS},
        input::Caption,
        model,
        wish::{Program, ScriptWish, VideoWish, VoiceWish},
    },
    rates::Act,
};

/// A script to write. It needs a project, a brief, or both.
#[derive(InputObject)]
pub(super) struct GenerateScriptInput {
    /// The project whose product it is about.
    project_id: Option<ID>,
    /// What the writer should know besides the project's words, at most 5,000 characters.
    brief: Option<String>,
    /// Language of the script as a BCP 47 tag, for example `en` or `zh-CN`.
    language: String,
    /// Longest speaking time in seconds, 1 to 600.
    max_seconds: Option<i32>,
    /// One of `scriptTemplates`; without it, the first of them.
    template_id: Option<ID>,
    /// Only this provider; without it, the server chooses.
    provider: Option<ID>,
    /// The provider's own options, checked against its `optionsSchema(kind: SCRIPT)`, and
    /// `model`, one of its models. Needs `provider`.
    options: Option<Json>,
    /// Whether what this project bought before is taken over where the very same would be asked
    /// of the same provider: it then costs nothing. `false` buys everything again.
    #[graphql(default = true)]
    reuse: bool,
    /// The caller's own key for this request, 1 to 255 characters. Sending the same request
    /// again with the same key answers the first job and starts nothing.
    idempotency_key: String,
    /// When it has to be done, at most seven days ahead; later it fails. Without it, the
    /// server's usual limit.
    deadline: Option<DateTime>,
    /// A public `https` address that is told, as a webhook, when the job has succeeded, failed,
    /// been canceled, or waits for a decision. Signed with the secret that `jobWebhookSecret`
    /// shows.
    webhook_url: Option<Url>,
    /// A mail address that is told when the job has succeeded or failed, in the job's language
    /// if that is Chinese, else in English. Whoever reads it gets a link to the result, or one to
    /// try a failed job again on your account.
    notification_email: Option<String>,
    /// Start nothing when it may cost more credits than these.
    max_credits: Option<i32>,
    /// A quote for this very request: what it says is held for the job, and the job never
    /// costs more.
    quote_id: Option<ID>,
}

/// A text to speak.
#[derive(InputObject)]
pub(super) struct GenerateVoiceInput {
    /// The project that it belongs to.
    project_id: Option<ID>,
    /// What is spoken, 1 to 20,000 characters.
    text: String,
    /// Language of the text as a BCP 47 tag, for example `en` or `zh-CN`.
    language: String,
    /// Only this provider; without it, the voice's, or the server chooses.
    provider: Option<ID>,
    /// A voice of `voices`; without it, the provider's usual one.
    voice_id: Option<ID>,
    /// The provider's own options, checked against its `optionsSchema(kind: VOICE)`, and
    /// `model`, one of its models. Needs `provider` or `voiceId`.
    options: Option<Json>,
    /// Whether what this project bought before is taken over where the very same would be asked
    /// of the same provider: it then costs nothing. `false` buys everything again.
    #[graphql(default = true)]
    reuse: bool,
    /// The caller's own key for this request, 1 to 255 characters. Sending the same request
    /// again with the same key answers the first job and starts nothing.
    idempotency_key: String,
    /// When it has to be done, at most seven days ahead; later it fails. Without it, the
    /// server's usual limit.
    deadline: Option<DateTime>,
    /// A public `https` address that is told, as a webhook, when the job has succeeded, failed,
    /// been canceled, or waits for a decision. Signed with the secret that `jobWebhookSecret`
    /// shows.
    webhook_url: Option<Url>,
    /// A mail address that is told when the job has succeeded or failed, in the job's language
    /// if that is Chinese, else in English. Whoever reads it gets a link to the result, or one to
    /// try a failed job again on your account.
    notification_email: Option<String>,
    /// Start nothing when it may cost more credits than these.
    max_credits: Option<i32>,
    /// A quote for this very request: what it says is held for the job, and the job never
    /// costs more.
    quote_id: Option<ID>,
}

/// A video to make.
#[derive(InputObject)]
pub(super) struct GenerateVideoInput {
    /// The project whose product it shows.
    project_id: ID,
    /// What is spoken, 1 to 20,000 characters; without it, a script is written first.
    script: Option<String>,
    /// Language of the script as a BCP 47 tag, for example `en` or `zh-CN`.
    language: String,
    /// Shape of the picture.
    aspect: Aspect,
    /// Only this provider makes the film. Without it, the server chooses, and goes to another
    /// one when the first is known not to have accepted.
    provider: Option<ID>,
    /// Never these providers for the film, at most 50.
    exclude_providers: Option<Vec<ID>>,
    /// An avatar of `avatars`; its provider then goes first.
    avatar_id: Option<ID>,
    /// Only this provider speaks; without it, the server chooses.
    voice_provider: Option<ID>,
    /// A voice of `voices`.
    voice_id: Option<ID>,
    /// Pictures to show, at most 9 public `https` addresses or `reference`s of completed
    /// uploads; without them, the project's.
    images: Option<Vec<Url>>,
    /// Longest length in seconds, 1 to 600.
    max_seconds: Option<i32>,
    /// What becomes of the subtitles; without it, `SIDECAR`.
    subtitles: Option<SubtitleMode>,
    /// The film provider's own options, checked against its `optionsSchema(kind: VIDEO)`, and
    /// `model`, one of its models. Needs `provider`.
    options: Option<Json>,
    /// Whether what this project bought before is taken over where the very same would be asked
    /// of the same provider: it then costs nothing. `false` buys everything again.
    #[graphql(default = true)]
    reuse: bool,
    /// The caller's own key for this request, 1 to 255 characters. Sending the same request
    /// again with the same key answers the first job and starts nothing.
    idempotency_key: String,
    /// When it has to be done, at most seven days ahead; later it fails. Without it, the
    /// server's usual limit.
    deadline: Option<DateTime>,
    /// A public `https` address that is told, as a webhook, when the job has succeeded, failed,
    /// been canceled, or waits for a decision. Signed with the secret that `jobWebhookSecret`
    /// shows.
    webhook_url: Option<Url>,
    /// A mail address that is told when the job has succeeded or failed, in the job's language
    /// if that is Chinese, else in English. Whoever reads it gets a link to the result, or one to
    /// try a failed job again on your account.
    notification_email: Option<String>,
    /// Start nothing when it may cost more credits than these.
    max_credits: Option<i32>,
    /// A quote for this very request: what it says is held for the job, and the job never
    /// costs more.
    quote_id: Option<ID>,
}

/// A job to stop.
#[derive(InputObject)]
pub(super) struct CancelJobInput {
    /// Which job.
    job_id: ID,
}

/// A job to go on with.
#[derive(InputObject)]
pub(super) struct RetryJobInput {
    /// Which job.
    job_id: ID,
    /// For an `UNCONFIRMED` job: try again although the provider may bill the lost call too.
    #[graphql(default)]
    accept_double_charge: bool,
}

/// The script job was accepted.
#[derive(SimpleObject)]
pub(super) struct GenerateScriptSuccess {
    /// The job; its `script` is there once it has succeeded.
    job: Job,
}

/// The voice job was accepted.
#[derive(SimpleObject)]
pub(super) struct GenerateVoiceSuccess {
    /// The job; its `voiceUrl` is there once it has succeeded.
    job: Job,
}

/// The video job was accepted.
#[derive(SimpleObject)]
pub(super) struct GenerateVideoSuccess {
    /// The job; its `videoUrl` is there once it has succeeded.
    job: Job,
}

/// Text that is shown for a while.
#[derive(InputObject)]
pub(super) struct CaptionInput {
    /// Milliseconds from the beginning of the film; not before the end of the one before.
    start_ms: u32,
    /// Milliseconds from the beginning of the film; after `startMs`, and not after the film's end.
    end_ms: u32,
    /// 1 to 200 characters in one line or two.
    text: String,
}

/// A film to show other captions in.
#[derive(InputObject)]
pub(super) struct EditCaptionsInput {
    /// The job that has made the film; its captions are in the file of `subtitlesUrl`.
    job_id: ID,
    /// What is shown, at most 1,000, in order; without it, what the voice says.
    captions: Option<Vec<CaptionInput>>,
    /// What becomes of them; without it, what became of them before.
    subtitles: Option<SubtitleMode>,
    /// The caller's own key for this request, 1 to 255 characters. Sending the same request
    /// again with the same key answers the first job and starts nothing.
    idempotency_key: String,
    /// When it has to be done, at most seven days ahead; later it fails. Without it, the
    /// server's usual limit.
    deadline: Option<DateTime>,
    /// A public `https` address that is told, as a webhook, when the job has succeeded, failed or
    /// been canceled. Signed with the secret that `jobWebhookSecret` shows.
    webhook_url: Option<Url>,
    /// A mail address that is told when the job has succeeded or failed.
    notification_email: Option<String>,
}

/// The job that shows other captions was accepted.
#[derive(SimpleObject)]
pub(super) struct EditCaptionsSuccess {
    /// The new job; the one that it edits stays as it is. It asks no provider and costs nothing.
    job: Job,
}

/// The wish to stop is written down.
#[derive(SimpleObject)]
pub(super) struct CancelJobSuccess {
    /// The job. It is `CANCELED` once nothing of it runs any more; a job that was over stays
    /// as it was.
    job: Job,
}

/// The job goes on.
#[derive(SimpleObject)]
pub(super) struct RetryJobSuccess {
    /// The job, running again from the step that had failed, with a new deadline.
    job: Job,
}

outcome!(
    /// What became of `generateScript`.
    GenerateScriptResult =
        GenerateScriptSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | IdempotencyKeyReused(IdempotencyKeyReusedProblem)
            | ProviderUnavailable(ProviderUnavailableProblem)
            | InsufficientCredits(InsufficientCreditsProblem)
            | TooManyJobs(TooManyJobsProblem)
            | RateLimited(RateLimitedProblem)
            | BudgetExceeded(BudgetExceededProblem)
);

outcome!(
    /// What became of `generateVoice`.
    GenerateVoiceResult =
        GenerateVoiceSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | IdempotencyKeyReused(IdempotencyKeyReusedProblem)
            | ProviderUnavailable(ProviderUnavailableProblem)
            | InsufficientCredits(InsufficientCreditsProblem)
            | TooManyJobs(TooManyJobsProblem)
            | RateLimited(RateLimitedProblem)
            | BudgetExceeded(BudgetExceededProblem)
);

outcome!(
    /// What became of `generateVideo`.
    GenerateVideoResult =
        GenerateVideoSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | IdempotencyKeyReused(IdempotencyKeyReusedProblem)
            | ProviderUnavailable(ProviderUnavailableProblem)
            | InsufficientCredits(InsufficientCreditsProblem)
            | TooManyJobs(TooManyJobsProblem)
            | RateLimited(RateLimitedProblem)
            | BudgetExceeded(BudgetExceededProblem)
);

outcome!(
    /// What became of `editCaptions`.
    EditCaptionsResult =
        EditCaptionsSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | Conflict(ConflictProblem)
            | IdempotencyKeyReused(IdempotencyKeyReusedProblem)
            | TooManyJobs(TooManyJobsProblem)
);

outcome!(
    /// What became of `cancelJob`.
    CancelJobResult =
        CancelJobSuccess | InvalidInput(InvalidInputProblem) | NotFound(NotFoundProblem)
);

outcome!(
    /// What became of `retryJob`.
    RetryJobResult =
        RetryJobSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | Conflict(ConflictProblem)
            | InsufficientCredits(InsufficientCreditsProblem)
            | TooManyJobs(TooManyJobsProblem)
            | BudgetExceeded(BudgetExceededProblem)
);

impl GenerateScriptInput {
    pub(super) fn wish(self, program: Program) -> Result<ScriptWish, Refusal> {
        let mut fields = Fields::default();
        let wish = ScriptWish {
            project: fields.optional_id("projectId", self.project_id),
            brief: self.brief,
            language: self.language,
            max_seconds: Fields::count(self.max_seconds),
            template: self.template_id.map(|id| id.0),
            provider: fields.provider("provider", self.provider),
            exclude: Vec::new(),
            options: self.options.map(|Json(options)| options),
            buy_again: !self.reuse,
            idempotency_key: self.idempotency_key,
            deadline: fields.instant("deadline", self.deadline),
            webhook_url: fields.link("webhookUrl", self.webhook_url),
            notification_email: self.notification_email,
            max_credits: Fields::count(self.max_credits),
            quote: fields.optional_id("quoteId", self.quote_id),
            only: program.only,
            by: program.key,
        };
        fields.finish_with(Some(wish))
    }
}

impl GenerateVoiceInput {
    pub(super) fn wish(self, program: Program) -> Result<VoiceWish, Refusal> {
        let mut fields = Fields::default();
        let wish = VoiceWish {
            project: fields.optional_id("projectId", self.project_id),
            text: self.text,
            language: self.language,
            provider: fields.provider("provider", self.provider),
            voice: fields.item("voiceId", self.voice_id),
            options: self.options.map(|Json(options)| options),
            buy_again: !self.reuse,
            idempotency_key: self.idempotency_key,
            deadline: fields.instant("deadline", self.deadline),
            webhook_url: fields.link("webhookUrl", self.webhook_url),
            notification_email: self.notification_email,
            max_credits: Fields::count(self.max_credits),
            quote: fields.optional_id("quoteId", self.quote_id),
            only: program.only,
            by: program.key,
        };
        fields.finish_with(Some(wish))
    }
}

impl GenerateVideoInput {
    pub(super) fn wish(self, program: Program) -> Result<VideoWish, Refusal> {
        let mut fields = Fields::default();
        let project = fields.id("projectId", &self.project_id);
        let provider = fields.provider("provider", self.provider);
        let exclude = fields.providers("excludeProviders", self.exclude_providers);
        let avatar = fields.item("avatarId", self.avatar_id);
        let voice_provider = fields.provider("voiceProvider", self.voice_provider);
        let voice = fields.item("voiceId", self.voice_id);
        let images = fields.links("images", self.images.unwrap_or_default());
        let deadline = fields.instant("deadline", self.deadline);
        let quote = fields.optional_id("quoteId", self.quote_id);
        let webhook_url = fields.link("webhookUrl", self.webhook_url);
        Ok(VideoWish {
            project: fields.finish_with(project)?,
            script: self.script,
            language: self.language,
            aspect: self.aspect.into(),
            provider,
            exclude,
            avatar,
            voice_provider,
            voice,
            images,
            max_seconds: Fields::count(self.max_seconds),
            subtitles: self
                .subtitles
                .map_or(model::SubtitleMode::Sidecar, Into::into),
            options: self.options.map(|Json(options)| options),
            buy_again: !self.reuse,
            idempotency_key: self.idempotency_key,
            deadline,
            webhook_url,
            notification_email: self.notification_email,
            max_credits: Fields::count(self.max_credits),
            quote,
            place: None,
            only: program.only,
            by: program.key,
        })
    }
}

impl EditCaptionsInput {
    fn wish(self) -> Result<EditWish, Refusal> {
        let mut fields = Fields::default();
        let source = fields.id("jobId", &self.job_id);
        let deadline = fields.instant("deadline", self.deadline);
        let webhook_url = fields.link("webhookUrl", self.webhook_url);
        let captions = self.captions.map(|captions| {
            let captions = captions.into_iter().take(MAX_CAPTIONS + 1);
            let captions = captions.map(|caption| Caption {
                start_ms: caption.start_ms,
                end_ms: caption.end_ms,
                text: caption.text,
            });
            captions.collect()
        });
        Ok(EditWish {
            source: fields.finish_with(source)?,
            captions,
            subtitles: self.subtitles.map(Into::into),
            idempotency_key: self.idempotency_key,
            deadline,
            webhook_url,
            notification_email: self.notification_email,
            by: None,
        })
    }
}

fn job_id(id: &ID) -> Result<JobId, Refusal> {
    let mut fields = Fields::default();
    let id = fields.id("jobId", id);
    fields.finish_with(id)
}

#[derive(Default)]
pub(super) struct JobMutations;

#[Object]
impl JobMutations {
    /// Accepts a job that writes a script. Once this answers, the job survives any failure of
    /// the server.
    async fn generate_script(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to write.")] input: GenerateScriptInput,
    ) -> Result<GenerateScriptResult, Error> {
        let user = context::user(ctx)?;
        let services = context::services(ctx);
        let accepted = async {
            let wish = input.wish(context::program(ctx))?;
            let row = services.jobs.write_script(user.id, wish).await?;
            let job = Job(Kin::alone(services, row));
            Ok(GenerateScriptSuccess { job }.into())
        };
        let accepted = context::counted(ctx, Act::Generate, accepted).await;
        settle(ctx, accepted)
    }

    /// Accepts a job that speaks a text. Once this answers, the job survives any failure of
    /// the server.
    async fn generate_voice(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to speak.")] input: GenerateVoiceInput,
    ) -> Result<GenerateVoiceResult, Error> {
        let user = context::user(ctx)?;
        let services = context::services(ctx);
        let accepted = async {
            let wish = input.wish(context::program(ctx))?;
            let row = services.jobs.speak(user.id, wish).await?;
            let job = Job(Kin::alone(services, row));
            Ok(GenerateVoiceSuccess { job }.into())
        };
        let accepted = context::counted(ctx, Act::Generate, accepted).await;
        settle(ctx, accepted)
    }

    /// Accepts a job that makes a video: script, voice, film, composition, thumbnail. Once
    /// this answers, the job survives any failure of the server.
    async fn generate_video(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to make.")] input: GenerateVideoInput,
    ) -> Result<GenerateVideoResult, Error> {
        let user = context::user(ctx)?;
        let services = context::services(ctx);
        let accepted = async {
            let wish = input.wish(context::program(ctx))?;
            let row = services.jobs.make_video(user.id, wish).await?;
            let job = Job(Kin::alone(services, row));
            Ok(GenerateVideoSuccess { job }.into())
        };
        let accepted = context::counted(ctx, Act::Generate, accepted).await;
        settle(ctx, accepted)
    }

    /// Shows other captions in a film that is there, in a new job: no provider is asked, and it
    /// costs nothing.
    async fn edit_captions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which film, and what is shown.")] input: EditCaptionsInput,
    ) -> Result<EditCaptionsResult, Error> {
        let user = context::user(ctx)?;
        let services = context::services(ctx);
        let accepted = async {
            let wish = EditWish {
                by: context::key(ctx),
                ..input.wish()?
            };
            let row = services.jobs.edit_captions(user.id, wish).await?;
            let job = Job(Kin::alone(services, row));
            Ok(EditCaptionsSuccess { job }.into())
        };
        settle(ctx, accepted.await)
    }

    /// Asks a job to stop. What a provider is doing already may still be billed.
    async fn cancel_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job.")] input: CancelJobInput,
    ) -> Result<CancelJobResult, Error> {
        let user = context::user(ctx)?;
        let services = context::services(ctx);
        let canceled = async {
            let id = job_id(&input.job_id)?;
            let row = services.jobs.cancel(user.id, id).await?;
            let job = Job(Kin::alone(services, row));
            Ok(CancelJobSuccess { job }.into())
        };
        settle(ctx, canceled.await)
    }

    /// Goes on with a job that has failed, or whose outcome is unknown. What was paid for and
    /// is there is not bought again. Not for API keys: what it costs would not be the key's.
    async fn retry_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which job, and at what risk.")] input: RetryJobInput,
    ) -> Result<RetryJobResult, Error> {
        let user = context::person(ctx)?;
        let services = context::services(ctx);
        let retried = async {
            let id = job_id(&input.job_id)?;
            let accept = input.accept_double_charge;
            let row = services.jobs.retry(user.id, id, accept).await?;
            let job = Job(Kin::alone(services, row));
            Ok(RetryJobSuccess { job }.into())
        };
        settle(ctx, retried.await)
    }
}
