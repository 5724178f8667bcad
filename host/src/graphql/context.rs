//! What a resolver finds in its request: who is calling, and the services.

use std::sync::Arc;

use async_graphql::{Context, Error};
use genvid_transport::RequestId;
use http::header::RETRY_AFTER;

use super::{
    Services,
    error::{self, Setback},
    scopes,
};
use crate::{
    accounts::{Role, User, keys::Scope, sessions::Asker},
    ids::{ApiKeyId, JobId, SessionId},
    jobs::wish::Program,
    rates::{Act, Refused, Standing, Subject},
    time::Timestamp,
};

/// Who is calling.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Whose token came along; nothing: nobody is signed in.
    pub user: Option<Arc<User>>,
    /// The API key that signed in, if it was one.
    pub key: Option<ApiKeyId>,
    /// What that key may be used for; nothing: whatever keys may.
    pub scopes: Option<Arc<[Scope]>>,
    /// The only providers that it may use; nothing: all.
    pub providers: Option<Arc<[String]>>,
    /// The session, if a token or a cookie of one came along.
    pub session: Option<SessionId>,
    /// The only job that may be looked at, if a token for one came along.
    pub job: Option<JobId>,
    /// From where.
    pub asker: Asker,
    /// The cookie that keeps a browser's session.
    pub refresh_cookie: Option<Arc<str>>,
    /// A cookie came without what shows that a page of ours sent it.
    pub cookie_alone: bool,
}

/// When a request came in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived(pub(super) Timestamp);

/// Who is calling, if anybody is signed in.
///
/// # Errors
/// `FORBIDDEN` when an API key has signed in that is not for this field, or a token for one job.
pub(super) fn caller(ctx: &Context<'_>) -> Result<Option<Arc<User>>, Error> {
    let caller = whoever(ctx);
    if caller.job.is_some() {
        return Err(one_job());
    }
    if let Some(scopes) = &caller.scopes
        && let Some(needed) = scopes::of(ctx.field().name())
        && !scopes.contains(&needed)
    {
        return Err(error::forbidden(&format!(
            "This API key is not for this: it needs the scope {}.",
            needed.as_str()
        )));
    }
    Ok(caller.user)
}

/// Who is calling.
///
/// # Errors
/// `UNAUTHENTICATED` when nobody is signed in.
pub(super) fn user(ctx: &Context<'_>) -> Result<Arc<User>, Error> {
    caller(ctx)?.ok_or_else(|| match whoever(ctx).cookie_alone {
        true => error::cookie_alone(),
        false => error::unauthenticated(),
    })
}

/// Whose jobs are looked at, and which one, if the caller may look at no other.
///
/// # Errors
/// `UNAUTHENTICATED` when nobody is signed in.
pub(super) fn watcher(ctx: &Context<'_>) -> Result<(Arc<User>, Option<JobId>), Error> {
    let Caller { user, job, .. } = whoever(ctx);
    match (user, job) {
        (Some(owner), Some(job)) => Ok((owner, Some(job))),
        _ => Ok((self::user(ctx)?, None)),
    }
}

/// What a job does not show to those who may only watch it: what it costs, how it is made, what
/// it belongs to.
///
/// # Errors
/// `FORBIDDEN` for tokens for one job.
pub(super) fn insider(ctx: &Context<'_>) -> Result<(), Error> {
    match ctx.data_opt::<Caller>().and_then(|caller| caller.job) {
        None => Ok(()),
        Some(_) => Err(one_job()),
    }
}

fn one_job() -> Error {
    error::forbidden(
        "This token is for watching one job: its state, its events and its files, and nothing else.",
    )
}

/// What is known of whoever is calling, signed in or not.
pub(super) fn whoever(ctx: &Context<'_>) -> Caller {
    ctx.data_opt::<Caller>().cloned().unwrap_or_default()
}

