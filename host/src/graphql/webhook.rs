//! Webhooks of users: endpoints, deliveries and what is done with them.

use async_graphql::{ComplexObject, Context, Enum, Error, ID, InputObject, Object, SimpleObject};

use super::{
    connection::{Connection, Named, decode_cursor, encode_cursor, page_cost, page_size},
    context,
    error::{self, Refusal, settle},
    fields::{Fields, argument},
    problems::{ConflictProblem, InvalidInputProblem, NotFoundProblem, outcome},
    scalars::{DateTime, Url},
};
use crate::{
    ids::{DeliveryId, EndpointId, UserId},
    webhooks::{self, Change, Draft, Kind},
};

/// What a webhook tells. Its body's `type` is the word that each names.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Kind")]
pub(super) enum WebhookEventType {
    /// `job.queued`: a job was accepted.
    JobQueued,
    /// `job.started`: work at it began.
    JobStarted,
    /// `job.succeeded`: its results are there.
    JobSucceeded,
    /// `job.failed`: it ended without a result.
    JobFailed,
    /// `job.canceled`: it was stopped.
    JobCanceled,
    /// `job.unconfirmed`: it waits for `retryJob` or `cancelJob`.
    JobUnconfirmed,
    /// `job.retried`: its owner goes on with it after a failure.
    JobRetried,
    /// `webhook.test`: somebody tries the endpoint with `sendTestWebhook`.
    #[graphql(name = "WEBHOOK_TEST")]
    Test,
}

/// Why nothing is sent to an endpoint.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "webhooks::DisabledReason")]
pub(super) enum WebhookDisabledReason {
    /// Its owner said so.
    Owner,
    /// It answered 410 Gone.
    Gone,
    /// For days, five by default, nothing arrived.
    Failing,
}

/// Where a delivery stands.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "webhooks::DeliveryStatus")]
pub(super) enum WebhookDeliveryStatus {
    /// To be tried, for the first time or again.
    Pending,
    /// It arrived: the receiver answered with a status of 200 to 299.
    Succeeded,
    /// All attempts failed.
    Exhausted,
    /// The endpoint was deleted or disabled.
    Canceled,
}

/// Where webhooks are sent. The form is that of Standard Webhooks.
#[derive(SimpleObject)]
#[graphql(complex, serial)]
pub(super) struct WebhookEndpoint {
    #[graphql(skip)]
    key: (UserId, EndpointId),
    /// Opaque, begins with `whe_`.
    id: ID,
    /// The address; null for the endpoint that signs what goes to the addresses that jobs name
    /// as `webhookUrl`.
    url: Option<Url>,
    /// What it hears.
    event_types: Vec<WebhookEventType>,
    /// For people.
    description: String,
    /// Is anything sent to it?
    enabled: bool,
    /// Why not; null while it is enabled.
    disabled_reason: Option<WebhookDisabledReason>,
    /// Since when not; null while it is enabled.
    disabled_at: Option<DateTime>,
    /// Since when nothing arrives; null while the last attempt arrived.
    failing_since: Option<DateTime>,
    /// Until when the secret before the last rotation signs too; null when there is none.
    previous_secret_until: Option<DateTime>,
    /// Since when it is there.
    created_at: DateTime,
}

impl From<webhooks::Endpoint> for WebhookEndpoint {
    fn from(row: webhooks::Endpoint) -> Self {
        let (at, why) = row.disabled.unzip();
        Self {
            id: row.id.into(),
            url: row.url.map(Url::trusted),
            event_types: row.events.iter().map(|kind| (*kind).into()).collect(),
            description: row.description,
            enabled: row.disabled.is_none(),
            disabled_reason: why.map(Into::into),
            disabled_at: at.map(Into::into),
            failing_since: row.failing_since.map(Into::into),
            previous_secret_until: row.previous.map(|(_, until)| until.into()),
            created_at: row.created_at.into(),
            key: (row.owner, row.id),
        }
    }
}

impl Named for WebhookEndpoint {
    const NAME: &'static str = "WebhookEndpoint";
}

#[ComplexObject]
impl WebhookEndpoint {
    /// What was sent to it and what is to be sent, newest first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<WebhookDelivery>, Error> {
        let first = page_size(first)?;
        let place = decode_cursor::<DeliveryId>("after", after.as_deref())?;
        let (owner, id) = self.key;
        let service = &context::services(ctx).webhooks;
        let page = service.deliveries(owner, id, place, first).await;
        let page = page.map_err(|failed| error::webhook(ctx, failed))?;
        let ids: Vec<_> = page.items.iter().map(|row| row.id).collect();
        let attempts = service.attempts(owner, &ids).await;
        let mut attempts = attempts.map_err(|failed| error::webhook(ctx, failed))?;
        let entries = page.items.into_iter().map(|row| {
            let attempts = attempts.remove(&row.id).unwrap_or_default();
            (encode_cursor(row.id), WebhookDelivery::new(row, attempts))
        });
        Ok(Connection::new(entries, after.is_some(), page.more))
    }
}

