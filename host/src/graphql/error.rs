//! The one place where an error of a domain becomes what a client sees.

use async_graphql::{Context, Error, ErrorExtensionValues};
use genvid_transport::RequestId;

use super::{
    codes::ErrorCode,
    context,
    problems::{
        BudgetExceededProblem, ConflictProblem, IdempotencyKeyReusedProblem,
        InsufficientCreditsProblem, InvalidInputProblem, NotFoundProblem, Outcome,
        ProviderUnavailableProblem, RateLimitedProblem, TooManyJobsProblem, UnauthenticatedProblem,
    },
};
use crate::{
    accounts::{keys, sessions},
    adapters::sql,
    billing::desk,
    jobs, payments, projects,
    providers::CatalogError,
    providers::secrets,
    rates, uploads, webhooks,
};

fn coded(code: ErrorCode, message: impl Into<String>) -> Error {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", code.as_str());
    extensions.set("retryable", code.retryable());
    let mut error = Error::new(message);
    error.extensions = Some(extensions);
    error
}

/// Nobody is signed in.
pub(super) fn unauthenticated() -> Error {
    coded(
        ErrorCode::Unauthenticated,
        "Sign in first: send a valid access token.",
    )
}

/// A browser's cookie came without the header that goes with it.
pub(super) fn cookie_alone() -> Error {
    coded(
        ErrorCode::Unauthenticated,
        format!(
            "The session's cookie counts only together with the header {}: 1.",
            super::cookies::CSRF_HEADER
        ),
    )
}

/// Nobody can say whether this may be done, or there is too much to do.
fn unavailable(why: &str) -> Error {
    coded(ErrorCode::Unavailable, why)
}

/// It was done too often.
fn too_often(problem: &RateLimitedProblem) -> Error {
    let mut error = coded(ErrorCode::RateLimited, problem.message.clone());
    if let Some(extensions) = &mut error.extensions {
        extensions.set("retryAfterMs", problem.retry_after_ms);
    }
    error
}

/// Whoever is signed in may not.
pub(super) fn forbidden(why: &str) -> Error {
    coded(ErrorCode::Forbidden, why)
}

/// There is no such thing for this caller.
pub(super) fn not_found(what: &str) -> Error {
    coded(ErrorCode::NotFound, format!("There is no such {what}."))
}

/// An argument that cannot be taken.
pub(super) fn invalid_argument(argument: &str, message: &str) -> Error {
    let mut error = coded(
        ErrorCode::InvalidInput,
        format!("The argument \"{argument}\" {message}."),
    );
    if let Some(extensions) = &mut error.extensions {
        extensions.set("field", argument);
    }
    error
}

/// A catalogue that cannot be read now. The reason goes to the log.
pub(super) fn catalog(ctx: &Context<'_>, error: &CatalogError) -> Error {
    let RequestId(request_id) = context::request_id(ctx);
    tracing::warn!(%request_id, %error, "a catalogue cannot be read");
    coded(
        ErrorCode::ProviderUnavailable,
        format!("The provider {} does not answer now.", error.provider),
    )
}

