//! What the vendor's refusals mean: `{"error":{"message","type","param","code"}}`, as an
//! answer or as an event in a stream.
//!
//! Source: the vendor's OpenAPI document, schema `Error`, and its guide on error codes.

use genvid_sdk::http::Response;
use genvid_sdk::prelude::*;
use serde::Deserialize;

/// The code decides, because the vendor puts an empty balance under 429 like a rate limit.
/// Where it sends no code, the type is looked up instead.
const TABLE: ErrorTable = ErrorTable(&[
    ("invalid_api_key", Class::Unauthorized),
    ("unsupported_country_region_territory", Class::Forbidden),
    ("model_not_found", Class::NotFound),
    ("context_length_exceeded", Class::Invalid),
    ("content_policy_violation", Class::Rejected),
    ("moderation_blocked", Class::Rejected),
    ("invalid_prompt", Class::Rejected),
    ("content_filter", Class::Rejected),
    ("bio_policy", Class::Rejected),
    ("rate_limit_exceeded", Class::RateLimited),
    ("slow_down", Class::RateLimited),
    ("insufficient_quota", Class::Quota),
    ("credit_balance_exhausted", Class::Quota),
    ("project_spend_limit_exceeded", Class::Quota),
    ("organization_spend_limit_exceeded", Class::Quota),
    ("organization_usage_limit_exceeded", Class::Quota),
    ("server_error", Class::Unavailable),
    ("server_is_overloaded", Class::Unavailable),
    ("service_unavailable_error", Class::Unavailable),
]);

/// The vendor's description of what went wrong.
#[derive(Debug, Deserialize)]
pub(crate) struct VendorProblem {
    #[serde(default)]
    message: Option<String>,
    #[serde(default, rename = "type")]
    class: Option<String>,
    #[serde(default)]
    param: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    error: VendorProblem,
}

/// An answer that refuses a submission.
pub(crate) fn of_submit(response: &Response) -> Error {
    let vendor = vendor_error(response);
    // Another request is in the way; the vendor's own client tries again.
    if response.status == 409 && is_unknown(&vendor) {
        return TABLE
            .submit_refusal(response, vendor)
            .with_kind(ErrorKind::Unavailable);
    }
    TABLE.submit_refusal(response, vendor)
}

/// An answer that refuses a text to be spoken, where `response_format` is the kind of file.
pub(crate) fn of_speech(response: &Response) -> Error {
    let mut error = of_submit(response);
    if let ErrorKind::InvalidInput(problems) = &mut error.kind {
        for problem in problems.iter_mut().filter(|p| p.field == "schema") {
            problem.field = "options.response_format".to_owned();
        }
    }
    error
}

/// The host's word on a submission whose answer broke. What the host calls `unexpected`
/// after the vendor said 2xx was most likely made and charged.
pub(crate) fn lost_answer(error: Error) -> Error {
    match error.kind {
        ErrorKind::Unexpected => error.with_kind(ErrorKind::OutcomeUnknown),
        _ => error,
    }
}

/// An answer that refuses a question.
pub(crate) fn of_question(response: &Response) -> Error {
    TABLE.refusal(response, vendor_error(response))
}

/// An error event in a stream. Before the first word it is as good as a refusal. After it,
/// the vendor may charge for what it wrote, so only what is final counts as known.
pub(crate) fn of_stream(problem: VendorProblem, written: bool) -> Error {
    let error = TABLE.failure(problem.into_vendor_error());
    match error.kind {
        ErrorKind::Unexpected => error.with_kind(ErrorKind::OutcomeUnknown),
        ErrorKind::Unavailable | ErrorKind::RateLimited(_) if written => {
            error.with_kind(ErrorKind::OutcomeUnknown)
        }
        _ => error,
    }
}

fn vendor_error(response: &Response) -> VendorError {
    let mut vendor = match response.json::<Envelope>() {
        Ok(envelope) => envelope.error.into_vendor_error(),
        Err(_) => VendorError::default(),
    };
    if let (false, Some(id)) = (vendor.message.is_empty(), response.header("x-request-id")) {
        vendor.message = format!("{} (request {id})", vendor.message);
    }
    vendor
}

fn is_unknown(vendor: &VendorError) -> bool {
    vendor
        .code
        .as_deref()
        .is_none_or(|code| TABLE.class(code).is_none())
}

impl VendorProblem {
    fn into_vendor_error(self) -> VendorError {
        let known =
            |word: &Option<String>| word.as_deref().is_some_and(|w| TABLE.class(w).is_some());
        let code = if known(&self.class) && !known(&self.code) {
            self.class
        } else {
            self.code.or(self.class)
        };
        VendorError {
            code,
            message: self.message.unwrap_or_default(),
            field: self.param.as_deref().map(field),
        }
    }
}

/// The vendor's name of a field in Genvid's words: `response_format.json_schema.schema` is
/// the request's `schema`.
fn field(param: &str) -> String {
    let first = param.split(['.', '[']).next().unwrap_or(param);
    match first {
        "messages" => "brief".to_owned(),
        "response_format" => "schema".to_owned(),
        "input" => "text".to_owned(),
        "max_completion_tokens"
        | "reasoning_effort"
        | "verbosity"
        | "temperature"
        | "instructions"
        | "speed" => format!("options.{first}"),
        _ => param.to_owned(),
    }
}
