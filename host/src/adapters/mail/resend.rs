//! Resend: one POST for each mail, always under the mail's own key, so that a repetition after a
//! lost answer sends nothing.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, Response, StatusCode, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use crate::{
    adapters::web::{excerpt, retry_after},
    mail::{Letter, Mail, SendError, Setback, TAG},
};

/// What the vendor sees of who calls. It refuses who has no name.
const AGENT: &str = concat!("Genvid/", env!("CARGO_PKG_VERSION"), " (mail)");
/// Longest time for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time for the body of an answer whose status is there.
const READ: Duration = Duration::from_secs(5);
/// How long a quota of a day or a month stays used up, at least.
const QUOTA: Duration = Duration::from_secs(3_600);
/// Longest id of the vendor's that is kept.
const LONGEST_ID: usize = 100;

/// Sends through Resend.
pub struct Resend {
    client: Client,
    emails: Url,
    key: SecretString,
}

impl Resend {
    /// At `base`, for example `https://api.resend.com`, with a key.
    ///
    /// # Errors
    /// When the address is none, or the system's certificates cannot be read.
    pub fn new(base: &str, key: SecretString, timeout: Duration) -> anyhow::Result<Self> {
        let client = Client::builder()
            .user_agent(AGENT)
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(timeout)
            .build()?;
        let emails = Url::parse(&format!("{}/emails", base.trim_end_matches('/')))?;
        Ok(Self {
            client,
            emails,
            key,
        })
    }
}

#[async_trait]
impl Mail for Resend {
    async fn send(&self, letter: &Letter) -> Result<Option<String>, SendError> {
        let answer = self
            .client
            .post(self.emails.clone())
            .bearer_auth(self.key.expose_secret())
            .header("Idempotency-Key", &letter.key)
            .json(&body(letter))
            .send()
            .await
            .map_err(|error| lost(&error))?;
        let status = answer.status();
        let asked = retry_after(answer.headers());
        let text = read(answer).await;
        if status.is_success() {
            return Ok(id(&text));
        }
        Err(SendError {
            setback: classify(status, &text, asked),
            status: Some(status.as_u16()),
            words: text,
        })
    }
}

fn body(letter: &Letter) -> Value {
    let headers: serde_json::Map<String, Value> = (letter.headers.iter())
        .map(|(name, value)| ((*name).to_owned(), value.as_str().into()))
        .collect();
    let mut body = json!({
        "from": letter.from.as_str(),
        "to": [letter.to.as_str()],
        "subject": letter.subject,
        "html": letter.html,
        "text": letter.text,
        "headers": headers,
        "tags": [
            {"name": TAG, "value": letter.id.to_string()},
            {"name": "kind", "value": letter.kind.as_str().to_ascii_lowercase()},
        ],
    });
    if let Some(reply_to) = &letter.reply_to {
        body["reply_to"] = reply_to.as_str().into();
    }
    body
}

async fn read(answer: Response) -> String {
    // The status is the vendor's word; a body that never ends does not change it.
    let read = tokio::time::timeout(READ, excerpt(answer)).await;
    read.unwrap_or_default()
}

fn id(text: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(text).ok()?;
    let id = answer.get("id")?.as_str()?;
    (id.len() <= LONGEST_ID).then(|| id.to_owned())
}

/// What an answer means. The name in it says more than the status: a bad key and a domain that
/// is not verified are both 403, and so is what a test account may not do.
fn classify(status: StatusCode, text: &str, asked: Option<Duration>) -> Setback {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let name = answer.get("name").and_then(Value::as_str);
    match (status.as_u16(), name.unwrap_or_default()) {
        (_, "concurrent_idempotent_requests") => Setback::Later(asked),
        (_, "invalid_idempotent_request") => Setback::AlreadyTaken,
        (_, "daily_quota_exceeded" | "monthly_quota_exceeded") => {
            Setback::Later(Some(asked.unwrap_or_default().max(QUOTA)))
        }
        (401 | 403, _) | (_, "invalid_from_address") => Setback::Misconfigured,
        (408 | 425 | 429 | 500..=599, _) => Setback::Later(asked),
        // An answer of something in between: nothing was refused by the vendor.
        (300..=399, _) => Setback::Misconfigured,
        _ => Setback::Refused,
    }
}

/// No answer: perhaps it was accepted, so it is asked again with the same key.
fn lost(error: &reqwest::Error) -> SendError {
    let words = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection could be made"
    } else {
        "the answer broke off or is no HTTP"
    };
    SendError {
        setback: Setback::Later(None),
        status: None,
        words: words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_the_vendor_says() {
        let hour = Some(Duration::from_secs(3_600));
        let seconds = Some(Duration::from_secs(2));
        for (status, name, asked, meaning) in [
            (429, "rate_limit_exceeded", seconds, Setback::Later(seconds)),
            (429, "daily_quota_exceeded", seconds, Setback::Later(hour)),
            (429, "monthly_quota_exceeded", None, Setback::Later(hour)),
            (
                409,
                "concurrent_idempotent_requests",
                None,
                Setback::Later(None),
            ),
            (
                409,
                "invalid_idempotent_request",
                None,
                Setback::AlreadyTaken,
            ),
            (403, "invalid_api_key", None, Setback::Misconfigured),
            (403, "validation_error", None, Setback::Misconfigured),
            (401, "restricted_api_key", None, Setback::Misconfigured),
            (422, "invalid_from_address", None, Setback::Misconfigured),
            (422, "missing_required_field", None, Setback::Refused),
            (400, "validation_error", None, Setback::Refused),
            (451, "security_error", None, Setback::Refused),
            (500, "application_error", None, Setback::Later(None)),
            (503, "", seconds, Setback::Later(seconds)),
        ] {
            let text = json!({"statusCode": status, "message": "…", "name": name}).to_string();
            let code = StatusCode::from_u16(status).expect("a status");
            assert_eq!(classify(code, &text, asked), meaning, "{status} {name}");
        }
        let bare = StatusCode::BAD_GATEWAY;
        assert_eq!(classify(bare, "<html>", None), Setback::Later(None));
        assert_eq!(id("{\"id\":\"re_1\"}").as_deref(), Some("re_1"));
        assert_eq!(id("{}"), None);
    }
}
