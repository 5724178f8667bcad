//! A job's assets: bytes that plugins name but never hold. A name resolves within its own
//! job only, because the job is part of the key.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use genvid_media::{BlobStore, BlobWriter, Key};
use genvid_runtime::{Asset, AssetStore, AssetWriter};
use uuid::Uuid;

use crate::{
    ids::{JobId, UploadId},
    jobs::store::asset_key,
    uploads::picture_key,
};

/// The assets of one job.
pub struct JobAssets {
    blobs: Arc<dyn BlobStore>,
    job: JobId,
    /// Pictures of its owner's that the job was given.
    uploads: Vec<UploadId>,
}

impl JobAssets {
    /// Of this job.
    #[must_use]
    pub fn new(blobs: Arc<dyn BlobStore>, job: JobId) -> Self {
        Self {
            blobs,
            job,
            uploads: Vec::new(),
        }
    }

    /// With the uploaded pictures that the job was given: they can be read, under their ids.
    #[must_use]
    pub fn with_uploads(mut self, uploads: Vec<UploadId>) -> Self {
        self.uploads = uploads;
        self
    }

    /// The key of an asset, if the name is one that this host gave.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<Key> {
        let rest = name.strip_prefix("asset_")?;
        let ours = rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit());
        ours.then(|| Key::parse(&asset_key(self.job, name)).ok())
            .flatten()
    }

    /// The key of an uploaded picture, if the job was given it.
    fn upload_key(&self, name: &str) -> Option<Key> {
        let upload = name.parse().ok()?;
        self.uploads
            .contains(&upload)
            .then(|| Key::parse(&picture_key(upload)).ok())
            .flatten()
    }

    /// A new name.
    #[must_use]
    pub fn name() -> String {
        format!("asset_{}", Uuid::now_v7().simple())
    }
}

#[async_trait]
impl AssetStore for JobAssets {
    async fn create(&self, mime: &str) -> io::Result<Box<dyn AssetWriter>> {
        let name = Self::name();
        let key = self
            .key(&name)
            .ok_or_else(|| io::Error::other("a new name is not a key"))?;
        let writer = self
            .blobs
            .create(&key, mime)
            .await
            .map_err(io::Error::other)?;
        Ok(Box::new(Writer { name, writer }))
    }

    async fn open(&self, name: &str) -> io::Result<Option<Asset>> {
        let Some(key) = self.key(name).or_else(|| self.upload_key(name)) else {
            return Ok(None);
        };
        let blob = self
            .blobs
            .open(&key, None)
            .await
            .map_err(io::Error::other)?;
        Ok(blob.map(|blob| Asset {
            size: blob.size,
            mime: blob.mime,
            body: blob.body,
        }))
    }
}

struct Writer {
    name: String,
    writer: Box<dyn BlobWriter>,
}

#[async_trait]
impl AssetWriter for Writer {
    async fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.writer.write(chunk).await
    }

    async fn finish(self: Box<Self>) -> io::Result<String> {
        self.writer.finish().await.map_err(io::Error::other)?;
        Ok(self.name)
    }
}