/// A message on its way to one endpoint.
#[derive(SimpleObject)]
pub(super) struct WebhookDelivery {
    /// Opaque, begins with `whd_`.
    id: ID,
    /// The message, begins with `msg_`: the header `webhook-id`, the same at every attempt.
    message_id: ID,
    /// What it tells.
    event_type: WebhookEventType,
    /// The job that it is about; null for a test.
    job_id: Option<ID>,
    /// Where it stands.
    status: WebhookDeliveryStatus,
    /// When it is tried (again); null when it is not.
    next_attempt_at: Option<DateTime>,
    /// When it was written down.
    created_at: DateTime,
    /// When it came to rest; null while it has not.
    completed_at: Option<DateTime>,
    /// The latest attempts, at most 30, the oldest first.
    attempts: Vec<WebhookAttempt>,
}

/// One request to an endpoint.
#[derive(SimpleObject)]
pub(super) struct WebhookAttempt {
    /// When it began.
    at: DateTime,
    /// How long it took, in milliseconds.
    duration_ms: i32,
    /// The answer's HTTP status; null when there was no answer.
    status: Option<i32>,
    /// Why there was no answer; null when there was one.
    error: Option<String>,
    /// The beginning of the answer, at most 1 kB.
    response: String,
}

impl From<webhooks::Attempt> for WebhookAttempt {
    fn from(row: webhooks::Attempt) -> Self {
        Self {
            at: row.at.into(),
            duration_ms: i32::try_from(row.duration_ms).unwrap_or(i32::MAX),
            status: row.status.map(i32::from),
            error: row.error,
            response: row.response,
        }
    }
}

impl WebhookDelivery {
    fn new(row: webhooks::Delivery, attempts: Vec<webhooks::Attempt>) -> Self {
        Self {
            id: row.id.into(),
            message_id: row.message.into(),
            event_type: row.kind.into(),
            job_id: row.job.map(Into::into),
            status: row.status.into(),
            next_attempt_at: row.due_at.map(Into::into),
            created_at: row.created_at.into(),
            completed_at: row.completed_at.map(Into::into),
            attempts: attempts.into_iter().map(Into::into).collect(),
        }
    }
}

impl Named for WebhookDelivery {
    const NAME: &'static str = "WebhookDelivery";
}

#[derive(Default)]
pub(super) struct WebhookQueries;

#[Object]
impl WebhookQueries {
    /// One of the caller's endpoints; null when there is no such one.
    async fn webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] id: ID,
    ) -> Result<Option<WebhookEndpoint>, Error> {
        let user = context::user(ctx)?;
        let id = argument::<EndpointId>("id", &id)?;
        let found = context::services(ctx).webhooks.find(user.id, id).await;
        let found = found.map_err(|failed| error::webhook(ctx, failed))?;
        Ok(found.map(Into::into))
    }

    /// The caller's endpoints, newest first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn webhook_endpoints(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<WebhookEndpoint>, Error> {
        let user = context::user(ctx)?;
        let first = page_size(first)?;
        let place = decode_cursor::<EndpointId>("after", after.as_deref())?;
        let page = context::services(ctx).webhooks.list(user.id, place, first);
        let page = page.await.map_err(|failed| error::webhook(ctx, failed))?;
        let entries = (page.items.into_iter()).map(|row| (encode_cursor(row.id), row.into()));
        Ok(Connection::new(entries, after.is_some(), page.more))
    }

    /// The secret that signs the webhooks of jobs' own addresses (`webhookUrl`): one for each
    /// user, made when it is asked for first. `rotateWebhookSecret` replaces it.
    async fn job_webhook_secret(&self, ctx: &Context<'_>) -> Result<JobWebhookSecret, Error> {
        let user = context::user(ctx)?;
        let row = context::services(ctx).webhooks.of_jobs(user.id).await;
        let (row, secret) = row.map_err(|failed| error::webhook(ctx, failed))?;
        let secret = secret.expose().to_owned();
        let endpoint = row.into();
        Ok(JobWebhookSecret { endpoint, secret })
    }
}

/// An endpoint to add.
#[derive(InputObject)]
pub(super) struct CreateWebhookEndpointInput {
    /// The address: public, `https`, port 443 or 8443.
    url: Url,
    /// What it hears; without it, when a job has succeeded, failed, been canceled, or waits for
    /// a decision.
    event_types: Option<Vec<WebhookEventType>>,
    /// For people, at most 200 characters.
    description: Option<String>,
}

