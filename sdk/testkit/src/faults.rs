//! Scripted misbehaviour.

use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::refusal::Class;

/// A misbehaviour and the calls it strikes. In JSON the fields are in camelCase and a field
/// that does not exist is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// Which calls: a route as `GET /_control/routes` lists it (`POST /v3/videos`,
    /// `GET /v3/videos/{video_id}`), or with a real value in the place of a parameter
    /// (`GET /v3/videos/vid_1`), or a beginning that ends in `*` (`GET /v3/*`, `*`). Without
    /// a method it means all methods.
    pub route: String,
    /// What happens.
    pub fault: FaultKind,
    /// How many matching calls are struck; 0 strikes all of them. Default 1.
    #[serde(default = "once")]
    pub times: u32,
    /// Matching calls to let pass first. Default 0.
    #[serde(default)]
    pub after: u32,
    /// How likely a matching call is struck, 0.0 to 1.0. Default 1.0.
    #[serde(default = "always")]
    pub probability: f64,
    /// HTTP status of `answer`, `redirect` and `accept_then_answer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The vendor's error code for `answer` and `accept_then_answer`; the failure code of
    /// `task_fails`; the word of `unknown_status`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Text beside the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Seconds for the `Retry-After` header of a refusal.
    #[serde(
        default,
        alias = "retry_after",
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_after: Option<u64>,
    /// Milliseconds: of `delay`, `hang`, `slow` (the whole body), `render_time`,
    /// `webhook_late`. With any other fault: a wait before it.
    #[serde(default, alias = "delay_ms", skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Size of `huge` and of `padded` (default 128 MiB); where `truncated` and `stream_breaks` cut
    /// (default: half of the body, half of the text).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Where `redirect` points; the media type of `wrong_content_type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How many looks `links_missing` holds the link back (default 2); how many extra
    /// deliveries `webhook_duplicate` makes (default 1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

fn once() -> u32 {
    1
}

fn always() -> f64 {
    1.0
}

impl Fault {
    /// A fault that strikes the next call of the route.
    #[must_use]
    pub fn new(route: impl Into<String>, fault: FaultKind) -> Self {
        Self {
            route: route.into(),
            fault,
            times: 1,
            after: 0,
            probability: 1.0,
            status: None,
            code: None,
            message: None,
            retry_after: None,
            delay_ms: None,
            bytes: None,
            value: None,
            count: None,
        }
    }

    /// Strikes so many calls; 0 strikes all.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Lets so many calls pass first.
    #[must_use]
    pub fn after(mut self, calls: u32) -> Self {
        self.after = calls;
        self
    }

    /// Sets status and code of an `answer`.
    #[must_use]
    pub fn answer(mut self, status: u16, code: impl Into<String>) -> Self {
        self.status = Some(status);
        self.code = Some(code.into());
        self
    }

    /// Sets the code.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Sets the milliseconds.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sets the size in bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Sets where a redirect points, or the wrong media type.
    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Sets the number of looks or deliveries.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = Some(count);
        self
    }
}

/// What happens to a struck call. The words are the same in JSON, in snake_case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The given `status`, `code` and `message` in the vendor's envelope; no work is done.
    Answer,
    /// The credentials are refused.
    Unauthorized,
    /// The plan does not allow it.
    Forbidden,
    /// No balance left.
    QuotaExhausted,
    /// Too many requests.
    RateLimited,
    /// All parallel slots are taken.
    NoSlot,
    /// The vendor's moderation refuses.
    ContentRejected,
    /// The request is wrong.
    InvalidInput,
    /// There is no such thing.
    NotFound,
    /// The same request is in flight.
    Conflict,
    /// The vendor is overloaded (503).
    Unavailable,
    /// The vendor fails (500).
    InternalError,
    /// The connection closes; no work is done.
    DropBefore,
    /// No answer for `delayMs` (default 600,000), then the connection closes; no work is
    /// done.
    Hang,
    /// The answer comes late: waits `delayMs` (default 1,000), then works as usual.
    Delay,
    /// A redirect to `value` with `status` (default 302); no work is done.
    Redirect,
    /// The work is done and billed; the connection closes without an answer.
    AcceptThenDrop,
    /// The work is done and billed; no answer for `delayMs` (default 600,000), then the
    /// connection closes.
    AcceptThenHang,
    /// The work is done and billed; the answer is an error, `status` default 500.
    AcceptThenAnswer,
    /// The answer is not JSON although it says so.
    Malformed,
    /// The answer breaks off in the middle.
    Truncated,
    /// The answer does not end for a long time.
    Huge,
    /// A film comes whole, and behind it an empty box up to `bytes` in all (default 128 MiB):
    /// large, and as playable as before. Only whole answers (200) of MP4 are padded, and only
    /// if there is room for the box's head.
    Padded,
    /// The answer drips over `delayMs` (default 10,000).
    Slow,
    /// The answer has no body.
    Empty,
    /// The answer's media type is `value` (default `text/html`).
    WrongContentType,
    /// The answer's body is a web page instead of media; its media type stays.
    NotMedia,
    /// The request's credential comes back, in the body and in a header.
    EchoCredential,
    /// On a creating route: the task fails with `code`, and `message`.
    TaskFails,
    /// On a creating route: the task takes `delayMs`.
    RenderTime,
    /// On a creating route: the task never ends.
    Stuck,
    /// On a creating route: the finished task has no link for `count` looks.
    LinksMissing,
    /// On a creating route: while it works, the task's status is `code`, which the vendor
    /// has never documented (default `reticulating`).
    UnknownStatus,
    /// On a creating route: each webhook comes `count` more times.
    WebhookDuplicate,
    /// On a creating route: the webhook of the end comes at once.
    WebhookEarly,
    /// On a creating route: webhooks come `delayMs` late (default 5,000).
    WebhookLate,
    /// On a creating route: webhooks carry a wrong signature.
    WebhookForged,
    /// On a creating route: no webhook comes.
    WebhookLost,
    /// OpenAI: the model refuses.
    Refusal,
    /// OpenAI: the answer stops at the length limit.
    LengthCut,
    /// OpenAI: the stream ends without its last words.
    StreamBreaks,
    /// OpenAI: the stream says that the server failed.
    StreamError,
}

