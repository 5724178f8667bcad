//! The public list of error codes: what each means and what its reader can do. Codes are
//! stable; `graphql/ERRORS.md` is written from here.

use std::fmt::Write as _;

use genvid_transport::codes as transport;

/// Where a code is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `errors[].extensions.code` of a request that did not run.
    Request,
    /// `errors[].extensions.code` of a field that failed.
    Field,
    /// `code` of a `Problem` in a mutation's result.
    Problem,
    /// `code` of a job's, step's or attempt's `error`.
    Job,
}

impl Place {
    fn words(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Field => "field",
            Self::Problem => "problem",
            Self::Job => "job",
        }
    }
}

/// A code with its meaning.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The code itself.
    pub code: &'static str,
    /// Where it is met.
    pub places: &'static [Place],
    /// May the same request succeed later without a change?
    pub retryable: bool,
    /// What happened.
    pub happened: &'static str,
    /// What the caller can do.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $case:ident {
        code: $code:expr,
        places: [$($place:ident),+],
        retryable: $retryable:literal,
        happened: $happened:literal,
        remedy: $remedy:literal $(,)?
    })+) => {
        /// Every code that a client of the API can meet.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $(#[doc = $happened] $case),+ }

        impl ErrorCode {
            /// All of them, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$case),+];

            /// The code with its meaning.
            #[must_use]
            pub fn entry(self) -> Entry {
                match self {
                    $(Self::$case => Entry {
                        code: $code,
                        places: &[$(Place::$place),+],
                        retryable: $retryable,
                        happened: $happened,
                        remedy: $remedy,
                    }),+
                }
            }
        }
    };
}

