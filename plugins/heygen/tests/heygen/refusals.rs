//! Every class of HeyGen's error table, on a submission.

use genvid_plugin_heygen::HeyGen;
use genvid_sdk::testing::{Reply, Vendor};
use genvid_sdk::{Error, ErrorKind, Problem, Video};

use crate::{avatar_film, context, fixture};

fn refused(reply: Reply) -> Error {
    let _vendor = Vendor::new().expect("POST", "/v3/videos", reply);
    HeyGen::submit(&avatar_film(), &context()).expect_err("refused")
}

fn coded(status: u16, code: &str) -> Error {
    refused(Reply::json(
        status,
        format!(r#"{{"error":{{"code":"{code}","message":"words"}}}}"#),
    ))
}

#[test]
fn codes_decide() {
    let invalid = || ErrorKind::InvalidInput(Vec::new());
    let cases = [
        (400, "validation_error", invalid()),
        (400, "download_failed", invalid()),
        (400, "script_too_short", invalid()),
        (400, "tts_text_invalid", invalid()),
        (400, "no_audio_track", invalid()),
        (400, "video_too_long", invalid()),
        (413, "payload_too_large", invalid()),
        (400, "avatar_not_usable", ErrorKind::ContentRejected),
        (400, "content_policy_violation", ErrorKind::ContentRejected),
        (403, "content_policy_violation", ErrorKind::ContentRejected),
        (403, "ai_vendor_access_restricted", ErrorKind::Forbidden),
        (401, "unauthorized", ErrorKind::Unauthorized),
        (401, "authentication_failed", ErrorKind::Unauthorized),
        (402, "insufficient_credit", ErrorKind::QuotaExhausted),
        (429, "quota_exceeded", ErrorKind::QuotaExhausted),
        (403, "trial_limit_exceeded", ErrorKind::QuotaExhausted),
        (402, "subscription_required", ErrorKind::Forbidden),
        (429, "plan_upgrade_required", ErrorKind::Forbidden),
        (429, "resource_limit_reached", ErrorKind::Forbidden),
        (403, "resource_limit_exceeded", ErrorKind::Forbidden),
        (403, "forbidden", ErrorKind::Forbidden),
        (403, "resource_access_denied", ErrorKind::Forbidden),
        (403, "voice_not_usable", ErrorKind::Forbidden),
        (403, "avatar_consent_required", ErrorKind::Forbidden),
        (404, "avatar_not_found", ErrorKind::NotFound),
        (404, "AVATAR_NOT_FOUND", ErrorKind::NotFound),
        (404, "voice_not_found", ErrorKind::NotFound),
        (404, "asset_not_found", ErrorKind::NotFound),
        (400, "avatar_expired", ErrorKind::NotFound),
        (400, "voice_unavailable", ErrorKind::NotFound),
        (409, "request_in_progress", ErrorKind::OutcomeUnknown),
        (409, "resource_not_ready", ErrorKind::Unavailable),
        (500, "internal_error", ErrorKind::Unavailable),
        (503, "service_unavailable", ErrorKind::Unavailable),
        (502, "voice_provider_error", ErrorKind::Unavailable),
        (504, "gateway_timeout", ErrorKind::OutcomeUnknown),
    ];
    for (status, code, kind) in cases {
        let error = coded(status, code);
        assert_eq!(error.kind, kind, "{status} {code}");
        assert_eq!(error.vendor_code.as_deref(), Some(code));
        assert_eq!(error.message, "words");
    }
}

#[test]
fn the_status_decides_when_the_code_is_new_or_missing() {
    for (status, kind) in [
        (400, ErrorKind::InvalidInput(Vec::new())),
        (401, ErrorKind::Unauthorized),
        (402, ErrorKind::QuotaExhausted),
        (403, ErrorKind::Forbidden),
        (404, ErrorKind::NotFound),
        (429, ErrorKind::RateLimited(None)),
        (503, ErrorKind::Unavailable),
        // From something in between, which may have passed the request on.
        (500, ErrorKind::OutcomeUnknown),
        (502, ErrorKind::OutcomeUnknown),
        (504, ErrorKind::OutcomeUnknown),
        (302, ErrorKind::Unexpected),
    ] {
        assert_eq!(coded(status, "a_code_of_next_year").kind, kind, "{status}");
        let bare = refused(Reply::json(status, "<html>"));
        assert_eq!(bare.kind, kind, "{status} without a body");
        assert!(!bare.message.is_empty());
    }
}

#[test]
fn a_field_is_named_in_the_words_of_the_contract() {
    let error = refused(Reply::json(400, fixture!("error-400.response.json")));
    let problem = Problem {
        field: "voice".to_owned(),
        message: "voice_id does not exist".to_owned(),
    };
    assert_eq!(error.kind, ErrorKind::InvalidInput(vec![problem]));
}

#[test]
fn too_many_calls_and_too_many_videos_are_told_apart() {
    let rate = Reply::json(429, fixture!("error-429-rate.response.json"));
    let slots = Reply::json(429, fixture!("error-429-slots.response.json"));
    assert_eq!(
        refused(rate.clone().header("Retry-After", "30")).kind,
        ErrorKind::RateLimited(Some(30_000))
    );
    assert_eq!(refused(rate).kind, ErrorKind::RateLimited(None));
    assert_eq!(
        refused(slots.header("Retry-After", "30")).kind,
        ErrorKind::NoSlot(Some(30_000))
    );
}

#[test]
fn balance_and_key() {
    let broke = refused(Reply::json(402, fixture!("error-402.response.json")));
    assert_eq!(broke.kind, ErrorKind::QuotaExhausted);
    assert_eq!(broke.message, "Not enough balance");
    let stranger = refused(Reply::json(401, fixture!("error-401.response.json")));
    assert_eq!(stranger.kind, ErrorKind::Unauthorized);
}
