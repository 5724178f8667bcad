//! Kling's error codes, and the texts of tasks that failed.
//!
//! Source: the error code page of the developer documentation. HTTP 429 alone says little:
//! quota, plan, rate and parallel tasks all come under it.

use genvid_sdk::http::Response;
use genvid_sdk::prelude::*;
use serde::Deserialize;

const TABLE: ErrorTable = ErrorTable(&[
    ("1000", Class::Unauthorized),
    ("1001", Class::Unauthorized),
    ("1002", Class::Unauthorized),
    // Not yet valid, and expired: the host makes a new token for each request.
    ("1003", Class::Unauthorized),
    ("1004", Class::Unauthorized),
    ("1100", Class::Forbidden),
    ("1101", Class::Quota),
    ("1102", Class::Quota),
    ("1103", Class::Forbidden),
    ("1200", Class::Invalid),
    ("1201", Class::Invalid),
    ("1202", Class::NotFound),
    ("1203", Class::NotFound),
    ("1300", Class::Rejected),
    ("1301", Class::Rejected),
    ("1302", Class::RateLimited),
    ("1303", Class::NoSlot),
    // The caller's address is not on the account's list.
    ("1304", Class::Forbidden),
    ("5000", Class::Unavailable),
    ("5001", Class::Unavailable),
    // A time-out inside Kling: the task may be there.
    ("5002", Class::OutcomeUnknown),
]);

/// Words in the text of a failed task that mean moderation. There is no code for it.
const MODERATION: [&str; 4] = ["risk control", "sensitive", "policy", "content security"];

#[derive(Deserialize)]
struct Envelope {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    request_id: String,
}

/// A question that was refused.
pub(crate) fn refusal(response: &Response) -> Error {
    TABLE.refusal(response, read(response))
}

/// A submission that was refused.
pub(crate) fn submit_refusal(response: &Response) -> Error {
    let error = TABLE.submit_refusal(response, read(response));
    // An external id that is taken is this attempt's own: it had been accepted before. The
    // code for it is not documented, so the text is what tells.
    let names_the_id = error.message.to_lowercase().contains("external_task_id");
    match error.kind {
        ErrorKind::InvalidInput(_) if names_the_id => error.with_kind(ErrorKind::OutcomeUnknown),
        _ => error,
    }
}

/// A task that failed, although the call was answered with code 0.
pub(crate) fn failure(message: Option<String>) -> Error {
    let message = message
        .filter(|message| !message.is_empty())
        .unwrap_or_else(|| "the task failed without a reason".to_owned());
    let lower = message.to_lowercase();
    let kind = if MODERATION.iter().any(|word| lower.contains(word)) {
        ErrorKind::ContentRejected
    } else {
        ErrorKind::Unexpected
    };
    Error::new(kind, message)
}

fn read(response: &Response) -> VendorError {
    match response.json::<Envelope>() {
        Ok(envelope) => VendorError {
            code: Some(envelope.code.to_string()),
            message: if envelope.request_id.is_empty() {
                envelope.message
            } else {
                format!("{} (request {})", envelope.message, envelope.request_id)
            },
            field: None,
        },
        Err(_) => VendorError::default(),
    }
}