/// A fault of this server: details to the log, a request id to the caller.
pub(super) fn internal(
    RequestId(request_id): &RequestId,
    error: &(dyn std::error::Error + 'static),
) -> Error {
    tracing::error!(%request_id, error, "a request failed");
    let mut error = coded(ErrorCode::Internal, "Internal error");
    if let Some(extensions) = &mut error.extensions {
        extensions.set("requestId", &**request_id);
    }
    error
}

/// The database failed.
pub(super) fn database(ctx: &Context<'_>, error: &sql::Error) -> Error {
    internal(&context::request_id(ctx), error)
}

/// An error of a job as a field error, for queries and subscriptions.
pub(super) fn job(ctx: &Context<'_>, error: jobs::Error) -> Error {
    match error {
        jobs::Error::NotFound(what) => not_found(what),
        jobs::Error::Database(error) => database(ctx, &error),
        // Only mutations can meet these, and they tell them as problems.
        error @ (jobs::Error::Invalid(_)
        | jobs::Error::KeyReused
        | jobs::Error::NoProvider(_)
        | jobs::Error::InsufficientCredits(_)
        | jobs::Error::TooManyJobs(_)
        | jobs::Error::BudgetExceeded(_)
        | jobs::Error::Conflict(_)) => internal(&context::request_id(ctx), &error),
    }
}

/// An error of a project as a field error, for queries.
pub(super) fn project(ctx: &Context<'_>, error: projects::Error) -> Error {
    match error {
        projects::Error::NotFound => not_found("project"),
        projects::Error::Database(error) => database(ctx, &error),
        error @ projects::Error::Invalid(_) => internal(&context::request_id(ctx), &error),
    }
}

/// An error of webhooks as a field error, for queries.
pub(super) fn webhook(ctx: &Context<'_>, error: webhooks::Error) -> Error {
    match error {
        webhooks::Error::NotFound(what) => not_found(what),
        webhooks::Error::Database(error)
        | webhooks::Error::Secret(webhooks::SecretError::Database(error)) => database(ctx, &error),
        // Only mutations can meet these, and they tell them as problems.
        error @ (webhooks::Error::Invalid(_)
        | webhooks::Error::Conflict(_)
        | webhooks::Error::Secret(_)) => internal(&context::request_id(ctx), &error),
    }
}

/// An error of API keys as a field error, for queries.
pub(super) fn key(ctx: &Context<'_>, error: keys::Error) -> Error {
    match error {
        keys::Error::Database(error) => database(ctx, &error),
        keys::Error::NotFound => not_found("API key"),
        // Only mutations can meet these, and they tell them as problems.
        error @ (keys::Error::Invalid(_) | keys::Error::Conflict(_)) => {
            internal(&context::request_id(ctx), &error)
        }
    }
}

/// An outcome of a mutation that its caller is expected to handle.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Fields that cannot be taken.
    InvalidInput(InvalidInputProblem),
    /// There is no such thing for this caller.
    NotFound(NotFoundProblem),
    /// The object's state does not allow it.
    Conflict(ConflictProblem),
    /// The key came with another request.
    IdempotencyKeyReused(IdempotencyKeyReusedProblem),
    /// Nobody can make it.
    ProviderUnavailable(ProviderUnavailableProblem),
    /// The caller cannot pay it.
    InsufficientCredits(InsufficientCreditsProblem),
    /// The caller has enough to wait for.
    TooManyJobs(TooManyJobsProblem),
    /// The project may not cost so much.
    BudgetExceeded(BudgetExceededProblem),
    /// Whoever it is has not shown who they are.
    Unauthenticated(UnauthenticatedProblem),
    /// The caller does it too often.
    RateLimited(RateLimitedProblem),
}

/// What keeps a mutation from its success.
#[derive(Debug)]
pub(super) enum Setback {
    /// Its caller is expected to handle it.
    Refused(Refusal),
    /// Whatever the jobs say.
    Jobs(jobs::Error),
    /// Whatever the projects say.
    Projects(projects::Error),
    /// Whatever the uploads say.
    Uploads(uploads::Error),
    /// Whatever the webhooks say.
    Webhooks(webhooks::Error),
    /// Whatever the payments say.
    Payments(payments::Error),
    /// Whatever the books say.
    Billing(desk::Error),
    /// Whatever there is to say about API keys.
    Keys(keys::Error),
    /// Whatever there is to say about accounts and sessions.
    Accounts(sessions::Error),
    /// Whatever there is to say about providers' credentials.
    Secrets(secrets::SecretError),
    /// What is limited.
    Rates(rates::Refused),
}

impl From<sessions::Error> for Setback {
    fn from(error: sessions::Error) -> Self {
        Self::Accounts(error)
    }
}

impl From<secrets::SecretError> for Setback {
    fn from(error: secrets::SecretError) -> Self {
        Self::Secrets(error)
    }
}

impl From<rates::Refused> for Setback {
    fn from(refused: rates::Refused) -> Self {
        Self::Rates(refused)
    }
}