/// Does something that whoever is signed in may do only so often. What comes to nothing is not
/// counted, nor what the local user's token of development does.
///
/// # Errors
/// When it was done too often; and those of `work`.
pub(super) async fn counted<T>(
    ctx: &Context<'_>,
    act: Act,
    work: impl Future<Output = Result<T, Setback>> + Send,
) -> Result<T, Setback> {
    let caller = whoever(ctx);
    let Some(user) = caller
        .user
        .filter(|_| caller.session.is_some() || caller.key.is_some())
    else {
        return work.await;
    };
    let subject = Subject::new("user", &user.id.to_string());
    let rates = services(ctx).sessions.rates();
    let admission = rates.take(act, &[subject]).await.inspect_err(|refused| {
        if let Refused::TooOften(standing) = refused {
            tell(ctx, Some(*standing), true);
        }
    })?;
    tell(ctx, admission.standing, false);
    let done = work.await;
    if done.is_err() {
        rates.give_back(admission).await;
    }
    done
}

/// Says in headers how near the caller is to a limit (draft-ietf-httpapi-ratelimit-headers), and
/// when to come back.
pub(super) fn tell(ctx: &Context<'_>, standing: Option<Standing>, refused: bool) {
    for (name, value) in standing
        .into_iter()
        .flat_map(|standing| headers(&standing, refused))
    {
        ctx.insert_http_header(name, value);
    }
}

/// The headers of a limit.
pub(super) fn headers(standing: &Standing, refused: bool) -> Vec<(&'static str, String)> {
    let name = standing.act.as_str().replace('_', "-");
    let reset = standing.reset.as_secs() + u64::from(standing.reset.subsec_nanos() > 0);
    let (count, window) = (standing.limit.count, standing.limit.window.as_secs());
    let mut headers = vec![
        (
            "ratelimit-policy",
            format!("\"{name}\";q={count};w={window}"),
        ),
        (
            "ratelimit",
            format!("\"{name}\";r={};t={reset}", standing.left),
        ),
    ];
    if refused {
        headers.push((RETRY_AFTER.as_str(), reset.max(1).to_string()));
    }
    headers
}

/// The program that asks, if it is one.
pub(super) fn program(ctx: &Context<'_>) -> Program {
    let caller = whoever(ctx);
    Program {
        key: caller.key,
        only: caller.providers.map(|only| only.to_vec()),
    }
}

/// The API key that signed in, if it was one.
pub(super) fn key(ctx: &Context<'_>) -> Option<ApiKeyId> {
    ctx.data_opt::<Caller>().and_then(|caller| caller.key)
}

/// Who is calling, if it is the user and not a program with an API key.
///
/// # Errors
/// `UNAUTHENTICATED` when nobody is signed in, `FORBIDDEN` for API keys.
pub(super) fn person(ctx: &Context<'_>) -> Result<Arc<User>, Error> {
    let user = user(ctx)?;
    match key(ctx) {
        None => Ok(user),
        Some(_) => Err(error::forbidden("This is not for API keys.")),
    }
}

/// Who is calling, if they may do everything.
///
/// # Errors
/// `UNAUTHENTICATED` when nobody is signed in, `FORBIDDEN` for everybody but admins, and for API
/// keys.
pub(super) fn admin(ctx: &Context<'_>) -> Result<Arc<User>, Error> {
    let user = person(ctx)?;
    match user.role {
        Role::Admin => Ok(user),
        Role::User | Role::Partner | Role::Service => Err(error::forbidden("This is for admins.")),
    }
}

/// Who is calling, if they may look at what is everybody's: admins, and the operator's programs, also
/// with API keys that may read.
///
/// # Errors
/// `UNAUTHENTICATED` when nobody is signed in, `FORBIDDEN` for everybody else.
pub(super) fn overseer(ctx: &Context<'_>) -> Result<(), Error> {
    match user(ctx)?.role {
        Role::Service => Ok(()),
        Role::Admin | Role::User | Role::Partner => admin(ctx).map(drop),
    }
}

/// The services behind the schema.
pub(super) fn services<'a>(ctx: &Context<'a>) -> &'a Services {
    // `Schema::new` puts them there, and there is no other way to get a schema.
    ctx.data_unchecked::<Services>()
}

/// What finds this request in the log. Requests that came through no transport have none;
/// they get one here.
pub(super) fn request_id(ctx: &Context<'_>) -> RequestId {
    ctx.data_opt::<RequestId>().cloned().unwrap_or_else(|| {
        RequestId(Arc::from(
            uuid::Uuid::now_v7().hyphenated().to_string().as_str(),
        ))
    })
}