/// Changes of an endpoint. What is left out or null stays as it is.
#[derive(InputObject)]
pub(super) struct UpdateWebhookEndpointInput {
    /// Which endpoint.
    endpoint_id: ID,
    /// The address; what is still to be sent goes there too.
    url: Option<Url>,
    /// What it hears.
    event_types: Option<Vec<WebhookEventType>>,
    /// For people, at most 200 characters.
    description: Option<String>,
    /// Is anything sent to it? `false` ends deliveries under way as `CANCELED`; `true` also
    /// takes back an endpoint that the server has disabled. What happened in between is not
    /// sent by itself: use `redeliverWebhook`.
    enabled: Option<bool>,
}

/// An endpoint to delete.
#[derive(InputObject)]
pub(super) struct DeleteWebhookEndpointInput {
    /// Which endpoint.
    endpoint_id: ID,
}

/// An endpoint whose secret is to be replaced.
#[derive(InputObject)]
pub(super) struct RotateWebhookSecretInput {
    /// Which endpoint; the one of `jobWebhookSecret` too.
    endpoint_id: ID,
}

/// An endpoint to try.
#[derive(InputObject)]
pub(super) struct SendTestWebhookInput {
    /// Which endpoint.
    endpoint_id: ID,
}

/// A delivery to begin anew.
#[derive(InputObject)]
pub(super) struct RedeliverWebhookInput {
    /// Which delivery.
    delivery_id: ID,
}

/// The endpoint was added.
#[derive(SimpleObject)]
pub(super) struct CreateWebhookEndpointSuccess {
    /// The new endpoint.
    endpoint: WebhookEndpoint,
    /// What signs: `whsec_` and base64. Shown only now; keep it.
    secret: String,
}

/// The endpoint was changed.
#[derive(SimpleObject)]
pub(super) struct UpdateWebhookEndpointSuccess {
    /// The endpoint as it is now.
    endpoint: WebhookEndpoint,
}

/// Nothing is sent there any more.
#[derive(SimpleObject)]
pub(super) struct DeleteWebhookEndpointSuccess {
    /// Id of the endpoint that was deleted.
    deleted_endpoint_id: ID,
}

/// The endpoint has a new secret.
#[derive(SimpleObject)]
pub(super) struct RotateWebhookSecretSuccess {
    /// The endpoint; `previousSecretUntil` says how long the old secret signs too.
    endpoint: WebhookEndpoint,
    /// The new secret. Shown only now; keep it.
    secret: String,
}

/// What signs the webhooks of jobs' own addresses.
#[derive(SimpleObject)]
pub(super) struct JobWebhookSecret {
    /// The endpoint that stands for all those addresses; its deliveries are theirs.
    endpoint: WebhookEndpoint,
    /// The secret.
    secret: String,
}

/// The test is on its way.
#[derive(SimpleObject)]
pub(super) struct SendTestWebhookSuccess {
    /// Its delivery.
    delivery: WebhookDelivery,
}

/// The delivery begins anew.
#[derive(SimpleObject)]
pub(super) struct RedeliverWebhookSuccess {
    /// The delivery, with the same `messageId` as before.
    delivery: WebhookDelivery,
}

outcome!(
    /// What became of `createWebhookEndpoint`.
    CreateWebhookEndpointResult = CreateWebhookEndpointSuccess
        | InvalidInput(InvalidInputProblem)
        | Conflict(ConflictProblem)
);

outcome!(
    /// What became of `updateWebhookEndpoint`.
    UpdateWebhookEndpointResult = UpdateWebhookEndpointSuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
        | Conflict(ConflictProblem)
);

outcome!(
    /// What became of `deleteWebhookEndpoint`.
    DeleteWebhookEndpointResult = DeleteWebhookEndpointSuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
        | Conflict(ConflictProblem)
);

outcome!(
    /// What became of `rotateWebhookSecret`.
    RotateWebhookSecretResult = RotateWebhookSecretSuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
);

outcome!(
    /// What became of `sendTestWebhook`.
    SendTestWebhookResult = SendTestWebhookSuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
        | Conflict(ConflictProblem)
);

outcome!(
    /// What became of `redeliverWebhook`.
    RedeliverWebhookResult = RedeliverWebhookSuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
        | Conflict(ConflictProblem)
);

fn endpoint_id(id: &ID) -> Result<EndpointId, Refusal> {
    let mut fields = Fields::default();
    let id = fields.id("endpointId", id);
    fields.finish_with(id)
}

