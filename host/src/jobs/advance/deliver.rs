//! Steps that this host does by itself: composing, the still picture, publishing.

use genvid_media::{
    ffmpeg::{Aspect as FilmAspect, Composition, Fit, Subtitles as FilmSubtitles},
    subtitles::{self, Cue, CueOptions},
};

use super::{Advance, Draft, Held, Turn, Work, about};
use crate::{
    adapters::sql,
    ids::UserId,
    jobs::{
        input::{Caption, JobInput, VideoInput},
        model::{
            Aspect, EventType, Failure, FailureCode, StepKind, StepOutput, StoredFile, SubtitleMode,
        },
        requests::{self, Film, Materials},
        store::MediaRole,
    },
    media::{self, StoreError},
};

/// Tries of something that this host does by itself.
const TRIES: u32 = 3;
/// Longest subtitles of a vendor's that are read, in bytes. An hour of speech takes about a
/// tenth of it.
const MAX_SUBTITLES: u64 = 1 << 20;
/// Media type of SubRip files.
const SUBRIP: &str = "application/x-subrip";

impl Advance {
    pub(super) async fn make(&self, held: &mut Held, work: &Work) -> Result<Turn, sql::Error> {
        let materials = Materials::of(&work.steps);
        let made = match held.step.kind {
            StepKind::Compose => self.compose(held, work, &materials).await,
            StepKind::Thumbnail => self.thumbnail(held, &materials).await,
            _ => Ok(StepOutput::Deliver),
        };
        match made {
            Ok(output @ StepOutput::Deliver) => {
                let media = publish(held.owner, &materials);
                self.succeed(held, work, output, None, media).await
            }
            Ok(output) => self.succeed(held, work, output, None, Vec::new()).await,
            Err(error) => {
                held.tries += 1;
                tracing::warn!(
                    job = %held.step.job, step = held.step.kind.as_str(), tries = held.tries, %error,
                    "a step of this host failed"
                );
                let again = self.once_more(held, &error, TRIES);
                let Some(again) = again.filter(|_| !matches!(error, StoreError::Unusable(_)))
                else {
                    let failure = Failure::new(
                        FailureCode::MediaFailed,
                        "The film could not be put together from what the providers delivered.",
                    );
                    return self.fail(held, failure, None, Vec::new()).await;
                };
                Ok(Turn::Wait(again))
            }
        }
    }

    async fn compose(
        &self,
        held: &mut Held,
        work: &Work,
        materials: &Materials<'_>,
    ) -> Result<StepOutput, StoreError> {
        let (JobInput::Video(input), Some(film)) = (&work.job.input, materials.film) else {
            return Err(StoreError::Unusable("there is no film".to_owned()));
        };
        let voice = materials.voice.filter(|_| !film.voiced);
        let cues = self.cues(work, input, materials, film.subtitles).await?;
        if voice.is_none() && cues.is_empty() && is_as_wanted(input, film) {
            // Published as the vendor made it: the same file, once.
            return Ok(StepOutput::Compose {
                film: film.file.clone(),
                subtitles: None,
            });
        }
        let composition = Composition {
            film: media::source(&self.blobs, film.file)?,
            keep_film_sound: voice.is_none(),
            voice: voice
                .map(|voice| media::source(&self.blobs, voice))
                .transpose()?,
            subtitles: match input.subtitles {
                SubtitleMode::Burned if !cues.is_empty() => {
                    FilmSubtitles::Burned { cues: cues.clone() }
                }
                // A track that players show on demand, besides the file.
                SubtitleMode::Sidecar if !cues.is_empty() => FilmSubtitles::Embedded {
                    cues: cues.clone(),
                    language: Some(input.language.clone()),
                },
                _ => FilmSubtitles::Absent,
            },
            aspect: film_aspect(input.aspect),
            fit: Fit::default(),
            max_seconds: input.max_seconds,
        };
        let (told, mut heard) = tokio::sync::watch::channel(0.0_f32);
        let run = self.studio.compose(composition, move |part| {
            told.send_replace(part);
        });
        tokio::pin!(run);
        let composed = loop {
            tokio::select! {
                composed = &mut run => break composed?,
                Ok(()) = heard.changed() => {
                    let part = f64::from(*heard.borrow_and_update());
                    self.tell_progress(held, part).await;
                }
            }
        };
        for warning in &composed.warnings {
            tracing::warn!(job = %held.step.job, %warning, "composing");
        }
        let film = media::keep_file(
            &self.blobs,
            held.step.job,
            composed.film.path(),
            "video/mp4",
            &composed.probe,
        )
        .await?;
        drop(composed);
        let subtitles = match input.subtitles {
            SubtitleMode::None => None,
            _ if cues.is_empty() => None,
            SubtitleMode::Burned | SubtitleMode::Sidecar => {
                let text = subtitles::to_srt(&cues);
                Some(media::keep_text(&self.blobs, held.step.job, text, SUBRIP).await?)
            }
        };
        Ok(StepOutput::Compose { film, subtitles })
    }