impl From<Refusal> for Setback {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<jobs::Error> for Setback {
    fn from(error: jobs::Error) -> Self {
        Self::Jobs(error)
    }
}

impl From<projects::Error> for Setback {
    fn from(error: projects::Error) -> Self {
        Self::Projects(error)
    }
}

impl From<uploads::Error> for Setback {
    fn from(error: uploads::Error) -> Self {
        Self::Uploads(error)
    }
}

impl From<webhooks::Error> for Setback {
    fn from(error: webhooks::Error) -> Self {
        Self::Webhooks(error)
    }
}

impl From<payments::Error> for Setback {
    fn from(error: payments::Error) -> Self {
        Self::Payments(error)
    }
}

impl From<keys::Error> for Setback {
    fn from(error: keys::Error) -> Self {
        Self::Keys(error)
    }
}

impl From<desk::Error> for Setback {
    fn from(error: desk::Error) -> Self {
        Self::Billing(error)
    }
}

/// A mutation's answer: its success, a problem, or a field error.
pub(super) fn settle<T: Outcome>(
    ctx: &Context<'_>,
    outcome: Result<T, Setback>,
) -> Result<T, Error> {
    let refusal = match outcome {
        Ok(success) => return Ok(success),
        Err(Setback::Refused(refusal)) => refusal,
        Err(Setback::Jobs(error)) => match error {
            jobs::Error::Invalid(problems) => Refusal::InvalidInput((&problems).into()),
            jobs::Error::NotFound(what) => {
                let field = match what {
                    "project" => "projectId",
                    "batch" => "batchId",
                    "attempt" => "attemptId",
                    _ => "jobId",
                };
                Refusal::NotFound(NotFoundProblem::new(what, field))
            }
            jobs::Error::KeyReused => {
                Refusal::IdempotencyKeyReused(IdempotencyKeyReusedProblem::new())
            }
            jobs::Error::NoProvider(reason) => {
                Refusal::ProviderUnavailable(ProviderUnavailableProblem::new(reason))
            }
            jobs::Error::InsufficientCredits(shortage) => {
                Refusal::InsufficientCredits(shortage.into())
            }
            jobs::Error::BudgetExceeded(overrun) => Refusal::BudgetExceeded(overrun.into()),
            jobs::Error::TooManyJobs(too_many) => Refusal::TooManyJobs(too_many.into()),
            jobs::Error::Conflict(reason) => Refusal::Conflict(ConflictProblem::new(reason)),
            jobs::Error::Database(error) => return Err(database(ctx, &error)),
        },
        Err(Setback::Projects(error)) => match error {
            projects::Error::Invalid(problems) => Refusal::InvalidInput((&problems).into()),
            projects::Error::NotFound => Refusal::NotFound(NotFoundProblem::new("project", "id")),
            projects::Error::Database(error) => return Err(database(ctx, &error)),
        },
        Err(Setback::Uploads(error)) => match error {
            uploads::Error::Invalid(problems) => Refusal::InvalidInput((&problems).into()),
            uploads::Error::NotFound => {
                Refusal::NotFound(NotFoundProblem::new("upload", "uploadId"))
            }
            uploads::Error::Conflict(reason) => Refusal::Conflict(ConflictProblem::new(reason)),
            uploads::Error::Database(error) => return Err(database(ctx, &error)),
            error @ uploads::Error::Store(_) => {
                return Err(internal(&context::request_id(ctx), &error));
            }
        },
        Err(Setback::Webhooks(error)) => match error {
            webhooks::Error::Invalid(problems) => Refusal::InvalidInput((&problems).into()),
            webhooks::Error::NotFound(what) => {
                Refusal::NotFound(NotFoundProblem::new(what, &format!("{what}Id")))
            }
            webhooks::Error::Conflict(reason) => Refusal::Conflict(ConflictProblem::new(reason)),
            error @ (webhooks::Error::Database(_) | webhooks::Error::Secret(_)) => {
                return Err(webhook(ctx, error));
            }
        },
        Err(Setback::Payments(error)) => match error {
            payments::Error::Invalid(problems) => Refusal::InvalidInput((&problems).into()),
            payments::Error::Conflict(reason) => Refusal::Conflict(ConflictProblem::new(reason)),
            payments::Error::KeyReused => {
                Refusal::IdempotencyKeyReused(IdempotencyKeyReusedProblem::new())
            }
            payments::Error::Vendor(failure) => {
                let RequestId(request_id) = context::request_id(ctx);
                tracing::warn!(%request_id, %failure, "the payment vendor did not do it");
                let words = "The payment vendor does not do this now; please try again later.";
                Refusal::ProviderUnavailable(ProviderUnavailableProblem::new(words.to_owned()))
            }
            payments::Error::Database(error) => return Err(database(ctx, &error)),
        },
        Err(Setback::Keys(error)) => match error {
            keys::Error::Invalid(problems) => Refusal::InvalidInput((&problems).into()),
            keys::Error::NotFound => Refusal::NotFound(NotFoundProblem::new("API key", "apiKeyId")),
            keys::Error::Conflict(reason) => Refusal::Conflict(ConflictProblem::new(reason)),
            keys::Error::Database(error) => return Err(database(ctx, &error)),
        },
        Err(Setback::Rates(refused)) => limited(refused)?,
        Err(Setback::Secrets(error)) => match error {
            secrets::SecretError::Invalid(problems) => Refusal::InvalidInput((&problems).into()),
            secrets::SecretError::NotFound => {
                Refusal::NotFound(NotFoundProblem::new("credential", "name"))
            }
            error @ secrets::SecretError::Vault(_) => {
                return Err(internal(&context::request_id(ctx), &error));
            }
            secrets::SecretError::Database(error) => return Err(database(ctx, &error)),
        },
        Err(Setback::Accounts(error)) => match error {
            sessions::Error::Invalid(problems) => Refusal::InvalidInput((&problems).into()),
            sessions::Error::Wrong(why) => {
                Refusal::Unauthenticated(UnauthenticatedProblem::new(why))
            }
            sessions::Error::Refused(refused) => {
                if let rates::Refused::TooOften(standing) = &refused {
                    context::tell(ctx, Some(*standing), true);
                }
                limited(refused)?
            }
            sessions::Error::NotFound => {
                Refusal::NotFound(NotFoundProblem::new("session", "sessionId"))
            }
            sessions::Error::Conflict(reason) => Refusal::Conflict(ConflictProblem::new(reason)),
            error @ sessions::Error::Busy => return Err(unavailable(&error.to_string())),
            error @ sessions::Error::Failed(_) => {
                return Err(internal(&context::request_id(ctx), &error));
            }
            sessions::Error::Database(error) => return Err(database(ctx, &error)),
        },
        Err(Setback::Billing(error)) => match error {
            desk::Error::Invalid(problems) => Refusal::InvalidInput((&problems).into()),
            desk::Error::NotFound => Refusal::NotFound(NotFoundProblem::new("user", "user")),
            desk::Error::KeyReused => {
                Refusal::IdempotencyKeyReused(IdempotencyKeyReusedProblem::new())
            }
            desk::Error::Insufficient(shortage) => Refusal::InsufficientCredits(shortage.into()),
            desk::Error::Database(error) => return Err(database(ctx, &error)),
        },
    };
    T::refused(refusal)
}

fn limited(refused: rates::Refused) -> Result<Refusal, Error> {
    match refused {
        rates::Refused::TooOften(_) => Ok(Refusal::RateLimited((&refused).into())),
        rates::Refused::NobodyCounts => Err(unavailable(
            "This is not possible now; try again in a few seconds.",
        )),
    }
}

/// An error of accounts as a field error, for mutations that answer yes or no.
pub(super) fn account(ctx: &Context<'_>, error: sessions::Error) -> Error {
    struct Never;
    impl Outcome for Never {
        fn refused(refusal: Refusal) -> Result<Self, Error> {
            Err(refusal.into_error())
        }
    }
    match settle::<Never>(ctx, Err(Setback::Accounts(error))) {
        Ok(Never) => internal(
            &context::request_id(ctx),
            &std::io::Error::other("a refusal was a success"),
        ),
        Err(error) => error,
    }
}

/// More requests with an API key than it may have.
pub(super) fn key_too_often(refused: rates::Refused) -> Error {
    match limited(refused) {
        Ok(refusal) => refusal.into_error(),
        Err(error) => error,
    }
}

impl Refusal {
    /// For a mutation whose result has no place for it: the same words as a field error.
    pub(super) fn into_error(self) -> Error {
        let (code, message) = match self {
            Self::InvalidInput(problem) => (ErrorCode::InvalidInput, problem.message),
            Self::NotFound(problem) => (ErrorCode::NotFound, problem.message),
            Self::Conflict(problem) => (ErrorCode::Conflict, problem.message),
            Self::IdempotencyKeyReused(problem) => {
                (ErrorCode::IdempotencyKeyReused, problem.message)
            }
            Self::ProviderUnavailable(problem) => (ErrorCode::ProviderUnavailable, problem.message),
            Self::InsufficientCredits(problem) => (ErrorCode::InsufficientCredits, problem.message),
            Self::TooManyJobs(problem) => (ErrorCode::RateLimited, problem.message),
            Self::BudgetExceeded(problem) => (ErrorCode::BudgetExceeded, problem.message),
            Self::Unauthenticated(problem) => (ErrorCode::Unauthenticated, problem.message),
            Self::RateLimited(problem) => return too_often(&problem),
        };
        coded(code, message)
    }
}
