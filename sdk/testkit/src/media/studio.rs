//! The folder of finished media and the processes that make them.

use std::{
    collections::HashMap,
    ffi::OsString,
    future::Future,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tokio::{
    process::Command,
    sync::{OnceCell, Semaphore},
};

/// Encoders that run at one time.
const PROCESSES: usize = 2;
/// Longest time that one process may take.
const PROCESS_LIMIT: Duration = Duration::from_secs(180);

/// What `ffprobe` says of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Probe {
    pub(crate) seconds: f64,
    pub(crate) has_audio: bool,
}

pub(crate) struct Studio {
    ffmpeg: PathBuf,
    ffprobe: PathBuf,
    folder: PathBuf,
    /// Removed with the studio.
    _temporary: Option<tempfile::TempDir>,
    processes: Semaphore,
    /// One cell for each file that was asked for, so that two that ask at once share a
    /// single process.
    cells: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
    /// What was found in files, whose names change when their bytes do.
    probes: Mutex<HashMap<PathBuf, Probe>>,
    /// This ffmpeg can speak English.
    pub(super) has_flite: bool,
    /// This ffmpeg can draw text and shapes.
    pub(super) has_ass: bool,
    /// A font is installed that has Chinese characters.
    pub(super) has_wide_font: bool,
}

impl Studio {
    pub(crate) async fn open(ffmpeg: &Path, data_dir: Option<&Path>) -> anyhow::Result<Self> {
        let (folder, temporary) = match data_dir {
            Some(folder) => (folder.join("media"), None),
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("genvid-testkit-")
                    .tempdir()
                    .context("no temporary folder for media")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        tokio::fs::create_dir_all(&folder)
            .await
            .with_context(|| format!("cannot make the media folder {}", folder.display()))?;
        let folder = tokio::fs::canonicalize(&folder).await?;
        let listed = Command::new(ffmpeg)
            .args(["-hide_banner", "-filters"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("{} does not run; is it installed?", ffmpeg.display()))?;
        ensure!(
            listed.status.success(),
            "{} -filters failed: {}",
            ffmpeg.display(),
            String::from_utf8_lossy(&listed.stderr)
        );
        let filters = String::from_utf8_lossy(&listed.stdout);
        let has = |name: &str| {
            filters
                .lines()
                .any(|line| line.split_whitespace().nth(1) == Some(name))
        };
        let ffprobe = match ffmpeg.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.join("ffprobe"),
            _ => PathBuf::from("ffprobe"),
        };
        Ok(Self {
            ffmpeg: ffmpeg.to_owned(),
            ffprobe,
            folder,
            _temporary: temporary,
            processes: Semaphore::new(PROCESSES),
            cells: Mutex::default(),
            probes: Mutex::default(),
            has_flite: has("flite"),
            has_ass: has("ass"),
            has_wide_font: tokio::task::spawn_blocking(wide_font).await?,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of that name, made now if it is not there. `make` gets the path to write,
    /// which is renamed only when it is whole.
    pub(super) async fn made<F, M>(&self, name: &str, make: M) -> anyhow::Result<PathBuf>
    where
        F: Future<Output = anyhow::Result<()>>,
        M: FnOnce(PathBuf) -> F,
    {
        let path = self.folder.join(name);
        let cell = {
            let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
            cells.entry(name.to_owned()).or_default().clone()
        };
        cell.get_or_try_init(|| async {
            if tokio::fs::try_exists(&path).await.unwrap_or(false) {
                return Ok(());
            }
            let part = self
                .folder
                .join(format!("part-{}-{name}", uuid::Uuid::new_v4().simple()));
            let made = make(part.clone()).await;
            if let Err(error) = made {
                let _ = tokio::fs::remove_file(&part).await;
                return Err(error);
            }
            tokio::fs::rename(&part, &path).await?;
            Ok(())
        })
        .await?;
        Ok(path)
    }

    /// Keeps bytes that a caller handed in; the same bytes share one file.
    pub(crate) async fn keep(&self, bytes: &[u8], extension: &str) -> anyhow::Result<PathBuf> {
        let name = format!("in-{}.{extension}", crate::signing::sha256_hex(bytes));
        self.made(&name, |path| async move {
            tokio::fs::write(path, bytes).await?;
            Ok(())
        })
        .await
    }

    /// Runs `ffmpeg` inside the folder, so that filters name files without escaping.
    pub(super) async fn ffmpeg(&self, arguments: Vec<OsString>) -> anyhow::Result<()> {
        let _turn = self.processes.acquire().await?;
        let process = Command::new(&self.ffmpeg)
            .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"])
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PROCESS_LIMIT, process)
            .await
            .context("ffmpeg took too long")??;
        if !output.status.success() {
            bail!("ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Looks into a file of this studio.
    pub(crate) async fn probe(&self, path: &Path) -> anyhow::Result<Probe> {
        let known = {
            let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
            probes.get(path).cloned()
        };
        if let Some(probe) = known {
            return Ok(probe);
        }
        let probe = self.ffprobe(path).await?;
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.insert(path.to_owned(), probe.clone());
        Ok(probe)
    }

    async fn ffprobe(&self, path: &Path) -> anyhow::Result<Probe> {
        #[derive(Deserialize)]
        struct Report {
            #[serde(default)]
            streams: Vec<Stream>,
            format: Option<Format>,
        }
        #[derive(Deserialize)]
        struct Stream {
            codec_type: Option<String>,
        }
        #[derive(Deserialize)]
        struct Format {
            duration: Option<String>,
        }
        let _turn = self.processes.acquire().await?;
        let process = Command::new(&self.ffprobe)
            .args(["-v", "error", "-of", "json", "-show_entries"])
            .arg("stream=codec_type:format=duration")
            .arg(path)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(Duration::from_secs(30), process)
            .await
            .context("ffprobe took too long")??;
        if !output.status.success() {
            bail!("ffprobe: {}", String::from_utf8_lossy(&output.stderr));
        }
        let report: Report = serde_json::from_slice(&output.stdout)?;
        let seconds = report
            .format
            .and_then(|format| format.duration)
            .and_then(|duration| duration.parse().ok())
            .unwrap_or(0.0);
        Ok(Probe {
            seconds,
            has_audio: report
                .streams
                .iter()
                .any(|stream| stream.codec_type.as_deref() == Some("audio")),
        })
    }
}

/// Looks for a font with Chinese characters by the usual names. Without one they would be
/// drawn as empty boxes.
fn wide_font() -> bool {
    const NAMES: [&str; 8] = [
        "cjk",
        "wqy",
        "notosanssc",
        "notoserifsc",
        "arphic",
        "uming",
        "ukai",
        "fallback",
    ];
    let mut folders = vec![
        PathBuf::from("/usr/share/fonts"),
        PathBuf::from("/usr/local/share/fonts"),
    ];
    // Bounded, because somebody's font folder may hold anything.
    let mut left = 5_000;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten().take(left) {
            left = left.saturating_sub(1);
            let name = entry.file_name().to_string_lossy().to_lowercase();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ if NAMES.iter().any(|known| name.contains(known)) => return true,
                _ => {}
            }
        }
    }
    false
}

/// Arguments of a process from mixed pieces.
pub(super) fn arguments<const N: usize>(pieces: [&str; N]) -> Vec<OsString> {
    pieces.into_iter().map(OsString::from).collect()
}
