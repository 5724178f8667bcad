//! Batches: many films that are asked for at once. The request is written down whole, before
//! anything of it is looked at twice; then each item becomes a job of its own, or is refused with
//! its reason, and none hinders another. A worker does that (`clerk`), under a key that is the
//! item's own: so a server that dies in between loses nothing and makes nothing twice.
//!
//! All jobs of a batch share one budget, which is counted where a project's is
//! (`adapters/sql/spending.rs`).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    limits::TooMany,
    model::{Job, JobStatus, words},
    quote::Quote,
    service::{Error, Service},
    store::Page,
    wish::VideoWish,
};
use crate::{
    adapters::sql,
    ids::{ApiKeyId, BatchId, BatchQuoteId, JobId, ProjectId, QuoteId, UserId},
    input::Problems,
    time::{self, Timestamp},
};

/// Most films of one batch, whatever the settings say.
pub const MAX_ITEMS: u32 = 200;
/// Films of one owner that may wait to become jobs: so many full batches.
const MAX_BATCHES_WAITING: u32 = 10;
/// Longest name, in characters.
const MAX_NAME: usize = 200;
/// Longest key, in characters.
const MAX_KEY: usize = 255;

words!(
    /// Why an item has no job.
    Reason {
        /// Fields cannot be taken.
        InvalidInput = "INVALID_INPUT",
        /// Something that it names is not there.
        NotFound = "NOT_FOUND",
        /// Nobody can make it.
        ProviderUnavailable = "PROVIDER_UNAVAILABLE",
        /// The owner has too few credits.
        InsufficientCredits = "INSUFFICIENT_CREDITS",
        /// It would pass the batch's budget, or the project's.
        BudgetExceeded = "BUDGET_EXCEEDED",
        /// Its owner has as many jobs under way as they may.
        RateLimited = "RATE_LIMITED",
        /// Its state does not allow it.
        Conflict = "CONFLICT",
        /// The batch was canceled before it began.
        Canceled = "CANCELED",
    }
);

/// Why an item has no job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The class.
    pub reason: Reason,
    /// Plain words.
    pub message: String,
    /// The field that is at fault, for example `avatarId`.
    pub field: Option<String>,
}

impl Refused {
    /// Fields that cannot be taken: the first of them.
    #[must_use]
    pub fn invalid(problems: &Problems) -> Self {
        let first = problems.list().first();
        Self {
            reason: Reason::InvalidInput,
            message: first.map_or_else(
                || "It cannot be taken.".to_owned(),
                |problem| format!("{}: {}", problem.field, problem.message),
            ),
            field: first.map(|problem| problem.field.clone()),
        }
    }

    /// May the same be taken later?
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.reason,
            Reason::ProviderUnavailable
                | Reason::InsufficientCredits
                | Reason::BudgetExceeded
                | Reason::RateLimited
        )
    }
}

/// One film of a request: what is asked for, or why that cannot be read.
pub type Item = Result<VideoWish, Refused>;

/// Many films to make. Keys and quotes of the single wishes do not count.
#[derive(Debug, Clone)]
pub struct BatchWish {
    /// For which project.
    pub project: ProjectId,
    /// For people.
    pub name: String,
    /// The films, in their order.
    pub items: Vec<Item>,
    /// The caller's key.
    pub idempotency_key: String,
    /// The most that all of it may cost.
    pub max_credits: Option<u32>,
    /// The quote that all of it is to cost no more than.
    pub quote: Option<BatchQuoteId>,
    /// The API key that asks for it.
    pub by: Option<ApiKeyId>,
}

/// Which film of which batch, in whose hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Of which batch.
    pub batch: BatchId,
    /// Which one.
    pub position: i64,
    /// Fencing token of the claim.
    pub epoch: i64,
    /// When it was asked for: a quote that held then holds.
    pub asked_at: Timestamp,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its identifier.
    pub id: BatchId,
    /// Whose.
    pub owner: UserId,
    /// For which project.
    pub project: ProjectId,
    /// For people.
    pub name: String,
    /// What its quote said at most; nothing without a quote.
    pub quoted: Option<i64>,
    /// Since when.
    pub created_at: Timestamp,
}

/// How the items of a batch stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Neither a job nor refused yet.
    pub waiting: i64,
    /// Without a job.
    pub refused: i64,
    /// Jobs that are not over.
    pub under_way: i64,
    /// Jobs that have succeeded.
    pub succeeded: i64,
    /// Jobs that have failed.
    pub failed: i64,
    /// Jobs that were canceled.
    pub canceled: i64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.waiting + self.refused + self.under_way + self.succeeded + self.failed + self.canceled
    }
}

/// What the jobs of a batch hold and have spent, and the most that both may come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spending {
    /// Nothing: as much as there is.
    pub limit: Option<i64>,
    /// Put aside now.
    pub held: i64,
    /// Spent.
    pub captured: i64,
}

