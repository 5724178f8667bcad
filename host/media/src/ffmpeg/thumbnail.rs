//! A still picture of a film.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::source::Opened;
use super::studio::{Made, Studio};
use super::{Error, Probe, Source, Video};

/// Longest side of a thumbnail in pixels.
const MAX_THUMBNAIL: f64 = 1280.0;
const FILM: &str = "film";
// No ending: ffmpeg would read a name ending in .jpg as a pattern for a row of pictures.
const RESULT: &str = "result";

/// A still picture of a film.
#[derive(Debug)]
pub struct Thumbnail {
    /// The picture: JPEG.
    pub picture: Made,
    /// What it is.
    pub probe: Probe,
}

impl Studio {
    /// Makes a JPEG of at most 1280 pixels on a side. Without `at` it looks at two pictures
    /// each second, passes over those that are nearly black, and takes the most typical of
    /// the next ten seconds; of a film that is black throughout it takes the first. A time
    /// after the end means the last second.
    pub async fn thumbnail(
        &self,
        film: impl Into<Source>,
        at: Option<Duration>,
    ) -> Result<Thumbnail, Error> {
        let turn = self.turn_to_make().await?;
        let folder = turn.folder();
        let film = film.into().open(folder, FILM).await?;
        let probe = self.probe_in(&film, folder).await?;
        let video = probe
            .video
            .as_ref()
            .ok_or_else(|| Error::Unsuitable("the film has no pictures".to_owned()))?;
        let size = size(video);
        let choose = format!(
            "fps=2,{size},blackframe=amount=0:threshold=32,\
             metadata=mode=select:key=lavfi.blackframe.pblack:value=95:function=less,\
             thumbnail=n=20"
        );
        let result = folder.join(RESULT);
        let made = match at {
            Some(at) => {
                let last = Duration::from_millis(probe.duration_ms.saturating_sub(1000));
                let seek = format!("{:.3}", at.min(last).as_secs_f64());
                self.take(&film, &["-ss", &seek], &size, folder).await?;
                is_there(&result).await?
            }
            None => {
                self.take(&film, &[], &choose, folder).await?;
                is_there(&result).await?
            }
        };
        if !made {
            self.take(&film, &[], &size, folder).await?;
            if !is_there(&result).await? {
                return Err(Error::NotPlayable("no picture could be decoded".to_owned()));
            }
        }
        let probe = self.probe_in(&Opened::Local(RESULT), folder).await?;
        drop(film);
        Ok(Thumbnail {
            picture: turn.made(RESULT),
            probe,
        })
    }

    async fn take(
        &self,
        film: &Opened,
        seek: &[&str],
        filters: &str,
        folder: &Path,
    ) -> Result<(), Error> {
        let mut arguments = film.input(seek, self.options().threads);
        let rest = [
            "-map",
            "0:v:0",
            "-vf",
            filters,
            "-frames:v",
            "1",
            "-c:v",
            "mjpeg",
            "-q:v",
            "3",
            "-pix_fmt",
            "yuvj420p",
            "-map_metadata",
            "-1",
            "-f",
            "image2",
            "-update",
            "1",
            RESULT,
        ];
        arguments.extend(rest.map(OsString::from));
        self.ffmpeg(&[film], arguments, folder, &mut |_| {}).await?;
        Ok(())
    }
}

/// Scales to what is seen, never larger.
fn size(video: &Video) -> String {
    let (width, height) = (f64::from(video.width), f64::from(video.height));
    let scale = (MAX_THUMBNAIL / width.max(height)).min(1.0);
    let side = |length: f64| (length * scale).round().max(1.0) as u32;
    format!("scale={}:{},setsar=1", side(width), side(height))
}

async fn is_there(file: &Path) -> Result<bool, Error> {
    match tokio::fs::metadata(file).await {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}
