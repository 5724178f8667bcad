//! Fills credentials into a request at the moment it leaves.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::manifest::Credential;
use crate::webhook_recipes::hmac_sha256;

/// A recipe together with the operator's secrets.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) recipe: Credential,
    pub(crate) secret: SecretString,
    /// The `iss` claim of `jwt-hs256`.
    pub(crate) issuer: Option<SecretString>,
}

impl Filled {
    /// Headers that this credential writes, which a guest may therefore not.
    pub(crate) fn headers(&self) -> Vec<HeaderName> {
        let names: Vec<&str> = match &self.recipe {
            Credential::Header { name, .. } => vec![name],
            Credential::Hmac {
                name,
                timestamp_header,
                ..
            } => std::iter::once(name)
                .chain(timestamp_header)
                .map(String::as_str)
                .collect(),
            Credential::Bearer { .. }
            | Credential::Basic { .. }
            | Credential::Query { .. }
            | Credential::JwtHs256 { .. } => Vec::new(),
        };
        names
            .into_iter()
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .collect()
    }

    /// The query parameter that this credential writes.
    pub(crate) fn parameter(&self) -> Option<&str> {
        match &self.recipe {
            Credential::Query { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Whether the whole body must be known before the head can be written.
    pub(crate) fn signs_body(&self) -> bool {
        matches!(self.recipe, Credential::Hmac { .. })
    }

    /// Values that stand for the secret on the wire and may be echoed in its place.
    pub(crate) fn derived(&self) -> Option<String> {
        match &self.recipe {
            Credential::Basic { username, .. } => {
                Some(STANDARD.encode(format!("{username}:{}", self.secret.expose_secret())))
            }
            _ => None,
        }
    }

    /// Fills it in. `now` is in seconds since 1970; `signature` is the hex HMAC-SHA256 over
    /// [`Filled::signed_prefix`] and the body, for recipes that sign it. Answers with what was
    /// made just for this request and must be scrubbed from its answer.
    pub(crate) fn apply(
        &self,
        headers: &mut HeaderMap,
        url: &mut Url,
        now: u64,
        signature: Option<&str>,
    ) -> Result<Vec<String>, String> {
        let secret = self.secret.expose_secret();
        let mut made = Vec::new();
        match &self.recipe {
            Credential::Header { name, .. } => put(headers, name, secret)?,
            Credential::Bearer { .. } => {
                put(headers, AUTHORIZATION.as_str(), &format!("Bearer {secret}"))?;
            }
            Credential::Basic { .. } => {
                let pair = self.derived().unwrap_or_default();
                put(headers, AUTHORIZATION.as_str(), &format!("Basic {pair}"))?;
            }
            Credential::Query { name, .. } => {
                url.query_pairs_mut().append_pair(name, secret);
            }
            Credential::JwtHs256 {
                ttl_seconds,
                not_before_seconds,
                ..
            } => {
                let issuer = self
                    .issuer
                    .as_ref()
                    .map_or("", |issuer| issuer.expose_secret());
                let token = jwt(
                    issuer,
                    secret,
                    now,
                    u64::from(*ttl_seconds),
                    (*not_before_seconds).into(),
                );
                put(headers, AUTHORIZATION.as_str(), &format!("Bearer {token}"))?;
                made.push(token);
            }
            Credential::Hmac {
                name,
                timestamp_header,
                ..
            } => {
                if let Some(timestamp) = timestamp_header {
                    put(headers, timestamp, &now.to_string())?;
                }
                put(headers, name, signature.unwrap_or_default())?;
            }
        }
        Ok(made)
    }

    /// What is signed before the body: nothing, or the time and a dot.
    pub(crate) fn signed_prefix(&self, now: u64) -> String {
        match &self.recipe {
            Credential::Hmac {
                timestamp_header: Some(_),
                ..
            } => format!("{now}."),
            _ => String::new(),
        }
    }
}

/// The value never shows in logs, and its text never in an error.
fn put(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "a credential's header name is invalid".to_owned())?;
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| "a credential does not fit into a header".to_owned())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// A JSON Web Token (RFC 7519) with `iss`, `exp` and `nbf`, signed with HMAC-SHA256, in the
/// order of members that Kling's documentation shows.
fn jwt(issuer: &str, secret: &str, now: u64, ttl: u64, back: u64) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let issuer = serde_json::Value::from(issuer);
    let (expires, not_before) = (now.saturating_add(ttl), now.saturating_sub(back));
    let claims = format!(r#"{{"iss":{issuer},"exp":{expires},"nbf":{not_before}}}"#);
    let claims = URL_SAFE_NO_PAD.encode(claims);
    let signed = [header.as_bytes(), b".", claims.as_bytes()];
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(secret.as_bytes(), &signed));
    format!("{header}.{claims}.{signature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kling, "API authentication" of the legacy APIs: `exp` is 1,800 s ahead, `nbf` 5 s back.
    #[test]
    fn a_jwt_is_the_same_to_the_last_character() {
        assert_eq!(
            jwt("ak_test", "sk_test", 1_700_000_000, 1_800, 5),
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
             eyJpc3MiOiJha190ZXN0IiwiZXhwIjoxNzAwMDAxODAwLCJuYmYiOjE2OTk5OTk5OTV9.\
             eDa_F6Qhv7yHoYstKBIL6uubYWDLHLekl_49ClsUCf4"
        );
    }
}
