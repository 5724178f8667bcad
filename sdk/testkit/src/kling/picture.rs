//! Files that callers name by URL or hand in as base64.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::TryStreamExt;

use super::{Kling, invalid};
use crate::{media::inspect, refusal::Refusal};

/// Largest picture: 50 MB.
const PICTURE_LIMIT: usize = 50 * 1024 * 1024;

/// Fetches or decodes a picture and checks its kind, size and proportions.
pub(super) async fn picture(kling: &Kling, source: &str) -> Result<(PathBuf, (u32, u32)), Refusal> {
    if source.starts_with("data:") {
        return Err(invalid("image base64 must not have a data: prefix"));
    }
    let bytes = if source.starts_with("http://") || source.starts_with("https://") {
        download(kling, source).await?
    } else {
        STANDARD
            .decode(source)
            .map_err(|_| invalid("image is neither a URL nor base64"))?
    };
    if bytes.len() > PICTURE_LIMIT {
        return Err(invalid("image is larger than 50MB"));
    }
    let picture = inspect(&bytes).ok_or_else(|| invalid("image must be jpg, jpeg or png"))?;
    let (width, height) = (picture.width, picture.height);
    if width < 300 || height < 300 {
        return Err(invalid("image sides must be at least 300px"));
    }
    if width * 2 > height * 5 || height * 2 > width * 5 {
        return Err(invalid("image ratio must be between 1:2.5 and 2.5:1"));
    }
    let kept = kling.desk.studio.keep(&bytes, picture.extension).await;
    let path = kept.map_err(|error| {
        kling.desk.trouble("a picture was not kept", &error);
        Refusal::new(500, "5000", "server internal error")
    })?;
    Ok((path, (width, height)))
}

pub(super) async fn download(kling: &Kling, url: &str) -> Result<Vec<u8>, Refusal> {
    let failed = || invalid("the file cannot be downloaded");
    let request = kling.desk.web.get(url).timeout(Duration::from_secs(30));
    let response = request.send().await.map_err(|_| failed())?;
    let response = response.error_for_status().map_err(|_| failed())?;
    let mut stream = response.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.try_next().await.map_err(|_| failed())? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > PICTURE_LIMIT {
            return Err(invalid("the file is too large"));
        }
    }
    Ok(bytes)
}
