//! What browsers are told: which web pages may use the API, and what an answer may do.

use std::time::Duration;

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, Method, header},
    response::Response,
};
use tower_http::cors::CorsLayer;

/// What an answer that is no page may do, if somebody opens it as one: nothing.
const NOTHING: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// How long a browser keeps to TLS once it has met it, in seconds: a year.
const TLS_ONLY: &str = "max-age=31536000";
/// How long a browser keeps what it was told of an origin.
const KEPT: Duration = Duration::from_secs(3_600);
const CSRF: HeaderName = HeaderName::from_static("x-genvid-csrf");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATE: HeaderName = HeaderName::from_static("ratelimit");
const RATE_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What web pages may do.
#[derive(Debug, Clone, Default)]
pub struct Browsers {
    /// Pages of other hosts that may use the API, by their origins.
    pub origins: Vec<String>,
    /// Do clients reach this server over TLS?
    pub tls: bool,
}

impl Browsers {
    /// The Fetch standard's CORS protocol: the named origins, with cookies; no others.
    pub(super) fn cors(&self) -> CorsLayer {
        let origins = self.origins.iter();
        let origins: Vec<HeaderValue> = origins.filter_map(|text| text.parse().ok()).collect();
        CorsLayer::new()
            .allow_origin(origins)
            .allow_credentials(true)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                CSRF,
                REQUEST_ID,
            ])
            .expose_headers([header::RETRY_AFTER, RATE, RATE_POLICY, REQUEST_ID])
            .max_age(KEPT)
    }
}

/// Headers that are right for every answer.
pub(super) async fn harden(State(tls): State<bool>, mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=()",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if tls {
        headers
            .entry(header::STRICT_TRANSPORT_SECURITY)
            .or_insert(HeaderValue::from_static(TLS_ONLY));
    }
    // Films and pictures say for themselves what they may do: a browser plays a film as a page.
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.is_empty() || kind.starts_with("application/") || kind.starts_with("text/") {
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(HeaderValue::from_static(NOTHING));
    }
    response
}
