//! Removing files whose time is over: what deleted projects, fruitless jobs and unused uploads
//! leave, and what a crash left that no row refers to.
//!
//! The database decides first and in one transaction: whose files go, and what therefore is to
//! be removed from the store. Only then the store is asked, as often as it takes; a process may
//! die between any two lines. No transaction is open while the store works. Several nodes share
//! the work: a removal is leased to one of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use genvid_media::{BlobStore, Key, Listed, blob};
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{
    adapters::sql::{self, Database, Removal},
    ids::{JobId, UploadId},
    jobs::model::StepStatus,
    uploads::{self, Status, picture_key},
};

/// Rows that are decided upon at a time.
const BATCH: u32 = 100;
/// Removals that are taken at a time.
const TAKEN: u32 = 20;
/// Rounds of each kind of work in one turn.
const ROUNDS: u32 = 20;
/// Blobs of one removal that are listed at a time.
const LISTED: usize = 100;
/// Blobs that are looked at in one turn, whether somebody refers to them.
const INSPECTED: usize = 500;
/// How long a removal, or the search for orphans, belongs to the node that took it.
const LEASE: Duration = Duration::from_secs(600);
/// How long an upload's link has been dead before it counts as never completed: a completion
/// that began in time is over by then.
const SLACK: Duration = Duration::from_secs(600);
/// First and longest wait after a removal that failed.
const AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(6 * 3_600));
/// Turns from the end of one search for orphans to the beginning of the next.
const REST: u32 = 30;
/// Uploads that no project names are kept as long as files of deleted projects, and at least
/// this: a picture is sent before anything names it.
const UNUSED: Duration = Duration::from_secs(86_400);
/// Beginning of the key that tells whose store it is.
const OWNERS: &str = "installation/";

/// How long files are kept. `config.default.toml` explains each.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// After their project was deleted.
    pub deleted: Duration,
    /// After their job ended without a result.
    pub failed: Duration,
    /// Age at which a file that no row refers to is removed.
    pub orphan: Duration,
    /// How often is looked.
    pub every: Duration,
}

/// A turn could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] blob::Error),
}

/// Removes files whose time is over.
pub struct Sweep {
    /// The truth, for the worker.
    pub database: Database,
    /// Files.
    pub blobs: Arc<dyn BlobStore>,
    /// How long they are kept.
    pub retention: Retention,
    /// Tells this installation from others, in characters of keys.
    pub installation: String,
}

/// What one turn did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs and uploads whose files are to be removed.
    pub retired: u64,
    /// Removals that are done.
    pub removed: u64,
    /// Files that no row refers to.
    pub orphans: u64,
}

