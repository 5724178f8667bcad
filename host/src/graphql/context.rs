//! What a resolver finds in its request: who is calling, and the services.

use std::sync::Arc;

use async_graphql::{Context, Error};
use genvid_transport::RequestId;

use super::{Services, error};
use crate::{
    accounts::{Role, User},
    ids::ApiKeyId,
};

/// Who is calling.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Whose token came along; nothing: nobody is signed in.
    pub user: Option<Arc<User>>,
    /// The API key that signed in, if it was one.
    pub key: Option<ApiKeyId>,
}

/// Who is calling, if anybody is signed in.
pub(super) fn caller(ctx: &Context<'_>) -> Option<Arc<User>> {
    ctx.data_opt::<Caller>()
        .and_then(|caller| caller.user.clone())
}

/// Who is calling.
///
/// # Errors
/// `UNAUTHENTICATED` when nobody is signed in.
pub(super) fn user(ctx: &Context<'_>) -> Result<Arc<User>, Error> {
    caller(ctx).ok_or_else(error::unauthenticated)
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
