//! Film, voice and subtitles become one film.

use std::ffi::OsString;
use std::time::Duration;

use super::plan::{Plan, Sound, Wish};
use super::source::Opened;
use super::studio::{Made, Progress, Studio, blocking, is_deliverable};
use super::{Aspect, Error, Fit, Probe, Source, ass};
use crate::subtitles::{Cue, to_srt};

/// Names inside the run's own folder, so that no path has to be escaped for a filter.
pub(crate) const BURNED: &str = "burned.ass";
const FILM: &str = "film";
const VOICE: &str = "voice";
const EMBEDDED: &str = "embedded.srt";
const RESULT: &str = "result.mp4";

/// How far the result's playing time may be from the plan's.
const TOLERANCE_MS: u64 = 500;

/// What subtitles the result has.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Subtitles {
    /// None, or in a file of their own beside the film.
    #[default]
    Absent,
    /// A track that players show on demand.
    Embedded {
        /// In order, without overlap.
        cues: Vec<Cue>,
        /// BCP 47, for example `en` or `zh-CN`.
        language: Option<String>,
    },
    /// Part of the pictures.
    Burned {
        /// In order, without overlap.
        cues: Vec<Cue>,
    },
}

/// What to make.
///
/// With a voice the result is as long as the voice: a longer film is cut, a shorter one is
/// repeated, or has its last picture held where less than 1.5 seconds are missing. Without a
/// voice it is as long as the film.
#[derive(Clone, Debug)]
pub struct Composition {
    /// The film; its first track of pictures is used.
    pub film: Source,
    /// Spoken over the film.
    pub voice: Option<Source>,
    /// Keep the film's own sound: as it is without a voice, at a quarter of its volume with
    /// one. Otherwise the film is treated as silent.
    pub keep_film_sound: bool,
    /// What subtitles the result has.
    pub subtitles: Subtitles,
    /// Ratio of the result. A film within 1 % of it is left as it is.
    pub aspect: Aspect,
    /// How a film of another ratio is brought into it.
    pub fit: Fit,
    /// Cut the result after so many seconds.
    pub max_seconds: Option<u32>,
}

/// A finished film.
#[derive(Debug)]
pub struct Composed {
    /// The film: MP4, H.264 and AAC, index first.
    pub film: Made,
    /// What it is.
    pub probe: Probe,
    /// Whether its pictures were copied without loss instead of encoded anew.
    pub pictures_copied: bool,
    /// What a person should know, for example that no installed font has a character.
    pub warnings: Vec<String>,
}

impl Studio {
    /// Makes a film. `progress` is told the part that is done, 0.0 to 1.0, never less than
    /// before. Tracks that already are what is wanted are copied, not encoded anew; pictures
    /// are never enlarged.
    pub async fn compose(
        &self,
        composition: Composition,
        mut progress: impl FnMut(f32) + Send,
    ) -> Result<Composed, Error> {
        let turn = self.turn_to_make().await?;
        let folder = turn.folder();
        let film_file = composition.film.open(folder, FILM).await?;
        let film = self.measure(&film_file, folder).await?;
        let (voice_file, voice) = match &composition.voice {
            Some(voice) => {
                let file = voice.open(folder, VOICE).await?;
                let voice = self.measure(&file, folder).await?;
                (Some(file), Some(voice))
            }
            None => (None, None),
        };
        let wish = Wish {
            aspect: composition.aspect,
            fit: composition.fit,
            keep_film_sound: composition.keep_film_sound,
            burn: matches!(&composition.subtitles, Subtitles::Burned { cues } if !cues.is_empty()),
            max_ms: composition
                .max_seconds
                .map(|seconds| u64::from(seconds) * 1000),
        };
        let plan = Plan::new(&film, voice.as_ref(), wish)?;

        let side_file = match &composition.subtitles {
            Subtitles::Burned { cues } if wish.burn => {
                let font = &self.options().subtitle_font;
                Some((BURNED, ass::document(cues, plan.width, plan.height, font)))
            }
            Subtitles::Embedded { cues, .. } if !cues.is_empty() => {
                Some((EMBEDDED, to_srt(&within(cues, plan.duration_ms))))
            }
            _ => None,
        };
        if let Some((name, content)) = side_file {
            let path = folder.join(name);
            blocking(move || std::fs::write(path, content)).await?;
        }

        let read: Vec<&Opened> = [&film_file].into_iter().chain(&voice_file).collect();
        let arguments = arguments(&composition, &plan, &read, self.options().threads);
        let (mut reader, mut told) = (Progress::default(), 0.0_f32);
        let whole = (plan.duration_ms * 1000) as f32;
        let said = self
            .ffmpeg(&read, arguments, folder, &mut |piece| {
                reader.read(piece, &mut |time| {
                    let fraction = (time as f32 / whole).clamp(0.0, 1.0);
                    if fraction > told {
                        told = fraction;
                        progress(fraction);
                    }
                });
            })
            .await?;

        let probe = self.probe_in(&Opened::Local(RESULT), folder).await?;
        let off = probe.duration_ms.abs_diff(plan.duration_ms);
        if !is_deliverable(&probe) || off > TOLERANCE_MS {
            return Err(Error::Failed {
                program: "ffmpeg",
                status: format!(
                    "made {} of {} ms instead of {} ms",
                    probe.describe(),
                    probe.duration_ms,
                    plan.duration_ms
                ),
                detail: said.stderr,
            });
        }
        if told < 1.0 {
            progress(1.0);
        }
        let warnings = ass::warnings(&said.stderr);
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Composed {
            film: turn.made(RESULT),
            probe,
            pictures_copied: plan.video.is_none(),
            warnings,
        })
    }
}

