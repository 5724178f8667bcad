//! What was bought is not bought again: a step takes over the result of one that asked for the
//! very same, and waits for one that is asking just now.

use std::time::Duration;

use super::{AFTER_FAULT, Advance, Held, Turn, Work, about};
use crate::{
    adapters::sql,
    ids::JobId,
    jobs::{
        model::{
            Attempt, EventType, Failure, FailureCode, JobStatus, NewEvent, Step, StepOutput,
            StepSource, StepStatus,
        },
        requests::{Materials, PaidRequest},
        reuse,
    },
    media::{self, StoreError},
    providers::Provider,
    time,
};

/// How long to wait before looking at a twin again. It takes seconds at the least.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Tries of copying files before the next one like it, or a purchase.
const TRIES: u32 = 6;

impl Advance {
    /// Takes over what was bought before, or waits for who is buying it. `None`: it has to be
    /// bought.
    pub(super) async fn reuse(
        &self,
        held: &mut Held,
        work: &Work,
        provider: &Provider,
    ) -> Result<Option<Turn>, sql::Error> {
        if !work.job.input.reuse() {
            return Ok(None);
        }
        // What cannot be asked for is told where it is asked for.
        let Ok(request) = self.request(held, work, provider).await else {
            return Ok(None);
        };
        let Some(key) = self.wanted(work, provider, &request) else {
            return Ok(None);
        };
        let alike = self
            .database
            .steps_like(held.owner, held.step.id, &key)
            .await?;
        let (done, underway): (Vec<_>, Vec<_>) = alike
            .into_iter()
            .partition(|step| step.status == StepStatus::Succeeded);
        for source in done {
            match self.copied(work, &source).await {
                Ok(Some(output)) => {
                    return self
                        .take_over(held, work, source, Some(key), output)
                        .await
                        .map(Some);
                }
                Ok(None) => {}
                Err(error) => {
                    held.tries += 1;
                    tracing::warn!(
                        job = %held.step.job, source = %source.job, tries = held.tries, %error,
                        "what was bought before could not be taken over"
                    );
                    if held.tries < TRIES {
                        return Ok(Some(wait(held, AFTER_FAULT)));
                    }
                }
            }
        }
        Ok((!underway.is_empty()).then(|| wait(held, LOOK_AGAIN)))
    }

    /// Takes over what the job has made that this one edits. Nobody is asked for it otherwise.
    pub(super) async fn take_from(
        &self,
        held: &mut Held,
        work: &Work,
        source: JobId,
    ) -> Result<Turn, sql::Error> {
        let steps = self.database.steps_of(&[source]).await?;
        let source = steps.into_iter().find(|step| step.kind == held.step.kind);
        if let Some(source) = source {
            match self.copied(work, &source).await {
                Ok(Some(output)) => {
                    let key = source.reuse_key.clone();
                    return self.take_over(held, work, source, key, output).await;
                }
                Ok(None) => {}
                Err(error) => {
                    held.tries += 1;
                    tracing::warn!(
                        job = %held.step.job, source = %source.job, tries = held.tries, %error,
                        "what is to be edited could not be taken over"
                    );
                    if held.tries < TRIES {
                        return Ok(wait(held, AFTER_FAULT));
                    }
                }
            }
        }
        let failure = Failure::new(
            FailureCode::MediaFailed,
            "The files of the job that is edited are not there any more.",
        );
        self.fail(held, failure, None, Vec::new()).await
    }

    /// The key of a request that is not to be sent twice; none where everything is bought again.
    pub(super) fn wanted(
        &self,
        work: &Work,
        provider: &Provider,
        request: &PaidRequest,
    ) -> Option<Vec<u8>> {
        let reuse = work.job.input.reuse();
        reuse.then(|| key(work, provider, request)).flatten()
    }

    /// The key of what an attempt has delivered.
    pub(super) fn bought(&self, work: &Work, attempt: &Attempt) -> Option<Vec<u8>> {
        let request = serde_json::from_value(attempt.request.clone()).ok()?;
        let provider = self.plugin_of(attempt).here()?;
        key(work, &provider, &request)
    }

    /// A step's result, its files copied into this job: each job's files are its own, and go
    /// when it goes. `None` when one of them is not there any more.
    async fn copied(&self, work: &Work, source: &Step) -> Result<Option<StepOutput>, StoreError> {
        let (blobs, job) = (&self.blobs, work.job.id);
        Ok(match source.output.clone() {
            Some(output @ StepOutput::Script { .. }) => Some(output),
            Some(StepOutput::Voice { audio, words }) => media::copy(blobs, job, &audio)
                .await?
                .map(|audio| StepOutput::Voice { audio, words }),
            Some(StepOutput::Video {
                film,
                subtitles,
                voiced,
                plays,
            }) => {
                let subtitles = match subtitles {
                    None => None,
                    Some(file) => match media::copy(blobs, job, &file).await? {
                        None => return Ok(None),
                        copied => copied,
                    },
                };
                media::copy(blobs, job, &film)
                    .await?
                    .map(|film| StepOutput::Video {
                        film,
                        subtitles,
                        voiced,
                        plays,
                    })
            }
            _ => None,
        })
    }

    async fn take_over(
        &self,
        held: &mut Held,
        work: &Work,
        source: Step,
        key: Option<Vec<u8>>,
        output: StepOutput,
    ) -> Result<Turn, sql::Error> {
        let mut events = Vec::new();
        if work.job.status == JobStatus::Queued {
            events.push(NewEvent::job(EventType::JobStarted));
        }
        if held.step.started_at.is_none() {
            events.push(about(held.step.kind, EventType::StepStarted));
        }
        events.push(about(held.step.kind, EventType::StepReused).saying(format!(
            "Taken over from {}; nothing was bought",
            source.job
        )));
        held.slot = None;
        held.tries = 0;
        held.step = Step {
            provider: source.provider,
            progress: None,
            reuse_key: key,
            reused_from: Some(StepSource {
                job: source.job,
                step: source.id,
            }),
            started_at: held.step.started_at.or(Some(time::now())),
            ..held.step.clone()
        };
        self.succeed_after(held, work, output, None, Vec::new(), events)
            .await
    }
}

fn key(work: &Work, provider: &Provider, request: &PaidRequest) -> Option<Vec<u8>> {
    let (job, materials) = (&work.job, Materials::of(&work.steps));
    reuse::key(
        job.owner,
        job.project,
        provider.manifest(),
        request,
        &materials,
    )
}

/// Comes again later, without a place at the vendor meanwhile.
pub(super) fn wait(held: &mut Held, long: Duration) -> Turn {
    held.slot = None;
    Turn::Wait(time::now().after(long))
}

/// Another step was a moment faster: it is looked at like any other.
pub(super) fn beaten(held: &mut Held) -> Turn {
    wait(held, LOOK_AGAIN)
}
