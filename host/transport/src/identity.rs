//! Who is asking: the seam between the transport and whatever decides about identity.

use std::{borrow::Cow, fmt, future::Future, sync::Arc};

use async_graphql::Request;
use http::{HeaderMap, StatusCode, request::Parts};
use tokio::time::Instant;

/// Decides who a request comes from. Called once for each HTTP request and event stream, once for each socket, and
/// again when a socket's client renews its token.
pub trait Authenticator: Clone + Send + Sync + 'static {
    /// From the head of an HTTP request.
    ///
    /// # Errors
    /// A [`Refusal`] is the answer; its status is the HTTP status.
    fn authenticate_http(
        &self,
        parts: &Parts,
    ) -> impl Future<Output = Result<Identity, Refusal>> + Send;

    /// From the head of the upgrade request and the payload of `connection_init` (`null` when it had none), or of the
    /// `ping` that renews a token (an object with a string `authorization`).
    ///
    /// # Errors
    /// A [`Refusal`] closes the socket with 4403 and its message as the reason.
    fn authenticate_socket(
        &self,
        parts: &Parts,
        payload: &serde_json::Value,
    ) -> impl Future<Output = Result<Identity, Refusal>> + Send;
}

/// Puts what resolvers need into a request.
pub type Decorate = Arc<dyn Fn(Request) -> Request + Send + Sync>;

/// The outcome of authentication.
#[derive(Clone)]
pub struct Identity {
    /// Applied to every operation of this identity, for example `|request| request.data(user.clone())`.
    pub data: Decorate,
    /// When the identity ends: the socket is closed with 4403, an event stream ends. `None`: never.
    pub expires_at: Option<Instant>,
    /// Who the sockets and streams are counted under. A renewal that changes it closes the socket with 4403.
    pub key: Option<String>,
}

impl Identity {
    /// An identity that adds nothing, never ends and is counted under no key.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            data: Arc::new(|request| request),
            expires_at: None,
            key: None,
        }
    }

    /// An identity with one value for `Context::data`.
    #[must_use]
    pub fn with_data<T: Clone + Send + Sync + 'static>(value: T) -> Self {
        Self {
            data: Arc::new(move |request| request.data(value.clone())),
            expires_at: None,
            key: None,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("expires_at", &self.expires_at)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Why a request or socket is turned away.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// HTTP status, 4xx or 5xx.
    pub status: StatusCode,
    /// `errors[0].extensions.code`.
    pub code: Cow<'static, str>,
    /// `errors[0].message`, and a socket's close reason (cut to 123 bytes).
    pub message: Cow<'static, str>,
    /// Further response headers, for example `Retry-After` or `WWW-Authenticate`.
    pub headers: Box<HeaderMap>,
}

impl Refusal {
    /// A refusal without further headers.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            headers: Box::default(),
        }
    }
}

/// Identifies one HTTP request or one operation of a socket in logs and in `INTERNAL` errors. Every request carries it
/// as `Context::data::<RequestId>()`.
///
/// Taken from the `x-request-id` header when that is 1 to 128 characters of `A-Z a-z 0-9 . _ -`, else a new UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub Arc<str>);

impl RequestId {
    pub(crate) fn fresh() -> Self {
        let mut buffer = uuid::Uuid::encode_buffer();
        Self(Arc::from(
            &*uuid::Uuid::now_v7().hyphenated().encode_lower(&mut buffer),
        ))
    }

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        headers
            .get(crate::server::REQUEST_ID)
            .and_then(|value| value.to_str().ok())
            .filter(|text| {
                (1..=128).contains(&text.len())
                    && text
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            })
            .map_or_else(Self::fresh, |text| Self(Arc::from(text)))
    }
}
