//! Announcing and completing uploads. Every method is scoped to the caller.

use std::{io, sync::Arc, time::SystemTime};

use bytes::BytesMut;
use futures::StreamExt;
use genvid_media::{BlobStore, Key, blob, picture};
use sha2::{Digest, Sha256};

use super::{
    MOST_OPEN, Settings, Status, Upload, incoming_key, is_reference, picture_key, referred,
};
use crate::{
    adapters::sql::{self, Database},
    ids::{UploadId, UserId},
    input::Problems,
    media::{Intake, Links},
    time::{self, Timestamp},
};

const MAX_FILE_NAME: usize = 200;

/// Why an upload could not be announced or completed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that cannot be taken, or that what arrived does not fit.
    #[error("the input is not valid")]
    Invalid(Problems),
    /// There is no such upload for this caller.
    #[error("no such upload")]
    NotFound,
    /// The upload's state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] blob::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A picture to send.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Media type.
    pub mime: String,
    /// Exact size in bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: Option<String>,
    /// What the file is called.
    pub file_name: Option<String>,
}

/// Uploads.
#[derive(Clone)]
pub struct Service {
    database: Database,
    blobs: Arc<dyn BlobStore>,
    links: Links,
    settings: Settings,
}

impl Service {
    /// Over a database, a store, and what makes links to it.
    #[must_use]
    pub fn new(
        database: Database,
        blobs: Arc<dyn BlobStore>,
        links: Links,
        settings: Settings,
    ) -> Self {
        Self {
            database,
            blobs,
            links,
            settings,
        }
    }

    /// Announces an upload; tells where to send it.
    ///
    /// # Errors
    /// `Invalid` names every field that is wrong; `Conflict` when too many are open.
    pub async fn create(&self, owner: UserId, wish: Wish) -> Result<(Upload, Intake), Error> {
        let mut problems = Problems::default();
        let mime = wish.mime.trim().to_ascii_lowercase();
        if !picture::TYPES.contains(&mime.as_str()) {
            let types = picture::TYPES.join(", ");
            problems.add("contentType", format!("must be one of {types}"));
        }
        let most = self.settings.max_bytes;
        if !(1..=most).contains(&wish.size) {
            problems.add("size", format!("must be 1 to {most} bytes"));
        }
        let sha256 = wish.sha256.map(|sum| sum.trim().to_ascii_lowercase());
        if let Some(sum) = &sha256
            && (sum.len() != 64 || !sum.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            problems.add("sha256", "must have 64 hexadecimal digits");
        }
        let file_name = wish
            .file_name
            .map(|name| problems.text("fileName", &name, 0, MAX_FILE_NAME))
            .filter(|name| !name.is_empty());
        problems.into_result().map_err(Error::Invalid)?;
        let now = time::now();
        let upload = Upload {
            id: UploadId::generate(),
            owner,
            status: Status::Open,
            mime,
            size: wish.size,
            sha256,
            file_name,
            refusal: None,
            found_sha256: None,
            created_at: now,
            expires_at: now.after(self.settings.open_for),
            completed_at: None,
        };
        let key = key(&incoming_key(upload.id))?;
        let until = SystemTime::now() + self.settings.open_for;
        let intake = self
            .links
            .intake(&key, &upload.mime, upload.size, until)
            .await?;
        if !self
            .database
            .insert_upload(upload.clone(), MOST_OPEN)
            .await?
        {
            return Err(Error::Conflict(format!(
                "{MOST_OPEN} uploads are open; complete them, or wait until they expire."
            )));
        }
        Ok((upload, intake))
    }

