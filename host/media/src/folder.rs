//! Blobs in a local folder.
//!
//! Each blob is a folder of its own, `<root>/<key>+/`, that holds the content under the last
//! part of the key and `.about.json` with media type and checksum. `+` cannot occur in a key,
//! so any two keys live side by side, even `a` and `a/b`. A blob is prepared in `<root>/.tmp`
//! and renamed into place as a whole: content and description appear together, and because a
//! rename never replaces a folder that is not empty, nothing is ever overwritten.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use std::{fs, mem};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::blob::{
    Blob, BlobStore, BlobWriter, ByteRange, Error, Listed, Stat, Stored, check_mime, not_found,
};
use crate::key::Key;
use crate::scratch::{Scratch, remove_aside};

const ABOUT: &str = ".about.json";

/// Bytes that a writer collects before it goes to the disk, so that many small network reads
/// do not become as many trips to the pool of blocking threads.
const WRITE_AT: usize = 256 * 1024;
const READ_AT: usize = 128 * 1024;

/// How often a blob's folder is made when removals take it away.
const TRIES: usize = 20;

/// Settings of a [`FolderStore`].
#[derive(Clone, Debug)]
pub struct FolderOptions {
    /// Where blobs are kept. Made if it is not there.
    pub root: PathBuf,
    /// Largest blob in bytes.
    pub max_bytes: u64,
}

/// Blobs in a local folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FolderStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    max_bytes: u64,
    unfinished: Scratch,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    mime: String,
    size: u64,
    sha256: String,
}

struct Found {
    stat: Stat,
    content: PathBuf,
}

