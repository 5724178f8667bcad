//! Many films at once.

use async_graphql::{ComplexObject, Context, Enum, Error, ID, InputObject, Object, SimpleObject};

use super::{
    connection::{Connection, Named, decode_cursor, encode_cursor, page_cost, page_size},
    context,
    enums::{Aspect, SubtitleMode},
    error::{self, Refusal, settle},
    family::Kin,
    fields::{Fields, argument},
    job::Job,
    problems::{
        IdempotencyKeyReusedProblem, InvalidInputProblem, NotFoundProblem, RateLimitedProblem,
        TooManyJobsProblem, outcome,
    },
    quote::Quote,
    scalars::{DateTime, Json, Url},
};
use crate::{
    ids::{BatchId, BatchQuoteId, ProjectId, UserId},
    input::Problems,
    jobs::{
        batch::{self, BatchWish, Item, MAX_ITEMS, Reason, Refused, Standing},
        model,
        wish::{Program, VideoWish},
    },
    rates::Act,
};

/// Why an item of a batch has no job.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Reason")]
pub(super) enum BatchRefusalCode {
    /// A field cannot be taken.
    InvalidInput,
    /// Something that it names is not there.
    NotFound,
    /// No installed provider can make it; `retryBatch` tries again.
    ProviderUnavailable,
    /// There are too few credits; `retryBatch` tries again.
    InsufficientCredits,
    /// It would pass the batch's budget, or the project's; `retryBatch` tries again.
    BudgetExceeded,
    /// The caller has as many jobs under way as they may; `retryBatch` tries again.
    RateLimited,
    /// The state of its job does not allow it.
    Conflict,
    /// The batch was canceled before it began.
    Canceled,
}

/// Why an item of a batch has no job.
#[derive(SimpleObject)]
pub(super) struct BatchRefusal {
    /// The class.
    code: BatchRefusalCode,
    /// What is wrong, in English.
    message: String,
    /// The field of the item that is at fault; null when it is no single field.
    path: Option<Vec<String>>,
}

impl From<Refused> for BatchRefusal {
    fn from(refused: Refused) -> Self {
        Self {
            code: refused.reason.into(),
            message: refused.message,
            path: (refused.field).map(|field| field.split('.').map(str::to_owned).collect()),
        }
    }
}

/// One film of a batch. It waits while it has neither a job nor a refusal.
#[derive(SimpleObject)]
pub(super) struct BatchItem {
    /// 0, 1, 2 … in the order of the request, each shape of `aspects` counted.
    index: i32,
    /// Its job; null while it waits, or when it was refused.
    job: Option<Job>,
    /// Why it has no job; null when it has one, or waits.
    refusal: Option<BatchRefusal>,
}

/// How the films of a batch stand.
#[derive(SimpleObject)]
pub(super) struct BatchCounts {
    /// All of them.
    total: i64,
    /// Neither a job nor refused yet.
    waiting: i64,
    /// Without a job.
    refused: i64,
    /// Jobs that are queued or run, or wait for a decision.
    under_way: i64,
    /// Jobs that have succeeded.
    succeeded: i64,
    /// Jobs that have failed.
    failed: i64,
    /// Jobs that were canceled.
    canceled: i64,
}

impl From<batch::Counts> for BatchCounts {
    fn from(counts: batch::Counts) -> Self {
        Self {
            total: counts.total(),
            waiting: counts.waiting,
            refused: counts.refused,
            under_way: counts.under_way,
            succeeded: counts.succeeded,
            failed: counts.failed,
            canceled: counts.canceled,
        }
    }
}

/// What the films of a batch cost together. `held` and `captured` never pass `limit` together.
#[derive(SimpleObject)]
pub(super) struct BatchCredits {
    /// What the quote that it was started with says at most; null without one.
    quoted: Option<i64>,
    /// The most that all of it may cost: `maxCredits` or `quoted`, whichever is less; null where
    /// neither was given.
    limit: Option<i64>,
    /// Put aside now for jobs that are under way.
    held: i64,
    /// Spent.
    captured: i64,
}

