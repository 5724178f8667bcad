//! Accounts and their sessions.

use async_graphql::{Context, Error, ID, InputObject, Object, SimpleObject};

use super::{
    connection::{Connection, Named, decode_cursor, encode_cursor, page_cost, page_size},
    context::{self, Arrived},
    cookies,
    error::{self, Setback, settle},
    fields::Fields,
    problems::{
        ConflictProblem, InvalidInputProblem, NotFoundProblem, RateLimitedProblem,
        UnauthenticatedProblem, outcome,
    },
    scalars::DateTime,
    user::User,
};
use crate::{
    accounts::{
        sessions::{self, EndReason, Registration, SignedIn},
        tokens,
    },
    ids::SessionId,
    input::is_language_tag,
    mail::Language,
    time,
};

/// A place where the caller is signed in.
#[derive(SimpleObject)]
pub(super) struct Session {
    /// Opaque, begins with `ses_`. It signs nobody in.
    id: ID,
    /// Is it the one that asks?
    current: bool,
    /// The address from which it was refreshed last.
    address: String,
    /// What the client calls itself (`User-Agent`).
    agent: String,
    /// Since when.
    created_at: DateTime,
    /// When it was refreshed last.
    last_used_at: DateTime,
    /// Until when, whatever happens.
    expires_at: DateTime,
}

impl Named for Session {
    const NAME: &'static str = "Session";
}

/// An account to make.
#[derive(InputObject)]
pub(super) struct RegisterInput {
    /// Mail address. Capital letters do not matter.
    email: String,
    /// 8 characters to 256 bytes, and not one of the first that anybody would try.
    password: String,
    /// The name that is shown, at most 100 characters; without it, the beginning of the address.
    name: Option<String>,
    /// Language of mails, as BCP 47; there are English and Chinese.
    language: Option<String>,
    /// Keep the session in cookies that scripts cannot read, for browsers.
    #[graphql(default)]
    cookies: bool,
}

/// Who signs in.
#[derive(InputObject)]
pub(super) struct LoginInput {
    /// Mail address. Capital letters do not matter.
    email: String,
    /// The password.
    password: String,
    /// Keep the session in cookies that scripts cannot read, for browsers.
    #[graphql(default)]
    cookies: bool,
}

/// The session that goes on.
#[derive(InputObject)]
pub(super) struct RefreshSessionInput {
    /// The last refresh token; without it, the one in the cookie.
    refresh_token: Option<String>,
    /// A random text of the client's, at most 64 characters: the same one within 10 seconds, because
    /// the answer was lost, gets the same tokens. Without it, a second use closes the session.
    attempt: Option<String>,
    /// Keep the session in cookies that scripts cannot read, for browsers.
    #[graphql(default)]
    cookies: bool,
}

/// Whose password is forgotten.
#[derive(InputObject)]
pub(super) struct RequestPasswordResetInput {
    /// Mail address of the account.
    email: String,
}

/// A new password, by a link.
#[derive(InputObject)]
pub(super) struct ResetPasswordInput {
    /// What the link carries as `token`.
    token: String,
    /// The new password.
    password: String,
    /// Keep the session in cookies that scripts cannot read, for browsers.
    #[graphql(default)]
    cookies: bool,
}

/// An address that is the caller's, by a link.
#[derive(InputObject)]
pub(super) struct VerifyEmailInput {
    /// What the link carries as `token`.
    token: String,
}

/// What the caller says of themselves. What is left out stays.
#[derive(InputObject)]
pub(super) struct UpdateProfileInput {
    /// The name that is shown, 1 to 100 characters.
    name: Option<String>,
    /// Language of mails, as BCP 47; there are English and Chinese.
    language: Option<String>,
}

/// Another password.
#[derive(InputObject)]
pub(super) struct ChangePasswordInput {
    /// The password of now; for accounts without one, anything.
    password: String,
    /// The one from now on.
    new_password: String,
    /// Keep the session in cookies that scripts cannot read, for browsers.
    #[graphql(default)]
    cookies: bool,
}

/// Another address.
#[derive(InputObject)]
pub(super) struct ChangeEmailInput {
    /// The password; for accounts without one, anything.
    password: String,
    /// The address from then on.
    new_email: String,
}

/// An account to delete.
#[derive(InputObject)]
pub(super) struct DeleteAccountInput {
    /// The password; for accounts without one, anything.
    password: String,
}

/// A session to close.
#[derive(InputObject)]
pub(super) struct RevokeSessionInput {
    /// Which session (`ses_…`).
    session_id: ID,
}

