//! Films.

use std::{ffi::OsString, path::PathBuf};

use super::{
    drawing,
    speech::Speech,
    studio::{Studio, arguments},
    timeline::{Phrase, Timeline},
};
use crate::signing::sha256_hex;

/// Frames a second.
const FRAMES: u32 = 24;

/// Colours of the backgrounds, calm enough for white words.
const PALETTES: [[&str; 3]; 6] = [
    ["1F3B57", "4F7CAC", "C0D6DF"],
    ["2D2A4A", "6C5B7B", "F2B880"],
    ["16423C", "6A9C89", "C4DAD2"],
    ["3B2C35", "8F5F68", "E8C7B7"],
    ["22333B", "5E7B7D", "EAE0D5"],
    ["1B2845", "65AFFF", "335C81"],
];

/// What is heard.
#[derive(Debug, Clone)]
pub(crate) enum Sound {
    /// No sound track at all.
    Silent,
    Speech(Speech),
    /// A file that a caller handed in.
    File(PathBuf),
    /// A soft chord, for clips with sound of their own.
    Ambience,
}

/// Who or what is in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Presenter,
    Product,
    Nothing,
}

/// Everything that tells one film from another.
#[derive(Debug, Clone)]
pub(crate) struct Film {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) seconds: f64,
    pub(crate) sound: Sound,
    pub(crate) figure: Figure,
    /// A picture that fills the background.
    pub(crate) picture: Option<PathBuf>,
    /// What is written in the picture.
    pub(crate) words: Vec<Phrase>,
    /// When the presenter's mouth moves.
    pub(crate) beats: Vec<Phrase>,
    pub(crate) burned_captions: bool,
    /// Chooses the colours.
    pub(crate) seed: u64,
    pub(crate) webm: bool,
}

impl Film {
    /// A film of that size with nobody and nothing in it.
    pub(crate) fn new((width, height): (u32, u32), seconds: f64, sound: Sound, seed: u64) -> Self {
        Self {
            width,
            height,
            seconds,
            sound,
            figure: Figure::Nothing,
            picture: None,
            words: Vec::new(),
            beats: Vec::new(),
            burned_captions: false,
            seed,
            webm: false,
        }
    }

    /// Shows the phrases and moves the mouth with the words.
    pub(crate) fn spoken(mut self, timeline: &Timeline) -> Self {
        self.words.clone_from(&timeline.phrases);
        self.beats.clone_from(&timeline.words);
        self
    }

    /// Shows the beginning of a description.
    pub(crate) fn described(mut self, text: &str) -> Self {
        self.words = drawing::excerpt(text, self.seconds);
        self
    }

    /// A film that many jobs can share: no words of its own, its length in whole steps.
    pub(crate) fn shared(mut self) -> Self {
        self.words.clear();
        self.beats.clear();
        self.burned_captions = false;
        self.seed = 1;
        if let Sound::Speech(_) = self.sound {
            self.sound = Sound::Ambience;
        }
        self
    }

    pub(crate) fn extension(&self) -> &'static str {
        if self.webm { "webm" } else { "mp4" }
    }

    pub(crate) fn mime(&self) -> &'static str {
        if self.webm { "video/webm" } else { "video/mp4" }
    }

    fn name(&self) -> String {
        format!(
            "film-{}.{}",
            sha256_hex(format!("{self:?}").as_bytes()),
            self.extension()
        )
    }
}

/// Width and height for a ratio word; small, so that an encoding takes well under a second.
pub(crate) fn size(ratio: &str) -> (u32, u32) {
    match ratio {
        "9:16" => (360, 640),
        "1:1" => (480, 480),
        "4:5" => (432, 540),
        "5:4" => (540, 432),
        _ => (640, 360),
    }
}

/// A small even size with the given proportions.
pub(crate) fn size_like(width: u32, height: u32) -> (u32, u32) {
    let (long, short) = (width.max(height).max(1), width.min(height).max(1));
    let longer = (u64::from(long) * 360 / u64::from(short)).clamp(360, 1_000);
    let longer = u32::try_from(longer & !1).unwrap_or(640);
    if width >= height {
        (longer, 360)
    } else {
        (360, longer)
    }
}

impl Studio {
    /// The film as a file.
    pub(crate) async fn film(&self, film: &Film) -> anyhow::Result<PathBuf> {
        let name = film.name();
        let script = format!("{}.ass", name.replace('.', "-"));
        self.made(&name, |path| async move {
            if self.has_ass {
                tokio::fs::write(
                    self.folder().join(&script),
                    drawing::script(film, self.has_wide_font),
                )
                .await?;
            }
            let made = self.encode(film, &script, path).await;
            let _ = tokio::fs::remove_file(self.folder().join(&script)).await;
            made
        })
        .await
    }