fn kinds(types: Option<Vec<WebhookEventType>>) -> Option<Vec<Kind>> {
    types.map(|types| types.into_iter().map(Into::into).collect())
}

#[derive(Default)]
pub(super) struct WebhookMutations;

#[Object]
impl WebhookMutations {
    /// Adds an endpoint for webhooks of all of the caller's jobs.
    async fn create_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The endpoint.")] input: CreateWebhookEndpointInput,
    ) -> Result<CreateWebhookEndpointResult, Error> {
        let user = context::user(ctx)?;
        let created = async {
            let mut fields = Fields::default();
            let url = fields.link("url", Some(input.url));
            fields.finish()?;
            let draft = Draft {
                url,
                events: kinds(input.event_types),
                description: input.description,
            };
            let service = &context::services(ctx).webhooks;
            let (row, secret) = service.create(user.id, draft).await?;
            let secret = secret.expose().to_owned();
            let endpoint = row.into();
            Ok(CreateWebhookEndpointSuccess { endpoint, secret }.into())
        };
        settle(ctx, created.await)
    }

    /// Changes an endpoint, or switches it on and off.
    async fn update_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint, and what changes.")] input: UpdateWebhookEndpointInput,
    ) -> Result<UpdateWebhookEndpointResult, Error> {
        let user = context::user(ctx)?;
        let updated = async {
            let mut fields = Fields::default();
            let id = fields.id::<EndpointId>("endpointId", &input.endpoint_id);
            let url = fields.link("url", input.url);
            let id = fields.finish_with(id)?;
            let change = Change {
                url,
                events: kinds(input.event_types),
                description: input.description,
                enabled: input.enabled,
            };
            let service = &context::services(ctx).webhooks;
            let endpoint = service.update(user.id, id, change).await?.into();
            Ok(UpdateWebhookEndpointSuccess { endpoint }.into())
        };
        settle(ctx, updated.await)
    }

    /// Deletes an endpoint. What is under way to it is given up.
    async fn delete_webhook_endpoint(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] input: DeleteWebhookEndpointInput,
    ) -> Result<DeleteWebhookEndpointResult, Error> {
        let user = context::user(ctx)?;
        let deleted = async {
            let id = endpoint_id(&input.endpoint_id)?;
            context::services(ctx).webhooks.delete(user.id, id).await?;
            let deleted_endpoint_id = id.into();
            Ok(DeleteWebhookEndpointSuccess {
                deleted_endpoint_id,
            }
            .into())
        };
        settle(ctx, deleted.await)
    }

    /// Gives an endpoint a new secret. For 24 hours each webhook has two signatures, one of the
    /// new secret and one of the old; then only the new one signs.
    async fn rotate_webhook_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] input: RotateWebhookSecretInput,
    ) -> Result<RotateWebhookSecretResult, Error> {
        let user = context::user(ctx)?;
        let rotated = async {
            let id = endpoint_id(&input.endpoint_id)?;
            let (row, secret) = context::services(ctx).webhooks.rotate(user.id, id).await?;
            let secret = secret.expose().to_owned();
            let endpoint = row.into();
            Ok(RotateWebhookSecretSuccess { endpoint, secret }.into())
        };
        settle(ctx, rotated.await)
    }

    /// Sends a `webhook.test` to an endpoint, whatever it hears.
    async fn send_test_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which endpoint.")] input: SendTestWebhookInput,
    ) -> Result<SendTestWebhookResult, Error> {
        let user = context::user(ctx)?;
        let sent = async {
            let id = endpoint_id(&input.endpoint_id)?;
            let row = context::services(ctx).webhooks.test(user.id, id).await?;
            let delivery = WebhookDelivery::new(row, Vec::new());
            Ok(SendTestWebhookSuccess { delivery }.into())
        };
        settle(ctx, sent.await)
    }

    /// Begins a delivery anew, whether it arrived before or not.
    async fn redeliver_webhook(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which delivery.")] input: RedeliverWebhookInput,
    ) -> Result<RedeliverWebhookResult, Error> {
        let user = context::user(ctx)?;
        let begun = async {
            let mut fields = Fields::default();
            let id = fields.id::<DeliveryId>("deliveryId", &input.delivery_id);
            let id = fields.finish_with(id)?;
            let service = &context::services(ctx).webhooks;
            let row = service.redeliver(user.id, id).await?;
            let mut attempts = service.attempts(user.id, &[id]).await?;
            let attempts = attempts.remove(&id).unwrap_or_default();
            let delivery = WebhookDelivery::new(row, attempts);
            Ok(RedeliverWebhookSuccess { delivery }.into())
        };
        settle(ctx, begun.await)
    }
}
