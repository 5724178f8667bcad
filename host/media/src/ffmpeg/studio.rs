//! The one door to the programs: bounds how many run, gives each its folder and its limits.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::probe::Container;
use super::process::{Limits, Run, Said};
use super::source::Opened;
use super::{Error, Probe, Source, Tools};
use crate::scratch::{Scratch, WorkFolder};

/// How long looking at a file may take. Reading a film's index needs no more, and files that
/// are made to be slow get no further.
const LOOK_TIME: Duration = Duration::from_secs(60);

/// Name of the one file that a run looks at.
const SUBJECT: &str = "subject";

/// Settings of a [`Studio`].
#[derive(Clone, Debug)]
pub struct StudioOptions {
    /// How many films and pictures are made at a time; the rest wait. At least 1.
    pub concurrency: usize,
    /// How many files are looked at at a time, besides those: looking takes a moment and does
    /// not wait behind films that take minutes. At least 1.
    pub looks: usize,
    /// Where programs work. Several processes may share it.
    pub scratch_dir: PathBuf,
    /// Longest single run of a program, waiting for its turn not counted.
    pub time_limit: Duration,
    /// Address space of one program in MiB. ffmpeg's libraries take about 400, a film of
    /// 1920x1080 about 400 more.
    pub memory_limit_mib: u64,
    /// Largest file that a program may write, in MiB.
    pub output_limit_mib: u64,
    /// Threads of one program. At least 1.
    pub threads: u32,
    /// Family of the font for burned-in subtitles, as fontconfig knows it. Characters that it
    /// lacks come from other fonts that are installed; Chinese, Japanese and Korean need one
    /// that has them (Debian: `fonts-wqy-microhei`).
    pub subtitle_font: String,
}

impl StudioOptions {
    /// Defaults: 2 made and 4 looked at at a time, 15 minutes, 2 GiB of memory, 2 GiB of output, 2 threads.
    pub fn new(scratch_dir: impl Into<PathBuf>) -> Self {
        Self {
            concurrency: 2,
            looks: 4,
            scratch_dir: scratch_dir.into(),
            time_limit: Duration::from_secs(15 * 60),
            memory_limit_mib: 2048,
            output_limit_mib: 2048,
            threads: 2,
            subtitle_font: "sans-serif".to_owned(),
        }
    }
}

/// Runs ffmpeg and ffprobe. Cheap to clone; clones share the limit on how many run.
#[derive(Clone, Debug)]
pub struct Studio {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tools: Tools,
    options: StudioOptions,
    turns: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    scratch: Scratch,
}

/// Leave to run programs, one after the other, and the folder that they work in. Neither is
/// there without the other: what waits for its turn has nothing on the disk.
#[derive(Debug)]
pub(crate) struct Turn {
    // First: the folder goes before somebody else's turn comes.
    folder: WorkFolder,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    /// Where programs work in this turn.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends with a file that was made in the folder.
    pub(crate) fn made(self, name: &str) -> Made {
        Made {
            path: self.folder().join(name),
            _turn: self,
        }
    }
}

/// A file of a studio's making, in its scratch folder. The turn in which it was made lasts
/// until this is dropped, and the file with it, so that finished films that wait to be taken
/// away are bounded as films in the making are.
#[derive(Debug)]
pub struct Made {
    path: PathBuf,
    _turn: Turn,
}

impl Made {
    /// Where it is until this is dropped.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Studio {
    /// Opens a studio, and removes what studios left in the scratch folder that died.
    pub async fn new(tools: Tools, options: StudioOptions) -> Result<Self, Error> {
        let parent = options.scratch_dir.clone();
        let scratch = blocking(move || Scratch::open(&parent)).await?;
        let turns = Arc::new(Semaphore::new(options.concurrency.max(1)));
        let looks = Arc::new(Semaphore::new(options.looks.max(1)));
        Ok(Self {
            inner: Arc::new(Inner {
                tools,
                options,
                turns,
                looks,
                scratch,
            }),
        })
    }

    /// Says what a media file is. Formats that are not on the list, broken heads, and pictures
    /// or playing times over the limits are errors.
    pub async fn probe(&self, file: impl Into<Source>) -> Result<Probe, Error> {
        let turn = self.turn(&self.inner.looks).await?;
        let subject = file.into().open(turn.folder(), SUBJECT).await?;
        self.probe_in(&subject, turn.folder()).await
    }

    /// Checks that a file is what `mime` says and can be played: reads it to its end, which
    /// finds files that were cut short, and decodes its beginning. The playing time in the
    /// answer is measured where the file itself only guesses it.
    pub async fn verify(&self, file: impl Into<Source>, mime: &str) -> Result<Probe, Error> {
        let turn = self.turn(&self.inner.looks).await?;
        let folder = turn.folder();
        let subject = file.into().open(folder, SUBJECT).await?;
        let mut probe = self.probe_in(&subject, folder).await?;
        if !probe.is_a(mime) {
            return Err(Error::NotAsClaimed {
                claimed: mime.to_owned(),
                found: probe.describe(),
            });
        }
        if !probe.container.is_picture() {
            let measured = self.read_through(&subject, folder).await?;
            if probe.container.guesses_duration() || probe.duration_ms == 0 {
                probe.duration_ms = measured;
            }
        }
        self.decode_start(&subject, &probe, folder).await?;
        Ok(probe)
    }

    /// A probe whose playing time is exact, also for files that only guess it.
    pub(crate) async fn measure(&self, file: &Opened, folder: &Path) -> Result<Probe, Error> {
        let mut probe = self.probe_in(file, folder).await?;
        let unknown = probe.duration_ms == 0 && !probe.container.is_picture();
        if unknown || probe.container.guesses_duration() {
            probe.duration_ms = self.read_through(file, folder).await?;
        }
        Ok(probe)
    }

