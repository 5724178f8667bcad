//! `Job`: what was asked for, how far it is, and what came out.

use async_graphql::{Context, Error, ID, Object, SimpleObject};

use super::{
    connection::page_cost,
    context,
    credits::JobCredits,
    enums::{FailureCode, FilesWithdrawnReason, JobKind, JobStatus},
    event::JobEventConnection,
    family::Kin,
    project::Project,
    scalars::{DateTime, MicroUsd, Url},
    step::Step,
};
use crate::{
    ids::StepId,
    jobs::{
        input::JobInput,
        model::{self, Charge, ScriptDocument, StepOutput, StepStatus, StoredFile},
        store::{MediaRole, WithdrawalReason},
    },
};

/// Steps of a job at most; for the cost of a query.
pub(super) const STEPS: usize = 6;

pub(super) struct Job(pub(super) Kin);

/// One thing that a user asked for: a script, a voice track or a video. Follow it with
/// `jobEvents`.
#[Object(serial)]
impl Job {
    /// Opaque, begins with `job_`.
    pub(super) async fn id(&self) -> ID {
        self.0.row.id.into()
    }

    /// What it makes.
    async fn kind(&self) -> JobKind {
        self.0.row.kind.into()
    }

    /// Where it stands.
    async fn status(&self) -> JobStatus {
        self.0.row.status.into()
    }

    /// The project that it is for; null when there is none, or it was deleted.
    async fn project(&self, ctx: &Context<'_>) -> Result<Option<Project>, Error> {
        context::insider(ctx)?;
        let Some(id) = self.0.row.project else {
            return Ok(None);
        };
        Ok(self.0.family.project(ctx, id).await?.map(Project))
    }

    /// The provider that makes, or made, what the job is for: of a video the film, not the
    /// voice. Before one is chosen, the one that was asked for; null when it is the server's
    /// choice and not made yet.
    async fn provider(&self, ctx: &Context<'_>) -> Result<Option<ID>, Error> {
        let kind = match self.0.row.kind {
            model::JobKind::Script => model::StepKind::Script,
            model::JobKind::Voice => model::StepKind::Voice,
            model::JobKind::Video => model::StepKind::Video,
        };
        let asked = match &self.0.row.input {
            JobInput::Script(input) => &input.provider,
            JobInput::Voice(input) => &input.provider,
            JobInput::Video(input) => &input.provider,
        };
        let steps = self.0.family.steps(ctx, self.0.row.id).await?;
        let chosen = steps
            .iter()
            .find(|step| step.kind == kind)
            .and_then(|step| step.provider.as_ref());
        Ok(chosen.or(asked.as_ref()).map(ID::from))
    }

    /// Its plan, in the order in which the steps run.
    #[graphql(complexity = "STEPS * child_complexity + 1")]
    async fn steps(&self, ctx: &Context<'_>) -> Result<Vec<Step>, Error> {
        let steps = self.0.family.steps(ctx, self.0.row.id).await?;
        Ok(steps
            .iter()
            .map(|row| Step {
                row: row.clone(),
                family: self.0.family.clone(),
            })
            .collect())
    }

    /// How much is done, 0 to 1: the share of the finished steps, and of the running one what
    /// its provider says of it. Nothing is guessed from the clock.
    async fn progress(&self, ctx: &Context<'_>) -> Result<f64, Error> {
        let steps = self.0.family.steps(ctx, self.0.row.id).await?;
        Ok(progress(
            steps.iter().map(|step| (step.status, step.progress)),
        ))
    }

    /// Why it ended without a result, or waits for a decision; else null.
    async fn error(&self) -> Option<JobError> {
        let failure = self.0.row.error.clone()?;
        Some(JobError {
            failure,
            scope: Scope::Job(self.0.clone()),
        })
    }

    /// The script: written by a provider, or the text that came with the request. Null before
    /// it is written.
    async fn script(&self, ctx: &Context<'_>) -> Result<Option<Script>, Error> {
        let given = match &self.0.row.input {
            JobInput::Video(input) => input.script.as_deref(),
            JobInput::Voice(input) => Some(input.text.as_str()),
            JobInput::Script(_) => None,
        };
        if let Some(text) = given {
            return Ok(Some(ScriptDocument::from_text(text).into()));
        }
        let steps = self.0.family.steps(ctx, self.0.row.id).await?;
        Ok(steps.iter().find_map(|step| match &step.output {
            Some(StepOutput::Script { script }) => Some(script.clone().into()),
            _ => None,
        }))
    }

    /// The video, an MP4. The link is signed for a limited time: ask again for a fresh one
    /// rather than storing it. Null before the job has succeeded, when it makes none, and when
    /// `filesWithdrawn` says so.
    async fn video_url(&self, ctx: &Context<'_>) -> Result<Option<Url>, Error> {
        self.link(ctx, MediaRole::Video).await
    }

    /// The voice track, also that of a video that was voiced apart. A link as `videoUrl` is one.
    async fn voice_url(&self, ctx: &Context<'_>) -> Result<Option<Url>, Error> {
        self.link(ctx, MediaRole::Voice).await
    }