    /// Takes what was sent, if it is the picture that was announced. Harmless when repeated:
    /// an upload that is ready stays so, one that was refused is refused again.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` with the announced field that what arrived does not fit;
    /// `Conflict` when nothing has arrived, or it is too late.
    pub async fn complete(&self, owner: UserId, id: UploadId) -> Result<Upload, Error> {
        let upload = self.find(owner, id).await?.ok_or(Error::NotFound)?;
        if let Some(answer) = settled(&upload, time::now()) {
            return answer;
        }
        let sha256 = match self.take_in(&upload).await {
            Ok(sha256) => sha256,
            Err(Refused::Because(field, message)) => {
                let why = (field.to_owned(), message);
                // First the record: who comes next gets the same answer, and what cannot be
                // removed now is removed later.
                self.database.refuse_upload(owner, id, why).await?;
                self.forget_incoming(id).await;
                return self.answer(owner, id).await;
            }
            Err(Refused::Failed(error)) => return Err(error),
        };
        self.database
            .complete_upload(owner, id, sha256, time::now())
            .await?;
        self.forget_incoming(id).await;
        self.answer(owner, id).await
    }

    /// An upload of the caller's.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find(&self, owner: UserId, id: UploadId) -> Result<Option<Upload>, Error> {
        Ok(self.database.find_upload(owner, id).await?)
    }

    /// What the row says now, when there is nothing more to do.
    async fn answer(&self, owner: UserId, id: UploadId) -> Result<Upload, Error> {
        let upload = self.find(owner, id).await?.ok_or(Error::NotFound)?;
        settled(&upload, time::now()).unwrap_or_else(|| {
            Err(Error::Conflict(
                "The upload's state has changed meanwhile; complete it again.".to_owned(),
            ))
        })
    }

    /// Copies what arrived to where nobody else writes, and looks at it on the way; its
    /// checksum. One that was copied before a crash is there already.
    async fn take_in(&self, upload: &Upload) -> Result<String, Refused> {
        let (from, to) = (
            key(&incoming_key(upload.id))?,
            key(&picture_key(upload.id))?,
        );
        if let Some(sha256) = self.taken(&to).await? {
            return Ok(sha256);
        }
        let Some(mut sent) = self.blobs.open(&from, None).await? else {
            // Somebody else may have completed it just now, and removed what had arrived.
            return self.taken(&to).await?.ok_or_else(|| {
                Refused::Failed(Error::Conflict(
                    "Nothing has arrived yet: send the picture to the upload's url first."
                        .to_owned(),
                ))
            });
        };
        if sent.size != upload.size {
            return Err(wrong_size(upload, sent.size));
        }
        let mut head = BytesMut::new();
        let mut writer = None;
        let (mut size, mut hash) = (0_u64, Sha256::new());
        loop {
            let chunk = sent
                .body
                .next()
                .await
                .transpose()
                .map_err(blob::Error::from)?;
            let last = chunk.is_none();
            if let Some(chunk) = chunk {
                size += chunk.len() as u64;
                if size > upload.size {
                    return Err(wrong_size(upload, size));
                }
                hash.update(&chunk);
                head.extend_from_slice(&chunk);
            }
            if writer.is_none() && (last || head.len() as u64 >= picture::HEAD) {
                check_type(upload, &head)?;
                match self.blobs.create(&to, &upload.mime).await {
                    Ok(begun) => writer = Some(begun),
                    Err(blob::Error::AlreadyExists(_)) => return self.must_be_taken(&to).await,
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(writer) = &mut writer
                && !head.is_empty()
            {
                let chunk = head.split().freeze();
                writer.write(chunk).await.map_err(blob::Error::from)?;
            }
            if last {
                break;
            }
        }
        if size != upload.size {
            return Err(wrong_size(upload, size));
        }
        let sha256 = hex::encode(hash.finalize());
        if let Some(wanted) = &upload.sha256
            && *wanted != sha256
        {
            let message = format!("does not fit: what arrived has {sha256}");
            return Err(Refused::Because("sha256", message));
        }
        let Some(writer) = writer else {
            return Err(wrong_size(upload, 0));
        };
        match writer.finish().await {
            Ok(_) => Ok(sha256),
            Err(blob::Error::AlreadyExists(_)) => self.must_be_taken(&to).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Checksum of a picture that was taken.
    async fn taken(&self, key: &Key) -> Result<Option<String>, Refused> {
        let stat = self.blobs.stat(key).await?;
        Ok(stat.map(|stat| stat.sha256.unwrap_or_default()))
    }

    async fn must_be_taken(&self, key: &Key) -> Result<String, Refused> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the picture was removed meanwhile");
        self.taken(key)
            .await?
            .ok_or_else(|| Refused::from(blob::Error::from(gone())))
    }

    /// Removes what arrived. What stays is found by the worker's sweep.
    async fn forget_incoming(&self, id: UploadId) {
        let Ok(key) = key(&incoming_key(id)) else {
            return;
        };
        if let Err(error) = self.blobs.delete(&key).await {
            tracing::warn!(%error, upload = %id, "what arrived stays for a while");
        }
    }
}

/// Checks that pictures which are uploads are there for `owner`: a stranger's is as good as
/// missing.
///
/// # Errors
/// When the database fails.
pub(crate) async fn check_references(
    database: &Database,
    owner: UserId,
    field: &str,
    links: &[url::Url],
    problems: &mut Problems,
) -> Result<(), sql::Error> {
    let ids = super::all_referred(
        &links
            .iter()
            .map(|link| link.as_str().to_owned())
            .collect::<Vec<_>>(),
    );
    let found = match ids.is_empty() {
        true => Vec::new(),
        false => database.find_uploads(owner, &ids).await?,
    };
    for (index, link) in links.iter().enumerate() {
        if !is_reference(link.as_str()) {
            continue;
        }
        let upload =
            referred(link.as_str()).and_then(|id| found.iter().find(|upload| upload.id == id));
        let place = format!("{field}.{index}");
        match upload.map(|upload| upload.status) {
            Some(Status::Ready) => {}
            Some(Status::Open) => problems.add(place, "is an upload that is not complete"),
            Some(Status::Removed) => {
                problems.add(place, "is an upload that nobody used and that was removed");
            }
            Some(Status::Refused | Status::Expired) | None => {
                problems.add(place, "is not an upload of yours");
            }
        }
    }
    Ok(())
}

/// Why nothing was taken.
enum Refused {
    /// The announced field that what arrived does not fit, and how.
    Because(&'static str, String),
    /// It may be tried again.
    Failed(Error),
}

impl From<blob::Error> for Refused {
    fn from(error: blob::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The answer to a completion that has nothing to do any more.
fn settled(upload: &Upload, now: Timestamp) -> Option<Result<Upload, Error>> {
    let conflict = |words: &str| Some(Err(Error::Conflict(words.to_owned())));
    match upload.status {
        Status::Ready => Some(Ok(upload.clone())),
        Status::Refused => {
            let (field, message) = upload.refusal.clone().unwrap_or_default();
            Some(Err(Error::Invalid(Problems::one(field, message))))
        }
        Status::Removed => {
            conflict("No project used the picture, and it was removed; upload it again.")
        }
        Status::Open if now < upload.expires_at => None,
        Status::Open | Status::Expired => {
            conflict("The upload has expired; announce a new one with createUpload.")
        }
    }
}

fn check_type(upload: &Upload, head: &[u8]) -> Result<(), Refused> {
    let found = picture::media_type(head);
    if found == Some(upload.mime.as_str()) {
        return Ok(());
    }
    let found = found.unwrap_or("no PNG, JPEG or WebP picture");
    let message = format!("is {}, but what arrived is {found}", upload.mime);
    Err(Refused::Because("contentType", message))
}

fn wrong_size(upload: &Upload, found: u64) -> Refused {
    let message = format!("is {}, but {found} bytes arrived", upload.size);
    Refused::Because("size", message)
}

fn key(text: &str) -> Result<Key, Error> {
    Key::parse(text).map_err(|error| Error::Store(io::Error::other(error).into()))
}