/// Many films that were asked for at once. Each is a job of its own, or was refused.
#[derive(SimpleObject)]
#[graphql(complex, serial)]
pub(super) struct Batch {
    #[graphql(skip)]
    key: (UserId, BatchId),
    /// Opaque, begins with `bat_`.
    id: ID,
    /// For people; may be empty.
    name: String,
    /// The project of its films.
    project_id: ID,
    /// How its films stand.
    counts: BatchCounts,
    /// What its films cost together.
    credits: BatchCredits,
    /// Since when.
    created_at: DateTime,
}

impl From<Standing> for Batch {
    fn from(standing: Standing) -> Self {
        let Standing {
            batch,
            counts,
            spending,
        } = standing;
        Self {
            key: (batch.owner, batch.id),
            id: batch.id.into(),
            name: batch.name,
            project_id: batch.project.into(),
            counts: counts.into(),
            credits: BatchCredits {
                quoted: batch.quoted,
                limit: spending.limit,
                held: spending.held,
                captured: spending.captured,
            },
            created_at: batch.created_at.into(),
        }
    }
}

impl Named for Batch {
    const NAME: &'static str = "Batch";
}

impl Named for BatchItem {
    const NAME: &'static str = "BatchItem";
}

#[ComplexObject]
impl Batch {
    /// Its films, in the order of the request.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<BatchItem>, Error> {
        let (owner, id) = self.key;
        let first = page_size(first)?;
        let place = decode_cursor::<i64>("after", after.as_deref())?;
        let services = context::services(ctx);
        let page = services.jobs.batch_items(owner, id, place, first).await;
        let page = page.map_err(|failed| error::job(ctx, failed))?;
        let (items, rows): (Vec<_>, Vec<_>) = page.items.into_iter().unzip();
        let all: Vec<_> = rows.iter().flatten().cloned().collect();
        let mut jobs = Kin::together(services, owner, all);
        let entries = items.into_iter().zip(rows).map(|(item, row)| {
            let film = BatchItem {
                index: i32::try_from(item.position).unwrap_or(i32::MAX),
                job: row.and_then(|_| jobs.next()).map(Job),
                refusal: item.refused.map(Into::into),
            };
            (encode_cursor(item.position), film)
        });
        Ok(Connection::new(entries, after.is_some(), page.more))
    }
}

/// A film of a batch; several with the same words in several shapes.
#[derive(InputObject)]
pub(super) struct BatchItemInput {
    /// What is spoken, 1 to 20,000 characters; without it, a script is written first.
    script: Option<String>,
    /// Language of the script as a BCP 47 tag, for example `en` or `zh-CN`.
    language: String,
    /// Shapes of the picture: a film for each. They share script and voice, which are bought
    /// once.
    aspects: Vec<Aspect>,
    /// Only this provider makes the film.
    provider: Option<ID>,
    /// Never these providers for the film, at most 50.
    exclude_providers: Option<Vec<ID>>,
    /// An avatar of `avatars`; its provider then goes first.
    avatar_id: Option<ID>,
    /// Only this provider speaks; without it, the server chooses.
    voice_provider: Option<ID>,
    /// A voice of `voices`.
    voice_id: Option<ID>,
    /// Pictures to show, at most 9; without them, the project's.
    images: Option<Vec<Url>>,
    /// Longest length in seconds, 1 to 600.
    max_seconds: Option<i32>,
    /// What becomes of the subtitles; without it, `SIDECAR`.
    subtitles: Option<SubtitleMode>,
    /// The film provider's own options. Needs `provider`.
    options: Option<Json>,
    /// Whether what this project bought before is taken over.
    #[graphql(default = true)]
    reuse: bool,
}

