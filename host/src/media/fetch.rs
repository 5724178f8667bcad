//! From where a provider left its result to this host's store, and the check that it is
//! what it claims to be.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures::StreamExt;
use genvid_media::{
    BlobStore, Key,
    ffmpeg::{Probe, Source, Studio},
};
use genvid_runtime::{FetchError, Plugin};

use super::JobAssets;
use crate::{
    ids::{JobId, MediaId},
    jobs::{model::StoredFile, store::asset_key},
};

/// A result could not be brought home.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The link is dead: a fresh one may work.
    #[error("the link to the result does not work any more (status {0})")]
    Gone(u16),
    /// The vendor's media host did not deliver, or may not be asked.
    #[error("the result cannot be fetched: {0}")]
    Fetch(String),
    /// It arrived, but is not what it claims to be.
    #[error("the result is not usable: {0}")]
    Unusable(String),
    /// This host's store or tools failed.
    #[error("the result cannot be kept: {0}")]
    Host(String),
}

/// A file in the store.
pub struct Fetched {
    /// Its row to be.
    pub file: StoredFile,
    /// What it is.
    pub probe: Probe,
}

impl From<genvid_media::ffmpeg::Error> for StoreError {
    fn from(error: genvid_media::ffmpeg::Error) -> Self {
        if error.is_final() {
            Self::Unusable(error.to_string())
        } else {
            Self::Host(error.to_string())
        }
    }
}

impl From<genvid_media::blob::Error> for StoreError {
    fn from(error: genvid_media::blob::Error) -> Self {
        Self::Host(error.to_string())
    }
}

/// Streams a vendor's result into the store, with constant memory.
///
/// # Errors
/// `Gone` for a dead link; the others say whose fault it is.
pub async fn keep_url(
    plugin: &Plugin,
    blobs: &Arc<dyn BlobStore>,
    job: JobId,
    url: &str,
    mime: &str,
    max_bytes: u64,
) -> Result<StoredFile, StoreError> {
    let mut fetched = plugin
        .fetch_media(url, max_bytes)
        .await
        .map_err(|error| match error {
            FetchError::Status(status @ (401 | 403 | 404 | 410)) => StoreError::Gone(status),
            other => StoreError::Fetch(other.to_string()),
        })?;
    let key = new_key(job)?;
    let mut writer = blobs.create(&key, mime).await?;
    while let Some(chunk) = fetched.body.next().await {
        let chunk = chunk.map_err(|error| StoreError::Fetch(error.to_string()))?;
        writer
            .write(chunk)
            .await
            .map_err(|error| StoreError::Host(error.to_string()))?;
    }
    let stored = writer.finish().await?;
    Ok(file(stored))
}

/// Keeps text as a file.
///
/// # Errors
/// When the store fails.
pub async fn keep_text(
    blobs: &Arc<dyn BlobStore>,
    job: JobId,
    text: String,
    mime: &str,
) -> Result<StoredFile, StoreError> {
    let key = new_key(job)?;
    let mut writer = blobs.create(&key, mime).await?;
    writer
        .write(Bytes::from(text))
        .await
        .map_err(|error| StoreError::Host(error.to_string()))?;
    Ok(file(writer.finish().await?))
}

/// Keeps a finished file of this host's own making.
///
/// # Errors
/// When the store or the disk fails.
pub async fn keep_file(
    blobs: &Arc<dyn BlobStore>,
    job: JobId,
    path: &Path,
    mime: &str,
    probe: &Probe,
) -> Result<StoredFile, StoreError> {
    let host = |error: std::io::Error| StoreError::Host(error.to_string());
    let key = new_key(job)?;
    let mut writer = blobs.create(&key, mime).await?;
    let reader = tokio::fs::File::open(path).await.map_err(host)?;
    let mut chunks = tokio_util::io::ReaderStream::with_capacity(reader, 256 * 1_024);
    while let Some(chunk) = chunks.next().await {
        writer.write(chunk.map_err(host)?).await.map_err(host)?;
    }
    Ok(described(file(writer.finish().await?), probe))
}

/// A copy of a stored file among the files of another job. `None` when it is not there any
/// more.
///
/// # Errors
/// `Host` when the store fails, `Unusable` when what is there is not what was stored.
pub async fn copy(
    blobs: &Arc<dyn BlobStore>,
    job: JobId,
    original: &StoredFile,
) -> Result<Option<StoredFile>, StoreError> {
    let Some(mut blob) = blobs.open(&key_of(original)?, None).await? else {
        return Ok(None);
    };
    let host = |error: std::io::Error| StoreError::Host(error.to_string());
    let mut writer = blobs.create(&new_key(job)?, &original.mime).await?;
    while let Some(chunk) = blob.body.next().await {
        writer.write(chunk.map_err(host)?).await.map_err(host)?;
    }
    let copied = file(writer.finish().await?);
    if copied.sha256 != original.sha256 || copied.size != original.size {
        return Err(StoreError::Unusable("the file has changed".to_owned()));
    }
    Ok(Some(StoredFile {
        duration_ms: original.duration_ms,
        width: original.width,
        height: original.height,
        ..copied
    }))
}

