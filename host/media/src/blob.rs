//! The port to blob storage.
//!
//! One contract for every adapter; `tests/contract/mod.rs` holds the suite that an adapter
//! must pass.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::key::Key;

/// Longest media type that is kept, in bytes.
pub const MAX_MIME: usize = 255;

/// Why storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key is taken. What is stored under it was not touched.
    #[error("{0} exists already")]
    AlreadyExists(Key),
    /// The asked range begins after the end of the blob.
    #[error("the range lies outside of the {size} bytes")]
    RangeNotSatisfiable {
        /// Size of the whole blob in bytes.
        size: u64,
    },
    /// The bytes are over the store's limit.
    #[error("larger than the limit of {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The media type has no `type/subtype` form or is longer than 255 bytes.
    #[error("{0:?} is not a media type")]
    InvalidMime(String),
    /// What is stored is not what was written.
    #[error("{key} is damaged: {detail}")]
    Damaged {
        /// The key that was asked for.
        key: Key,
        /// For operators.
        detail: String,
    },
    /// The disk or the network failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Which bytes of a blob are wanted: one range of RFC 9110, section 14.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first position to the last one, both included; to the end without a last one.
    From(u64, Option<u64>),
    /// The last so many bytes.
    Last(u64),
}

/// A range that lies inside a blob: `start <= end < size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Position of the first byte.
    pub start: u64,
    /// Position of the last byte, included.
    pub end: u64,
}

impl Span {
    /// How many bytes, at least 1.
    pub fn bytes(self) -> u64 {
        self.end - self.start + 1
    }
}

impl ByteRange {
    /// Reads the value of a `Range` header. `None` means: answer with the whole blob, as RFC
    /// 9110, section 14.2, lets a server do with a unit, a form or a list of ranges that it
    /// does not serve.
    pub fn from_header(value: &str) -> Option<Self> {
        let (unit, spec) = value.trim().split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = spec.trim().split_once('-')?;
        let number = |text: &str| -> Option<u64> {
            text.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| text.parse().ok())
                .flatten()
        };
        match (first.trim(), last.trim()) {
            ("", last) => number(last).map(Self::Last),
            (first, "") => number(first).map(|first| Self::From(first, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// Where the range lies in a blob of `size` bytes.
    pub fn resolve(self, size: u64) -> Result<Span, Error> {
        let outside = Error::RangeNotSatisfiable { size };
        match self {
            Self::From(start, _) if start >= size => Err(outside),
            Self::From(start, Some(end)) if end < start => Err(outside),
            Self::From(start, end) => {
                let last = size - 1;
                Ok(Span {
                    start,
                    end: end.map_or(last, |end| end.min(last)),
                })
            }
            Self::Last(0) => Err(outside),
            Self::Last(_) if size == 0 => Err(outside),
            Self::Last(count) => Ok(Span {
                start: size.saturating_sub(count),
                end: size - 1,
            }),
        }
    }
}

/// What is known of a blob without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// In bytes.
    pub size: u64,
    /// Media type, as given to [`BlobStore::create`].
    pub mime: String,
    /// When it was stored.
    pub modified: SystemTime,
    /// SHA-256 of the whole content, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
}

/// A blob that is being read.
pub struct Blob {
    /// Size of the whole blob in bytes, whatever the range.
    pub size: u64,
    /// The part that `body` holds, if a part was asked for.
    pub span: Option<Span>,
    /// Media type, as given to [`BlobStore::create`].
    pub mime: String,
    /// When it was stored.
    pub modified: SystemTime,
    /// SHA-256 of the whole content, 64 lower-case hexadecimal digits.
    pub sha256: Option<String>,
    /// The bytes, read as they are asked for. Ends with an error, never early, when the
    /// storage has fewer bytes than it said.
    pub body: BoxStream<'static, io::Result<Bytes>>,
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Blob")
            .field("size", &self.size)
            .field("span", &self.span)
            .field("mime", &self.mime)
            .finish_non_exhaustive()
    }
}

/// The receipt of a finished write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The key that was written.
    pub key: Key,
    /// In bytes.
    pub size: u64,
    /// SHA-256 of the content, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Media type, as given to [`BlobStore::create`].
    pub mime: String,
}

/// A blob in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub key: Key,
    /// In bytes.
    pub size: u64,
    /// When it was stored.
    pub modified: SystemTime,
}

/// A place that keeps blobs. Blobs never change: they are created once, read and deleted.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Begins to write. Nothing is visible under the key until [`BlobWriter::finish`] answers
    /// well; a writer that is dropped leaves nothing. Memory use does not grow with the size.
    ///
    /// Fails with [`Error::AlreadyExists`] when the key is taken, here or at the end: of two
    /// writers of one key exactly one finishes. Whoever repeats a write after a crash learns
    /// from [`BlobStore::stat`] whether the first one was complete: what is there always is.
    async fn create(&self, key: &Key, mime: &str) -> Result<Box<dyn BlobWriter>, Error>;

    /// Reads a blob or one range of it. `None` when there is no such blob.
    async fn open(&self, key: &Key, range: Option<ByteRange>) -> Result<Option<Blob>, Error>;

    /// What is known of a blob. `None` when there is no such blob.
    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error>;

    /// Removes a blob. No error when there is none.
    async fn delete(&self, key: &Key) -> Result<(), Error>;

    /// One page of the blobs whose keys begin with `prefix`, in the order of their keys' bytes,
    /// behind `after`: at most `most` of them. Fewer, or none, means that there are no more.
    /// What is stored or deleted meanwhile may be listed or not.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Listed>, Error>;

    /// The local file that holds the blob's content, in a store that has one: tools such as
    /// ffmpeg read it there. It must not be changed. `None` in a store without local files;
    /// an [`io::ErrorKind::NotFound`] when there is no such blob in one that has them.
    async fn local(&self, _key: &Key) -> Result<Option<PathBuf>, Error> {
        Ok(None)
    }
}

/// One blob that is being written.
#[async_trait]
pub trait BlobWriter: Send {
    /// Adds bytes. [`io::ErrorKind::FileTooLarge`] once they are over the store's limit.
    /// After an error every further call fails. Not cancel-safe: a write that is dropped
    /// half-way spoils the writer.
    async fn write(&mut self, chunk: Bytes) -> io::Result<()>;

    /// Makes the blob durable, then visible.
    async fn finish(self: Box<Self>) -> Result<Stored, Error>;
}

/// The error for a key that was expected to be there.
pub(crate) fn not_found(key: &Key) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no blob {key}"))
}

/// Checks the form `type/subtype` with optional parameters (RFC 9110, section 8.3.1).
pub fn check_mime(mime: &str) -> Result<(), Error> {
    let token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let essence = mime.split(';').next().unwrap_or_default().trim_end();
    let good = mime.len() <= MAX_MIME
        && mime.bytes().all(|b| (b' '..=b'~').contains(&b))
        && essence
            .split_once('/')
            .is_some_and(|(kind, sub)| token(kind) && token(sub));
    if good {
        Ok(())
    } else {
        Err(Error::InvalidMime(mime.chars().take(MAX_MIME).collect()))
    }
}