    /// A still picture of the video, a JPEG. A link as `videoUrl` is one.
    async fn thumbnail_url(&self, ctx: &Context<'_>) -> Result<Option<Url>, Error> {
        self.link(ctx, MediaRole::Thumbnail).await
    }

    /// The subtitles, a SubRip file in UTF-8. A link as `videoUrl` is one.
    async fn subtitles_url(&self, ctx: &Context<'_>) -> Result<Option<Url>, Error> {
        self.link(ctx, MediaRole::Subtitles).await
    }

    /// Why links to the files are given out no more, and their fields are null; null as long as
    /// they are given.
    async fn files_withdrawn(&self, ctx: &Context<'_>) -> Result<Option<FilesWithdrawn>, Error> {
        let found = self.0.family.withdrawal(ctx, self.0.row.id).await?;
        Ok(found.map(|withdrawal| FilesWithdrawn {
            reason: withdrawal.reason.into(),
            message: match withdrawal.reason {
                WithdrawalReason::ProjectDeleted => "The job's project was deleted.",
                WithdrawalReason::Retention => {
                    "The job ended without a result, and the time for which its files are kept \
                     is over."
                }
            },
            at: withdrawal.at.into(),
        }))
    }

    /// Playing time of the video, or of the voice track, in milliseconds.
    async fn duration_ms(&self, ctx: &Context<'_>) -> Result<Option<i32>, Error> {
        let role = match self.0.row.kind {
            model::JobKind::Voice => MediaRole::Voice,
            model::JobKind::Video | model::JobKind::Script => MediaRole::Video,
        };
        let duration = self
            .file(ctx, role)
            .await?
            .and_then(|file| file.duration_ms);
        Ok(duration.and_then(|duration| i32::try_from(duration).ok()))
    }

    /// Width of the video in pixels.
    async fn width(&self, ctx: &Context<'_>) -> Result<Option<i32>, Error> {
        let width = self
            .file(ctx, MediaRole::Video)
            .await?
            .and_then(|file| file.width);
        Ok(width.and_then(|width| i32::try_from(width).ok()))
    }

    /// Height of the video in pixels.
    async fn height(&self, ctx: &Context<'_>) -> Result<Option<i32>, Error> {
        let height = self
            .file(ctx, MediaRole::Video)
            .await?
            .and_then(|file| file.height);
        Ok(height.and_then(|height| i32::try_from(height).ok()))
    }

    /// What the attempts have cost so far, as far as it is known.
    async fn cost_micro_usd(&self, ctx: &Context<'_>) -> Result<MicroUsd, Error> {
        context::insider(ctx)?;
        let attempts = self.0.family.attempts(ctx, self.0.row.id).await?;
        let known = attempts.iter().filter_map(|attempt| attempt.cost_micro_usd);
        Ok(MicroUsd(known.fold(0, i64::saturating_add)))
    }

    /// What it holds of its owner's credits, and what it has spent.
    async fn credits(&self, ctx: &Context<'_>) -> Result<JobCredits, Error> {
        context::insider(ctx)?;
        Ok(self.0.family.holding(ctx, self.0.row.id).await?.into())
    }

    /// Did the owner ask to stop it? Work that a provider cannot stop may still run.
    async fn cancel_requested(&self) -> bool {
        self.0.row.cancel_requested
    }

    /// When it has to be done; later it fails.
    async fn deadline(&self) -> DateTime {
        self.0.row.deadline.into()
    }

    /// When it was accepted.
    async fn created_at(&self) -> DateTime {
        self.0.row.created_at.into()
    }

    /// When it came to rest; null while it runs.
    async fn completed_at(&self) -> Option<DateTime> {
        self.0.row.completed_at.map(Into::into)
    }

    /// Number of its last event. A client that has seen this one is up to date.
    async fn last_seq(&self) -> i64 {
        self.0.row.last_seq
    }

    /// Its log so far, oldest first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Only events behind this number, 0 or more. Edges' cursors are these numbers."
        )]
        after: Option<i32>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
    ) -> Result<JobEventConnection, Error> {
        super::event::page(ctx, &self.0, after, first).await
    }
}

impl Job {
    async fn file(&self, ctx: &Context<'_>, role: MediaRole) -> Result<Option<&StoredFile>, Error> {
        self.0.family.file(ctx, self.0.row.id, role).await
    }

    async fn link(&self, ctx: &Context<'_>, role: MediaRole) -> Result<Option<Url>, Error> {
        let Some(file) = self.file(ctx, role).await? else {
            return Ok(None);
        };
        Ok(self.0.family.link(file, role).await.map(Url::trusted))
    }
}

impl super::connection::Named for Job {
    const NAME: &'static str = "Job";
}

/// Links to a job's files are given out no more.
#[derive(SimpleObject)]
pub(super) struct FilesWithdrawn {
    /// Why, stable.
    reason: FilesWithdrawnReason,
    /// Why, in English.
    message: &'static str,
    /// Since when.
    at: DateTime,
}