/// A stored file, for the studio to read.
///
/// # Errors
/// `Host` when its key is none.
pub fn source(blobs: &Arc<dyn BlobStore>, file: &StoredFile) -> Result<Source, StoreError> {
    Ok(Source::Stored(Arc::clone(blobs), key_of(file)?))
}

/// The text of a stored file of at most `most` bytes.
///
/// # Errors
/// `Unusable` when it is longer, not there or not UTF-8.
pub async fn stored_text(
    blobs: &Arc<dyn BlobStore>,
    file: &StoredFile,
    most: u64,
) -> Result<String, StoreError> {
    let gone = || StoreError::Unusable("the text is not there any more".to_owned());
    let mut blob = blobs.open(&key_of(file)?, None).await?.ok_or_else(gone)?;
    if blob.size > most {
        let why = format!("a text of {} bytes, at most {most} are read", blob.size);
        return Err(StoreError::Unusable(why));
    }
    let mut text = Vec::new();
    while let Some(chunk) = blob.body.next().await {
        let chunk = chunk.map_err(|error| StoreError::Host(error.to_string()))?;
        text.extend_from_slice(&chunk);
    }
    String::from_utf8(text).map_err(|error| StoreError::Unusable(error.to_string()))
}

/// Checks that a stored film, sound or picture is what its media type says and can be
/// played, and notes its measures.
///
/// # Errors
/// `Unusable` when it is not.
pub async fn probe_kind(
    studio: &Studio,
    blobs: &Arc<dyn BlobStore>,
    stored: StoredFile,
) -> Result<Fetched, StoreError> {
    let film = source(blobs, &stored)?;
    let probe = studio.verify(film, &stored.mime).await?;
    let file = described(stored, &probe);
    Ok(Fetched { file, probe })
}

/// What the store knows of an asset that a plugin saved. Part of a larger answer is saved
/// before anybody knows what it is; it is kept again under the type that the plugin tells. The
/// first copy stays: until the step is written down it is the only way back after a crash.
///
/// # Errors
/// `Unusable` when there is no such asset.
pub async fn saved_asset(
    blobs: &Arc<dyn BlobStore>,
    assets: &JobAssets,
    job: JobId,
    name: &str,
    mime: &str,
) -> Result<StoredFile, StoreError> {
    let unknown = || StoreError::Unusable(format!("the plugin names an unknown asset {name:?}"));
    let key = assets.key(name).ok_or_else(unknown)?;
    let mut blob = blobs.open(&key, None).await?.ok_or_else(unknown)?;
    if blob.mime == mime
        && let Some(sha256) = blob.sha256
    {
        let stored = genvid_media::Stored {
            key,
            size: blob.size,
            sha256,
            mime: blob.mime,
        };
        return Ok(file(stored));
    }
    let mut writer = blobs.create(&new_key(job)?, mime).await?;
    while let Some(chunk) = blob.body.next().await {
        let host = |error: std::io::Error| StoreError::Host(error.to_string());
        writer.write(chunk.map_err(host)?).await.map_err(host)?;
    }
    Ok(file(writer.finish().await?))
}

fn key_of(file: &StoredFile) -> Result<Key, StoreError> {
    Key::parse(&file.key).map_err(|error| StoreError::Host(error.to_string()))
}

fn new_key(job: JobId) -> Result<Key, StoreError> {
    Key::parse(&asset_key(job, &JobAssets::name()))
        .map_err(|error| StoreError::Host(error.to_string()))
}

fn file(stored: genvid_media::Stored) -> StoredFile {
    StoredFile {
        id: MediaId::generate(),
        key: stored.key.as_str().to_owned(),
        mime: stored.mime,
        size: stored.size,
        sha256: stored.sha256,
        duration_ms: None,
        width: None,
        height: None,
    }
}

fn described(file: StoredFile, probe: &Probe) -> StoredFile {
    StoredFile {
        duration_ms: (probe.duration_ms > 0).then_some(probe.duration_ms),
        width: probe.video.as_ref().map(|video| video.width),
        height: probe.video.as_ref().map(|video| video.height),
        ..file
    }
}
