//! Bytes that the host holds for one job; they never enter a plugin's memory.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// The assets of one job. A name that belongs elsewhere does not resolve.
#[async_trait]
pub trait AssetStore: Send + Sync {
    /// Begins a new asset of the media type `mime`.
    async fn create(&self, mime: &str) -> io::Result<Box<dyn AssetWriter>>;

    /// Opens the asset `name`, or nothing when this job has none of that name.
    async fn open(&self, name: &str) -> io::Result<Option<Asset>>;
}

/// Takes the bytes of a new asset. Dropped without [`AssetWriter::finish`], it discards them.
#[async_trait]
pub trait AssetWriter: Send {
    /// Appends a chunk.
    async fn write(&mut self, chunk: Bytes) -> io::Result<()>;

    /// Keeps what was written and answers with the asset's name.
    async fn finish(self: Box<Self>) -> io::Result<String>;
}

/// An asset that was opened for reading.
pub struct Asset {
    /// Length in bytes; the body yields exactly so many.
    pub size: u64,
    /// Media type, for example `image/png`.
    pub mime: String,
    /// The bytes.
    pub body: BoxStream<'static, io::Result<Bytes>>,
}

impl std::fmt::Debug for Asset {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Asset")
            .field("size", &self.size)
            .field("mime", &self.mime)
            .finish_non_exhaustive()
    }
}

/// A store for calls that have no job: it holds nothing and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAssets;

#[async_trait]
impl AssetStore for NoAssets {
    async fn create(&self, _mime: &str) -> io::Result<Box<dyn AssetWriter>> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this call keeps no assets",
        ))
    }

    async fn open(&self, _name: &str) -> io::Result<Option<Asset>> {
        Ok(None)
    }
}
