//! What a mutation's caller is expected to handle: typed members of the result union.

use async_graphql::{Enum, Interface, SimpleObject};

use crate::{
    billing::{Shortage, budget::Overrun},
    input::Problems,
    jobs::limits::{Scope, TooMany},
    rates::Refused,
};

/// Most field problems in one answer; a person reads the first few.
const MOST: usize = 50;

/// Why a mutation did nothing. The words are the same as in the list of error codes,
/// `graphql/ERRORS.md`.
#[derive(Debug, Enum, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProblemCode {
    /// Fields of the input cannot be taken; `InvalidInputProblem.problems` lists them all.
    InvalidInput,
    /// There is no such object for the caller.
    NotFound,
    /// The object's present state does not allow it.
    Conflict,
    /// The idempotency key came before with other arguments.
    IdempotencyKeyReused,
    /// No installed provider can do this.
    ProviderUnavailable,
    /// The caller has fewer credits than it may cost.
    InsufficientCredits,
    /// The caller has as many jobs under way as they may, or does this too often.
    RateLimited,
    /// It would pass the budget of the project, or of the batch.
    BudgetExceeded,
    /// The password, or the token, is not the right one.
    Unauthenticated,
}

/// Why a mutation did nothing. Select it with `... on Problem` to handle every kind at once,
/// also those that come with later versions.
#[derive(Interface)]
#[graphql(
    field(
        name = "code",
        ty = "&ProblemCode",
        desc = "The class of problem, stable."
    ),
    field(
        name = "message",
        ty = "&String",
        desc = "What is wrong, in English, for the person who uses the client."
    ),
    field(
        name = "path",
        ty = "&Option<Vec<String>>",
        desc = "The field of `input` that is at fault, from the outside in, for example `[\"productImages\", \"0\"]`. Null when it is no single field."
    )
)]
pub(super) enum Problem {
    InvalidInput(InvalidInputProblem),
    NotFound(NotFoundProblem),
    Conflict(ConflictProblem),
    IdempotencyKeyReused(IdempotencyKeyReusedProblem),
    ProviderUnavailable(ProviderUnavailableProblem),
    InsufficientCredits(InsufficientCreditsProblem),
    TooManyJobs(TooManyJobsProblem),
    BudgetExceeded(BudgetExceededProblem),
    Unauthenticated(UnauthenticatedProblem),
    RateLimited(RateLimitedProblem),
}

/// One field that cannot be taken.
#[derive(Debug, SimpleObject)]
pub(super) struct FieldProblem {
    /// The field of `input`, from the outside in, for example `["options", "speed"]`.
    pub(super) path: Vec<String>,
    /// What is wrong with it, in English, to be read after the field's name.
    pub(super) message: String,
}

/// Fields of the input cannot be taken. Nothing was changed or started.
#[derive(Debug, SimpleObject)]
pub(super) struct InvalidInputProblem {
    /// Always `INVALID_INPUT`.
    pub(super) code: ProblemCode,
    /// What is wrong with the first of the fields.
    pub(super) message: String,
    /// The first of the fields.
    pub(super) path: Option<Vec<String>>,
    /// Everything that is wrong, in the order of the input; at most 50 entries.
    pub(super) problems: Vec<FieldProblem>,
}

impl From<&Problems> for InvalidInputProblem {
    fn from(found: &Problems) -> Self {
        let problems: Vec<_> = found
            .list()
            .iter()
            .take(MOST)
            .map(|problem| FieldProblem {
                path: path(&problem.field),
                message: problem.message.clone(),
            })
            .collect();
        let first = found.list().first();
        Self {
            code: ProblemCode::InvalidInput,
            message: first.map_or_else(
                || "The input cannot be taken.".to_owned(),
                |problem| format!("{}: {}", problem.field, problem.message),
            ),
            path: first.map(|problem| path(&problem.field)),
            problems,
        }
    }
}

/// There is no such object, or it is somebody else's: both answer the same.
#[derive(Debug, SimpleObject)]
pub(super) struct NotFoundProblem {
    /// Always `NOT_FOUND`.
    pub(super) code: ProblemCode,
    /// Which kind of object is missing.
    pub(super) message: String,
    /// The field of `input` that names it.
    pub(super) path: Option<Vec<String>>,
}