/// Cues up to the end of a film that is shorter than they are.
fn within(cues: &[Cue], duration_ms: u64) -> Vec<Cue> {
    cues.iter()
        .filter(|cue| cue.start_ms < duration_ms)
        .map(|cue| Cue {
            end_ms: cue.end_ms.min(duration_ms),
            ..cue.clone()
        })
        .collect()
}

/// `read` is the film, and the voice if there is one.
fn arguments(what: &Composition, plan: &Plan, read: &[&Opened], threads: u32) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let repeat: &[&str] = if plan.repeat {
        &["-stream_loop", "-1"]
    } else {
        &[]
    };
    for (index, file) in read.iter().enumerate() {
        let options = if index == 0 { repeat } else { &[] };
        arguments.extend(file.input(options, threads));
    }
    let inputs = read.len();
    let mut add = |words: &[&str]| arguments.extend(words.iter().copied().map(OsString::from));
    let language = match &what.subtitles {
        Subtitles::Embedded { cues, language } if !cues.is_empty() => {
            add(&["-f", "srt", "-i", EMBEDDED]);
            Some(three_letters(language.as_deref()))
        }
        _ => None,
    };

    let threads = threads.max(1).to_string();
    let mut graphs = Vec::new();
    if let Some(filters) = &plan.video {
        graphs.push(format!("[0:v:0]{filters}[pictures]"));
    }
    if let Sound::Mix(graph) = &plan.audio {
        graphs.push(graph.clone());
    }
    if !graphs.is_empty() {
        add(&[
            "-filter_complex_threads",
            &threads,
            "-filter_complex",
            &graphs.join(";"),
        ]);
    }
    match &plan.video {
        None => add(&["-map", "0:v:0", "-c:v", "copy"]),
        Some(_) => add(&[
            "-map",
            "[pictures]",
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-crf",
            "20",
            "-profile:v",
            "high",
            "-threads:v",
            &threads,
        ]),
    }
    let encode = ["-c:a", "aac", "-b:a", "160k", "-ar", "48000"];
    match &plan.audio {
        Sound::None => add(&["-an"]),
        Sound::Copy(input) => add(&["-map", &format!("{input}:a:0"), "-c:a", "copy"]),
        Sound::Encode(input) => {
            add(&["-map", &format!("{input}:a:0")]);
            add(&encode);
        }
        Sound::Mix(_) => {
            add(&["-map", "[sound]"]);
            add(&encode);
        }
    }
    match language {
        Some(language) => add(&[
            "-map",
            &format!("{inputs}:s:0"),
            "-c:s",
            "mov_text",
            "-metadata:s:s:0",
            &format!("language={language}"),
            "-disposition:s:0",
            "default",
        ]),
        None => add(&["-sn"]),
    }
    let duration = Duration::from_millis(plan.duration_ms).as_secs_f64();
    add(&[
        "-dn",
        "-map_metadata",
        "-1",
        "-map_chapters",
        "-1",
        "-t",
        &format!("{duration:.3}"),
        "-movflags",
        "+faststart",
        "-f",
        "mp4",
        RESULT,
    ]);
    arguments
}

/// MP4 wants ISO 639-2 codes (ISO/IEC 14496-12, media header box).
fn three_letters(language: Option<&str>) -> &'static str {
    let primary = language
        .unwrap_or_default()
        .split(['-', '_'])
        .next()
        .unwrap_or_default();
    match primary.to_ascii_lowercase().as_str() {
        "ar" => "ara",
        "cs" => "ces",
        "de" => "deu",
        "el" => "ell",
        "en" => "eng",
        "es" => "spa",
        "fi" => "fin",
        "fr" => "fra",
        "he" => "heb",
        "hi" => "hin",
        "hu" => "hun",
        "id" => "ind",
        "it" => "ita",
        "ja" => "jpn",
        "ko" => "kor",
        "nl" => "nld",
        "no" | "nb" => "nor",
        "pl" => "pol",
        "pt" => "por",
        "ro" => "ron",
        "ru" => "rus",
        "sv" => "swe",
        "th" => "tha",
        "tr" => "tur",
        "uk" => "ukr",
        "vi" => "vie",
        "zh" | "yue" => "zho",
        _ => "und",
    }
}
