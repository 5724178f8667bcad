//! API keys: what programs of a user's sign in with. A key is shown once, may have an end, a budget
//! and a limit of jobs under way, and is revoked for good.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Service, User, hash};
use crate::{
    adapters::sql,
    billing::{
        MOST,
        budget::{Budget, Limit},
    },
    ids::{ApiKeyId, UserId},
    input::Problems,
    jobs::{model::words, store::Page},
    time::{self, Timestamp},
};

/// How keys begin: a token of `genvid dev` has no `key` in it.
pub const PREFIX: &str = "gv_key_";
/// Longest name, in characters.
const MAX_NAME: usize = 100;
/// Most providers that a key may be bound to.
const MAX_PROVIDERS: usize = 50;
/// Most jobs under way that a key may be limited to.
const MAX_IN_FLIGHT: u32 = 100_000;
/// Most keys of a user that are neither revoked nor over.
pub const MAX_KEYS: u32 = 50;
/// How old the last use may be before the next one is written down.
const USED: Duration = Duration::from_secs(60);

words!(
    /// What an API key may be used for.
    Scope {
        /// Look at everything of its user's.
        Read = "READ",
        /// Change projects, and send pictures for them.
        Projects = "PROJECTS",
        /// Quote, start and stop jobs and batches.
        Generate = "GENERATE",
        /// Change webhook endpoints, and send what was sent.
        Webhooks = "WEBHOOKS",
        /// Open pages where credits are bought.
        Billing = "BILLING",
    }
);

/// An API key, without what signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its identifier.
    pub id: ApiKeyId,
    /// Whose.
    pub owner: UserId,
    /// For people.
    pub name: String,
    /// Its last characters.
    pub hint: String,
    /// What it may be used for; nothing: whatever keys may.
    pub scopes: Option<Vec<Scope>>,
    /// The only providers that its jobs may use; nothing: all.
    pub providers: Option<Vec<String>>,
    /// Most of its jobs that are not over.
    pub in_flight: Option<u32>,
    /// What its jobs may cost, and have.
    pub budget: Option<Budget>,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when it signs in.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// A key to make.
#[derive(Debug, Clone)]
pub struct KeyWish {
    /// For people.
    pub name: String,
    /// Until when it signs in.
    pub expires_at: Option<Timestamp>,
    /// What it may be used for; nothing: whatever keys may.
    pub scopes: Option<Vec<Scope>>,
    /// The only providers that its jobs may use; nothing: all.
    pub providers: Option<Vec<String>>,
    /// What its jobs may do.
    pub limits: KeyLimits,
}

/// What the jobs of a key may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// Most of them that are not over.
    pub in_flight: Option<u32>,
    /// What they may cost.
    pub budget: Option<Limit>,
}

/// Why a key is not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields that cannot be taken.
    #[error("the input is not valid")]
    Invalid(Problems),
    /// There is no such key.
    #[error("there is no such API key")]
    NotFound,
    /// There are as many as there may be.
    #[error("{0}")]
    Conflict(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sql::Error),
}

impl Service {
    /// Makes a key. What signs in is answered once and kept by nobody: only its SHA-256 is stored.
    ///
    /// # Errors
    /// `Invalid` names fields; `Conflict` when the user has [`MAX_KEYS`].
    pub async fn create_key(
        &self,
        owner: UserId,
        wish: KeyWish,
    ) -> Result<(ApiKey, String), Error> {
        let now = time::now();
        let mut problems = check(wish.limits);
        let name = problems.text("name", &wish.name, 1, MAX_NAME);
        if wish.expires_at.is_some_and(|end| end <= now) {
            problems.add("expiresAt", "has passed");
        }
        let scopes = wish.scopes.map(|mut scopes| {
            if scopes.is_empty() {
                problems.add("scopes", "must name one at least; leave it out for all");
            }
            scopes.sort_unstable();
            scopes.dedup();
            scopes
        });
        let providers = wish.providers.map(|mut providers| {
            if !(1..=MAX_PROVIDERS).contains(&providers.len()) {
                let words = format!("must name 1 to {MAX_PROVIDERS}; leave it out for all");
                problems.add("providers", words);
            }
            providers.sort_unstable();
            providers.dedup();
            providers
        });
        problems.into_result().map_err(Error::Invalid)?;
        let secret = super::random(PREFIX);
        let key = ApiKey {
            id: ApiKeyId::generate(),
            owner,
            name,
            hint: secret[secret.len() - 4..].to_owned(),
            scopes,
            providers,
            in_flight: wish.limits.in_flight,
            budget: wish.limits.budget.map(|limit| Budget {
                limit,
                spent: 0,
                held: 0,
            }),
            created_at: now,
            expires_at: wish.expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        let kept = self
            .database
            .insert_key(key.clone(), hash(&secret), MAX_KEYS);
        match kept.await? {
            true => Ok((key, secret)),
            false => Err(Error::Conflict(format!(
                "You have {MAX_KEYS} API keys; revoke one first."
            ))),
        }
    }

    /// Changes what the jobs of a key may do, for those that are under way, too.
    ///
    /// # Errors
    /// `Invalid` names fields; `NotFound`.
    pub async fn limit_key(
        &self,
        owner: UserId,
        id: ApiKeyId,
        limits: KeyLimits,
    ) -> Result<ApiKey, Error> {
        check(limits).into_result().map_err(Error::Invalid)?;
        self.database.limit_key(owner, id, limits).await?;
        self.get_key(owner, id).await
    }

    /// Revokes a key: from now on it signs nobody in. What it has asked for goes on.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_key(&self, owner: UserId, id: ApiKeyId) -> Result<ApiKey, Error> {
        self.database.revoke_key(owner, id, time::now()).await?;
        self.get_key(owner, id).await
    }

    /// A user's keys, newest first, revoked ones among them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys(
        &self,
        owner: UserId,
        after: Option<ApiKeyId>,
        first: u32,
    ) -> Result<Page<ApiKey>, Error> {
        Ok(self.database.list_keys(owner, after, first).await?)
    }

    async fn get_key(&self, owner: UserId, id: ApiKeyId) -> Result<ApiKey, Error> {
        let found = self.database.find_key(owner, id).await?;
        found.ok_or(Error::NotFound)
    }

    /// Whose key this is, unless it is over or revoked.
    pub(super) async fn by_key(&self, secret: &str) -> Result<Option<(User, ApiKey)>, sql::Error> {
        let now = time::now();
        let Some((user, key)) = self.database.key_owner(&hash(secret), now).await? else {
            return Ok(None);
        };
        let stale = key.last_used_at.is_none_or(|last| now.since(last) >= USED);
        if stale && let Err(error) = self.database.use_key(key.id, now).await {
            // It signs in all the same.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the use of an API key could not be written down"
            );
        }
        Ok(Some((user, key)))
    }
}

fn check(limits: KeyLimits) -> Problems {
    let mut problems = Problems::default();
    if limits
        .in_flight
        .is_some_and(|most| !(1..=MAX_IN_FLIGHT).contains(&most))
    {
        problems.add("maxJobsInFlight", format!("must be 1 to {MAX_IN_FLIGHT}"));
    }
    if limits
        .budget
        .is_some_and(|limit| !(0..=MOST).contains(&limit.credits))
    {
        problems.add("credits", format!("must be 0 to {MOST}"));
    }
    problems
}