impl Sweep {
    /// Takes turns until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(self.retention.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // An error means that the app is gone, which is a stop too.
                _ = stop.wait_for(|stop| *stop) => return,
                _ = tick.tick() => {}
            }
            // What is cut off goes on with the next start: each line can be the last.
            let turn = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                turn = self.turn() => turn,
            };
            match turn {
                Ok(swept) if swept == Swept::default() => {}
                Ok(Swept {
                    retired,
                    removed,
                    orphans,
                }) => tracing::info!(retired, removed, orphans, "files were swept"),
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "files could not be swept; they are looked at again"
                ),
            }
        }
    }

    /// One turn, with a bound on everything.
    ///
    /// # Errors
    /// When the database fails, or the store cannot be listed. A file that cannot be removed
    /// is no error: it is tried again.
    pub async fn turn(&self) -> Result<Swept, Error> {
        let mut swept = Swept {
            retired: self.retire().await?,
            ..Swept::default()
        };
        // Before the removals, so that what is found goes at once.
        swept.orphans = self.find_orphans().await?;
        for _ in 0..ROUNDS {
            let taken = self.database.claim_removals(LEASE, TAKEN).await?;
            let last = taken.len() < TAKEN as usize;
            for removal in taken {
                swept.removed += u64::from(self.remove(removal).await?);
            }
            if last {
                break;
            }
        }
        Ok(swept)
    }

    /// Decides whose files go.
    async fn retire(&self) -> Result<u64, sql::Error> {
        let Retention {
            deleted, failed, ..
        } = self.retention;
        let mut retired = 0;
        for _ in 0..ROUNDS {
            let uploads = self.database.expire_uploads(SLACK, BATCH).await?;
            let unused = self
                .database
                .retire_uploads(deleted.max(UNUSED), BATCH)
                .await?;
            let jobs = self.database.retire_jobs(deleted, failed, BATCH).await?;
            retired += uploads + unused + jobs;
            if uploads.max(unused).max(jobs) < u64::from(BATCH) {
                break;
            }
        }
        Ok(retired)
    }

    /// Removes from the store what is written down; true when nothing is left of it.
    async fn remove(&self, Removal { name, tries }: Removal) -> Result<bool, sql::Error> {
        let again = match self.delete(&name).await {
            Ok(true) => None,
            Ok(false) => Some(Duration::ZERO),
            Err(error) => {
                tracing::warn!(%error, name, tries, "a file could not be removed");
                let (first, longest) = AGAIN;
                let doubled = first.saturating_mul(1 << tries.saturating_sub(1).min(16));
                Some(doubled.min(longest))
            }
        };
        self.database.settle_removal(name, again).await?;
        Ok(again.is_none())
    }

    /// Removes a blob, or a bounded number of those whose keys begin so; false when some may be
    /// left.
    async fn delete(&self, name: &str) -> Result<bool, blob::Error> {
        if !name.ends_with('/') {
            let key = Key::parse(name).map_err(std::io::Error::other)?;
            self.blobs.delete(&key).await?;
            return Ok(true);
        }
        for _ in 0..ROUNDS {
            let page = self.blobs.list(name, None, LISTED).await?;
            if page.is_empty() {
                return Ok(true);
            }
            for found in page {
                self.blobs.delete(&found.key).await?;
            }
        }
        Ok(false)
    }

    /// Looks at the next files of the store, and writes down the removal of those that are old
    /// and that no row refers to.
    async fn find_orphans(&self) -> Result<u64, Error> {
        const CHORE: &str = "orphans";
        let every = self.retention.every;
        let Some(place) = self.database.claim_chore(CHORE, LEASE).await? else {
            return Ok(0);
        };
        if !self.is_ours().await? {
            let rest = every.saturating_mul(REST);
            self.database.leave_chore(CHORE, None, rest).await?;
            return Ok(0);
        }
        let after = place.as_deref().and_then(|place| Key::parse(place).ok());
        let page = self.blobs.list("", after.as_ref(), INSPECTED).await?;
        let orphans = self.orphans_among(&page).await?;
        let count = orphans.len() as u64;
        self.database.request_removals(orphans).await?;
        let (place, wait) = match page.last() {
            Some(last) if page.len() == INSPECTED => (Some(last.key.to_string()), Duration::ZERO),
            _ => (None, every.saturating_mul(REST)),
        };
        self.database.leave_chore(CHORE, place, wait).await?;
        Ok(count)
    }

    /// Does the store belong to this database alone? One that shares it by mistake would take
    /// the other's files for orphans.
    async fn is_ours(&self) -> Result<bool, blob::Error> {
        let own = format!("{OWNERS}{}", self.installation);
        let found = self.blobs.list(OWNERS, None, 10).await?;
        if let Some(other) = found.iter().find(|found| found.key.as_str() != own) {
            tracing::error!(
                other = %other.key, own,
                "the media store belongs to another database too; files that no row refers to \
                 stay. Give each its own media.s3.prefix, or remove the wrong one of these files"
            );
            return Ok(false);
        }
        if found.is_empty() {
            let key = Key::parse(&own).map_err(std::io::Error::other)?;
            let mut writer = self.blobs.create(&key, "text/plain").await?;
            let words =
                "A database of Genvid keeps its files here, and removes what it does not know.\n";
            writer.write(Bytes::from_static(words.as_bytes())).await?;
            match writer.finish().await {
                // Another node of this installation was quicker.
                Ok(_) | Err(blob::Error::AlreadyExists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Keys of those that are old, and that no row refers to. What this version does not know
    /// is left alone.
    async fn orphans_among(&self, page: &[Listed]) -> Result<Vec<String>, sql::Error> {
        let now = SystemTime::now();
        let is_old = |found: &&Listed| {
            now.duration_since(found.modified)
                .is_ok_and(|age| age >= self.retention.orphan)
        };
        let mut of_jobs: BTreeMap<JobId, Vec<&Key>> = BTreeMap::new();
        let mut of_uploads: BTreeMap<UploadId, Vec<&Key>> = BTreeMap::new();
        for Listed { key, .. } in page.iter().filter(is_old) {
            let mut parts = key.as_str().splitn(3, '/');
            match (parts.next(), parts.next(), parts.next()) {
                (Some("jobs"), Some(job), Some(_)) => {
                    if let Ok(job) = job.parse() {
                        of_jobs.entry(job).or_default().push(key);
                    }
                }
                (Some("uploads"), Some(upload), Some(_)) => {
                    if let Ok(upload) = upload.parse() {
                        of_uploads.entry(upload).or_default().push(key);
                    }
                }
                _ => {}
            }
        }
        let mut orphans = self.orphans_of_jobs(&of_jobs).await?;
        orphans.extend(self.orphans_of_uploads(&of_uploads).await?);
        Ok(orphans)
    }

    async fn orphans_of_jobs(
        &self,
        found: &BTreeMap<JobId, Vec<&Key>>,
    ) -> Result<Vec<String>, sql::Error> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = found.keys().copied().collect();
        let known: HashMap<_, _> = self
            .database
            .withdrawals_of(&ids)
            .await?
            .into_iter()
            .collect();
        if known.is_empty() && !self.database.has_jobs().await? {
            // Rows that cannot be seen look like rows that are not there. Files of a database
            // without any job are not worth that mistake.
            tracing::warn!("no job is to be seen; files that no row refers to stay");
            return Ok(Vec::new());
        }
        let mut at_work = BTreeSet::new();
        // Names that stand in the rows of a job, in whatever form.
        let mut rows: HashMap<JobId, String> = HashMap::new();
        let mut note = |job: JobId, text: String| rows.entry(job).or_default().push_str(&text);
        for step in self.database.steps_of(&ids).await? {
            // What is not over, and a task at a vendor that is still followed.
            let resting = matches!(
                step.status,
                StepStatus::Succeeded | StepStatus::Failed | StepStatus::Canceled
            );
            let begun = step.started_at.is_some();
            if step.due_at.is_some() || begun && !resting {
                at_work.insert(step.job);
            }
            let output = serde_json::to_string(&step.output)
                .map_err(|source| sql::Error::decode("step output", source))?;
            note(step.job, output);
        }
        for attempt in self.database.attempts_of(&ids).await? {
            note(attempt.job, attempt.request.to_string());
            if let Some(delivered) = attempt.delivered {
                note(attempt.job, delivered.to_string());
            }
        }
        let mut orphans = Vec::new();
        for (job, keys) in found {
            let text = rows.get(job).map(String::as_str).unwrap_or_default();
            for key in keys {
                let is_orphan = match known.get(job) {
                    None => true,
                    Some(Some(withdrawal)) if withdrawal.removed => true,
                    Some(_) => !at_work.contains(job) && !text.contains(key.file_name()),
                };
                if is_orphan {
                    orphans.push(key.to_string());
                }
            }
        }
        Ok(orphans)
    }

    async fn orphans_of_uploads(
        &self,
        found: &BTreeMap<UploadId, Vec<&Key>>,
    ) -> Result<Vec<String>, sql::Error> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = found.keys().copied().collect();
        let known: HashMap<_, _> = self
            .database
            .get_uploads(&ids)
            .await?
            .into_iter()
            .map(|upload| (upload.id, upload.status))
            .collect();
        Ok(found
            .iter()
            .flat_map(|(upload, keys)| {
                let status = known.get(upload).copied();
                keys.iter()
                    .filter(move |key| match status {
                        Some(Status::Open) => false,
                        Some(Status::Ready) => key.as_str() != picture_key(*upload),
                        _ => true,
                    })
                    .map(ToString::to_string)
            })
            .collect())
    }
}

/// Does nobody get this file any more, whatever links were given out?
///
/// # Errors
/// When the database fails.
pub async fn is_withdrawn(database: &Database, key: &Key) -> Result<bool, sql::Error> {
    let mut parts = key.as_str().splitn(3, '/');
    match (parts.next(), parts.next()) {
        (Some("jobs"), Some(job)) => {
            let Ok(job) = job.parse::<JobId>() else {
                return Ok(false);
            };
            let found = database.for_worker().withdrawals_of(&[job]).await?;
            Ok(found.iter().any(|(_, withdrawal)| withdrawal.is_some()))
        }
        (Some("uploads"), Some(upload)) => {
            let Ok(upload) = upload.parse::<UploadId>() else {
                return Ok(false);
            };
            let found = database.get_uploads(&[upload]).await?;
            Ok(found.iter().all(|found| found.status != Status::Ready)
                || key.as_str() != uploads::picture_key(upload))
        }
        _ => Ok(false),
    }
}
