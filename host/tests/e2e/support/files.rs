//! Looking into films and sounds with FFmpeg's own tools.

use std::{io::Write, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

use super::{list, text};

/// What `ffprobe` and `ffmpeg` say of a file.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Picture size; nothing for sound alone.
    pub(crate) size: Option<(u64, u64)>,
    /// Playing time in seconds.
    pub(crate) seconds: f64,
    /// Mean loudness in decibels below full scale; nothing without a sound track.
    pub(crate) loudness: Option<f64>,
    /// How many subtitle tracks it has.
    pub(crate) subtitle_tracks: usize,
}

impl Seen {
    /// Whether somebody can be heard: digital silence measures below -90 dB.
    pub(crate) fn is_heard(&self) -> bool {
        self.loudness.is_some_and(|decibels| decibels > -60.0)
    }

    /// Width over height.
    pub(crate) fn ratio(&self) -> f64 {
        let (width, height) = self.size.expect("a picture");
        #[expect(clippy::cast_precision_loss, reason = "sizes of pictures are small")]
        let ratio = width as f64 / height as f64;
        ratio
    }
}

/// Looks into a file; panics when it does not play from beginning to end.
pub(crate) async fn inspect(bytes: &[u8]) -> Seen {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for the file");
    let path = file.path();
    let probe = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-of",
            "json",
            "-show_streams",
            "-show_format",
        ])
        .arg(path)
        .output()
        .await
        .expect("ffprobe runs");
    assert!(
        probe.status.success(),
        "ffprobe: {}",
        String::from_utf8_lossy(&probe.stderr)
    );
    let probe: Value = serde_json::from_slice(&probe.stdout).expect("JSON");
    let of_kind = |kind: &'static str| {
        let streams = list(&probe, "/streams").iter();
        streams.filter(move |stream| stream["codec_type"] == kind)
    };
    // Cover pictures of sound files are no films.
    let picture = of_kind("video").find(|stream| stream["disposition"]["attached_pic"] != 1);
    let size = picture.map(|stream| {
        let side = |name: &str| stream[name].as_u64().expect("a size");
        (side("width"), side("height"))
    });
    // Decoding everything shows what a probe of the head does not: broken frames.
    let decoded = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-xerror", "-i"])
        .arg(path)
        .args(["-af", "volumedetect", "-f", "null", "-"])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("ffmpeg runs");
    let said = String::from_utf8_lossy(&decoded.stderr);
    assert!(decoded.status.success(), "the file does not play: {said}");
    let loudness = said.lines().find_map(|line| {
        let (_, rest) = line.split_once("mean_volume:")?;
        rest.trim().trim_end_matches(" dB").parse().ok()
    });
    Seen {
        size,
        seconds: text(&probe, "/format/duration")
            .parse()
            .expect("a duration"),
        loudness,
        subtitle_tracks: of_kind("subtitle").count(),
    }
}