/// Signed in.
#[derive(SimpleObject)]
pub(super) struct AuthSuccess {
    /// Signs requests in: `Authorization: Bearer …`. A JSON Web Token (RS256); its keys are at
    /// `/.well-known/jwks.json`. Null when it is in a cookie.
    access_token: Option<String>,
    /// Gets the next two tokens with `refreshSession`, once. Null when it is in a cookie.
    refresh_token: Option<String>,
    /// So many seconds the access token lasts.
    expires_in: i32,
    /// Who.
    user: User,
}

/// The profile is changed.
#[derive(SimpleObject)]
pub(super) struct UpdateProfileSuccess {
    /// The user as they are now.
    user: User,
}

/// A link is on its way.
#[derive(SimpleObject)]
pub(super) struct RequestEmailVerificationSuccess {
    /// To this address.
    sent_to: String,
}

/// A link is on its way; the account has the new address once it is followed, and the old one until
/// then.
#[derive(SimpleObject)]
pub(super) struct ChangeEmailSuccess {
    /// To this address.
    sent_to: String,
}

/// The session is closed: its tokens sign nobody in any more.
#[derive(SimpleObject)]
pub(super) struct RevokeSessionSuccess {
    /// Which one.
    session_id: ID,
}

/// The account is gone.
#[derive(SimpleObject)]
pub(super) struct DeleteAccountSuccess {
    /// Which one it was.
    user_id: ID,
}

outcome!(
    /// What became of signing in.
    AuthResult = AuthSuccess
        | InvalidInput(InvalidInputProblem)
        | Unauthenticated(UnauthenticatedProblem)
        | RateLimited(RateLimitedProblem)
        | Conflict(ConflictProblem)
);

outcome!(
    /// What became of `updateProfile`.
    UpdateProfileResult = UpdateProfileSuccess | InvalidInput(InvalidInputProblem)
);

outcome!(
    /// What became of `requestEmailVerification`.
    RequestEmailVerificationResult = RequestEmailVerificationSuccess
        | RateLimited(RateLimitedProblem)
        | Conflict(ConflictProblem)
);

outcome!(
    /// What became of `changeEmail`.
    ChangeEmailResult = ChangeEmailSuccess
        | InvalidInput(InvalidInputProblem)
        | Unauthenticated(UnauthenticatedProblem)
        | RateLimited(RateLimitedProblem)
        | Conflict(ConflictProblem)
);

outcome!(
    /// What became of `revokeSession`.
    RevokeSessionResult = RevokeSessionSuccess
        | InvalidInput(InvalidInputProblem)
        | NotFound(NotFoundProblem)
);

outcome!(
    /// What became of `deleteAccount`.
    DeleteAccountResult = DeleteAccountSuccess
        | Unauthenticated(UnauthenticatedProblem)
        | RateLimited(RateLimitedProblem)
        | Conflict(ConflictProblem)
);

fn signed_in(
    ctx: &Context<'_>,
    cookies: bool,
    outcome: Result<SignedIn, sessions::Error>,
) -> Result<AuthResult, Error> {
    let outcome = outcome.map_err(Setback::from).map(|signed_in| {
        if cookies {
            cookies::set(ctx, &signed_in);
        }
        let shown = |token: String| (!cookies).then_some(token);
        AuthSuccess {
            access_token: shown(signed_in.access_token),
            refresh_token: shown(signed_in.refresh_token),
            expires_in: i32::try_from(tokens::LIFE.as_secs()).unwrap_or(i32::MAX),
            user: User(signed_in.user.into()),
        }
        .into()
    });
    settle(ctx, outcome)
}

fn language(fields: &mut Fields, tag: Option<String>) -> Option<Language> {
    let tag = tag?;
    if !is_language_tag(&tag) {
        fields.add("language", "must be a language tag, such as en or zh-CN");
    }
    Some(Language::of(&tag))
}

#[derive(Default)]
pub(super) struct AccountQueries;

#[Object]
impl AccountQueries {
    /// Where the caller is signed in, newest first. Not for API keys.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn sessions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many, 1 to 100; without it 20.")] first: Option<i32>,
        #[graphql(desc = "Only those behind this cursor.")] after: Option<String>,
    ) -> Result<Connection<Session>, Error> {
        let user = context::person(ctx)?;
        let current = context::whoever(ctx).session;
        let first = page_size(first)?;
        let place = decode_cursor::<SessionId>("after", after.as_deref())?;
        let page = context::services(ctx).sessions.list(user.id, place, first);
        let page = page.await.map_err(|failed| error::account(ctx, failed))?;
        let entries = page.items.into_iter().map(|row| {
            let shown = Session {
                id: row.id.into(),
                current: Some(row.id) == current,
                address: row.address,
                agent: row.agent,
                created_at: row.created_at.into(),
                last_used_at: row.last_used_at.into(),
                expires_at: row.expires_at.into(),
            };
            (encode_cursor(row.id), shown)
        });
        Ok(Connection::new(entries, after.is_some(), page.more))
    }
}