/// The share of what is done.
fn progress(steps: impl Iterator<Item = (StepStatus, Option<f64>)>) -> f64 {
    let (mut done, mut all) = (0.0, 0.0);
    for (status, told) in steps {
        all += 1.0;
        done += match status {
            StepStatus::Succeeded => 1.0,
            StepStatus::Running | StepStatus::Storing => told.unwrap_or(0.0).clamp(0.0, 1.0),
            StepStatus::Pending
            | StepStatus::Submitting
            | StepStatus::Failed
            | StepStatus::Canceled
            | StepStatus::Unconfirmed => 0.0,
        };
    }
    if all == 0.0 { 0.0 } else { done / all }
}

/// What attempts `charged` speaks about.
pub(super) enum Scope {
    /// All of the job's.
    Job(Kin),
    /// All of one step's.
    Step(
        std::sync::Arc<super::family::Family>,
        crate::ids::JobId,
        StepId,
    ),
    /// One.
    Attempt(Charge),
}

pub(super) struct JobError {
    pub(super) failure: model::Failure,
    pub(super) scope: Scope,
}

/// Why a job, a step or an attempt ended without a result.
#[Object(serial)]
impl JobError {
    /// The class of failure, stable.
    async fn code(&self) -> FailureCode {
        self.failure.code.into()
    }

    /// What happened, in English, for the owner of the job.
    async fn message(&self) -> &str {
        &self.failure.message
    }

    /// May `retryJob` help, without a change of the request?
    async fn retryable(&self) -> bool {
        self.failure.retryable
    }

    /// Was anything of it billed by a provider? Null while that is not known.
    async fn charged(&self, ctx: &Context<'_>) -> Result<Option<bool>, Error> {
        context::insider(ctx)?;
        Ok(match &self.scope {
            Scope::Attempt(charge) => charged([*charge]),
            Scope::Step(family, job, step) => {
                let attempts = family.attempts_of_step(ctx, *job, *step).await?;
                charged(attempts.iter().map(|attempt| attempt.charge))
            }
            Scope::Job(Kin { row, family }) => {
                let attempts = family.attempts(ctx, row.id).await?;
                charged(attempts.iter().map(|attempt| attempt.charge))
            }
        })
    }

    /// The field of the request that is at fault, where the provider says so.
    async fn field(&self) -> Option<&str> {
        self.failure.field.as_deref()
    }

    /// The provider's own code, for a question to its support.
    async fn vendor_code(&self, ctx: &Context<'_>) -> Result<Option<&str>, Error> {
        context::insider(ctx)?;
        Ok(self.failure.vendor_code.as_deref())
    }
}

/// True as soon as one is; false only when none is.
fn charged(charges: impl IntoIterator<Item = Charge>) -> Option<bool> {
    let mut known = true;
    for charge in charges {
        match charge {
            Charge::Charged => return Some(true),
            Charge::NotCharged => {}
            Charge::Unknown => known = false,
        }
    }
    known.then_some(false)
}

/// A script.
#[derive(SimpleObject)]
pub(super) struct Script {
    /// Working title; null when the text was given as it is.
    title: Option<String>,
    /// First spoken sentence; null when the text was given as it is.
    hook: Option<String>,
    /// What is spoken and seen, in order; empty when the text was given as it is.
    scenes: Vec<ScriptScene>,
    /// Last spoken sentence; null when the text was given as it is.
    call_to_action: Option<String>,
    /// Everything that is spoken, in order. Give it to `generateVideo` as `script`.
    text: String,
}

/// One scene of a script.
#[derive(SimpleObject)]
pub(super) struct ScriptScene {
    /// What is spoken.
    narration: String,
    /// What is seen meanwhile.
    visual: String,
    /// Its length in seconds, as the writer wishes it.
    seconds: f64,
}

impl From<ScriptDocument> for Script {
    fn from(document: ScriptDocument) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            title: some(document.title),
            hook: some(document.hook),
            scenes: document
                .scenes
                .into_iter()
                .map(|scene| ScriptScene {
                    narration: scene.narration,
                    visual: scene.visual,
                    seconds: scene.seconds,
                })
                .collect(),
            call_to_action: some(document.call_to_action),
            text: document.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_finished_steps_and_what_providers_say() {
        use StepStatus::{Pending, Running, Succeeded};
        assert_eq!(progress([].into_iter()), 0.0);
        let half = [(Succeeded, None), (Running, None)];
        assert_eq!(progress(half.into_iter()), 0.5);
        let more = [
            (Succeeded, Some(0.2)),
            (Running, Some(0.5)),
            (Pending, Some(0.9)),
            (Pending, None),
        ];
        assert_eq!(progress(more.into_iter()), 0.375);
        assert_eq!(progress([(Running, Some(7.0))].into_iter()), 1.0);
    }

    #[test]
    fn a_charge_is_denied_only_when_every_attempt_is_known_to_be_free() {
        use Charge::{Charged, NotCharged, Unknown};
        assert_eq!(charged([]), Some(false));
        assert_eq!(charged([NotCharged, NotCharged]), Some(false));
        assert_eq!(charged([NotCharged, Unknown]), None);
        assert_eq!(charged([Unknown, Charged]), Some(true));
    }
}