/// Films to make at once.
#[derive(InputObject)]
pub(super) struct GenerateVideosInput {
    /// The project whose product they show.
    project_id: ID,
    /// For people, at most 200 characters.
    name: Option<String>,
    /// The films: 1 to 200, each shape counted. What is wrong with one hinders no other.
    items: Vec<BatchItemInput>,
    /// The caller's own key for this request, 1 to 255 characters. Sending the same request
    /// again with the same key answers the first batch and starts nothing.
    idempotency_key: String,
    /// When they have to be done, at most seven days ahead.
    deadline: Option<DateTime>,
    /// A public `https` address that is told, as a webhook, of each job's end.
    webhook_url: Option<Url>,
    /// The most that all of them may cost together, in credits.
    max_credits: Option<i32>,
    /// A quote of `quoteVideos` for these very films: together they never cost more.
    quote_id: Option<ID>,
}

/// A batch to go on with.
#[derive(InputObject)]
pub(super) struct RetryBatchInput {
    /// Which batch.
    batch_id: ID,
    /// The caller's own key for this request, 1 to 255 characters. Sent again, it goes on with
    /// those that had failed when it first came, and with none of them twice.
    idempotency_key: Option<String>,
}

/// A batch to stop.
#[derive(InputObject)]
pub(super) struct CancelBatchInput {
    /// Which batch.
    batch_id: ID,
}

/// What a film of a batch may cost.
#[derive(SimpleObject)]
pub(super) struct BatchQuoteItem {
    /// 0, 1, 2 … in the order of the request, each shape counted.
    index: i32,
    /// What it may cost; null when it would be refused.
    quote: Option<Quote>,
    /// Why it would be refused.
    refusal: Option<BatchRefusal>,
}

/// What films may cost together. Nothing is started or spent.
#[derive(SimpleObject)]
pub(super) struct BatchQuote {
    /// For `quoteId` of `generateVideos`; begins with `bqt_`.
    id: ID,
    /// Credits that they cost at least.
    min_credits: i64,
    /// Credits that they never cost more than, whatever prices do.
    max_credits: i64,
    /// Until when a batch can be started with it.
    expires_at: DateTime,
    /// Each film.
    items: Vec<BatchQuoteItem>,
}

/// The batch is written down.
#[derive(SimpleObject)]
pub(super) struct GenerateVideosSuccess {
    /// The batch; its films become jobs one after the other.
    batch: Batch,
}

/// The price is known.
#[derive(SimpleObject)]
pub(super) struct QuoteVideosSuccess {
    /// The quote.
    quote: BatchQuote,
}

/// What may be tried again is.
#[derive(SimpleObject)]
pub(super) struct RetryBatchSuccess {
    /// The batch as it is now.
    batch: Batch,
    /// How many of its films this call has begun again.
    retried: u32,
    /// Its failed and refused films that are not tried again, and why.
    not_retried: Vec<NotRetried>,
}

/// A film of a batch that is not tried again.
#[derive(SimpleObject)]
pub(super) struct NotRetried {
    /// Which film.
    index: i64,
    /// Why.
    refusal: BatchRefusal,
}

/// Nothing more of it is begun.
#[derive(SimpleObject)]
pub(super) struct CancelBatchSuccess {
    /// The batch.
    batch: Batch,
}

outcome!(
    /// What became of `generateVideos`.
    GenerateVideosResult =
        GenerateVideosSuccess
            | InvalidInput(InvalidInputProblem)
            | NotFound(NotFoundProblem)
            | IdempotencyKeyReused(IdempotencyKeyReusedProblem)
            | RateLimited(RateLimitedProblem)
            | TooManyJobs(TooManyJobsProblem)
);

outcome!(
    /// What became of `quoteVideos`.
    QuoteVideosResult = QuoteVideosSuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
);

outcome!(
    /// What became of `retryBatch`.
    RetryBatchResult = RetryBatchSuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
);

outcome!(
    /// What became of `cancelBatch`.
    CancelBatchResult = CancelBatchSuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
);

/// What all films of a request have in common.
struct Shared {
    project: ProjectId,
    deadline: Option<crate::time::Timestamp>,
    webhook_url: Option<url::Url>,
    only: Option<Vec<String>>,
}