#[derive(Default)]
pub(super) struct AccountMutations;

#[Object]
impl AccountMutations {
    /// Makes an account and signs in. Whether the address has an account already is not told: then a
    /// new one is made all the same, which can never show that the address is its own, and whoever
    /// has the address is told by mail. Without a confirmed address everything else works.
    async fn register(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Address and password.")] input: RegisterInput,
    ) -> Result<AuthResult, Error> {
        let mut fields = Fields::default();
        let language = language(&mut fields, input.language);
        if let Err(refusal) = fields.finish() {
            return settle(ctx, Err(refusal.into()));
        }
        let new = Registration {
            email: input.email,
            password: input.password,
            name: input.name,
            language: language.unwrap_or(Language::English),
        };
        let sessions = &context::services(ctx).sessions;
        let made = sessions.register(&context::whoever(ctx).asker, new).await;
        signed_in(ctx, input.cookies, made)
    }

    /// Signs in. What was wrong, the address or the password, is not told. After 5 wrong passwords
    /// in 15 minutes for one account or from one address no more are looked at.
    async fn login(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Address and password.")] input: LoginInput,
    ) -> Result<AuthResult, Error> {
        let asker = context::whoever(ctx).asker;
        let sessions = &context::services(ctx).sessions;
        let entered = sessions.login(&asker, &input.email, input.password).await;
        signed_in(ctx, input.cookies, entered)
    }

