//! Errors in a line each, and from a vendor's words to the contract's.

use crate::http::Response;
use crate::{Error, ErrorKind, Problem, retry};

impl Error {
    /// An error of this kind. The message is for operators and must hold no secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            vendor_code: None,
        }
    }

    /// The request can never succeed as it is: `field` is its path, such as `voice` or
    /// `options.seed`.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let message = message.into();
        let problem = Problem {
            field: field.into(),
            message: message.clone(),
        };
        Self::new(ErrorKind::InvalidInput(vec![problem]), message)
    }

    /// The vendor, or this plugin, cannot do that.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// The vendor may have accepted it.
    pub fn outcome_unknown(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::OutcomeUnknown, message)
    }

    /// Certainly not accepted, and worth another try.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// The task, voice, avatar or model does not exist at the vendor.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The vendor broke its own contract, or the plugin has a bug.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unexpected, message)
    }

    /// The same error with the vendor's own code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.vendor_code = Some(code.into());
        self
    }

    /// The same error, from a step before the submission itself, such as an upload: whatever
    /// became of that step, the vendor has certainly not accepted the work.
    #[must_use]
    pub fn before_submission(self) -> Self {
        match self.kind {
            ErrorKind::OutcomeUnknown => self.with_kind(ErrorKind::Unavailable),
            _ => self,
        }
    }

    /// The same error of another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }
}

/// What a code of a vendor's means: an [`ErrorKind`] without its payload, which
/// [`ErrorTable`] fills in from the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `invalid-input`
    Invalid,
    /// `content-rejected`
    Rejected,
    /// `unauthorized`
    Unauthorized,
    /// `forbidden`
    Forbidden,
    /// `quota-exhausted`
    Quota,
    /// `rate-limited`, with the wait that the vendor named
    RateLimited,
    /// `no-slot`, with the wait that the vendor named
    NoSlot,
    /// `not-found`
    NotFound,
    /// `unavailable`
    Unavailable,
    /// `outcome-unknown`
    OutcomeUnknown,
    /// `unsupported`
    Unsupported,
    /// `unexpected`
    Unexpected,
}

/// What a vendor's error body says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VendorError {
    /// The vendor's code, verbatim.
    pub code: Option<String>,
    /// The vendor's text.
    pub message: String,
    /// The field of the request it complains about, in Genvid's words.
    pub field: Option<String>,
}

/// A vendor's codes and what they mean. Codes are compared without regard to case.
///
/// The code decides first, because vendors put quota under 429 or 401; the HTTP status is
/// only for codes that the table does not know.
#[derive(Clone, Copy, Debug)]
pub struct ErrorTable(pub &'static [(&'static str, Class)]);

impl ErrorTable {
    /// The class of a code, if the table knows it.
    #[must_use]
    pub fn class(&self, code: &str) -> Option<Class> {
        self.0
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(code))
            .map(|(_, class)| *class)
    }

    /// An answer that refuses a question. Nothing was at stake, so what would leave the
    /// outcome of a submission unknown is `unavailable` here.
    #[must_use]
    pub fn refusal(&self, response: &Response, vendor: VendorError) -> Error {
        self.submit_refusal(response, vendor).before_submission()
    }

    /// An answer that refuses a submission. A 5xx whose code the table does not know may
    /// come from a proxy after the vendor accepted, hence `outcome-unknown`; only 503 says
    /// that the request was not taken (RFC 9110, 15.6.4).
    #[must_use]
    pub fn submit_refusal(&self, response: &Response, vendor: VendorError) -> Error {
        let class = self
            .known(&vendor)
            .unwrap_or_else(|| class_of_status(response.status));
        build(class, response, vendor)
    }

    /// Why a task failed that the vendor had accepted. Unknown codes are `unexpected`.
    #[must_use]
    pub fn failure(&self, vendor: VendorError) -> Error {
        let class = self.known(&vendor).unwrap_or(Class::Unexpected);
        with_payload(class, None, vendor)
    }

    fn known(&self, vendor: &VendorError) -> Option<Class> {
        vendor.code.as_deref().and_then(|code| self.class(code))
    }
}

fn class_of_status(status: u16) -> Class {
    match status {
        400 | 405 | 406 | 411..=417 | 422 | 431 => Class::Invalid,
        401 => Class::Unauthorized,
        402 => Class::Quota,
        403 => Class::Forbidden,
        404 | 410 => Class::NotFound,
        408 | 425 | 503 => Class::Unavailable,
        429 => Class::RateLimited,
        451 => Class::Rejected,
        500..=599 => Class::OutcomeUnknown,
        _ => Class::Unexpected,
    }
}

fn build(class: Class, response: &Response, mut vendor: VendorError) -> Error {
    if vendor.message.is_empty() {
        vendor.message = format!("the vendor answered HTTP {}", response.status);
    }
    with_payload(class, retry::after_ms(response), vendor)
}

fn with_payload(class: Class, wait_ms: Option<u64>, vendor: VendorError) -> Error {
    let kind = match class {
        Class::Invalid => ErrorKind::InvalidInput(
            vendor
                .field
                .map(|field| Problem {
                    field,
                    message: vendor.message.clone(),
                })
                .into_iter()
                .collect(),
        ),
        Class::Rejected => ErrorKind::ContentRejected,
        Class::Unauthorized => ErrorKind::Unauthorized,
        Class::Forbidden => ErrorKind::Forbidden,
        Class::Quota => ErrorKind::QuotaExhausted,
        Class::RateLimited => ErrorKind::RateLimited(wait_ms),
        Class::NoSlot => ErrorKind::NoSlot(wait_ms),
        Class::NotFound => ErrorKind::NotFound,
        Class::Unavailable => ErrorKind::Unavailable,
        Class::OutcomeUnknown => ErrorKind::OutcomeUnknown,
        Class::Unsupported => ErrorKind::Unsupported,
        Class::Unexpected => ErrorKind::Unexpected,
    };
    Error {
        kind,
        message: vendor.message,
        vendor_code: vendor.code,
    }
}