impl BatchItemInput {
    /// A film for each shape, or what is wrong, once for each.
    fn films(self, shared: &Shared) -> Vec<Item> {
        if self.aspects.is_empty() {
            let problems = Problems::one("aspects", "must not be empty");
            return vec![Err(Refused::invalid(&problems))];
        }
        let aspects = self.aspects.clone();
        match self.read(shared) {
            Ok(film) => aspects
                .into_iter()
                .map(|aspect| {
                    let aspect = aspect.into();
                    Ok(VideoWish {
                        aspect,
                        ..film.clone()
                    })
                })
                .collect(),
            Err(refused) => aspects.iter().map(|_| Err(refused.clone())).collect(),
        }
    }

    fn read(self, shared: &Shared) -> Result<VideoWish, Refused> {
        let mut fields = Fields::default();
        let film = VideoWish {
            project: shared.project,
            script: self.script,
            language: self.language,
            aspect: model::Aspect::Portrait,
            provider: fields.provider("provider", self.provider),
            exclude: fields.providers("excludeProviders", self.exclude_providers),
            avatar: fields.item("avatarId", self.avatar_id),
            voice_provider: fields.provider("voiceProvider", self.voice_provider),
            voice: fields.item("voiceId", self.voice_id),
            images: fields.links("images", self.images.unwrap_or_default()),
            max_seconds: Fields::count(self.max_seconds),
            subtitles: self
                .subtitles
                .map_or(model::SubtitleMode::Sidecar, Into::into),
            options: self.options.map(|Json(options)| options),
            buy_again: !self.reuse,
            // Each film gets one of its own when it becomes a job; a quote needs none.
            idempotency_key: "batch".to_owned(),
            deadline: shared.deadline,
            webhook_url: shared.webhook_url.clone(),
            notification_email: None,
            max_credits: None,
            quote: None,
            only: shared.only.clone(),
            place: None,
            by: None,
        };
        match fields.problems() {
            Some(problems) => Err(Refused::invalid(&problems)),
            None => Ok(film),
        }
    }
}

impl GenerateVideosInput {
    fn wish(self, program: Program) -> Result<BatchWish, Refusal> {
        let mut fields = Fields::default();
        let project = fields.id::<ProjectId>("projectId", &self.project_id);
        let deadline = fields.instant("deadline", self.deadline);
        let webhook_url = fields.link("webhookUrl", self.webhook_url);
        let quote = fields.optional_id::<BatchQuoteId>("quoteId", self.quote_id);
        let project = fields.finish_with(project)?;
        let shared = Shared {
            project,
            deadline,
            webhook_url,
            only: program.only,
        };
        let items = self.items.into_iter().take(MAX_ITEMS as usize + 1);
        let items = items.flat_map(|item| item.films(&shared)).collect();
        Ok(BatchWish {
            project,
            name: self.name.unwrap_or_default(),
            items,
            idempotency_key: self.idempotency_key,
            max_credits: Fields::count(self.max_credits),
            quote,
            by: program.key,
        })
    }
}

fn batch_id(id: &ID) -> Result<BatchId, Refusal> {
    let mut fields = Fields::default();
    let id = fields.id("batchId", id);
    fields.finish_with(id)
}

#[derive(Default)]
pub(super) struct BatchQueries;

#[Object]
impl BatchQueries {
    /// One of the caller's batches; null when there is no such one.
    async fn batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which batch.")] id: ID,
    ) -> Result<Option<Batch>, Error> {
        let user = context::user(ctx)?;
        let id = argument::<BatchId>("id", &id)?;
        let found = context::services(ctx).jobs.find_batch(user.id, id).await;
        let found = found.map_err(|failed| error::job(ctx, failed))?;
        Ok(found.map(Into::into))
    }

    /// The caller's batches, newest first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn batches(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<Batch>, Error> {
        let user = context::user(ctx)?;
        let first = page_size(first)?;
        let place = decode_cursor::<BatchId>("after", after.as_deref())?;
        let page = context::services(ctx)
            .jobs
            .list_batches(user.id, place, first);
        let page = page.await.map_err(|failed| error::job(ctx, failed))?;
        let entries = (page.items.into_iter()).map(|row| (encode_cursor(row.batch.id), row.into()));
        Ok(Connection::new(entries, after.is_some(), page.more))
    }
}

