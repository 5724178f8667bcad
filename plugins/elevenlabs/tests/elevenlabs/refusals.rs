//! What the vendor's errors mean.

use super::*;

#[test]
fn every_code_of_the_vendor_has_its_kind() {
    use ErrorKind as Kind;
    let cases = [
        (401, "invalid_api_key", Kind::Unauthorized),
        (401, "needs_authorization", Kind::Unauthorized),
        (401, "missing_permissions", Kind::Forbidden),
        (401, "detected_unusual_activity", Kind::Forbidden),
        (401, "quota_exceeded", Kind::QuotaExhausted),
        (402, "quota_exceeded", Kind::QuotaExhausted),
        (402, "paid_plan_required", Kind::Forbidden),
        (403, "only_for_creator+", Kind::Forbidden),
        (
            400,
            "max_character_limit_exceeded",
            Kind::InvalidInput(Vec::new()),
        ),
        (400, "voice_not_found", Kind::NotFound),
        (404, "voice_not_found", Kind::NotFound),
        (400, "voice_limit_reached", Kind::InvalidInput(Vec::new())),
        (400, "model_not_found", Kind::NotFound),
        (400, "invalid_output_format", Kind::InvalidInput(Vec::new())),
        (
            400,
            "language_not_supported",
            Kind::InvalidInput(Vec::new()),
        ),
        (400, "invalid_parameters", Kind::InvalidInput(Vec::new())),
        (429, "rate_limit_exceeded", Kind::RateLimited(None)),
        (429, "concurrent_limit_exceeded", Kind::NoSlot(None)),
        (429, "too_many_concurrent_requests", Kind::NoSlot(None)),
        (429, "system_busy", Kind::Unavailable),
        (500, "internal_server_error", Kind::Unavailable),
    ];
    for (status, code, kind) in cases {
        let error = refusal(Reply::json(status, detail(code, "As said.")));
        assert_eq!(error.kind, kind, "{status} {code}");
        assert_eq!(error.vendor_code.as_deref(), Some(code));
        // The older form has the code under `status` alone.
        let older = json!({ "detail": { "status": code, "message": "As said." } });
        let error = refusal(Reply::json(status, older.to_string()));
        assert_eq!(error.kind, kind, "{status} {code}, older form");
        assert_eq!(error.vendor_code.as_deref(), Some(code));
    }
}

#[test]
fn the_status_decides_where_no_code_is_known() {
    use ErrorKind as Kind;
    for (status, kind) in [
        (400, Kind::InvalidInput(Vec::new())),
        (401, Kind::Unauthorized),
        (402, Kind::QuotaExhausted),
        (403, Kind::Forbidden),
        (404, Kind::NotFound),
        (408, Kind::Unavailable),
        (422, Kind::InvalidInput(Vec::new())),
        (429, Kind::RateLimited(None)),
        (500, Kind::OutcomeUnknown),
        (502, Kind::OutcomeUnknown),
        (503, Kind::Unavailable),
        (504, Kind::OutcomeUnknown),
    ] {
        for body in [
            String::new(),
            "<html>Oops</html>".to_owned(),
            r#"{"detail":"Oops"}"#.to_owned(),
            r#"{"detail":{"status":"never_heard_of","message":"Oops"#.to_owned(),
            detail("never_heard_of", "Oops"),
        ] {
            let error = refusal(Reply::json(status, body.clone()));
            assert_eq!(error.kind, kind, "{status} {body}");
            assert!(!error.message.is_empty());
        }
    }
}

#[test]
fn the_documented_examples_are_read() {
    let error = refusal(Reply::json(401, fixture!("error-status-only.json")));
    assert_eq!(error.kind, ErrorKind::QuotaExhausted);
    assert!(error.message.contains("12 credits"), "{error:?}");

    let error = refusal(Reply::json(429, fixture!("error-concurrent.json")));
    assert_eq!(error.kind, ErrorKind::NoSlot(None));
    assert!(error.message.contains("request 3c80aa5d2f"), "{error:?}");

    let error = refusal(Reply::json(400, fixture!("error-current.json")));
    let ErrorKind::InvalidInput(problems) = error.kind else {
        panic!("{error:?}");
    };
    assert_eq!(problems[0].field, "options.speed");

    let error = refusal(Reply::json(422, fixture!("error-validation.json")));
    let ErrorKind::InvalidInput(problems) = error.kind else {
        panic!("{error:?}");
    };
    assert_eq!(problems[0].field, "text");
    assert_eq!(problems[0].message, "field required");
}