    pub(crate) async fn probe_in(&self, file: &Opened, folder: &Path) -> Result<Probe, Error> {
        let mut arguments: Vec<OsString> = ["-v", "error", "-print_format", "json"]
            .into_iter()
            .chain(["-show_format", "-show_streams"])
            .map(OsString::from)
            .collect();
        arguments.extend(file.guarded());
        let limits = Limits {
            time: LOOK_TIME,
            output_mib: 1,
            ..self.limits()
        };
        let run = Run {
            name: "ffprobe",
            program: self.inner.tools.ffprobe(),
            arguments,
            folder,
            limits,
        };
        let said = run.finish(&mut |_| {}).await;
        file.check()?;
        let said = said.map_err(unplayable)?;
        Probe::from_json(&said.stdout)
    }

    /// Reads all packets without decoding them; answers the playing time in milliseconds.
    async fn read_through(&self, file: &Opened, folder: &Path) -> Result<u64, Error> {
        let mut arguments = file.input(&["-xerror"], self.inner.options.threads);
        let rest = [
            "-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy", "-f", "null", "-",
        ];
        arguments.extend(rest.map(OsString::from));
        let mut progress = Progress::default();
        self.ffmpeg(&[file], arguments, folder, &mut |piece| {
            progress.read(piece, &mut |_| {})
        })
        .await
        .map_err(unplayable)?;
        Ok(progress.time_us.max(0).unsigned_abs() / 1000)
    }

    async fn decode_start(&self, file: &Opened, probe: &Probe, folder: &Path) -> Result<(), Error> {
        let mut arguments = file.input(&[], self.inner.options.threads);
        let rest = [
            "-map", "0:v:0?", "-map", "0:a:0?", "-t", "1", "-f", "null", "-",
        ];
        arguments.extend(rest.map(OsString::from));
        let mut progress = Progress::default();
        let said = self
            .ffmpeg(&[file], arguments, folder, &mut |piece| {
                progress.read(piece, &mut |_| {})
            })
            .await
            .map_err(unplayable)?;
        let seen = probe.video.is_none() || progress.frames > 0;
        let heard = probe.video.is_some() || progress.time_us > 0;
        if seen && heard {
            Ok(())
        } else {
            Err(Error::NotPlayable(format!(
                "nothing could be decoded: {}",
                said.stderr
            )))
        }
    }

    /// Runs ffmpeg under this studio's limits. `read` are the files that it reads.
    pub(crate) async fn ffmpeg(
        &self,
        read: &[&Opened],
        arguments: Vec<OsString>,
        folder: &Path,
        on_stdout: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Said, Error> {
        let common = [
            "-hide_banner",
            "-nostdin",
            "-y",
            "-loglevel",
            "warning",
            "-nostats",
            "-stats_period",
            "0.25",
            "-progress",
            "pipe:1",
        ];
        let arguments = common
            .into_iter()
            .map(OsString::from)
            .chain(arguments)
            .collect();
        let run = Run {
            name: "ffmpeg",
            program: self.inner.tools.ffmpeg(),
            arguments,
            folder,
            limits: self.limits(),
        };
        let said = run.finish(on_stdout).await;
        read.iter().try_for_each(|file| file.check())?;
        said
    }

    /// Waits for a turn to make something.
    pub(crate) async fn turn_to_make(&self) -> Result<Turn, Error> {
        self.turn(&self.inner.turns).await
    }

    async fn turn(&self, turns: &Arc<Semaphore>) -> Result<Turn, Error> {
        let permit = Arc::clone(turns).acquire_owned().await;
        let permit = permit.map_err(std::io::Error::other)?;
        let inner = self.inner.clone();
        let folder = blocking(move || inner.scratch.folder().map(WorkFolder::new)).await?;
        Ok(Turn {
            folder,
            _permit: permit,
        })
    }

    fn limits(&self) -> Limits {
        let options = &self.inner.options;
        Limits {
            time: options.time_limit,
            memory_mib: options.memory_limit_mib,
            output_mib: options.output_limit_mib,
            threads: options.threads,
        }
    }

    pub(crate) fn options(&self) -> &StudioOptions {
        &self.inner.options
    }
}

/// A program that ends with an error while it only looks at a file says that the file is bad.
fn unplayable(error: Error) -> Error {
    match error {
        Error::Failed { detail, .. } => Error::NotPlayable(detail),
        other => other,
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(failure) => Err(std::io::Error::other(failure).into()),
    }
}

/// Reads what `-progress` writes: lines of `key=value`.
#[derive(Default)]
pub(crate) struct Progress {
    line: Vec<u8>,
    pub(crate) time_us: i64,
    pub(crate) frames: u64,
}

impl Progress {
    /// Calls `on_time` with the furthest playing time, in microseconds, as it grows.
    pub(crate) fn read(&mut self, piece: &[u8], on_time: &mut dyn FnMut(i64)) {
        for &byte in piece {
            if byte != b'\n' {
                // Longer lines than this are none of ffmpeg's.
                if self.line.len() < 256 {
                    self.line.push(byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            match std::str::from_utf8(&line)
                .unwrap_or_default()
                .trim()
                .split_once('=')
            {
                Some(("out_time_us", value)) => {
                    let time = value.trim().parse().unwrap_or(0);
                    if time > self.time_us {
                        self.time_us = time;
                        on_time(time);
                    }
                }
                Some(("frame", value)) => self.frames = value.trim().parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

/// The only formats that are written.
pub(crate) fn is_deliverable(probe: &Probe) -> bool {
    probe.container == Container::Mp4 && probe.video.is_some() && probe.duration_ms > 0
}
