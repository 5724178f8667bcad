//! What the vendor's refusals mean.
//!
//! The body is `{"detail": …}` with an object that has `code`, one that has only `status`
//! (older routes), or a list of schema problems (HTTP 422).
//! Source: elevenlabs.io/docs/eleven-api/resources/errors and the vendor's OpenAPI document.

use genvid_sdk::http::Response;
use genvid_sdk::prelude::*;
use serde::Deserialize;

/// The code decides, because the vendor puts quota and abuse under 401.
const TABLE: ErrorTable = ErrorTable(&[
    ("invalid_api_key", Class::Unauthorized),
    ("needs_authorization", Class::Unauthorized),
    ("missing_permissions", Class::Forbidden),
    // The free tier is switched off for this account or network; the key itself is good.
    ("detected_unusual_activity", Class::Forbidden),
    ("paid_plan_required", Class::Forbidden),
    ("only_for_creator+", Class::Forbidden),
    ("quota_exceeded", Class::Quota),
    ("max_character_limit_exceeded", Class::Invalid),
    ("voice_limit_reached", Class::Invalid),
    ("invalid_output_format", Class::Invalid),
    ("language_not_supported", Class::Invalid),
    ("invalid_parameters", Class::Invalid),
    ("voice_not_found", Class::NotFound),
    ("model_not_found", Class::NotFound),
    ("rate_limit_exceeded", Class::RateLimited),
    ("concurrent_limit_exceeded", Class::NoSlot),
    ("too_many_concurrent_requests", Class::NoSlot),
    ("system_busy", Class::Unavailable),
    ("internal_server_error", Class::Unavailable),
]);

/// The vendor's code for refused content is not published. These parts of words, in a 400
/// or 403 whose code is unknown, tell a refusal from a mistake in the request.
const REFUSAL_WORDS: [&str; 4] = ["violat", "terms", "safety", "moderat"];

#[derive(Deserialize)]
struct Envelope {
    detail: Detail,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Detail {
    One(One),
    Schema(Vec<SchemaProblem>),
    Text(String),
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    param: Option<String>,
    #[serde(default)]
    request_id: Option<String>,
}

#[derive(Deserialize)]
struct SchemaProblem {
    #[serde(default)]
    loc: Vec<Value>,
    #[serde(default)]
    msg: String,
}

/// An answer that refuses a submission.
pub(crate) fn of_submit(response: &Response) -> Error {
    translate(response, ErrorTable::submit_refusal)
}

/// An answer that refuses a question.
pub(crate) fn of_question(response: &Response) -> Error {
    translate(response, ErrorTable::refusal)
}

/// The host's word on a submission whose answer broke. What the host calls `unexpected`
/// after the vendor said 2xx was most likely spoken and charged.
pub(crate) fn lost_answer(error: Error) -> Error {
    match error.kind {
        ErrorKind::Unexpected => error.with_kind(ErrorKind::OutcomeUnknown),
        _ => error,
    }
}

fn translate(
    response: &Response,
    refuse: fn(&ErrorTable, &Response, VendorError) -> Error,
) -> Error {
    let detail = response.json::<Envelope>().ok().map(|body| body.detail);
    let vendor = match detail {
        Some(Detail::One(one)) => from_object(one, response),
        Some(Detail::Schema(problems)) => return from_schema(&problems),
        Some(Detail::Text(message)) => VendorError {
            message,
            ..VendorError::default()
        },
        None => VendorError::default(),
    };
    let unknown = vendor
        .code
        .as_deref()
        .is_none_or(|code| TABLE.class(code).is_none());
    let refused = unknown && matches!(response.status, 400 | 403) && refuses_content(&vendor);
    let error = refuse(&TABLE, response, vendor);
    if refused {
        return error.with_kind(ErrorKind::ContentRejected);
    }
    error
}

fn from_object(one: One, response: &Response) -> VendorError {
    let mut message = one.message.unwrap_or_default();
    let id = one.request_id.as_deref().or(response.header("request-id"));
    if let (false, Some(id)) = (message.is_empty(), id) {
        message = format!("{message} (request {id})");
    }
    VendorError {
        code: one.code.or(one.status),
        message,
        field: one.param.as_deref().map(field),
    }
}

fn from_schema(problems: &[SchemaProblem]) -> Error {
    let problems: Vec<Problem> = problems
        .iter()
        .map(|problem| Problem {
            field: field(&path(&problem.loc)),
            message: problem.msg.clone(),
        })
        .collect();
    let message = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.field, problem.message))
        .collect::<Vec<_>>()
        .join("; ");
    Error::new(ErrorKind::InvalidInput(problems), message)
}

/// `["body", "voice_settings", "speed"]` as `voice_settings.speed`.
fn path(loc: &[Value]) -> String {
    loc.iter()
        .skip_while(|part| matches!(part.as_str(), Some("body" | "query" | "path")))
        .map(|part| {
            part.as_str()
                .map_or_else(|| part.to_string(), str::to_owned)
        })
        .collect::<Vec<_>>()
        .join(".")
}

/// The vendor's name of a field in Genvid's words.
fn field(vendor: &str) -> String {
    let vendor = vendor.strip_prefix("voice_settings.").unwrap_or(vendor);
    match vendor {
        "model_id" => "model".to_owned(),
        "voice_id" => "voice".to_owned(),
        "language_code" => "language".to_owned(),
        "stability" | "similarity_boost" | "style" | "use_speaker_boost" | "speed" | "seed"
        | "output_format" => format!("options.{vendor}"),
        other => other.to_owned(),
    }
}

fn refuses_content(vendor: &VendorError) -> bool {
    let text = format!(
        "{} {}",
        vendor.code.as_deref().unwrap_or_default(),
        vendor.message
    )
    .to_ascii_lowercase();
    REFUSAL_WORDS.iter().any(|word| text.contains(word))
}