    /// Steps of a quarter are worth a row; each tenth of a second is not.
    async fn tell_progress(&self, held: &mut Held, part: f64) {
        let quarter = (part * 4.0).floor() / 4.0;
        if quarter <= held.step.progress.unwrap_or(0.0) || quarter >= 1.0 {
            return;
        }
        let step = crate::jobs::model::Step {
            progress: Some(quarter),
            ..held.step.clone()
        };
        let mut event = about(step.kind, EventType::StepProgress);
        event.progress = Some(quarter);
        if let Err(error) = self
            .write(
                held,
                step,
                Draft {
                    events: vec![event],
                    ..Draft::default()
                },
            )
            .await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "progress could not be logged"
            );
        }
    }

    /// When what is spoken is shown: as its owner says, else by the voice's own timing, else by the vendor's
    /// subtitles, else spread over the track by the length of the words.
    async fn cues(
        &self,
        work: &Work,
        input: &VideoInput,
        materials: &Materials<'_>,
        vendor: Option<&StoredFile>,
    ) -> Result<Vec<Cue>, StoreError> {
        if input.subtitles == SubtitleMode::None {
            return Ok(Vec::new());
        }
        if let Some(own) = input.edit.as_ref().and_then(|edit| edit.captions.as_ref()) {
            return Ok(own.iter().map(cue).collect());
        }
        let options = CueOptions::for_aspect(film_aspect(input.aspect));
        if let Some(words) = materials.words.filter(|words| !words.is_empty()) {
            return Ok(subtitles::cues(words, options));
        }
        if let Some(file) = vendor {
            let text = media::stored_text(&self.blobs, file, MAX_SUBTITLES).await;
            match text.map(|text| subtitles::parse_srt(&text)) {
                Ok(Ok(cues)) => return Ok(cues),
                Ok(Err(error)) => tracing::warn!(%error, "the vendor's subtitles are unreadable"),
                Err(StoreError::Unusable(why)) => {
                    tracing::warn!(why, "the vendor's subtitles are left out");
                }
                Err(error) => return Err(error),
            }
        }
        let text = requests::spoken_text(&work.job.input, materials);
        let track = materials.voice.or(materials.film.map(|film| film.file));
        let length = track.and_then(|file| file.duration_ms).unwrap_or(0);
        Ok(subtitles::cues_from_text(&text, length, options))
    }

    async fn thumbnail(
        &self,
        held: &Held,
        materials: &Materials<'_>,
    ) -> Result<StepOutput, StoreError> {
        let Some((film, _)) = materials.composed else {
            return Err(StoreError::Unusable("there is no film".to_owned()));
        };
        let film = media::source(&self.blobs, film)?;
        let made = self.studio.thumbnail(film, None).await?;
        let picture = media::keep_file(
            &self.blobs,
            held.step.job,
            made.picture.path(),
            "image/jpeg",
            &made.probe,
        )
        .await?;
        Ok(StepOutput::Thumbnail { picture })
    }
}

fn cue(caption: &Caption) -> Cue {
    Cue {
        start_ms: caption.start_ms.into(),
        end_ms: caption.end_ms.into(),
        lines: caption
            .text
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect(),
    }
}

/// Whether a film that speaks for itself can be handed out as its provider made it.
fn is_as_wanted(input: &VideoInput, film: Film<'_>) -> bool {
    let StoredFile {
        mime,
        duration_ms,
        width,
        height,
        ..
    } = film.file;
    let fits = width
        .zip(*height)
        .is_some_and(|(width, height)| film_aspect(input.aspect).fits(width, height));
    let short_enough = duration_ms.is_some_and(|length| {
        input
            .max_seconds
            .is_none_or(|most| length <= u64::from(most) * 1_000)
    });
    film.plays && mime == "video/mp4" && fits && short_enough
}

/// The files that a job's owner gets.
pub(super) fn publish(
    owner: UserId,
    materials: &Materials<'_>,
) -> Vec<(UserId, MediaRole, StoredFile)> {
    let mut media = Vec::new();
    if let Some((film, subtitles)) = materials.composed {
        media.push((owner, MediaRole::Video, film.clone()));
        if let Some(subtitles) = subtitles {
            media.push((owner, MediaRole::Subtitles, subtitles.clone()));
        }
    }
    if let Some(picture) = materials.picture {
        media.push((owner, MediaRole::Thumbnail, picture.clone()));
    }
    if let Some(voice) = materials.voice {
        media.push((owner, MediaRole::Voice, voice.clone()));
    }
    media
}

fn film_aspect(aspect: Aspect) -> FilmAspect {
    match aspect {
        Aspect::Portrait => FilmAspect::Portrait,
        Aspect::Square => FilmAspect::Square,
        Aspect::Landscape => FilmAspect::Landscape,
    }
}