/// A batch as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The batch.
    pub batch: Batch,
    /// How its items stand.
    pub counts: Counts,
    /// What they cost.
    pub spending: Spending,
}

/// What became of an item so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItem {
    /// 0, 1, 2 … in the order of the request.
    pub position: i64,
    /// Its job.
    pub job: Option<JobId>,
    /// Why it has none; neither: it waits.
    pub refused: Option<Refused>,
}

/// What a batch may cost, and until when that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchQuote {
    /// Its identifier.
    pub id: BatchQuoteId,
    /// For each film its quote, or why there is none.
    pub items: Vec<Result<Quote, Refused>>,
    /// Until when a batch can be started with it.
    pub expires_at: Timestamp,
}

impl BatchQuote {
    /// Credits that it costs at least, if all of it is made.
    #[must_use]
    pub fn min_credits(&self) -> i64 {
        self.items.iter().flatten().map(Quote::min_credits).sum()
    }

    /// Credits that it never costs more than.
    #[must_use]
    pub fn max_credits(&self) -> i64 {
        self.items.iter().flatten().map(Quote::max_credits).sum()
    }
}

/// A stored quote of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredQuote {
    /// SHA-256 of the wishes.
    pub request_hash: Vec<u8>,
    /// For each film its quote, or nothing.
    pub items: Vec<Option<QuoteId>>,
    /// What all of them cost at most.
    pub max_credits: i64,
    /// Until when a batch can be started with it.
    pub expires_at: Timestamp,
}

/// A batch to be written down.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// The row.
    pub batch: Batch,
    /// Its items.
    pub items: Vec<Item>,
    /// The caller's key.
    pub idempotency_key: String,
    /// SHA-256 of the request.
    pub request_hash: Vec<u8>,
    /// The most that all of it may cost.
    pub budget: Option<i64>,
    /// Films of one owner that may wait.
    pub most_waiting: u32,
    /// The API key that asks for it: its films count for the key.
    pub by: Option<ApiKeyId>,
}

/// What a retry of a batch did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    /// How many items this call began again.
    pub count: u32,
    /// Failed items that stay as they are, and why.
    pub stay: Vec<(i64, Refused)>,
}

/// What became of a request for a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is written down; or it was, by the same request.
    Batch(Batch),
    /// The key came with another request.
    KeyReused,
}

/// An item that this node has taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Which one.
    pub place: Place,
    /// Whose.
    pub owner: UserId,
    /// What is asked for, as it is stored: a [`VideoWish`].
    pub wish: serde_json::Value,
    /// Was it refused before?
    pub again: bool,
    /// The API key that asked for it.
    pub by: Option<ApiKeyId>,
}

/// Why an item that was taken is no job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It never will be, and why.
    Refused(Refused),
    /// It is tried again after this time.
    Later(std::time::Duration),
}

/// What the films of a request are about, without their keys.
fn hash(wish: &BatchWish, whole: bool) -> Result<Vec<u8>, sql::Error> {
    let items: Vec<_> = wish.items.iter().map(|item| item.as_ref().ok()).collect();
    let more = whole.then_some((&wish.name, wish.max_credits, wish.quote));
    let text = serde_json::to_vec(&(wish.project, items, more))
        .map_err(|source| sql::Error::decode("wishes of a batch", source))?;
    Ok(Sha256::digest(text).to_vec())
}

impl Service {
    /// Writes down a batch. Its items become jobs, one after the other, whatever happens to this
    /// server.
    ///
    /// # Errors
    /// `Invalid` names fields of the whole; a repeated key answers the first batch. What is wrong
    /// with an item is told with the item.
    pub async fn begin_batch(&self, owner: UserId, wish: BatchWish) -> Result<Batch, Error> {
        let mut problems = self.check_batch(&wish);
        let key = problems.text("idempotencyKey", &wish.idempotency_key, 1, MAX_KEY);
        problems.into_result().map_err(Error::Invalid)?;
        let request_hash = hash(&wish, true)?;
        let database = self.database.for_user(owner);
        // Before anything that may have changed since: a repeat is answered all the same.
        if let Some((batch, hash)) = database.find_batch_by_key(owner, &key).await? {
            return match hash == request_hash {
                true => Ok(batch),
                false => Err(Error::KeyReused),
            };
        }
        if self.projects.find(owner, wish.project).await?.is_none() {
            return Err(Error::NotFound("project"));
        }
        let quoted = match wish.quote {
            Some(id) => Some(self.quoted(owner, id, &wish).await?),
            None => None,
        };
        let (own, most) = (
            wish.max_credits.map(i64::from),
            quoted.as_ref().map(|quoted| quoted.max_credits),
        );
        let mut items = wish.items;
        let quotes = quoted.into_iter().flat_map(|quoted| quoted.items);
        for (item, quote) in items.iter_mut().zip(quotes) {
            if let Ok(film) = item {
                film.quote = quote;
            }
        }
        let new = NewBatch {
            batch: Batch {
                id: BatchId::generate(),
                owner,
                project: wish.project,
                name: wish.name.trim().to_owned(),
                quoted: most,
                created_at: time::now(),
            },
            items,
            idempotency_key: key,
            request_hash,
            budget: own.into_iter().chain(most).min(),
            most_waiting: self.settings.batch_items * MAX_BATCHES_WAITING,
            by: wish.by,
        };
        match database.insert_batch(new).await? {
            Begun::Batch(batch) => Ok(batch),
            Begun::KeyReused => Err(Error::KeyReused),
        }
    }