    /// The next two tokens of a session. A refresh token is good once; when one comes a second
    /// time, somebody has copied it: the session is closed for both, and the user told by mail.
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The last refresh token.")] input: RefreshSessionInput,
    ) -> Result<AuthResult, Error> {
        let caller = context::whoever(ctx);
        let arrived = ctx.data_opt::<Arrived>();
        let arrived = arrived.map_or_else(time::now, |Arrived(at)| *at);
        let in_cookie = || caller.refresh_cookie.as_deref().unwrap_or_default();
        let token = input.refresh_token.as_deref().unwrap_or_else(in_cookie);
        let sessions = &context::services(ctx).sessions;
        let next = sessions.refresh(&caller.asker, token, input.attempt, arrived);
        signed_in(ctx, input.cookies, next.await)
    }

    /// Closes the session that asks, and has a browser forget its cookies; false when what signed in
    /// is no session.
    async fn logout(&self, ctx: &Context<'_>) -> Result<bool, Error> {
        let user = context::person(ctx)?;
        cookies::clear(ctx);
        let Some(session) = context::whoever(ctx).session else {
            return Ok(false);
        };
        let sessions = &context::services(ctx).sessions;
        match sessions.close(user.id, session, EndReason::Logout).await {
            // Of two at once, one finds it closed.
            Ok(()) | Err(sessions::Error::NotFound) => Ok(true),
            Err(error) => Err(error::account(ctx, error)),
        }
    }

    /// Closes every session of the caller's, this one too. API keys stay.
    async fn logout_everywhere(&self, ctx: &Context<'_>) -> Result<bool, Error> {
        let user = context::person(ctx)?;
        cookies::clear(ctx);
        let sessions = &context::services(ctx).sessions;
        let closed = sessions.close_all(user.id, EndReason::Logout).await;
        closed.map_err(|error| error::account(ctx, error))?;
        Ok(true)
    }

    /// Closes another session of the caller's: its tokens sign nobody in any more, its sockets are
    /// closed when their token is over.
    async fn revoke_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which session.")] input: RevokeSessionInput,
    ) -> Result<RevokeSessionResult, Error> {
        let user = context::person(ctx)?;
        let revoked = async {
            let mut fields = Fields::default();
            let id = fields.id::<SessionId>("sessionId", &input.session_id);
            let id = fields.finish_with(id)?;
            let sessions = &context::services(ctx).sessions;
            sessions.close(user.id, id, EndReason::Revoked).await?;
            Ok(RevokeSessionSuccess {
                session_id: id.into(),
            }
            .into())
        };
        settle(ctx, revoked.await)
    }

    /// Sends a link to a new password to the address, if it has an account. Always true: whether it
    /// has one is not told.
    async fn request_password_reset(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose password.")] input: RequestPasswordResetInput,
    ) -> Result<bool, Error> {
        let asker = context::whoever(ctx).asker;
        let sessions = &context::services(ctx).sessions;
        let asked = sessions.request_reset(&asker, &input.email).await;
        asked.map_err(|error| error::account(ctx, error))?;
        Ok(true)
    }

    /// Sets the password by a link, closes every session, and signs in. The link works once.
    async fn reset_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The link's token, and the password.")] input: ResetPasswordInput,
    ) -> Result<AuthResult, Error> {
        let asker = context::whoever(ctx).asker;
        let sessions = &context::services(ctx).sessions;
        let entered = sessions.reset(&asker, &input.token, input.password).await;
        signed_in(ctx, input.cookies, entered)
    }

    /// Confirms that an address is an account's, by a link; nobody has to be signed in. False when
    /// the link was used, its time is over, or the address belongs to another account by now.
    async fn verify_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The link's token.")] input: VerifyEmailInput,
    ) -> Result<bool, Error> {
        match context::services(ctx).sessions.verify(&input.token).await {
            Ok(_) => Ok(true),
            Err(sessions::Error::Wrong(_)) => Ok(false),
            Err(error) => Err(error::account(ctx, error)),
        }
    }

    /// Sends another link that confirms the caller's address; the ones before work no more.
    async fn request_email_verification(
        &self,
        ctx: &Context<'_>,
    ) -> Result<RequestEmailVerificationResult, Error> {
        let user = context::person(ctx)?;
        let sessions = &context::services(ctx).sessions;
        let sent = sessions.send_verification(&user).await;
        let sent = sent.map_err(Setback::from).map(|()| {
            let sent_to = user.email.clone();
            RequestEmailVerificationSuccess { sent_to }.into()
        });
        settle(ctx, sent)
    }

    /// Changes what the caller says of themselves. Not for API keys.
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What changes.")] input: UpdateProfileInput,
    ) -> Result<UpdateProfileResult, Error> {
        let user = context::person(ctx)?;
        let changed = async {
            let mut fields = Fields::default();
            let language = language(&mut fields, input.language);
            fields.finish()?;
            let sessions = &context::services(ctx).sessions;
            let user = sessions.update_profile(&user, input.name, language).await?;
            let user = User(user.into());
            Ok(UpdateProfileSuccess { user }.into())
        };
        settle(ctx, changed.await)
    }

    /// Changes the password, closes every other session, and tells the user by mail. The answer is
    /// the session that goes on.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The old password, and the new one.")] input: ChangePasswordInput,
    ) -> Result<AuthResult, Error> {
        let user = context::person(ctx)?;
        let caller = context::whoever(ctx);
        let sessions = &context::services(ctx).sessions;
        let changed = sessions.change_password(
            &caller.asker,
            &user,
            caller.session,
            input.password,
            input.new_password,
        );
        signed_in(ctx, input.cookies, changed.await)
    }

    /// Sends a link to another address, which the account has once the link is followed. The old
    /// address is told then.
    async fn change_email(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The password, and the address.")] input: ChangeEmailInput,
    ) -> Result<ChangeEmailResult, Error> {
        let user = context::person(ctx)?;
        let caller = context::whoever(ctx);
        let sent_to = sessions::fold(&input.new_email);
        let sessions = &context::services(ctx).sessions;
        let sent = sessions.change_email(
            &caller.asker,
            &user,
            caller.session,
            input.password,
            &input.new_email,
        );
        let sent = sent.await.map_err(Setback::from);
        settle(ctx, sent.map(|()| ChangeEmailSuccess { sent_to }.into()))
    }

    /// Deletes the caller's account for good: projects with their films, sessions and API keys; the
    /// name and the address are forgotten. What was paid and spent stays in the books without them.
    async fn delete_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The password.")] input: DeleteAccountInput,
    ) -> Result<DeleteAccountResult, Error> {
        let user = context::person(ctx)?;
        let caller = context::whoever(ctx);
        let services = context::services(ctx);
        let sessions = &services.sessions;
        let deleted = sessions
            .delete(&caller.asker, &user, caller.session, input.password)
            .await;
        if deleted.is_ok() {
            cookies::clear(ctx);
        }
        let user_id = user.id.into();
        let deleted = deleted.map_err(Setback::from);
        settle(
            ctx,
            deleted.map(|()| DeleteAccountSuccess { user_id }.into()),
        )
    }
}