#[derive(Default)]
pub(super) struct BatchMutations;

#[Object]
impl BatchMutations {
    /// Asks for many films at once, with one budget. Once this answers, the batch survives any
    /// failure of the server; its films become jobs one after the other.
    async fn generate_videos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The films.")] input: GenerateVideosInput,
    ) -> Result<GenerateVideosResult, Error> {
        let user = context::user(ctx)?;
        let begun = async {
            let wish = input.wish(context::program(ctx))?;
            let jobs = &context::services(ctx).jobs;
            let batch = jobs.begin_batch(user.id, wish).await?;
            let batch = jobs.get_batch(user.id, batch.id).await?.into();
            Ok(GenerateVideosSuccess { batch }.into())
        };
        let begun = context::counted(ctx, Act::Generate, begun).await;
        settle(ctx, begun)
    }

    /// Says what many films may cost together. Starts and spends nothing.
    async fn quote_videos(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The films.")] input: GenerateVideosInput,
    ) -> Result<QuoteVideosResult, Error> {
        let user = context::user(ctx)?;
        let quoted = async {
            let wish = input.wish(context::program(ctx))?;
            let row = context::services(ctx)
                .jobs
                .quote_batch(user.id, wish)
                .await?;
            let (min_credits, max_credits) = (row.min_credits(), row.max_credits());
            let items = (0_i32..).zip(row.items).map(|(index, item)| {
                let (quote, refused) = match item {
                    Ok(quote) => (Some(quote.into()), None),
                    Err(refused) => (None, Some(refused.into())),
                };
                BatchQuoteItem {
                    index,
                    quote,
                    refusal: refused,
                }
            });
            let quote = BatchQuote {
                id: row.id.to_string().into(),
                min_credits,
                max_credits,
                expires_at: row.expires_at.into(),
                items: items.collect(),
            };
            Ok(QuoteVideosSuccess { quote }.into())
        };
        settle(ctx, quoted.await)
    }

    /// Goes on with the films of a batch that have failed and may be tried again, or were refused
    /// for a reason that may have passed. All others stay as they are.
    /// Not for API keys: what it costs would not be the key's.
    async fn retry_batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which batch.")] input: RetryBatchInput,
    ) -> Result<RetryBatchResult, Error> {
        let user = context::person(ctx)?;
        let retried = async {
            let id = batch_id(&input.batch_id)?;
            let jobs = &context::services(ctx).jobs;
            let retried = jobs
                .retry_batch(user.id, id, input.idempotency_key.as_deref())
                .await?;
            let not_retried = retried.stay.into_iter().map(|(index, refused)| NotRetried {
                index,
                refusal: refused.into(),
            });
            let success = RetryBatchSuccess {
                batch: jobs.get_batch(user.id, id).await?.into(),
                retried: retried.count,
                not_retried: not_retried.collect(),
            };
            Ok(success.into())
        };
        settle(ctx, retried.await)
    }

    /// Asks all jobs of a batch to stop; films that wait are not begun.
    async fn cancel_batch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which batch.")] input: CancelBatchInput,
    ) -> Result<CancelBatchResult, Error> {
        let user = context::user(ctx)?;
        let canceled = async {
            let id = batch_id(&input.batch_id)?;
            let jobs = &context::services(ctx).jobs;
            jobs.cancel_batch(user.id, id).await?;
            let batch = jobs.get_batch(user.id, id).await?.into();
            Ok(CancelBatchSuccess { batch }.into())
        };
        settle(ctx, canceled.await)
    }
}
