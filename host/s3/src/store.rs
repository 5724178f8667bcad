//! The store.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use futures::StreamExt as _;
use genvid_media::blob::{Error, check_mime};
use genvid_media::{Blob, BlobStore, BlobWriter, ByteRange, Key, Listed, Stat};
use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;

use crate::client::{Failure, client, presigner};
use crate::list::list;
use crate::options::{OptionsError, S3Options};
use crate::probe::{Features, probe};
use crate::read::{Reading, begins_at, get};
use crate::sweep::{STALE, sweep};
use crate::upload::{SHA256, Target, WRITE};
use crate::writer::S3Writer;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings are not good.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The proxy's address is not good.
    #[error("the proxy cannot be used: {0}")]
    Proxy(String),
    /// The store refuses what this host needs, or cannot be reached: wrong keys, no such
    /// bucket, a permission that is missing.
    #[error("bucket {bucket:?} cannot be used: {error}")]
    Refused {
        /// Its name.
        bucket: String,
        /// What the store said.
        error: io::Error,
    },
}

/// Blobs in a bucket. Cheap to clone.
#[derive(Clone)]
pub struct S3Store {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for S3Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("S3Store")
            .field("bucket", &self.inner.options.bucket)
            .field("prefix", &self.inner.options.prefix)
            .field("features", &self.inner.features)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) presigner: Client,
    pub(crate) options: S3Options,
    pub(crate) features: Features,
    /// For the clean-up after writers that are dropped, wherever that happens.
    pub(crate) runtime: Handle,
    finishing: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// What a HEAD or a GET tells of an object.
pub(crate) struct About {
    size: Option<u64>,
    mime: String,
    modified: SystemTime,
    /// In its own metadata; an object that was sent in parts has none.
    sha256: Option<String>,
    pub(crate) write: Option<String>,
    etag: Option<String>,
}

