//! HeyGen's error codes, of calls and of videos.
//!
//! Source: the error page of developers.heygen.com (v3) and its changelog, which prints
//! some codes in capitals. Which HTTP status carries which code is only partly published,
//! so the code decides.

use genvid_sdk::http::Response;
use genvid_sdk::prelude::*;
use serde::Deserialize;

const TABLE: ErrorTable = ErrorTable(&[
    ("invalid_parameter", Class::Invalid),
    ("validation_error", Class::Invalid),
    ("download_failed", Class::Invalid),
    ("script_too_short", Class::Invalid),
    ("script_too_long", Class::Invalid),
    ("tts_text_invalid", Class::Invalid),
    ("no_audio_track", Class::Invalid),
    ("video_too_long", Class::Invalid),
    ("payload_too_large", Class::Invalid),
    ("content_policy_violation", Class::Rejected),
    // The avatar failed moderation.
    ("avatar_not_usable", Class::Rejected),
    ("unauthorized", Class::Unauthorized),
    ("authentication_failed", Class::Unauthorized),
    ("insufficient_credit", Class::Quota),
    ("quota_exceeded", Class::Quota),
    ("trial_limit_exceeded", Class::Quota),
    ("subscription_required", Class::Forbidden),
    ("plan_upgrade_required", Class::Forbidden),
    ("resource_limit_reached", Class::Forbidden),
    ("resource_limit_exceeded", Class::Forbidden),
    ("ai_vendor_access_restricted", Class::Forbidden),
    ("forbidden", Class::Forbidden),
    ("resource_access_denied", Class::Forbidden),
    ("voice_not_usable", Class::Forbidden),
    ("avatar_consent_required", Class::Forbidden),
    ("video_not_found", Class::NotFound),
    ("avatar_not_found", Class::NotFound),
    ("avatar_group_not_found", Class::NotFound),
    ("voice_not_found", Class::NotFound),
    ("asset_not_found", Class::NotFound),
    ("webhook_not_found", Class::NotFound),
    ("not_found", Class::NotFound),
    ("avatar_expired", Class::NotFound),
    ("voice_expired", Class::NotFound),
    ("asset_not_available", Class::NotFound),
    ("voice_unavailable", Class::NotFound),
    // The first call with this Idempotency-Key is still running: it may well succeed.
    ("request_in_progress", Class::OutcomeUnknown),
    ("resource_not_ready", Class::Unavailable),
    ("rate_limit_exceeded", Class::RateLimited),
    ("internal_error", Class::Unavailable),
    ("service_unavailable", Class::Unavailable),
    ("voice_provider_error", Class::Unavailable),
    // The gateway gave up waiting, which says nothing about the service behind it.
    ("gateway_timeout", Class::OutcomeUnknown),
]);

#[derive(Deserialize)]
struct Envelope {
    error: Body,
}

#[derive(Deserialize)]
struct Body {
    code: Option<String>,
    #[serde(default)]
    message: String,
    param: Option<String>,
}

/// A question that was refused.
pub(crate) fn refusal(response: &Response) -> Error {
    slots(TABLE.refusal(response, read(response)))
}

/// A submission that was refused.
pub(crate) fn submit_refusal(response: &Response) -> Error {
    slots(TABLE.submit_refusal(response, read(response)))
}

/// A video that failed, although the call was answered with 200. `rendering_failed` and
/// codes that are not published stay `unexpected`.
pub(crate) fn failure(code: Option<String>, message: Option<String>) -> Error {
    let message = message
        .filter(|message| !message.is_empty())
        .or_else(|| code.clone())
        .unwrap_or_else(|| "the video failed without a reason".to_owned());
    TABLE.failure(VendorError {
        code,
        message,
        field: None,
    })
}

fn read(response: &Response) -> VendorError {
    match response.json::<Envelope>() {
        Ok(Envelope { error }) => VendorError {
            code: error.code,
            message: error.message,
            field: error.param.map(|param| field(&param)),
        },
        Err(_) => VendorError::default(),
    }
}

/// The same code and status mean too many calls and too many videos at once; only the text
/// tells them apart.
fn slots(error: Error) -> Error {
    match error.kind {
        ErrorKind::RateLimited(wait) if error.message.to_lowercase().contains("concurrent") => {
            error.with_kind(ErrorKind::NoSlot(wait))
        }
        _ => error,
    }
}

/// The vendor's name of a field in the words of the contract.
fn field(param: &str) -> String {
    match param {
        "voice_id" => "voice".to_owned(),
        "avatar_id" => "avatar".to_owned(),
        "script" => "speech.script".to_owned(),
        "audio_url" | "audio_asset_id" => "speech.audio".to_owned(),
        "aspect_ratio" => "aspect".to_owned(),
        "engine" | "engine.type" => "model".to_owned(),
        "image" | "background" => "images".to_owned(),
        other => format!("options.{other}"),
    }
}
