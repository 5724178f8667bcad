//! Films and voices made on the spot, and a way to look at pictures.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use genvid_media::ffmpeg::{
    Aspect, Composition, Error, Fit, Probe, Source, Studio, StudioOptions, Subtitles, Tools,
};
use tempfile::TempDir;

static TOOLS: tokio::sync::OnceCell<Tools> = tokio::sync::OnceCell::const_new();

/// What is known of a film whose turn is over.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) probe: Probe,
    pub(crate) pictures_copied: bool,
    pub(crate) warnings: Vec<String>,
}

pub(crate) struct Kit {
    pub(crate) folder: TempDir,
    pub(crate) studio: Studio,
}

impl Kit {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut StudioOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = StudioOptions::new(folder.path().join("scratch"));
        change(&mut options);
        let tools = TOOLS
            .get_or_init(async || Tools::locate(None, None).await.unwrap())
            .await;
        let studio = Studio::new(tools.clone(), options).await.unwrap();
        Self { folder, studio }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs ffmpeg without limits to make something; `arguments` are separated by spaces.
    pub(crate) fn make(&self, name: &str, arguments: &str) -> PathBuf {
        let path = self.path(name);
        ffmpeg(arguments.split(' ').chain([path.to_str().unwrap()]));
        path
    }

    /// A silent film that moves, of H.264 in MP4.
    pub(crate) fn film(&self, name: &str, size: &str, seconds: f64) -> PathBuf {
        self.make(
            name,
            &format!(
                "-f lavfi -i testsrc2=s={size}:r=25:d={seconds} -c:v libx264 -preset ultrafast \
                 -pix_fmt yuv420p"
            ),
        )
    }

    /// A tone of this length; the name's ending decides the format.
    pub(crate) fn voice(&self, name: &str, seconds: f64) -> PathBuf {
        self.make(name, &format!("-f lavfi -i sine=f=330:r=44100:d={seconds}"))
    }

    pub(crate) fn composition(&self, film: &Path) -> Composition {
        Composition {
            film: film.into(),
            voice: None,
            keep_film_sound: false,
            subtitles: Subtitles::Absent,
            aspect: Aspect::Landscape,
            fit: Fit::Blur,
            max_seconds: None,
        }
    }

    /// Composes, and keeps the result as `out.mp4`.
    pub(crate) async fn compose(&self, what: Composition) -> Result<Kept, Error> {
        self.compose_telling(what, |_| {}).await
    }

    /// The same, and hears of the progress.
    pub(crate) async fn compose_telling(
        &self,
        what: Composition,
        progress: impl FnMut(f32) + Send,
    ) -> Result<Kept, Error> {
        let made = self.studio.compose(what, progress).await?;
        std::fs::copy(made.film.path(), self.path("out.mp4")).unwrap();
        Ok(Kept {
            probe: made.probe,
            pictures_copied: made.pictures_copied,
            warnings: made.warnings,
        })
    }

    /// Takes a still picture, and keeps it as `still.jpg`.
    pub(crate) async fn thumbnail(
        &self,
        film: impl Into<Source>,
        at: Option<Duration>,
    ) -> Result<Probe, Error> {
        let made = self.studio.thumbnail(film, at).await?;
        std::fs::copy(made.picture.path(), self.path("still.jpg")).unwrap();
        Ok(made.probe)
    }

    /// Waits until no folder of a run is left.
    pub(crate) async fn assert_clean(&self) {
        eventually("an empty scratch folder", || {
            self.left_in_scratch().is_empty()
        })
        .await;
    }

    pub(crate) fn left_in_scratch(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for studio in std::fs::read_dir(self.path("scratch")).unwrap() {
            for entry in std::fs::read_dir(studio.unwrap().path()).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap() != "lock" {
                    left.push(path);
                }
            }
        }
        left
    }
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..400 {
        if condition() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("never happened: {what}");
}

pub(crate) fn ffmpeg<'a>(arguments: impl IntoIterator<Item = &'a str>) {
    let said = Command::new("ffmpeg")
        .args(["-y", "-v", "error", "-nostdin"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
}

/// The picture at a time, as rows of grey values.
pub(crate) struct Grey {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pixels: Vec<u8>,
}

impl Grey {
    pub(crate) fn at(film: &Path, seconds: f64, width: usize, height: usize) -> Self {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin"]);
        if seconds > 0.0 {
            // A single picture has no time to go to.
            command.args(["-ss", &seconds.to_string()]);
        }
        let said = command
            .arg("-i")
            .arg(film)
            .args(["-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-"])
            .output()
            .unwrap();
        assert_eq!(
            said.stdout.len(),
            width * height,
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
        Self {
            width,
            height,
            pixels: said.stdout,
        }
    }

    /// Mean difference to another picture in rows `from..to`, given as parts of the height.
    pub(crate) fn difference(&self, other: &Self, from: f64, to: f64) -> f64 {
        assert_eq!((self.width, self.height), (other.width, other.height));
        let row = |part: f64| (part * self.height as f64) as usize * self.width;
        let range = row(from)..row(to);
        let sum: u64 = self.pixels[range.clone()]
            .iter()
            .zip(&other.pixels[range.clone()])
            .map(|(one, other)| u64::from(one.abs_diff(*other)))
            .sum();
        sum as f64 / range.len() as f64
    }

    /// Mean grey of rows `from..to`.
    pub(crate) fn mean(&self, from: f64, to: f64) -> f64 {
        let row = |part: f64| (part * self.height as f64) as usize * self.width;
        let part = &self.pixels[row(from)..row(to)];
        part.iter().map(|grey| f64::from(*grey)).sum::<f64>() / part.len() as f64
    }
}

/// Loudness in decibels below full scale, of the whole file.
pub(crate) fn mean_volume(file: &Path) -> f64 {
    let said = Command::new("ffmpeg")
        .args(["-nostdin", "-i"])
        .arg(file)
        .args(["-map", "0:a:0", "-af", "volumedetect", "-f", "null", "-"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    let (_, rest) = text.split_once("mean_volume: ").unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}