impl FolderStore {
    /// Opens the folder, and removes what writers left that died.
    pub async fn open(options: FolderOptions) -> Result<Self, Error> {
        let FolderOptions { root, max_bytes } = options;
        let inner = blocking::<_, Error>(move || {
            fs::create_dir_all(&root)?;
            let root = root.canonicalize()?;
            let unfinished = Scratch::open(&root.join(".tmp"))?;
            Ok(Inner {
                root,
                max_bytes,
                unfinished,
            })
        })
        .await?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

impl Inner {
    fn home(&self, key: &Key) -> PathBuf {
        self.root.join(format!("{key}+"))
    }

    fn find(&self, key: &Key) -> Result<Option<Found>, Error> {
        let home = self.home(key);
        let about = match fs::read(home.join(ABOUT)) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let damaged = |detail: String| Error::Damaged {
            key: key.clone(),
            detail,
        };
        let about: About =
            serde_json::from_slice(&about).map_err(|error| damaged(error.to_string()))?;
        let content = home.join(key.file_name());
        let metadata = match fs::metadata(&content) {
            Ok(metadata) => metadata,
            // Deleted between the two reads, or by hand.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if metadata.len() != about.size {
            return Err(damaged(format!(
                "{} bytes instead of {}",
                metadata.len(),
                about.size
            )));
        }
        let stat = Stat {
            size: about.size,
            mime: about.mime,
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            sha256: Some(about.sha256),
        };
        Ok(Some(Found { stat, content }))
    }

    fn begin(&self, key: &Key) -> Result<Draft, Error> {
        if self.home(key).exists() {
            return Err(Error::AlreadyExists(key.clone()));
        }
        let folder = self.unfinished.folder()?;
        let file = File::create_new(folder.path().join(key.file_name()))?;
        Ok(Draft {
            folder,
            file,
            hash: Sha256::new(),
        })
    }

    fn commit(&self, draft: Draft, about: &About, key: &Key) -> Result<(), Error> {
        let Draft { folder, file, .. } = draft;
        file.sync_all()?;
        let mut description = File::create_new(folder.path().join(ABOUT))?;
        description.write_all(&serde_json::to_vec(about).map_err(io::Error::from)?)?;
        description.sync_all()?;
        File::open(folder.path())?.sync_all()?;
        let home = self.home(key);
        let parent = home.parent().unwrap_or(&self.root);
        let mut tries = 0;
        loop {
            fs::create_dir_all(parent)?;
            match fs::rename(folder.path(), &home) {
                Ok(()) => break,
                Err(error) if is_taken(&error) => return Err(Error::AlreadyExists(key.clone())),
                // A removal took the folder away, which was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        // The name has moved away; there is nothing left to remove.
        let _ = folder.keep();
        // New folders on the way are durable only when their parents are.
        for folder in parent
            .ancestors()
            .take_while(|folder| folder.starts_with(&self.root))
        {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn remove(&self, key: &Key) -> Result<(), Error> {
        let grave = self.unfinished.folder()?;
        // Gone at once; the bytes follow when `grave` is dropped, or after a crash.
        match fs::rename(self.home(key), grave.path().join("blob")) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let home = self.home(key);
        for parent in home.ancestors().skip(1) {
            // The first that is not empty ends it, and keeps the removal.
            if parent == self.root || fs::remove_dir(parent).is_err() {
                match File::open(parent) {
                    Ok(folder) => folder.sync_all()?,
                    // Another removal took it away.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error.into()),
                }
                break;
            }
        }
        Ok(())
    }

    fn list(&self, page: &mut Page<'_>, folder: &Path, above: &str) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // Removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        // A blob's folder ends with `+` and stands for its key, another one for all keys that
        // begin with its name and a slash: sorted so, the walk is in the order of keys.
        let mut names = Vec::new();
        for entry in entries {
            let Ok(name) = entry?.file_name().into_string() else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let name = match name.strip_suffix('+') {
                Some(blob) => format!("{above}{blob}"),
                None => format!("{above}{name}/"),
            };
            if page.may_hold(&name) {
                names.push(name);
            }
        }
        names.sort_unstable();
        for name in names {
            if page.found.len() >= page.most {
                return Ok(());
            }
            if name.ends_with('/') {
                self.list(page, &self.root.join(&name), &name)?;
            } else if let Ok(key) = Key::parse(&name)
                && let Ok(metadata) = fs::metadata(self.home(&key).join(key.file_name()))
            {
                page.found.push(Listed {
                    size: metadata.len(),
                    modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    key,
                });
            }
        }
        Ok(())
    }
}

/// A page of a list in the making.
struct Page<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    most: usize,
    found: Vec<Listed>,
}

impl Page<'_> {
    /// May there be something of the page under this name, which ends with a slash when it
    /// stands for all keys that begin with it?
    fn may_hold(&self, name: &str) -> bool {
        let many = name.ends_with('/');
        let wanted = name.starts_with(self.prefix) || many && self.prefix.starts_with(name);
        let behind = self
            .after
            .is_none_or(|after| name > after || many && after.starts_with(name));
        wanted && behind
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory
    )
}

#[async_trait]
impl BlobStore for FolderStore {
    async fn create(&self, key: &Key, mime: &str) -> Result<Box<dyn BlobWriter>, Error> {
        check_mime(mime)?;
        let (inner, wanted) = (self.inner.clone(), key.clone());
        let draft = blocking(move || inner.begin(&wanted)).await?;
        Ok(Box::new(FolderWriter {
            store: self.inner.clone(),
            key: key.clone(),
            mime: mime.to_owned(),
            size: 0,
            pending: Vec::new(),
            pending_bytes: 0,
            draft: Some(draft),
        }))
    }

    async fn open(&self, key: &Key, range: Option<ByteRange>) -> Result<Option<Blob>, Error> {
        let (inner, wanted) = (self.inner.clone(), key.clone());
        let found = blocking::<_, Error>(move || {
            let Some(found) = inner.find(&wanted)? else {
                return Ok(None);
            };
            match File::open(&found.content) {
                Ok(file) => Ok(Some((found.stat, file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        let Some((stat, file)) = found else {
            return Ok(None);
        };
        let span = range.map(|range| range.resolve(stat.size)).transpose()?;
        let mut file = tokio::fs::File::from_std(file);
        if let Some(span) = span {
            file.seek(io::SeekFrom::Start(span.start)).await?;
        }
        let bytes = span.map_or(stat.size, |span| span.bytes());
        let body = ReaderStream::with_capacity(file.take(bytes), READ_AT);
        let Stat {
            size,
            mime,
            modified,
            sha256,
        } = stat;
        Ok(Some(Blob {
            size,
            span,
            mime,
            modified,
            sha256,
            body: exactly(body, bytes).boxed(),
        }))
    }

    async fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        let (inner, key) = (self.inner.clone(), key.clone());
        blocking(move || Ok(inner.find(&key)?.map(|found| found.stat))).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let (inner, key) = (self.inner.clone(), key.clone());
        blocking(move || inner.remove(&key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Key>,
        most: usize,
    ) -> Result<Vec<Listed>, Error> {
        let (inner, prefix, after) = (self.inner.clone(), prefix.to_owned(), after.cloned());
        blocking(move || {
            let mut page = Page {
                prefix: &prefix,
                after: after.as_ref().map(Key::as_str),
                most,
                found: Vec::new(),
            };
            inner.list(&mut page, &inner.root, "")?;
            Ok(page.found)
        })
        .await
    }

    async fn local(&self, key: &Key) -> Result<Option<PathBuf>, Error> {
        let (inner, key) = (self.inner.clone(), key.clone());
        blocking(move || match inner.find(&key)? {
            Some(found) => Ok(Some(found.content)),
            None => Err(not_found(&key).into()),
        })
        .await
    }
}

/// A blob in the making. Dropping it removes it.
struct Draft {
    folder: TempDir,
    file: File,
    hash: Sha256,
}

impl Draft {
    fn append(&mut self, chunks: &[Bytes]) -> io::Result<()> {
        for chunk in chunks {
            self.hash.update(chunk);
            self.file.write_all(chunk)?;
        }
        Ok(())
    }
}

struct FolderWriter {
    store: Arc<Inner>,
    key: Key,
    mime: String,
    size: u64,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    // None after an error and while a blocking thread has it.
    draft: Option<Draft>,
}

impl FolderWriter {
    async fn flush(&mut self) -> io::Result<()> {
        let mut draft = self.draft.take().ok_or_else(spoiled)?;
        let chunks = mem::take(&mut self.pending);
        self.pending_bytes = 0;
        let draft = blocking(move || {
            draft.append(&chunks)?;
            Ok::<_, io::Error>(draft)
        })
        .await?;
        self.draft = Some(draft);
        Ok(())
    }
}

#[async_trait]
impl BlobWriter for FolderWriter {
    async fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        if self.draft.is_none() {
            return Err(spoiled());
        }
        self.size += chunk.len() as u64;
        if self.size > self.store.max_bytes {
            remove_aside(self.draft.take());
            self.pending.clear();
            let limit = self.store.max_bytes;
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                Error::TooLarge { limit },
            ));
        }
        if chunk.is_empty() {
            return Ok(());
        }
        self.pending_bytes += chunk.len();
        self.pending.push(chunk);
        if self.pending_bytes >= WRITE_AT {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<Stored, Error> {
        if !self.pending.is_empty() {
            self.flush().await?;
        }
        let draft = self.draft.take().ok_or_else(spoiled)?;
        let (store, key) = (self.store.clone(), self.key.clone());
        let (mime, size) = (self.mime.clone(), self.size);
        blocking(move || {
            let sha256 = hex::encode(draft.hash.clone().finalize());
            let about = About { mime, size, sha256 };
            store.commit(draft, &about, &key)?;
            let About { mime, size, sha256 } = about;
            Ok(Stored {
                key,
                size,
                sha256,
                mime,
            })
        })
        .await
    }
}

impl Drop for FolderWriter {
    fn drop(&mut self) {
        remove_aside(self.draft.take());
    }
}

fn spoiled() -> io::Error {
    io::Error::other("an earlier write to this blob failed")
}

/// Passes a stream on, and turns an end before `expected` bytes into an error.
fn exactly(
    body: impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static,
    expected: u64,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let body = Box::pin(body);
    futures::stream::try_unfold((body, expected), |(mut body, left)| async move {
        match body.next().await {
            Some(chunk) => {
                let chunk = chunk?;
                let left = left.saturating_sub(chunk.len() as u64);
                Ok(Some((chunk, (body, left))))
            }
            None if left == 0 => Ok(None),
            None => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("the blob ends {left} bytes early"),
            )),
        }
    })
}

async fn blocking<T: Send + 'static, E: From<io::Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(failure) => Err(io::Error::other(failure).into()),
    }
}
