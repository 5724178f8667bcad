//! `JobEvent` and the two subscriptions that follow event logs.

use std::sync::Arc;

use async_graphql::{Context, Error, ID, Object, Subscription};
use futures::{Stream, StreamExt, future};

use super::{
    connection::{Connection, Named, decode_cursor, encode_cursor, page_size},
    context,
    enums::{JobEventType, StepKind},
    error,
    family::{Kin, Sightings},
    fields,
    job::Job,
    scalars::DateTime,
};
use crate::{adapters::sql, ids::JobId, jobs::model::Event};

pub(super) struct JobEvent(Arc<Event>);

/// Something that happened to a job. Events of a job are numbered without a gap; whoever
/// holds them all up to `seq` knows everything that was told until then.
#[Object(serial)]
impl JobEvent {
    /// The job that it is about.
    async fn job_id(&self) -> ID {
        self.0.job.into()
    }

    /// 1, 2, 3 … within the job, without a gap. Give the last one that was seen as `after`.
    async fn seq(&self) -> i64 {
        self.0.seq
    }

    /// What it tells.
    #[graphql(name = "type")]
    async fn kind(&self) -> JobEventType {
        self.0.body.event.into()
    }

    /// When it happened.
    async fn at(&self) -> DateTime {
        self.0.at.into()
    }

    /// The step that it is about; null for the whole job.
    async fn step(&self) -> Option<StepKind> {
        self.0.body.step.map(Into::into)
    }

    /// How much of the step is done, 0 to 1, with `STEP_PROGRESS`.
    async fn progress(&self) -> Option<f64> {
        self.0.body.progress
    }

    /// Plain words, in English.
    async fn message(&self) -> Option<&str> {
        self.0.body.message.as_deref()
    }

    /// More of the script's text, with `TEXT_DELTA`: append it to what came before.
    async fn text_delta(&self) -> Option<&str> {
        self.0.body.text_delta.as_deref()
    }

    /// The job as it was right after this event, or later.
    async fn job(&self, ctx: &Context<'_>) -> Result<Job, Error> {
        let services = context::services(ctx);
        let sightings = ctx.data_unchecked::<Sightings>();
        match sightings.job(services, &self.0).await {
            Ok(Some(kin)) => Ok(Job(kin)),
            Ok(None) => Err(error::not_found("job")),
            Err(failed) => Err(error::job(ctx, failed)),
        }
    }

    /// Its place among the events of all of the caller's jobs: for `myJobEvents(after)`.
    async fn cursor(&self) -> String {
        encode_cursor(Position(self.0.position))
    }
}

impl Named for JobEvent {
    const NAME: &'static str = "JobEvent";
}

/// A page of a job's log.
pub(super) type JobEventConnection = Connection<JobEvent>;

/// A page of a job's log.
pub(super) async fn page(
    ctx: &Context<'_>,
    kin: &Kin,
    after: Option<i32>,
    first: Option<i32>,
) -> Result<JobEventConnection, Error> {
    let first = page_size(first)?;
    let from = sequence(after)?;
    let page = kin.family.events(ctx, kin.row.id, from, first).await?;
    let entries = page
        .items
        .into_iter()
        .map(|event| (event.seq.to_string(), JobEvent(Arc::new(event))));
    Ok(Connection::new(entries, from > 0, page.more))
}

fn sequence(after: Option<i32>) -> Result<i64, Error> {
    match after.unwrap_or(0) {
        after @ 0.. => Ok(i64::from(after)),
        _ => Err(error::invalid_argument("after", "must be 0 or more")),
    }
}

/// A place in the log of everything, as a cursor shows it.
struct Position(i64);

impl std::fmt::Display for Position {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "evt_{}", self.0)
    }
}

impl std::str::FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let position = text.strip_prefix("evt_").ok_or(())?;
        match position.parse() {
            Ok(position @ 0..) => Ok(Self(position)),
            _ => Err(()),
        }
    }
}

#[derive(Default)]
pub(super) struct JobSubscriptions;

#[Subscription]
impl JobSubscriptions {
    /// The events of one job: first those behind `after`, then each as it happens. Ends after
    /// the final event. Whoever was cut off goes on with the last `seq` that was seen, and
    /// misses nothing and sees nothing twice. Also for tokens of `createJobToken`, for their job.
    async fn job_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job to follow, one of the caller's.")] job_id: ID,
        #[graphql(
            desc = "Number of the last event that was seen, 0 or more; without it, from the beginning."
        )]
        after: Option<i32>,
    ) -> Result<impl Stream<Item = Result<JobEvent, Error>>, Error> {
        let (user, only) = context::watcher(ctx)?;
        let job: JobId = fields::argument("jobId", &job_id)?;
        let after = sequence(after)?;
        if only.is_some_and(|only| only != job) {
            return Err(error::not_found("job"));
        }
        let events = context::services(ctx)
            .jobs
            .follow(user.id, job, after)
            .await
            .map_err(|failed| error::job(ctx, failed))?;
        Ok(told(ctx, events))
    }

    /// The events of all of the caller's jobs, present and future. Never ends by itself.
    async fn my_job_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The `cursor` of the last event that was seen; without it, only what happens from now on."
        )]
        after: Option<String>,
    ) -> Result<impl Stream<Item = Result<JobEvent, Error>>, Error> {
        let user = context::user(ctx)?;
        let after = decode_cursor("after", after.as_deref())?.map(|Position(position)| position);
        let events = context::services(ctx)
            .jobs
            .follow_all(user.id, after)
            .await
            .map_err(|failed| error::job(ctx, failed))?;
        Ok(told(ctx, events))
    }
}

/// Events as the schema tells them. A failure ends the stream: the client goes on with
/// `after`.
fn told(
    ctx: &Context<'_>,
    events: impl Stream<Item = Result<Arc<Event>, sql::Error>> + Send + 'static,
) -> impl Stream<Item = Result<JobEvent, Error>> + Send + 'static {
    let request_id = context::request_id(ctx);
    events
        .map(move |event| {
            event
                .map(JobEvent)
                .map_err(|failed| error::internal(&request_id, &failed))
        })
        .scan(false, |failed, event| {
            let before = std::mem::replace(failed, event.is_err());
            future::ready((!before).then_some(event))
        })
}