#[test]
fn each_schema_problem_is_named() {
    let body = json!({ "detail": [
        { "loc": ["body", "voice_settings", "stability"], "msg": "too big", "type": "v" },
        { "loc": ["body", "model_id"], "msg": "unknown", "type": "v" },
        { "loc": ["query", "output_format"], "msg": "unknown", "type": "v" },
        { "loc": ["body", "pronunciation_dictionary_locators", 0], "msg": "odd", "type": "v" },
    ] });
    let error = refusal(Reply::json(422, body.to_string()));
    let ErrorKind::InvalidInput(problems) = error.kind else {
        panic!("{error:?}");
    };
    let fields: Vec<&str> = problems
        .iter()
        .map(|problem| problem.field.as_str())
        .collect();
    assert_eq!(
        fields,
        [
            "options.stability",
            "model",
            "options.output_format",
            "pronunciation_dictionary_locators.0"
        ]
    );
    assert!(error.message.contains("options.stability: too big"));
}

#[test]
fn moderation_is_told_from_mistakes() {
    for (status, code, message) in [
        (
            400,
            "input_blocked",
            "This text violates our Terms of Service.",
        ),
        (403, "voice_blocked", "Blocked for safety reasons."),
        (400, "text_moderation_failed", "Please change the text."),
    ] {
        let error = refusal(Reply::json(status, detail(code, message)));
        assert_eq!(error.kind, ErrorKind::ContentRejected, "{code}");
        assert_eq!(error.vendor_code.as_deref(), Some(code));
    }
    // A code that is known means what it means, and a 401 is about the key.
    let known = refusal(Reply::json(
        400,
        detail("invalid_parameters", "This violates the schema."),
    ));
    assert!(matches!(known.kind, ErrorKind::InvalidInput(_)));
    let key = refusal(Reply::json(401, detail("odd", "Accept the terms first.")));
    assert_eq!(key.kind, ErrorKind::Unauthorized);
}

#[test]
fn the_wait_is_passed_on() {
    let limited = || Reply::json(429, detail("rate_limit_exceeded", "Slow down."));
    assert_eq!(
        refusal(limited().header("retry-after", "3")).kind,
        ErrorKind::RateLimited(Some(3_000))
    );
    assert_eq!(
        refusal(
            limited()
                .header("retry-after-ms", "250")
                .header("retry-after", "3")
        )
        .kind,
        ErrorKind::RateLimited(Some(250))
    );
    let busy = Reply::json(429, detail("concurrent_limit_exceeded", "Wait."));
    assert_eq!(
        refusal(busy.header("retry-after", "2")).kind,
        ErrorKind::NoSlot(Some(2_000))
    );
}

#[test]
fn a_broken_answer_after_acceptance_is_unknown() {
    for body in [
        "",
        "{",
        "<html>",
        "{}",
        r#"{"audio_base64":7}"#,
        r#"{"audio_base64":"%%%"}"#,
        r#"{"audio_base64":""}"#,
    ] {
        let error = refusal(Reply::json(200, body));
        assert_eq!(error.kind, ErrorKind::OutcomeUnknown, "{body}");
    }
    let mut answer = fixture!("speech-with-timestamps.json").to_owned();
    answer.truncate(answer.len() / 2);
    assert_eq!(
        refusal(Reply::json(200, answer)).kind,
        ErrorKind::OutcomeUnknown
    );
    for reply in [
        Reply::json(200, "{}"),
        Reply::bytes("text/html", *b"<html>"),
        Reply::bytes("audio/mpeg", *b""),
    ] {
        let _vendor = Vendor::new().expect("POST", PLAIN, reply);
        let error = submit(&request(false)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::OutcomeUnknown);
    }
}

#[test]
fn what_the_host_says_of_the_call_stands() {
    for kind in [
        ErrorKind::OutcomeUnknown,
        ErrorKind::Unavailable,
        ErrorKind::NotPermitted,
    ] {
        let error = refusal(Error::new(kind.clone(), "said the host").into());
        assert_eq!(error.kind, kind);
    }
    // Only a 2xx answer can be unexpected to the host, so it was accepted.
    assert_eq!(
        refusal(Error::unexpected("odd").into()).kind,
        ErrorKind::OutcomeUnknown
    );
}
