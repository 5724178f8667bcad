//! The provider is done: bring its results home. Free to repeat; nothing is overwritten.

use std::sync::Arc;

use genvid_media::subtitles;
use genvid_runtime::{
    Call, ContextArgs,
    types::{Done, Media, Output, Role, Status},
};

use super::{Advance, Draft, Held, Turn, Work, Written, about};
use crate::{
    adapters::sql,
    jobs::{
        model::{
            Attempt, EventType, Failure, FailureCode, ScriptDocument, StepKind, StepOutput,
            StoredFile,
        },
        requests::Materials,
    },
    media::{self, Fetched, StoreError},
    time,
};

/// Tries of bringing a result home.
const TRIES: u32 = 6;
/// Longest text result that is taken.
const MAX_TEXT: usize = 1 << 20;

impl Advance {
    pub(super) async fn store(&self, held: &mut Held, work: &Work) -> Result<Turn, sql::Error> {
        let Some(attempt) = work.current(&held.step).cloned() else {
            return Ok(Turn::Gone);
        };
        let done: Option<Done> = attempt
            .delivered
            .clone()
            .and_then(|value| serde_json::from_value(value).ok());
        let Some(done) = done else {
            let failure = Failure::new(
                FailureCode::MediaFailed,
                "The provider's result is unreadable.",
            );
            return self.fail(held, failure, None, Vec::new()).await;
        };
        match self.bring_home(held, work, &attempt, &done).await {
            Ok(output) => {
                held.step.reuse_key = self.bought(work, &attempt);
                let attempt = self.priced(attempt, &output, held.step.round);
                self.succeed(held, work, output, Some(attempt), Vec::new())
                    .await
            }
            Err(StoreError::Unusable(why)) => {
                tracing::warn!(job = %attempt.job, attempt = %attempt.id, %why, "unusable result");
                let failure = Failure::new(
                    FailureCode::MediaFailed,
                    "The provider delivered a file that is not what it should be.",
                );
                self.fail(held, failure, None, Vec::new()).await
            }
            Err(error) => self.store_again(held, attempt, &error).await,
        }
    }

    async fn store_again(
        &self,
        held: &mut Held,
        attempt: Attempt,
        error: &StoreError,
    ) -> Result<Turn, sql::Error> {
        held.tries += 1;
        tracing::warn!(
            job = %attempt.job, attempt = %attempt.id, tries = held.tries, %error,
            "a result could not be brought home"
        );
        let Some(again) = self.once_more(held, error, TRIES) else {
            let failure = Failure::new(
                FailureCode::MediaFailed,
                "The provider's result could not be fetched.",
            );
            return self.fail(held, failure, None, Vec::new()).await;
        };
        if matches!(error, StoreError::Gone(_)) {
            self.fresh_links(held, attempt).await?;
        }
        Ok(Turn::Wait(again))
    }

    /// Links of vendors die; asking for the task again gives new ones.
    async fn fresh_links(&self, held: &mut Held, attempt: Attempt) -> Result<(), sql::Error> {
        let (Some(task), Some(provider)) =
            (attempt.vendor_task.clone(), self.plugin_of(&attempt).here())
        else {
            return Ok(());
        };
        let call = Call {
            assets: Arc::new(self.assets(attempt.job)),
            text: None,
            permission: None,
            label: format!("links {}", attempt.id),
        };
        let context = ContextArgs {
            client_ref: attempt.id.to_string(),
            callback_url: None,
        };
        let outcome = provider.plugin.poll(call, vec![(task, context)]).await;
        if let Ok(answers) = outcome.result
            && let Some(Ok(Status::Done(done))) = answers.into_iter().next()
        {
            let delivered = serde_json::to_value(&done).ok();
            let attempt = Attempt {
                delivered,
                ..attempt
            };
            let step = held.step.clone();
            self.write(
                held,
                step,
                Draft {
                    attempt: Some(attempt),
                    ..Draft::default()
                },
            )
            .await?;
        }
        Ok(())
    }

    async fn bring_home(
        &self,
        held: &Held,
        work: &Work,
        attempt: &Attempt,
        done: &Done,
    ) -> Result<StepOutput, StoreError> {
        let main = one(done, Role::Main)
            .ok_or_else(|| StoreError::Unusable("there is no main output".to_owned()))?;
        match held.step.kind {
            StepKind::Script => script(main),
            StepKind::Voice => {
                let audio = self.playable(attempt, main).await?.file;
                if !audio.mime.starts_with("audio/") {
                    return Err(StoreError::Unusable(format!("{} is not sound", audio.mime)));
                }
                let words = one(done, Role::Timing).and_then(|output| match &output.media {
                    Media::Text(text) => subtitles::words_from_timing(text)
                        .map_err(|error| tracing::warn!(%error, "word timings are left out"))
                        .ok(),
                    Media::Url(_) | Media::Asset(_) => None,
                });
                Ok(StepOutput::Voice { audio, words })
            }
            StepKind::Video => {
                let Fetched { file: film, probe } = self.playable(attempt, main).await?;
                if film.width.is_none() {
                    return Err(StoreError::Unusable("the film has no picture".to_owned()));
                }
                let subtitles = match one(done, Role::Subtitles) {
                    None => None,
                    // A film without the vendor's subtitles is still a film.
                    Some(output) => self
                        .keep(attempt, output)
                        .await
                        .map_err(
                            |error| tracing::warn!(%error, "the vendor's subtitles are left out"),
                        )
                        .ok(),
                };
                let voiced = asked_to_speak(attempt) || {
                    let materials = Materials::of(&work.steps);
                    materials.voice.is_none()
                };
                Ok(StepOutput::Video {
                    film,
                    subtitles,
                    voiced,
                    plays: probe.plays_as_it_is(),
                })
            }
            StepKind::Compose | StepKind::Thumbnail | StepKind::Deliver => {
                Err(StoreError::Host("this step has no provider".to_owned()))
            }
        }
    }