impl NotFoundProblem {
    pub(super) fn new(what: &str, field: &str) -> Self {
        Self {
            code: ProblemCode::NotFound,
            message: format!("There is no such {what}."),
            path: Some(path(field)),
        }
    }
}

/// The object's present state does not allow this. Nothing was changed.
#[derive(Debug, SimpleObject)]
pub(super) struct ConflictProblem {
    /// Always `CONFLICT`.
    pub(super) code: ProblemCode,
    /// What stands in the way, and what would be needed.
    pub(super) message: String,
    /// Always null: it is no field of the input.
    pub(super) path: Option<Vec<String>>,
}

impl ConflictProblem {
    pub(super) fn new(message: String) -> Self {
        Self {
            code: ProblemCode::Conflict,
            message,
            path: None,
        }
    }
}

/// The idempotency key came before with other arguments. Nothing was started.
#[derive(Debug, SimpleObject)]
pub(super) struct IdempotencyKeyReusedProblem {
    /// Always `IDEMPOTENCY_KEY_REUSED`.
    pub(super) code: ProblemCode,
    /// What to do about it.
    pub(super) message: String,
    /// Always `["idempotencyKey"]`.
    pub(super) path: Option<Vec<String>>,
}

impl IdempotencyKeyReusedProblem {
    pub(super) fn new() -> Self {
        Self {
            code: ProblemCode::IdempotencyKeyReused,
            message: "This key was used for another request; take a new one.".to_owned(),
            path: Some(path("idempotencyKey")),
        }
    }
}

/// No installed provider can make this: the message says for each one why. Nothing was
/// started.
#[derive(Debug, SimpleObject)]
pub(super) struct ProviderUnavailableProblem {
    /// Always `PROVIDER_UNAVAILABLE`.
    pub(super) code: ProblemCode,
    /// Why each provider is ruled out.
    pub(super) message: String,
    /// Always null: it is no single field.
    pub(super) path: Option<Vec<String>>,
}

impl ProviderUnavailableProblem {
    pub(super) fn new(message: String) -> Self {
        Self {
            code: ProblemCode::ProviderUnavailable,
            message,
            path: None,
        }
    }
}

/// The caller has fewer credits than it may cost. Nothing was started.
#[derive(Debug, SimpleObject)]
pub(super) struct InsufficientCreditsProblem {
    /// Always `INSUFFICIENT_CREDITS`.
    pub(super) code: ProblemCode,
    /// How many credits are needed, and how many there are.
    pub(super) message: String,
    /// Always null: it is no field of the input.
    pub(super) path: Option<Vec<String>>,
    /// Credits that have to be put aside: what it may cost at most.
    pub(super) required: i64,
    /// Credits that the caller may spend.
    pub(super) available: i64,
}

impl From<Shortage> for InsufficientCreditsProblem {
    fn from(shortage: Shortage) -> Self {
        let Shortage {
            required,
            available,
        } = shortage;
        Self {
            code: ProblemCode::InsufficientCredits,
            message: format!("This may cost {required} credits; {available} are available."),
            path: None,
            required,
            available,
        }
    }
}

/// What the job may cost at most would pass the budget of its project, or of its batch. Nothing was
/// started, and nothing put aside.
#[derive(Debug, SimpleObject)]
pub(super) struct BudgetExceededProblem {
    /// Always `BUDGET_EXCEEDED`.
    pub(super) code: ProblemCode,
    /// What the budget is, what counts already, and what would be needed.
    pub(super) message: String,
    /// Always null: it is no field of the input.
    pub(super) path: Option<Vec<String>>,
    /// Credits of the budget.
    pub(super) budget: i64,
    /// Credits that the jobs under this budget have spent in the budget's period.
    pub(super) spent: i64,
    /// Credits that are put aside for its jobs that are under way.
    pub(super) held: i64,
    /// Credits that would have to be put aside for this job.
    pub(super) needed: i64,
}

impl From<Overrun> for BudgetExceededProblem {
    fn from(Overrun { budget, needed }: Overrun) -> Self {
        Self {
            code: ProblemCode::BudgetExceeded,
            message: format!(
                "This may cost {needed} credits. The budget is {}: {} are spent, {} held.",
                budget.limit.words(),
                budget.spent,
                budget.held
            ),
            path: None,
            budget: budget.limit.credits,
            spent: budget.spent,
            held: budget.held,
            needed,
        }
    }
}

