//! The port to the outside: one POST to an address that a user gave.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// Where to.
    pub url: String,
    /// Headers besides those that every request has.
    pub headers: Vec<(&'static str, String)>,
    /// A JSON document.
    pub body: Bytes,
}

/// What the receiver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// How long it asks to wait.
    pub retry_after: Option<Duration>,
    /// The beginning of the body, at most [`crate::dispatch::EXCERPT`] bytes.
    pub excerpt: String,
}

/// Why there is no answer. The words are for the owner of the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Nothing may be sent there.
    #[error("{0}")]
    Refused(&'static str),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// Nobody there, or not somebody who speaks HTTP.
    #[error("{0}")]
    Failed(&'static str),
}

/// Sends to addresses that users give: to public ones only, never elsewhere by a redirect, with
/// a bound on time and size.
#[async_trait]
pub trait Post: Send + Sync + 'static {
    /// One attempt.
    async fn post(&self, parcel: Parcel) -> Result<Answer, PostError>;
}