    async fn quoted(
        &self,
        owner: UserId,
        id: BatchQuoteId,
        wish: &BatchWish,
    ) -> Result<StoredQuote, Error> {
        let refuse = |why: &str| Error::Invalid(Problems::one("quoteId", why));
        let found = self.database.find_batch_quote(owner, id).await?;
        let found = found.ok_or_else(|| refuse("is no quote of a batch of yours"))?;
        if found.request_hash != hash(wish, false)? {
            return Err(refuse(
                "was made for another request; ask for one with these fields",
            ));
        }
        if found.expires_at <= time::now() {
            return Err(refuse("has expired; ask for a new one"));
        }
        Ok(found)
    }

    /// What a batch may cost. Starts and spends nothing.
    ///
    /// # Errors
    /// As [`Service::begin_batch`].
    pub async fn quote_batch(&self, owner: UserId, wish: BatchWish) -> Result<BatchQuote, Error> {
        self.check_batch(&wish)
            .into_result()
            .map_err(Error::Invalid)?;
        if self.projects.find(owner, wish.project).await?.is_none() {
            return Err(Error::NotFound("project"));
        }
        let request_hash = hash(&wish, false)?;
        let mut items = Vec::with_capacity(wish.items.len());
        for item in wish.items {
            items.push(match item {
                Err(refused) => Err(refused),
                Ok(film) => match self.quote_video(owner, film).await {
                    Ok(quote) => Ok(quote),
                    Err(error) => Err(refusal(error)?),
                },
            });
        }
        let first_end = items.iter().flatten().map(|quote| quote.expires_at).min();
        let quote = BatchQuote {
            id: BatchQuoteId::generate(),
            items,
            expires_at: first_end.unwrap_or_else(time::now),
        };
        let stored = StoredQuote {
            request_hash,
            items: quote
                .items
                .iter()
                .map(|item| item.as_ref().ok().map(|quote| quote.id))
                .collect(),
            max_credits: quote.max_credits(),
            expires_at: quote.expires_at,
        };
        let database = self.database.for_user(owner);
        database.insert_batch_quote(owner, quote.id, stored).await?;
        Ok(quote)
    }