/// The caller has as many jobs under way as their plan allows. Nothing was started, and nothing
/// put aside; once one of them is over, the same request is taken.
#[derive(Debug, SimpleObject)]
pub(super) struct TooManyJobsProblem {
    /// Always `RATE_LIMITED`.
    pub(super) code: ProblemCode,
    /// How many jobs there are, and how many there may be.
    pub(super) message: String,
    /// Always null: it is no field of the input.
    pub(super) path: Option<Vec<String>>,
    /// Most jobs of the caller's that may be under way.
    pub(super) limit: u32,
    /// Jobs of the caller's that are not over: queued, running, or parked as `UNCONFIRMED`.
    pub(super) in_flight: u32,
}

impl From<TooMany> for TooManyJobsProblem {
    fn from(too_many: TooMany) -> Self {
        let TooMany {
            scope,
            limit,
            in_flight,
        } = too_many;
        let what = match scope {
            Scope::User => "jobs that are not over",
            Scope::Key => "jobs of this API key that are not over",
            Scope::Waiting => "films in batches that wait to be begun",
        };
        Self {
            code: ProblemCode::RateLimited,
            message: format!("You have {in_flight} {what}, and {limit} are allowed at a time."),
            path: None,
            limit,
            in_flight,
        }
    }
}

/// The password is wrong, or the account, or the token: which of them is not told. Nothing was
/// changed.
#[derive(Debug, SimpleObject)]
pub(super) struct UnauthenticatedProblem {
    /// Always `UNAUTHENTICATED`.
    pub(super) code: ProblemCode,
    /// What to do.
    pub(super) message: String,
    /// Always null: which field is wrong is not told.
    pub(super) path: Option<Vec<String>>,
}

impl UnauthenticatedProblem {
    pub(super) fn new(message: &str) -> Self {
        Self {
            code: ProblemCode::Unauthenticated,
            message: message.to_owned(),
            path: None,
        }
    }
}

/// The caller does this too often. Nothing was changed or started. Over HTTP the answer has the
/// status 429, `Retry-After` and the `RateLimit` fields.
#[derive(Debug, SimpleObject)]
pub(super) struct RateLimitedProblem {
    /// Always `RATE_LIMITED`.
    pub(super) code: ProblemCode,
    /// What the limit is.
    pub(super) message: String,
    /// Always null: it is no field of the input.
    pub(super) path: Option<Vec<String>>,
    /// After so many milliseconds it may be done again.
    pub(super) retry_after_ms: i64,
}

impl From<&Refused> for RateLimitedProblem {
    fn from(refused: &Refused) -> Self {
        let wait = match refused {
            Refused::TooOften(standing) => standing.reset.as_millis(),
            Refused::NobodyCounts => 1_000,
        };
        Self {
            code: ProblemCode::RateLimited,
            message: refused.to_string(),
            path: None,
            retry_after_ms: i64::try_from(wait).unwrap_or(i64::MAX),
        }
    }
}

fn path(field: &str) -> Vec<String> {
    field.split('.').map(str::to_owned).collect()
}

/// Declares a mutation's result: its success, and the problems that can occur.
macro_rules! outcome {
    ($(#[$doc:meta])* $name:ident = $success:ident | $($case:ident($problem:ident))|+) => {
        $(#[$doc])*
        #[derive(async_graphql::Union)]
        pub(super) enum $name {
            Success($success),
            $($case($problem)),+
        }

        impl $crate::graphql::problems::Outcome for $name {
            fn refused(
                refusal: $crate::graphql::error::Refusal,
            ) -> Result<Self, async_graphql::Error> {
                match refusal {
                    $($crate::graphql::error::Refusal::$case(problem) => Ok(Self::$case(problem)),)+
                    other => Err(other.into_error()),
                }
            }
        }
    };
}
pub(super) use outcome;

/// A mutation's result.
pub(super) trait Outcome: Sized {
    /// The member for a refusal; a refusal that the result has no member for is a field
    /// error.
    fn refused(refusal: super::error::Refusal) -> Result<Self, async_graphql::Error>;
}
