//! Who is calling, from the token that came along.

use std::{sync::Arc, time::Duration};

use genvid_transport::{Authenticator, Identity, Refusal};
use http::{HeaderValue, StatusCode, header, request::Parts};
use serde_json::Value;
use tokio::time::Instant;

use super::{Caller, codes::ErrorCode, context::Arrived, cookies};
use crate::{
    accounts::sessions::{self, Asker, Sessions},
    http::ClientAddress,
    time::{self, Timestamp},
};

/// How long a socket that an API key has opened stays at most.
const KEY_STAYS: Duration = Duration::from_secs(3_600);

/// Decides by access tokens. Whoever sends none is anonymous and sees only what is public;
/// whoever sends a wrong one is turned away. A browser's cookie that is wrong is no more than none:
/// it comes along whether its page wants it or not.
#[derive(Clone)]
pub struct TokenAuthenticator {
    sessions: Sessions,
}

impl TokenAuthenticator {
    /// Over the sessions.
    #[must_use]
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }

    async fn identify(&self, parts: &Parts, token: Option<&str>) -> Result<Identity, Refusal> {
        let asker = asker(parts);
        if let Some(token) = token {
            return match self.find(token).await? {
                Some(found) => Ok(identity(found, asker, None)),
                None => Err(unauthenticated(
                    "The access token is unknown or has expired.",
                )),
            };
        }
        let jar = cookies::read(parts);
        if let Some(access) = &jar.access
            && let Some(found) = self.find(access).await?
            && found.session.is_some()
        {
            return Ok(identity(found, asker, jar.refresh));
        }
        Ok(with_arrival(Caller {
            asker,
            refresh_cookie: jar.refresh.map(Into::into),
            cookie_alone: jar.alone,
            ..Caller::default()
        }))
    }

    async fn find(&self, token: &str) -> Result<Option<sessions::Caller>, Refusal> {
        self.sessions.authenticate(token).await.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "nobody can sign in"
            );
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable.as_str(),
                "Signing in is not possible now; try again.",
            )
        })
    }
}

fn asker(parts: &Parts) -> Asker {
    let address = parts.extensions.get::<ClientAddress>();
    let agent = parts.headers.get(header::USER_AGENT);
    Asker {
        address: address.map(|ClientAddress(address)| *address),
        agent: agent
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
    }
}

fn identity(found: sessions::Caller, asker: Asker, refresh: Option<String>) -> Identity {
    let counted = match found.job {
        None => found.user.id.to_string(),
        // Those who watch take nothing of the owner's sockets.
        Some(job) => job.to_string(),
    };
    let expires_at = match &found.key {
        Some(_) => Some(end(found.until, KEY_STAYS)),
        None => found.until.map(|until| end(Some(until), Duration::MAX)),
    };
    let mut identity = with_arrival(Caller {
        user: Some(Arc::new(found.user)),
        key: found.key.as_ref().map(|key| key.id),
        providers: (found.key.as_ref())
            .and_then(|key| key.providers.clone())
            .map(Into::into),
        scopes: found.key.and_then(|key| key.scopes).map(Into::into),
        session: found.session,
        job: found.job,
        asker,
        refresh_cookie: refresh.map(Into::into),
        cookie_alone: false,
    });
    identity.expires_at = expires_at;
    identity.key = Some(counted);
    identity
}

/// What resolvers find of whoever calls, with the time at which each request came in.
fn with_arrival(caller: Caller) -> Identity {
    let mut identity = Identity::anonymous();
    identity.data =
        Arc::new(move |request| request.data(caller.clone()).data(Arrived(time::now())));
    identity
}

impl Authenticator for TokenAuthenticator {
    /// `Authorization: Bearer TOKEN`.
    async fn authenticate_http(&self, parts: &Parts) -> Result<Identity, Refusal> {
        self.identify(parts, header_token(parts)?).await
    }

    /// A payload with `authorization` (or `Authorization`): `Bearer TOKEN`, or with `token`.
    /// Clients that are no browsers may send the header with the upgrade instead.
    async fn authenticate_socket(
        &self,
        parts: &Parts,
        payload: &Value,
    ) -> Result<Identity, Refusal> {
        let token = match payload_token(payload)? {
            Some(token) => Some(token),
            None => header_token(parts)?,
        };
        self.identify(parts, token).await
    }
}

/// When sockets and event streams are closed: when what signed in is over, and after `most`. So a
/// revoked key is out by then; whoever may comes back at once.
fn end(until: Option<Timestamp>, most: Duration) -> Instant {
    let left = until.map(|until| until.since(time::now()));
    Instant::now() + left.unwrap_or(most).min(most)
}

fn header_token(parts: &Parts) -> Result<Option<&str>, Refusal> {
    let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let value = value
        .to_str()
        .map_err(|_| unauthenticated("The Authorization header is not text."))?;
    bearer(value).map(Some)
}

fn payload_token(payload: &Value) -> Result<Option<&str>, Refusal> {
    let field = |name: &str| payload.get(name).filter(|value| !value.is_null());
    if let Some(value) = field("authorization").or_else(|| field("Authorization")) {
        let text = value
            .as_str()
            .ok_or_else(|| unauthenticated("`authorization` must be text: Bearer TOKEN."))?;
        return bearer(text).map(Some);
    }
    match field("token") {
        None => Ok(None),
        Some(value) => value
            .as_str()
            .map(|token| Some(token.trim()))
            .ok_or_else(|| unauthenticated("`token` must be text.")),
    }
}

fn bearer(value: &str) -> Result<&str, Refusal> {
    value
        .trim()
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| unauthenticated("Only Bearer tokens are taken: Bearer TOKEN."))
}

fn unauthenticated(message: &'static str) -> Refusal {
    let mut refusal = Refusal::new(
        StatusCode::UNAUTHORIZED,
        ErrorCode::Unauthenticated.as_str(),
        message,
    );
    refusal
        .headers
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refusal
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(authorization: Option<&str>) -> Parts {
        let mut request = http::Request::builder();
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn tokens_are_found_in_the_header() {
        assert_eq!(header_token(&parts(None)).expect("anonymous"), None);
        for good in ["Bearer gv_1", "bearer  gv_1 "] {
            assert_eq!(
                header_token(&parts(Some(good))).expect("a token"),
                Some("gv_1"),
                "{good}"
            );
        }
        for bad in ["gv_1", "Basic gv_1", "Bearer"] {
            let refusal = header_token(&parts(Some(bad))).expect_err(bad);
            assert_eq!(refusal.status, StatusCode::UNAUTHORIZED);
        }
    }

    #[test]
    fn tokens_are_found_in_the_payload_of_a_socket() {
        for good in [
            json!({"authorization": "Bearer gv_1"}),
            json!({"Authorization": "Bearer gv_1"}),
            json!({"token": "gv_1"}),
        ] {
            assert_eq!(payload_token(&good).expect("a token"), Some("gv_1"));
        }
        for none in [json!(null), json!({}), json!([]), json!({"token": null})] {
            assert_eq!(payload_token(&none).expect("anonymous"), None);
        }
        for bad in [
            json!({"authorization": 1}),
            json!({"token": ["gv_1"]}),
            json!({"authorization": "gv_1"}),
        ] {
            assert!(payload_token(&bad).is_err(), "{bad}");
        }
    }
}