impl FaultKind {
    /// The class of refusal that this stands for.
    pub(crate) fn class(self) -> Option<Class> {
        Some(match self {
            Self::Unauthorized => Class::Unauthorized,
            Self::Forbidden => Class::Forbidden,
            Self::QuotaExhausted => Class::QuotaExhausted,
            Self::RateLimited => Class::RateLimited,
            Self::NoSlot => Class::NoSlot,
            Self::ContentRejected => Class::ContentRejected,
            Self::InvalidInput => Class::InvalidInput,
            Self::NotFound => Class::NotFound,
            Self::Conflict => Class::Conflict,
            Self::Unavailable => Class::Unavailable,
            Self::InternalError => Class::InternalError,
            _ => return None,
        })
    }
}

/// Why a fault was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// No route of this vendor matches.
    #[error("no route matches `{route}`; there are: {known}")]
    UnknownRoute {
        /// What was asked for.
        route: String,
        /// The routes that exist, separated by commas.
        known: String,
    },
    /// The likelihood is not one.
    #[error("probability must be between 0 and 1, not {0}")]
    Probability(f64),
    /// `answer` needs to know what.
    #[error("the fault `answer` needs a `status` between 100 and 599")]
    Status,
}

/// Whether a pattern of a fault means the route (or the real path) `method path`.
pub(crate) fn covers(pattern: &str, method: &str, path: &str) -> bool {
    let pattern = pattern.trim();
    let (wanted, pattern) = pattern.split_once(' ').unwrap_or(("", pattern));
    if !wanted.is_empty() && wanted != "*" && !wanted.eq_ignore_ascii_case(method) {
        return false;
    }
    let pattern = pattern.trim();
    if let Some(prefix) = pattern.strip_suffix('*') {
        return path.starts_with(prefix);
    }
    let mut left = pattern.split('/');
    let mut right = path.split('/');
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || b.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// A fault with what is left of it.
#[derive(Debug)]
struct Armed {
    fault: Fault,
    passed: u32,
    struck: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<Armed>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault, routes: &[String]) -> Result<(), FaultError> {
        let known = |route: &String| {
            let (method, path) = route.split_once(' ').unwrap_or(("", route));
            covers(&fault.route, method, path)
        };
        if !routes.iter().any(known) {
            return Err(FaultError::UnknownRoute {
                route: fault.route,
                known: routes.join(", "),
            });
        }
        if !(0.0..=1.0).contains(&fault.probability) {
            return Err(FaultError::Probability(fault.probability));
        }
        if fault.fault == FaultKind::Answer
            && !fault
                .status
                .is_some_and(|status| (100..600).contains(&status))
        {
            return Err(FaultError::Status);
        }
        self.armed.push(Armed {
            fault,
            passed: 0,
            struck: 0,
        });
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.armed.clear();
    }

    /// The faults that still have calls to strike.
    pub(crate) fn list(&self) -> Vec<Fault> {
        self.armed.iter().map(|armed| armed.fault.clone()).collect()
    }

    /// The faults that strike this call, used up where they are.
    pub(crate) fn strike(
        &mut self,
        method: &str,
        route: &str,
        path: &str,
        random: &mut impl Rng,
    ) -> Vec<Fault> {
        let mut struck = Vec::new();
        self.armed.retain_mut(|armed| {
            let pattern = &armed.fault.route;
            if !covers(pattern, method, route) && !covers(pattern, method, path) {
                return true;
            }
            if armed.passed < armed.fault.after {
                armed.passed += 1;
                return true;
            }
            if armed.fault.probability < 1.0 && !random.random_bool(armed.fault.probability) {
                return true;
            }
            armed.struck += 1;
            struck.push(armed.fault.clone());
            armed.fault.times == 0 || armed.struck < armed.fault.times
        });
        struck
    }
}