impl S3Store {
    /// Opens a bucket: checks the settings, finds out what the store can do (and with that
    /// whether the keys are good), and begins to remove uploads older than a day that nobody
    /// will finish. Needs a Tokio runtime, now and while the store is used.
    ///
    /// # Errors
    /// When the settings are not good, or the store refuses them or does not answer.
    pub async fn open(options: S3Options) -> Result<Self, OpenError> {
        let options = options.checked()?;
        let client = client(&options)?;
        let features = probe(&client, &options)
            .await
            .map_err(|failure| OpenError::Refused {
                bucket: options.bucket.clone(),
                error: failure.error,
            })?;
        tracing::info!(bucket = options.bucket, ?features, "media goes to S3");
        if !features.conditional {
            tracing::warn!(
                "this store ignores If-None-Match: two hosts that write one key at the same \
                 moment would both succeed"
            );
        }
        let presigner = presigner(&options);
        let inner = Arc::new(Inner {
            client,
            presigner,
            options,
            features,
            runtime: Handle::current(),
            finishing: Mutex::default(),
        });
        let swept = Arc::clone(&inner);
        tokio::spawn(async move {
            match sweep(&swept, STALE).await {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "unfinished uploads were removed"),
                Err(failure) => {
                    tracing::warn!(error = %failure.error, "unfinished uploads stay in the store");
                }
            }
        });
        Ok(Self { inner })
    }

    /// Removes uploads that began longer ago than `age` and were never finished, whoever made
    /// them. Tells how many.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn remove_unfinished(&self, age: Duration) -> io::Result<usize> {
        Ok(sweep(&self.inner, age).await?)
    }

    /// Does the store itself keep two hosts from writing one key? Where it does not, only
    /// writers of this process are told apart: the last of two hosts wins.
    pub fn refuses_overwriting(&self) -> bool {
        self.inner.features.conditional
    }

    /// Does the store check and keep SHA-256 checksums?
    pub fn keeps_checksums(&self) -> bool {
        self.inner.features.checksums
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

impl Inner {
    /// Name of the object that holds a blob.
    pub(crate) fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.options.prefix)
    }

    /// Name of the object that holds the checksum of a blob that was sent in parts. `+` is in
    /// no key.
    pub(crate) fn sum_name(&self, key: &Key) -> String {
        format!("{}{key}+sha256", self.options.prefix)
    }

    /// Lets one writer of a key at a time finish, of those in this process.
    pub(crate) async fn alone(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut finishing = self
                .finishing
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            finishing.retain(|_, turn| turn.strong_count() > 0);
            match finishing.get(name).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(tokio::sync::Mutex::new(()));
                    finishing.insert(name.to_owned(), Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }

    /// What is under a name. `None` when there is no such object.
    pub(crate) async fn head(&self, name: &str) -> Result<Option<About>, Failure> {
        let answer = self
            .client
            .head_object()
            .bucket(&self.options.bucket)
            .key(name)
            .send()
            .await
            .map_err(|error| Failure::of("cannot look at an object", &error));
        match answer {
            Ok(answer) => Ok(Some(About::of_head(answer))),
            Err(failure) if failure.status == Some(404) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The checksum of a blob: its own, or the one that was put beside it.
    async fn sha256(&self, key: &Key, about: &About) -> Result<Option<String>, Failure> {
        if about.sha256.is_some() {
            return Ok(about.sha256.clone());
        }
        let Some(write) = &about.write else {
            return Ok(None);
        };
        let beside = self.head(&self.sum_name(key)).await?;
        Ok(beside
            // Of an earlier blob under this key, perhaps.
            .filter(|beside| beside.write.as_ref() == Some(write))
            .and_then(|beside| beside.sha256))
    }

    async fn delete(&self, name: &str) -> Result<(), Failure> {
        let answer = self
            .client
            .delete_object()
            .bucket(&self.options.bucket)
            .key(name)
            .send()
            .await
            .map_err(|error| Failure::of("cannot delete an object", &error));
        match answer {
            Err(failure) if failure.status != Some(404) => Err(failure),
            _ => Ok(()),
        }
    }
}

impl About {
    /// An instant of the store's; long ago when it tells none.
    pub(crate) fn time(told: Option<DateTime>) -> SystemTime {
        told.and_then(|time| time.try_into().ok())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Without it nothing could tell a whole answer from half of one.
    fn size(&self) -> Result<u64, Error> {
        self.size
            .ok_or_else(|| io::Error::other("the store does not tell an object's size").into())
    }

    fn new(
        size: Option<i64>,
        mime: Option<String>,
        modified: Option<DateTime>,
        metadata: Option<HashMap<String, String>>,
        etag: Option<String>,
    ) -> Self {
        let mut metadata = metadata.unwrap_or_default();
        Self {
            size: size.and_then(|size| size.try_into().ok()),
            // What S3 itself says of objects without a type.
            mime: mime.unwrap_or_else(|| "binary/octet-stream".to_owned()),
            modified: Self::time(modified),
            sha256: metadata.remove(SHA256),
            write: metadata.remove(WRITE),
            etag,
        }
    }

    fn of_head(answer: HeadObjectOutput) -> Self {
        let HeadObjectOutput {
            content_length,
            content_type,
            last_modified,
            metadata,
            e_tag,
            ..
        } = answer;
        Self::new(content_length, content_type, last_modified, metadata, e_tag)
    }
}

#[async_trait]
impl BlobStore for S3Store {
    async fn create(&self, key: &Key, mime: &str) -> Result<Box<dyn BlobWriter>, Error> {
        check_mime(mime)?;
        let inner = &self.inner;
        let mut target = Target::new(&inner.client, &inner.options, inner.name(key), mime);
        target.checksums = inner.features.checksums;
        target.once = inner.features.conditional;
        Ok(Box::new(S3Writer::new(Arc::clone(inner), key, target)))
    }

    async fn open(&self, key: &Key, range: Option<ByteRange>) -> Result<Option<Blob>, Error> {
        let inner = &self.inner;
        let name = inner.name(key);
        // Where a range lies depends on the size, which the answer to a bad range lacks.
        let (span, etag) = match range {
            None => (None, None),
            Some(range) => {
                let Some(about) = inner.head(&name).await? else {
                    return Ok(None);
                };
                (Some(range.resolve(about.size()?)?), about.etag)
            }
        };
        let asked = span.map(|span| (span.start, span.end));
        let Some(answer) = get(inner, &name, asked, etag.as_deref()).await? else {
            return Ok(None);
        };
        let size = match (span, &answer.content_range) {
            (None, _) => answer.content_length,
            (Some(span), Some(range)) if begins_at(range, span.start) => {
                range.rsplit('/').next().and_then(|size| size.parse().ok())
            }
            (Some(_), _) => {
                let detail = "the store did not send the range that it was asked for".to_owned();
                let key = key.clone();
                return Err(Error::Damaged { key, detail });
            }
        };
        let about = About::new(
            size,
            answer.content_type,
            answer.last_modified,
            answer.metadata,
            answer.e_tag,
        );
        let sha256 = inner.sha256(key, &about).await?;
        let size = about.size()?;
        let (position, end) = span.map_or((0, size), |span| (span.start, span.end + 1));
        let reading = Reading {
            inner: Arc::clone(inner),
            name,
            etag: about.etag,
            position,
            end,
            body: answer.body,
            resumes: 0,
        };
        Ok(Some(Blob {
            size,
            span,
            mime: about.mime,
            modified: about.modified,
            sha256,
            body: reading.stream().boxed(),
        }))
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        let inner = &self.inner;
        let Some(about) = inner.head(&inner.name(key)).await? else {
            return Ok(None);
        };
        let sha256 = inner.sha256(key, &about).await?;
        Ok(Some(Stat {
            size: about.size()?,
            mime: about.mime,
            modified: about.modified,
            sha256,
        }))
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let inner = &self.inner;
        let (name, sum) = (inner.name(key), inner.sum_name(key));
        futures::future::try_join(inner.delete(&name), inner.delete(&sum)).await?;
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Listed>, Error> {
        Ok(list(&self.inner, prefix, after, most).await?)
    }
}