    /// A batch of the caller's, as it is now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_batch(&self, owner: UserId, id: BatchId) -> Result<Option<Standing>, Error> {
        let database = self.database.for_user(owner);
        let Some(batch) = database.find_batch(owner, id).await? else {
            return Ok(None);
        };
        Ok(database.standings(owner, vec![batch]).await?.pop())
    }

    /// A batch of the caller's that must be there.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get_batch(&self, owner: UserId, id: BatchId) -> Result<Standing, Error> {
        let found = self.find_batch(owner, id).await?;
        found.ok_or(Error::NotFound("batch"))
    }

    /// The caller's batches as they are now, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_batches(
        &self,
        owner: UserId,
        after: Option<BatchId>,
        first: u32,
    ) -> Result<Page<Standing>, Error> {
        let database = self.database.for_user(owner);
        let page = database.list_batches(owner, after, first).await?;
        Ok(Page {
            items: database.standings(owner, page.items).await?,
            more: page.more,
        })
    }

    /// What became of the items of a batch of the caller's, with their jobs: those behind a
    /// position.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn batch_items(
        &self,
        owner: UserId,
        id: BatchId,
        after: Option<i64>,
        first: u32,
    ) -> Result<Page<(BatchItem, Option<Job>)>, Error> {
        let database = self.database.for_user(owner);
        let page = database.batch_items(owner, id, after, first).await?;
        let ids: Vec<JobId> = page.items.iter().filter_map(|item| item.job).collect();
        let jobs = self.find_many(owner, &ids).await?;
        let mut jobs: HashMap<_, _> = jobs.into_iter().map(|job| (job.id, job)).collect();
        let with_job = |item: BatchItem| {
            let job = item.job.and_then(|id| jobs.remove(&id));
            (item, job)
        };
        Ok(Page {
            items: page.items.into_iter().map(with_job).collect(),
            more: page.more,
        })
    }

    /// Goes on with the items of a batch that have failed and may be tried again, or were refused
    /// for a reason that passes; all others stay as they are. The same key goes on with those
    /// that had failed when it first came, and with none twice.
    ///
    /// # Errors
    /// `Invalid`, `NotFound`.
    pub async fn retry_batch(
        &self,
        owner: UserId,
        id: BatchId,
        key: Option<&str>,
    ) -> Result<Retried, Error> {
        let mut problems = Problems::default();
        let key = key.map(|key| problems.text("idempotencyKey", key, 1, MAX_KEY));
        problems.into_result().map_err(Error::Invalid)?;
        self.get_batch(owner, id).await?;
        let database = self.database.for_user(owner);
        let asked_at = match key {
            Some(key) => database.note_batch_retry(owner, id, &key).await?,
            None => time::now(),
        };
        let mut retried = Retried {
            count: 0,
            stay: Vec::new(),
        };
        let items = self.batch_items(owner, id, None, MAX_ITEMS).await?.items;
        for (item, job) in items {
            let began = match (job, item.refused) {
                (Some(job), _) if failed_before(&job, asked_at) => {
                    match self.retry(owner, job.id, false).await {
                        Ok(_) => Ok(true),
                        Err(error) => Err(refusal(error)?),
                    }
                }
                (None, Some(refused)) if refused.reason == Reason::Canceled => Ok(false),
                (None, Some(refused)) if !refused.is_retryable() => Err(refused),
                (None, Some(_)) => {
                    let again = database.ask_batch_item_again(owner, id, item.position, asked_at);
                    Ok(again.await?)
                }
                _ => Ok(false),
            };
            match began {
                Ok(began) => retried.count += u32::from(began),
                Err(refused) => retried.stay.push((item.position, refused)),
            }
        }
        Ok(retried)
    }

    /// Asks all jobs of a batch to stop; items that wait become none.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cancel_batch(&self, owner: UserId, id: BatchId) -> Result<(), Error> {
        self.get_batch(owner, id).await?;
        let refused = Refused {
            reason: Reason::Canceled,
            message: "The batch was canceled.".to_owned(),
            field: None,
        };
        let database = self.database.for_user(owner);
        // An item becomes a job and names it in one transaction: after this each has a job that
        // can be stopped, or never gets one.
        database.refuse_waiting_items(owner, id, refused).await?;
        for (_, job) in self.batch_items(owner, id, None, MAX_ITEMS).await?.items {
            if let Some(job) = job.filter(|job| !job.status.is_final()) {
                self.cancel(owner, job.id).await?;
            }
        }
        Ok(())
    }

    /// What is wrong with the whole.
    fn check_batch(&self, wish: &BatchWish) -> Problems {
        let mut problems = Problems::default();
        problems.text("name", &wish.name, 0, MAX_NAME);
        let most = self.settings.batch_items;
        if wish.items.is_empty() {
            problems.add("items", "must not be empty");
        } else if wish.items.len() > most as usize {
            problems.add("items", format!("must be at most {most} films"));
        }
        problems
    }
}

/// Did it fail before somebody asked to go on with what had failed?
fn failed_before(job: &Job, asked_at: Timestamp) -> bool {
    job.status == JobStatus::Failed && job.completed_at.is_none_or(|failed| failed <= asked_at)
}

/// Why an item has no job; a database that failed is no reason.
pub(super) fn refusal(error: Error) -> Result<Refused, Error> {
    let (reason, message) = match error {
        Error::Invalid(problems) => return Ok(Refused::invalid(&problems)),
        Error::NotFound(what) => (Reason::NotFound, format!("There is no such {what}.")),
        Error::NoProvider(why) => (Reason::ProviderUnavailable, why),
        Error::InsufficientCredits(shortage) => (
            Reason::InsufficientCredits,
            format!(
                "This may cost {} credits; {} are available.",
                shortage.required, shortage.available
            ),
        ),
        Error::BudgetExceeded(overrun) => (
            Reason::BudgetExceeded,
            format!(
                "This may cost {} credits; of {} the others leave {}.",
                overrun.needed,
                overrun.budget.limit.words(),
                overrun.budget.remaining()
            ),
        ),
        error @ Error::Database(_) => return Err(error),
        Error::KeyReused => (
            Reason::InvalidInput,
            "The batch's own key was used for another film.".to_owned(),
        ),
        Error::Conflict(why) => (Reason::Conflict, why),
        Error::TooManyJobs(TooMany { limit, .. }) => (
            Reason::RateLimited,
            format!("{limit} jobs are under way, and no more may be."),
        ),
    };
    Ok(Refused {
        reason,
        message,
        field: None,
    })
}
