//! What holders of links in mails may do, and what the vendor tells.

use super::{Broken, Content, Door, Kept, Reason, Row, Seal, Told};
use crate::{
    adapters::sql::{self, Database},
    ids::MailId,
    jobs::{self, model::EventType, model::Job, store::MediaRole},
    media::Links,
    time,
};

/// Most mails of the mailbox that are shown.
const SHOWN: u32 = 100;

/// Why a link does nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is none of ours, or its time is over.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// What it leads to is not there any more.
    #[error("what this link leads to is not there any more")]
    Gone,
    /// The job does not allow it.
    #[error(transparent)]
    Job(#[from] jobs::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
}

/// What a link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The mail that has the link.
    pub mail: Row,
    /// Is there anything left to do?
    pub open: bool,
}

/// Links in mails, and what the vendor tells.
#[derive(Clone)]
pub struct Service {
    database: Database,
    jobs: jobs::Service,
    seal: Seal,
    links: Links,
}

impl Service {
    /// Over a database; `links` lead to files.
    #[must_use]
    pub fn new(database: &Database, jobs: jobs::Service, seal: Seal, links: Links) -> Self {
        Self {
            // A link names a mail and no user: its signature is the permission.
            database: database.for_worker(),
            jobs,
            seal,
            links,
        }
    }

    async fn row(&self, door: Door, token: &str) -> Result<Row, Error> {
        let id = self.seal.check(door, token, time::now())?;
        self.database.find_mail(id).await?.ok_or(Error::Gone)
    }

    /// A link to the file behind a link: the result, or its picture.
    ///
    /// # Errors
    /// `Broken`; `Gone` when the files were withdrawn.
    pub async fn file(&self, door: Door, token: &str) -> Result<String, Error> {
        let row = self.row(door, token).await?;
        let Some(Content::Completed { job, .. }) = row.content else {
            return Err(Error::Gone);
        };
        if !self.jobs.withdrawals(row.owner, &[job]).await?.is_empty() {
            return Err(Error::Gone);
        }
        let roles: &[MediaRole] = match door {
            Door::Picture => &[MediaRole::Thumbnail],
            _ => &[MediaRole::Video, MediaRole::Voice],
        };
        let files = self.jobs.media(row.owner, &[job]).await?;
        for role in roles {
            let found = files.iter().find(|(_, there, _)| there == role);
            if let Some((_, role, file)) = found {
                let link = self.links.link(&file.key, &file.mime, role.file_name());
                return link.await.ok_or(Error::Gone);
            }
        }
        Err(Error::Gone)
    }

    /// Looks at a link that does something, without doing it: programs that look after mail
    /// follow links before people do.
    ///
    /// # Errors
    /// `Broken`, or `Gone`.
    pub async fn look(&self, door: Door, token: &str) -> Result<Opened, Error> {
        let mail = self.row(door, token).await?;
        let open = match door {
            Door::Retry => self.failed_job(&mail).await?.is_some(),
            _ => true,
        };
        Ok(Opened { mail, open })
    }

    /// No more mail to the address of a mail that may be left out. Twice is once.
    ///
    /// # Errors
    /// `Broken`, or `Gone`.
    pub async fn unsubscribe(&self, token: &str) -> Result<Row, Error> {
        let row = self.row(Door::Unsubscribe, token).await?;
        let address = row.address.to_ascii_lowercase();
        (self.database)
            .suppress(address, Reason::Unsubscribed)
            .await?;
        Ok(row)
    }

    /// Tries the job of a failure mail again, once for each failure.
    ///
    /// # Errors
    /// `Broken`; `Gone` when the job is not as that mail says any more; `Job` as for `retryJob`.
    pub async fn retry(&self, token: &str) -> Result<Row, Error> {
        let row = self.row(Door::Retry, token).await?;
        let job = self.failed_job(&row).await?.ok_or(Error::Gone)?;
        // Of many at once, one finds the job failed.
        self.jobs.retry(row.owner, job.id, false).await?;
        Ok(row)
    }

    /// The job of a failure mail, while that failure is its last word.
    async fn failed_job(&self, row: &Row) -> Result<Option<Job>, Error> {
        let Some(Content::Failed { job, seq, .. }) = row.content else {
            return Ok(None);
        };
        let last = self.database.last_event(job, EventType::JobFailed).await?;
        let found = self.jobs.find(row.owner, job).await?;
        let failed = jobs::model::JobStatus::Failed;
        Ok(found.filter(|job| job.status == failed && last == Some(seq)))
    }

    /// Takes what the vendor told, once; false when it was told before, or of nobody's mail.
    ///
    /// # Errors
    /// When the database fails: then it has to be told again.
    pub async fn told(&self, told: Told) -> Result<bool, sql::Error> {
        self.database.note_mail_event(told).await
    }

    /// The newest mails that were kept and not sent.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mailbox(&self) -> Result<Vec<Kept>, sql::Error> {
        self.database.mailbox(SHOWN).await
    }

    /// One of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn kept(&self, id: MailId) -> Result<Option<Kept>, sql::Error> {
        self.database.in_mailbox(id).await
    }
}
