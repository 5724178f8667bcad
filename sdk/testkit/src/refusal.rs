//! A vendor's refusal, before it is written in the vendor's own envelope.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

/// What a handler answers instead of a result. The gate writes it in the vendor's envelope.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The vendor's code: a word, or Kling's number as text.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    /// Seconds for `Retry-After`.
    pub(crate) retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    pub(crate) fn param(mut self, name: impl Into<String>) -> Self {
        self.param = Some(name.into());
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What every handler returns.
pub(crate) type Answer = Result<Response, Refusal>;

/// The usual ways in which a vendor refuses; each vendor has its own status and code for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Unauthorized,
    Forbidden,
    QuotaExhausted,
    RateLimited,
    NoSlot,
    ContentRejected,
    InvalidInput,
    NotFound,
    Conflict,
    Unavailable,
    InternalError,
}
