//! API keys of the caller's.

use async_graphql::{Context, Enum, Error, ID, InputObject, Object, SimpleObject};

use super::{
    budget::{BudgetPeriod, ProjectBudget},
    connection::{Connection, Named, decode_cursor, encode_cursor, page_cost, page_size},
    context,
    error::{self, settle},
    fields::Fields,
    problems::{ConflictProblem, InvalidInputProblem, NotFoundProblem, outcome},
    scalars::DateTime,
};
use crate::{
    accounts::keys::{self, KeyLimits, KeyWish, Scope},
    billing::budget::Limit,
    ids::ApiKeyId,
};

/// What a program of the caller's signs in with: `Authorization: Bearer gv_key_…`. What signs in was
/// shown once, by `createApiKey`.
#[derive(SimpleObject)]
pub(super) struct ApiKey {
    /// Opaque, begins with `key_`. It signs nobody in.
    id: ID,
    /// For people.
    name: String,
    /// The last four characters of what signs in.
    hint: String,
    /// What it may be used for.
    scopes: Vec<ApiKeyScope>,
    /// The only providers that its jobs may use, whatever the step; null: all.
    providers: Option<Vec<ID>>,
    /// Most of its jobs that are not over; null: as many as the user may have.
    max_jobs_in_flight: Option<i64>,
    /// What its jobs may cost together; null: there is no budget.
    budget: Option<ProjectBudget>,
    /// Since when.
    created_at: DateTime,
    /// Until when it signs in; null: until it is revoked.
    expires_at: Option<DateTime>,
    /// When it was revoked.
    revoked_at: Option<DateTime>,
    /// When it was used last, to the minute; null: never.
    last_used_at: Option<DateTime>,
}

impl From<keys::ApiKey> for ApiKey {
    fn from(key: keys::ApiKey) -> Self {
        Self {
            id: key.id.into(),
            name: key.name,
            hint: key.hint,
            scopes: (key.scopes.as_deref().unwrap_or(Scope::ALL).iter())
                .map(|scope| (*scope).into())
                .collect(),
            providers: (key.providers)
                .map(|providers| providers.into_iter().map(ID::from).collect()),
            max_jobs_in_flight: key.in_flight.map(i64::from),
            budget: key.budget.map(Into::into),
            created_at: key.created_at.into(),
            expires_at: key.expires_at.map(Into::into),
            revoked_at: key.revoked_at.map(Into::into),
            last_used_at: key.last_used_at.map(Into::into),
        }
    }
}

impl Named for ApiKey {
    const NAME: &'static str = "ApiKey";
}

/// What an API key may be used for. Whatever its scopes, it manages no keys and no account.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "keys::Scope")]
pub(super) enum ApiKeyScope {
    /// Look at everything of its user's, and follow jobs.
    Read,
    /// Change projects, and send pictures for them.
    Projects,
    /// Quote, start and stop jobs and batches.
    Generate,
    /// Change webhook endpoints, and send what was sent again.
    Webhooks,
    /// Open pages where credits are bought.
    Billing,
}

/// An API key to make.
#[derive(InputObject)]
pub(super) struct CreateApiKeyInput {
    /// For people, 1 to 100 characters.
    name: String,
    /// Until when it signs in; without it, until it is revoked.
    expires_at: Option<DateTime>,
    /// What it may be used for, and nothing else; without it, everything that keys may.
    scopes: Option<Vec<ApiKeyScope>>,
    /// The only providers that its jobs may use, whatever the step, 1 to 50 ids of installed
    /// ones; without it, all.
    providers: Option<Vec<ID>>,
    /// Most of its jobs that are not over, 1 to 100,000; the user's own limit holds besides.
    max_jobs_in_flight: Option<i32>,
    /// The most that its jobs may cost together, 0 to 1,000,000,000 credits.
    credits: Option<i32>,
    /// For how long `credits` are.
    #[graphql(default_with = "BudgetPeriod::Total")]
    period: BudgetPeriod,
}

/// What the jobs of an API key may do from now on. What is left out is not limited any more.
#[derive(InputObject)]
pub(super) struct LimitApiKeyInput {
    /// Which key (`key_…`).
    api_key_id: ID,
    /// Most of its jobs that are not over, 1 to 100,000.
    max_jobs_in_flight: Option<i32>,
    /// The most that its jobs may cost together, 0 to 1,000,000,000 credits.
    credits: Option<i32>,
    /// For how long `credits` are.
    #[graphql(default_with = "BudgetPeriod::Total")]
    period: BudgetPeriod,
}

/// An API key to revoke.
#[derive(InputObject)]
pub(super) struct RevokeApiKeyInput {
    /// Which key (`key_…`).
    api_key_id: ID,
}

/// The key is made.
#[derive(SimpleObject)]
pub(super) struct CreateApiKeySuccess {
    /// The key.
    api_key: Box<ApiKey>,
    /// What signs in. It is shown this once and kept by nobody.
    secret: String,
}