    async fn encode(&self, film: &Film, script: &str, path: PathBuf) -> anyhow::Result<()> {
        let seconds = format!("{:.3}", film.seconds);
        let (width, height) = (film.width, film.height);
        let mut all: Vec<OsString> = Vec::new();
        let mut filter = match &film.picture {
            Some(picture) => {
                all.push("-i".into());
                all.push(picture.into());
                let (wide, tall) = (width * 115 / 100, height * 115 / 100);
                format!(
                    "[0:v]scale={wide}:{tall}:force_original_aspect_ratio=increase,\
                     crop={wide}:{tall},format=yuv420p,loop=loop=-1:size=1:start=0,\
                     setpts=N/{FRAMES}/TB,fps={FRAMES},\
                     crop={width}:{height}:x='(iw-ow)*min(t/{seconds},1)':\
                     y='(ih-oh)*min(t/{seconds},1)'"
                )
            }
            None => {
                // Few small pictures, enlarged: a gradient is the dearest part to compute.
                let [c0, c1, c2] = PALETTES[usize::try_from(film.seed % 6).unwrap_or(0)];
                let source = format!(
                    "gradients=s={}x{}:r=8:n=3:c0=0x{c0}:c1=0x{c1}:c2=0x{c2}:seed={}:\
                     speed=0.04:d={seconds}",
                    width / 4,
                    height / 4,
                    film.seed % 10_000
                );
                all.extend(arguments(["-f", "lavfi", "-i", &source]));
                format!("[0:v]fps={FRAMES},scale={width}:{height}:flags=fast_bilinear")
            }
        };
        if self.has_ass {
            filter.push_str(",ass=");
            filter.push_str(script);
        }
        filter.push_str(",format=yuv420p[v]");
        let has_sound = self.add_sound(film, &seconds, &mut all).await?;
        all.extend(arguments(["-filter_complex", &filter, "-map", "[v]"]));
        if has_sound {
            all.extend(arguments(["-map", "1:a:0", "-af", "apad"]));
        }
        all.extend(arguments(["-t", &seconds]));
        if film.webm {
            all.extend(arguments([
                "-c:v",
                "libvpx",
                "-deadline",
                "realtime",
                "-cpu-used",
                "8",
                "-b:v",
                "500k",
                "-c:a",
                "libopus",
                "-b:a",
                "48k",
                "-f",
                "webm",
            ]));
        } else {
            all.extend(arguments([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-crf",
                "28",
                "-g",
                "48",
                "-c:a",
                "aac",
                "-b:a",
                "64k",
                "-movflags",
                "+faststart",
                "-f",
                "mp4",
            ]));
        }
        all.push(path.into());
        self.ffmpeg(all).await
    }

    async fn add_sound(
        &self,
        film: &Film,
        seconds: &str,
        all: &mut Vec<OsString>,
    ) -> anyhow::Result<bool> {
        match &film.sound {
            Sound::Silent => return Ok(false),
            Sound::Speech(speech) => {
                let track = self.track(speech).await?;
                all.extend(arguments(["-f", "s16le", "-ar", "16000", "-ac", "1", "-i"]));
                all.push(track.into());
            }
            Sound::File(path) => {
                all.push("-i".into());
                all.push(path.into());
            }
            Sound::Ambience => {
                let source = format!(
                    "aevalsrc='0.05*(sin(2*PI*196*t)+sin(2*PI*247*t)+sin(2*PI*294*t))*\
                     (1+0.5*sin(2*PI*0.4*t))':s=22050:d={seconds}"
                );
                all.extend(arguments(["-f", "lavfi", "-i", &source]));
            }
        }
        Ok(true)
    }

    /// A still picture of the film.
    pub(crate) async fn poster(&self, film: &Film) -> anyhow::Result<PathBuf> {
        let name = format!("{}.jpg", film.name());
        self.made(&name, |path| async move {
            let source = self.film(film).await?;
            let at = format!("{:.3}", (film.seconds / 3.0).min(1.0));
            let mut all = arguments(["-ss", &at, "-i"]);
            all.push(source.into());
            all.extend(arguments(["-frames:v", "1", "-q:v", "4", "-f", "mjpeg"]));
            all.push(path.into());
            self.ffmpeg(all).await
        })
        .await
    }

    /// The first two seconds as an animated picture.
    pub(crate) async fn animation(&self, film: &Film) -> anyhow::Result<PathBuf> {
        let name = format!("{}.gif", film.name());
        self.made(&name, |path| async move {
            let source = self.film(film).await?;
            let mut all = arguments(["-t", "2", "-i"]);
            all.push(source.into());
            all.extend(arguments(["-vf", "fps=8,scale=180:-2", "-f", "gif"]));
            all.push(path.into());
            self.ffmpeg(all).await
        })
        .await
    }
}