    async fn playable(&self, attempt: &Attempt, output: &Output) -> Result<Fetched, StoreError> {
        let file = self.keep(attempt, output).await?;
        media::probe_kind(&self.studio, &self.blobs, file).await
    }

    async fn keep(&self, attempt: &Attempt, output: &Output) -> Result<StoredFile, StoreError> {
        match &output.media {
            Media::Asset(name) => {
                let assets = self.assets(attempt.job);
                media::saved_asset(&self.blobs, &assets, attempt.job, name, &output.mime).await
            }
            Media::Url(url) => {
                let provider = self.plugin_of(attempt).here().ok_or_else(|| {
                    StoreError::Host(format!(
                        "the plugin {} {} is not loaded",
                        attempt.provider, attempt.plugin_version
                    ))
                })?;
                let most = self.settings.max_media_bytes;
                media::keep_url(
                    &provider.plugin,
                    &self.blobs,
                    attempt.job,
                    url,
                    &output.mime,
                    most,
                )
                .await
            }
            Media::Text(text) if text.len() <= MAX_TEXT => {
                media::keep_text(&self.blobs, attempt.job, text.clone(), &output.mime).await
            }
            Media::Text(_) => Err(StoreError::Unusable("the text is too long".to_owned())),
        }
    }

    /// The vendor delivered: that is durable before anything is fetched. A script is there with
    /// it, so that both are one.
    pub(super) async fn delivered(
        &self,
        held: &mut Held,
        work: &Work,
        attempt: Attempt,
        done: &Done,
    ) -> Result<Turn, sql::Error> {
        let now = time::now();
        held.slot = None;
        held.tries = 0;
        let attempt = Attempt {
            delivered: serde_json::to_value(done).ok(),
            ..self.charged(attempt, done)
        };
        let storing = about(held.step.kind, EventType::StepStoring);
        if held.step.kind == StepKind::Script
            && let Some(Ok(output)) = one(done, Role::Main).map(script)
        {
            held.step.reuse_key = self.bought(work, &attempt);
            let attempt = self.priced(attempt, &output, held.step.round);
            let told = vec![storing];
            return self
                .succeed_after(held, work, output, Some(attempt), Vec::new(), told)
                .await;
        }
        let step = crate::jobs::model::Step {
            status: crate::jobs::model::StepStatus::Storing,
            due_at: Some(now),
            error: None,
            ..held.step.clone()
        };
        match self
            .write(
                held,
                step,
                Draft {
                    attempt: Some(attempt),
                    events: vec![storing],
                    ..Draft::default()
                },
            )
            .await?
        {
            Written::Lost => Ok(Turn::Gone),
            Written::Done { .. } => Ok(Turn::Again),
        }
    }
}

fn one(done: &Done, role: Role) -> Option<&Output> {
    done.outputs.iter().find(|output| output.role == role)
}

fn script(main: &Output) -> Result<StepOutput, StoreError> {
    let Media::Text(text) = &main.media else {
        return Err(StoreError::Unusable("the script is not text".to_owned()));
    };
    if text.len() > MAX_TEXT {
        return Err(StoreError::Unusable("the script is too long".to_owned()));
    }
    let document: ScriptDocument = serde_json::from_str(text)
        .map_err(|error| StoreError::Unusable(format!("the script is not in shape: {error}")))?;
    let script = document.with_spoken_text();
    if script.text.is_empty() {
        return Err(StoreError::Unusable("the script is empty".to_owned()));
    }
    Ok(StepOutput::Script { script })
}

/// Was the vendor asked to make the text heard?
fn asked_to_speak(attempt: &Attempt) -> bool {
    use genvid_runtime::video::Speech;

    use crate::jobs::requests::PaidRequest;
    serde_json::from_value::<PaidRequest>(attempt.request.clone()).is_ok_and(
        |request| match request {
            PaidRequest::Video(request) => !matches!(request.speech, Speech::Silent),
            PaidRequest::Script(_) | PaidRequest::Voice(_) => false,
        },
    )
}