/// The limits hold.
#[derive(SimpleObject)]
pub(super) struct LimitApiKeySuccess {
    /// The key as it is now.
    api_key: Box<ApiKey>,
}

/// The key signs nobody in any more. What it has asked for goes on.
#[derive(SimpleObject)]
pub(super) struct RevokeApiKeySuccess {
    /// The key as it is now.
    api_key: Box<ApiKey>,
}

outcome!(
    /// What became of `createApiKey`.
    CreateApiKeyResult = CreateApiKeySuccess
        | InvalidInput(InvalidInputProblem)
        | Conflict(ConflictProblem)
);

outcome!(
    /// What became of `limitApiKey`.
    LimitApiKeyResult = LimitApiKeySuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
);

outcome!(
    /// What became of `revokeApiKey`.
    RevokeApiKeyResult = RevokeApiKeySuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
);

fn limits(in_flight: Option<i32>, credits: Option<i32>, period: BudgetPeriod) -> KeyLimits {
    KeyLimits {
        in_flight: Fields::count(in_flight),
        budget: credits.map(|credits| Limit {
            credits: credits.into(),
            period: period.into(),
        }),
    }
}

#[derive(Default)]
pub(super) struct ApiKeyQueries;

#[Object]
impl ApiKeyQueries {
    /// The caller's API keys, newest first, revoked ones among them. Not for API keys.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<ApiKey>, Error> {
        let user = context::person(ctx)?;
        let first = page_size(first)?;
        let place = decode_cursor::<ApiKeyId>("after", after.as_deref())?;
        let page = context::services(ctx)
            .sessions
            .accounts()
            .keys(user.id, place, first);
        let page = page.await.map_err(|failed| error::key(ctx, failed))?;
        let entries = (page.items.into_iter()).map(|row| (encode_cursor(row.id), row.into()));
        Ok(Connection::new(entries, after.is_some(), page.more))
    }
}

#[derive(Default)]
pub(super) struct ApiKeyMutations;

#[Object]
impl ApiKeyMutations {
    /// Makes an API key, at most 50 at a time. Not for API keys.
    async fn create_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What it is called, and what its jobs may do.")] input: CreateApiKeyInput,
    ) -> Result<CreateApiKeyResult, Error> {
        let user = context::person(ctx)?;
        let made = async {
            let mut fields = Fields::default();
            let expires_at = fields.instant("expiresAt", input.expires_at);
            let registry = &context::services(ctx).registry;
            let providers = input.providers.map(|ids| {
                let ids = fields.providers("providers", Some(ids));
                for id in ids.iter().filter(|id| registry.find(id).is_none()) {
                    let words = format!("names {id}, which is not an installed provider");
                    fields.add("providers", &words);
                }
                ids
            });
            fields.finish()?;
            let wish = KeyWish {
                name: input.name,
                expires_at,
                scopes: (input.scopes).map(|scopes| scopes.into_iter().map(Into::into).collect()),
                providers,
                limits: limits(input.max_jobs_in_flight, input.credits, input.period),
            };
            let (key, secret) = context::services(ctx)
                .sessions
                .accounts()
                .create_key(user.id, wish)
                .await?;
            let api_key = Box::new(key.into());
            Ok(CreateApiKeySuccess { api_key, secret }.into())
        };
        settle(ctx, made.await)
    }

    /// Sets what the jobs of an API key may do. When its budget is lowered below what jobs hold,
    /// those that come to their next paid call are stopped until the others fit. Not for API keys.
    async fn limit_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which key, and its limits.")] input: LimitApiKeyInput,
    ) -> Result<LimitApiKeyResult, Error> {
        let user = context::person(ctx)?;
        let limited = async {
            let mut fields = Fields::default();
            let id = fields.id::<ApiKeyId>("apiKeyId", &input.api_key_id);
            let id = fields.finish_with(id)?;
            let limits = limits(input.max_jobs_in_flight, input.credits, input.period);
            let key = context::services(ctx)
                .sessions
                .accounts()
                .limit_key(user.id, id, limits)
                .await?;
            let api_key = Box::new(key.into());
            Ok(LimitApiKeySuccess { api_key }.into())
        };
        settle(ctx, limited.await)
    }

    /// Revokes an API key for good: the next request with it is refused on every node, and its
    /// sockets that it has opened are closed within an hour. Not for API keys.
    async fn revoke_api_key(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which key.")] input: RevokeApiKeyInput,
    ) -> Result<RevokeApiKeyResult, Error> {
        let user = context::person(ctx)?;
        let revoked = async {
            let mut fields = Fields::default();
            let id = fields.id::<ApiKeyId>("apiKeyId", &input.api_key_id);
            let id = fields.finish_with(id)?;
            let key = context::services(ctx)
                .sessions
                .accounts()
                .revoke_key(user.id, id)
                .await?;
            let api_key = Box::new(key.into());
            Ok(RevokeApiKeySuccess { api_key }.into())
        };
        settle(ctx, revoked.await)
    }
}