codes! {
    Unauthenticated {
        code: "UNAUTHENTICATED",
        places: [Request, Field, Problem],
        retryable: false,
        happened: "The request carries no access token, or one that is unknown or has expired. As a problem: the address or the password is wrong, or a refresh token or a link is used up.",
        remedy: "Sign in with `login`, or get the next token with `refreshSession`. Send `Authorization: Bearer TOKEN`; on a WebSocket, put it into the payload of `connection_init`.",
    }
    Forbidden {
        code: transport::FORBIDDEN,
        places: [Request, Field],
        retryable: false,
        happened: "The web page that opens the WebSocket is not allowed to; or the field is for admins, or not for API keys.",
        remedy: "Ask the operator to add the page's origin to the allowed ones, or to make you an admin; sign in yourself instead of with an API key.",
    }
    NotFound {
        code: "NOT_FOUND",
        places: [Field, Problem],
        retryable: false,
        happened: "There is no such object, or it is somebody else's: both answer the same.",
        remedy: "Check the id; objects are seen only by their owner.",
    }
    InvalidInput {
        code: transport::INVALID_INPUT,
        places: [Field, Problem, Job],
        retryable: false,
        happened: "A value cannot be taken. A field error names the argument in `extensions.field`, a problem lists every field with its message, and a job's error names the field that the provider refused.",
        remedy: "Correct the named fields and send the request again.",
    }
    Conflict {
        code: "CONFLICT",
        places: [Problem],
        retryable: false,
        happened: "The object's present state does not allow this, for example retrying a job that has succeeded.",
        remedy: "Read the object again; the message says what would be needed.",
    }
    IdempotencyKeyReused {
        code: "IDEMPOTENCY_KEY_REUSED",
        places: [Problem],
        retryable: false,
        happened: "This idempotency key came before with other arguments. Nothing was started.",
        remedy: "Use a new key for a new request, and the same key only to repeat one word for word.",
    }
    InsufficientCredits {
        code: "INSUFFICIENT_CREDITS",
        places: [Problem],
        retryable: false,
        happened: "The caller has fewer credits than this may cost at most. Nothing was started; the problem says how many are `required` and how many are `available`.",
        remedy: "Get more credits, wait for running jobs to give back what they do not need, or ask for less: a shorter text, a cheaper provider.",
    }
    BudgetExceeded {
        code: "BUDGET_EXCEEDED",
        places: [Problem, Job],
        retryable: false,
        happened: "What the project's jobs have spent and hold would pass its budget. As a problem: nothing was started; it says the `budget`, what is `spent` and `held`, and what would be `needed`. As a job's error: the budget was lowered, and the job was stopped before it bought anything more.",
        remedy: "Raise the budget, a project's with `setProjectBudget`, an API key's with `limitApiKey`; or wait for running jobs to give back what they do not need, or for the next month; then send the request, or retry the job.",
    }
    ContentRejected {
        code: "CONTENT_REJECTED",
        places: [Job],
        retryable: false,
        happened: "The provider's moderation refused the text or the pictures.",
        remedy: "Change the content, or choose another provider, and start a new job.",
    }
    ProviderUnavailable {
        code: "PROVIDER_UNAVAILABLE",
        places: [Field, Problem, Job],
        retryable: true,
        happened: "No provider can do this now: none is installed for it, the wanted one is switched off, or it does not answer.",
        remedy: "Try again later, or relax what the request demands; the message says why each provider was ruled out.",
    }
    ProviderRejected {
        code: "PROVIDER_REJECTED",
        places: [Job],
        retryable: true,
        happened: "The provider accepted the task, worked on it and gave up.",
        remedy: "Retry the job, perhaps with another provider. `charged` says whether it was billed.",
    }
    ProviderMisconfigured {
        code: "PROVIDER_MISCONFIGURED",
        places: [Job],
        retryable: true,
        happened: "The provider refuses the operator's account: a wrong key, no credit left, or a plan that does not include this.",
        remedy: "Tell the operator; retry once it is settled, or name another provider.",
    }
    Unconfirmed {
        code: "UNCONFIRMED",
        places: [Job],
        retryable: false,
        happened: "The answer to a paid call was lost and could not be settled: the provider may be working on it and may bill it.",
        remedy: "Decide: `retryJob` with `acceptDoubleCharge: true`, or `cancelJob`. Nothing is repeated without it.",
    }
    MediaFailed {
        code: "MEDIA_FAILED",
        places: [Job],
        retryable: true,
        happened: "A result could not be fetched, is damaged, or is not what it claims to be.",
        remedy: "Retry the job: what was paid for and is still there is fetched again, not bought again.",
    }
    DeadlineExceeded {
        code: "DEADLINE_EXCEEDED",
        places: [Job],
        retryable: true,
        happened: "The job was not done by its deadline.",
        remedy: "Retry the job, or start one with a later deadline.",
    }
    QueryTooComplex {
        code: transport::QUERY_TOO_COMPLEX,
        places: [Request],
        retryable: false,
        happened: "The document is over one of the limits on depth, aliases, fields, tokens or total cost. `extensions.limit` names it where one number is at fault.",
        remedy: "Ask for less at once: smaller pages, fewer nested lists, several requests.",
    }
    ParseFailed {
        code: transport::PARSE_FAILED,
        places: [Request],
        retryable: false,
        happened: "The document is not GraphQL.",
        remedy: "Correct the document at `locations`.",
    }
    ValidationFailed {
        code: transport::VALIDATION_FAILED,
        places: [Request],
        retryable: false,
        happened: "The document or its variables do not fit the schema. The message names the field or the argument.",
        remedy: "Compare with `graphql/schema.graphql`; generated clients cannot get this.",
    }
    BadRequest {
        code: transport::BAD_REQUEST,
        places: [Request],
        retryable: false,
        happened: "The HTTP request or the socket message is not a well-formed GraphQL request.",
        remedy: "Send a JSON object with `query`, and optionally `variables` and `operationName`.",
    }
    MethodNotAllowed {
        code: transport::METHOD_NOT_ALLOWED,
        places: [Request],
        retryable: false,
        happened: "The HTTP method cannot carry this operation: mutations need POST.",
        remedy: "Use POST; the `Allow` header lists what is possible.",
    }
    UnsupportedMediaType {
        code: transport::UNSUPPORTED_MEDIA_TYPE,
        places: [Request],
        retryable: false,
        happened: "The body is not `application/json`.",
        remedy: "Send `Content-Type: application/json`.",
    }
    NotAcceptable {
        code: transport::NOT_ACCEPTABLE,
        places: [Request],
        retryable: false,
        happened: "None of the media types in `Accept` can be answered.",
        remedy: "Accept `application/graphql-response+json`, `application/json` or `text/event-stream`.",
    }
    PayloadTooLarge {
        code: transport::PAYLOAD_TOO_LARGE,
        places: [Request],
        retryable: false,
        happened: "The request's body is larger than the server takes.",
        remedy: "Send less; pictures are uploaded with `createUpload`, or given by their URL.",
    }
    RequestTimeout {
        code: transport::REQUEST_TIMEOUT,
        places: [Request],
        retryable: true,
        happened: "The request's body did not arrive in time.",
        remedy: "Send it again.",
    }
    PersistedQueryNotFound {
        code: transport::PERSISTED_QUERY_NOT_FOUND,
        places: [Request],
        retryable: true,
        happened: "No document is known under the hash that was sent.",
        remedy: "Send the document along with its hash once; clients of this protocol do so by themselves.",
    }
    PersistedQueryNotSupported {
        code: transport::PERSISTED_QUERY_NOT_SUPPORTED,
        places: [Request],
        retryable: false,
        happened: "Persisted queries are switched off on this server.",
        remedy: "Send the document itself.",
    }
    OperationNotStored {
        code: transport::OPERATION_NOT_STORED,
        places: [Request],
        retryable: false,
        happened: "This server runs only operations that its operator has stored, and this is none of them.",
        remedy: "Send a stored document word for word, or its SHA-256 as `extensions.persistedQuery`; ask the operator to store a new one.",
    }
    TooManyOperations {
        code: transport::TOO_MANY_OPERATIONS,
        places: [Request],
        retryable: true,
        happened: "This WebSocket holds its maximum of running operations.",
        remedy: "End some subscriptions first, or follow all jobs with one `myJobEvents`.",
    }
    RateLimited {
        code: transport::RATE_LIMITED,
        places: [Request, Field, Problem],
        retryable: true,
        happened: "The caller does something too often (wrong passwords, new accounts, new projects, things to make, requests with an API key): `retryAfterMs` says when it may be done again; over HTTP the status is 429, with `Retry-After` and the `RateLimit` fields. Or the caller holds its maximum of open event streams; or has as many jobs under way as their plan allows: the problem says how many are `inFlight`, and the `limit`. Nothing was started.",
        remedy: "Wait for the time that is told. End some streams first, or follow all jobs with one `myJobEvents`. Wait until a job is over, or cancel one, and send the request again with the same key.",
    }
    Unavailable {
        code: transport::UNAVAILABLE,
        places: [Request, Field],
        retryable: true,
        happened: "The server is stopping, or holds its maximum of connections, or cannot reach its database, or has too many passwords to check.",
        remedy: "Try again after a short wait; subscriptions go on with `after`.",
    }
    Internal {
        code: transport::INTERNAL,
        places: [Field, Job],
        retryable: true,
        happened: "A fault of the server.",
        remedy: "Try again; if it stays, give the operator `extensions.requestId`, which finds it in the log.",
    }
}

