//! Sounds and pictures that callers hand in.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::TryStreamExt;
use serde_json::Value;

use super::{HeyGen, invalid};
use crate::{
    call::text,
    gate::Face,
    media::inspect,
    refusal::{Class, Refusal},
};

/// Longest sound, in seconds.
const SOUND_LIMIT: f64 = 600.0;
/// Largest sound file or picture.
const FILE_LIMIT: usize = 50 * 1024 * 1024;

/// The sound that the caller handed in, and its length.
pub(super) async fn sound(heygen: &HeyGen, body: &Value) -> Result<(PathBuf, f64), Refusal> {
    let (param, path) = if let Some(id) = text(body, "audio_asset_id") {
        let store = heygen.store();
        let asset = store.assets.get(id).ok_or_else(|| {
            Refusal::new(404, "asset_not_found", "Asset not found").param("audio_asset_id")
        })?;
        if !asset.mime.starts_with("audio/") && !asset.mime.starts_with("video/") {
            return Err(invalid("audio_asset_id", "The asset is not audio"));
        }
        ("audio_asset_id", asset.path.clone())
    } else {
        let url = text(body, "audio_url")
            .ok_or_else(|| invalid("audio_url", "audio_url must be a URL"))?;
        let bytes = download(heygen, url).await?;
        let kept = heygen.desk.studio.keep(&bytes, "sound").await;
        ("audio_url", kept.map_err(|error| broken(heygen, &error))?)
    };
    match heygen.desk.studio.probe(&path).await {
        Ok(probe) if !probe.has_audio => {
            Err(Refusal::new(400, "no_audio_track", "There is no audio track").param(param))
        }
        Ok(probe) if probe.seconds > SOUND_LIMIT => {
            Err(invalid(param, "The audio is longer than 10 minutes"))
        }
        Ok(probe) => Ok((path, probe.seconds.max(0.1))),
        Err(_) => Err(invalid(param, "The audio cannot be read")),
    }
}

fn broken(heygen: &HeyGen, error: &anyhow::Error) -> Refusal {
    tracing::warn!(%error, "the simulator cannot keep a file");
    heygen.refusal(Class::InternalError)
}

async fn download(heygen: &HeyGen, url: &str) -> Result<Vec<u8>, Refusal> {
    let failed = || Refusal::new(400, "download_failed", "The file could not be downloaded");
    let request = heygen.desk.web.get(url).timeout(Duration::from_secs(30));
    let response = request.send().await.map_err(|_| failed())?;
    let response = response.error_for_status().map_err(|_| failed())?;
    let mut stream = response.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.try_next().await.map_err(|_| failed())? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > FILE_LIMIT {
            return Err(Refusal::new(
                400,
                "payload_too_large",
                "The file is too large",
            ));
        }
    }
    Ok(bytes)
}

/// An `AssetInput` that must be a picture: its file and its size.
pub(super) async fn image(
    heygen: &HeyGen,
    input: Option<&Value>,
) -> Result<(PathBuf, (u32, u32)), Refusal> {
    let input = input.ok_or_else(|| invalid("image", "image is required"))?;
    let bytes = match text(input, "type") {
        Some("url") => {
            let url = text(input, "url").ok_or_else(|| invalid("image.url", "url is required"))?;
            download(heygen, url).await?
        }
        Some("base64") => text(input, "data")
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .ok_or_else(|| invalid("image.data", "data is not base64"))?,
        Some("asset_id") => {
            let id = text(input, "asset_id").unwrap_or_default();
            let path = heygen
                .store()
                .assets
                .get(id)
                .map(|asset| asset.path.clone());
            let path = path.ok_or_else(|| {
                Refusal::new(404, "asset_not_found", "Asset not found").param("image.asset_id")
            })?;
            tokio::fs::read(path)
                .await
                .map_err(|error| broken(heygen, &error.into()))?
        }
        _ => {
            return Err(invalid(
                "image.type",
                "type must be url, asset_id or base64",
            ));
        }
    };
    let picture =
        inspect(&bytes).ok_or_else(|| invalid("image", "The image must be JPEG or PNG"))?;
    let kept = heygen.desk.studio.keep(&bytes, picture.extension).await;
    let path = kept.map_err(|error| broken(heygen, &error))?;
    Ok((path, (picture.width, picture.height)))
}