impl ErrorCode {
    /// The code itself.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.entry().code
    }

    /// May the same request succeed later without a change?
    #[must_use]
    pub fn retryable(self) -> bool {
        self.entry().retryable
    }
}

/// The list as a page in Markdown: `graphql/ERRORS.md`.
#[must_use]
pub fn errors_page() -> String {
    let mut page = String::from(
        "# Error codes\n\n\
         <!-- Written by the program from host/src/graphql/codes.rs; `cargo xtask codegen`. -->\n\n\
         Codes are stable: new ones may come, none changes its meaning. Where a code is met:\n\n\
         - **request**: `errors[].extensions.code`; nothing ran.\n\
         - **field**: `errors[].extensions.code` with a `path`; the rest of the answer is good. \
         `extensions.retryable` repeats the column below.\n\
         - **problem**: `code` of a `Problem` in a mutation's result.\n\
         - **job**: `code` of the `error` of a job, a step or an attempt.\n\n\
         Retryable: may the same request succeed later without a change? A job's `error` has its \
         own `retryable`, which knows more.\n",
    );
    for code in ErrorCode::ALL {
        let entry = code.entry();
        let places: Vec<_> = entry.places.iter().map(|place| place.words()).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## {}\n\nMet in: {}. Retryable: {}.\n\n{}\n\n**What to do.** {}\n",
            entry.code,
            places.join(", "),
            if entry.retryable { "yes" } else { "no" },
            entry.happened,
            entry.remedy,
        );
    }
    page
}
