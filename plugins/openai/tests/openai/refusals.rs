//! What the vendor's errors mean, as an answer and in the middle of a stream.

use super::*;

fn refusal(reply: Reply) -> Error {
    let _vendor = Vendor::new().expect("POST", CHAT, reply);
    write(&brief(), &reference()).unwrap_err()
}

#[test]
fn every_code_of_the_vendor_has_its_kind() {
    use ErrorKind as Kind;
    for (status, code, kind) in [
        (
            400,
            "context_length_exceeded",
            Kind::InvalidInput(Vec::new()),
        ),
        (400, "content_policy_violation", Kind::ContentRejected),
        (400, "moderation_blocked", Kind::ContentRejected),
        (400, "invalid_prompt", Kind::ContentRejected),
        (401, "invalid_api_key", Kind::Unauthorized),
        (403, "unsupported_country_region_territory", Kind::Forbidden),
        (404, "model_not_found", Kind::NotFound),
        (429, "rate_limit_exceeded", Kind::RateLimited(None)),
        (429, "slow_down", Kind::RateLimited(None)),
        (503, "slow_down", Kind::RateLimited(None)),
        (429, "insufficient_quota", Kind::QuotaExhausted),
        (429, "credit_balance_exhausted", Kind::QuotaExhausted),
        (429, "project_spend_limit_exceeded", Kind::QuotaExhausted),
        (
            429,
            "organization_spend_limit_exceeded",
            Kind::QuotaExhausted,
        ),
        (
            429,
            "organization_usage_limit_exceeded",
            Kind::QuotaExhausted,
        ),
        (500, "server_error", Kind::Unavailable),
        (503, "server_is_overloaded", Kind::Unavailable),
    ] {
        let error = refusal(Reply::json(status, envelope(Some(code), "any", "As said.")));
        assert_eq!(error.kind, kind, "{status} {code}");
        assert_eq!(error.vendor_code.as_deref(), Some(code));
        assert_eq!(error.message, "As said.");
    }
}

#[test]
fn the_type_stands_in_for_a_missing_code() {
    use ErrorKind as Kind;
    for (status, class, kind) in [
        (429, "insufficient_quota", Kind::QuotaExhausted),
        (429, "requests", Kind::RateLimited(None)),
        (429, "tokens", Kind::RateLimited(None)),
        (500, "server_error", Kind::Unavailable),
        (503, "service_unavailable_error", Kind::Unavailable),
        (400, "invalid_request_error", Kind::InvalidInput(Vec::new())),
        (401, "invalid_request_error", Kind::Unauthorized),
        (403, "invalid_request_error", Kind::Forbidden),
    ] {
        let error = refusal(Reply::json(status, envelope(None, class, "As said.")));
        assert_eq!(error.kind, kind, "{status} {class}");
        assert_eq!(error.vendor_code.as_deref(), Some(class));
    }
}

#[test]
fn the_status_decides_where_no_code_is_known() {
    use ErrorKind as Kind;
    for (status, kind) in [
        (400, Kind::InvalidInput(Vec::new())),
        (401, Kind::Unauthorized),
        (403, Kind::Forbidden),
        (404, Kind::NotFound),
        (408, Kind::Unavailable),
        (409, Kind::Unavailable),
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
            r#"{"error":"Oops"}"#.to_owned(),
            r#"{"error":{"message":"Oops","#.to_owned(),
            envelope(Some("never_heard_of"), "any", "Oops"),
        ] {
            let error = refusal(Reply::json(status, body.clone()));
            assert_eq!(error.kind, kind, "{status} {body}");
            assert!(!error.message.is_empty());
        }
    }
}

#[test]
fn the_documented_examples_are_read() {
    let limited = || Reply::json(429, fixture!("error-rate-limit.json"));
    assert_eq!(refusal(limited()).kind, ErrorKind::RateLimited(None));
    let waiting = limited()
        .header("retry-after-ms", "1200")
        .header("retry-after", "2")
        .header("x-request-id", "req_9");
    let error = refusal(waiting);
    assert_eq!(error.kind, ErrorKind::RateLimited(Some(1_200)));
    assert!(error.message.ends_with("(request req_9)"), "{error:?}");
    assert_eq!(
        refusal(limited().header("retry-after", "2")).kind,
        ErrorKind::RateLimited(Some(2_000))
    );

    let error = refusal(Reply::json(429, fixture!("error-quota.json")));
    assert_eq!(error.kind, ErrorKind::QuotaExhausted);

    let error = refusal(Reply::json(400, fixture!("error-invalid-request.json")));
    let ErrorKind::InvalidInput(problems) = error.kind else {
        panic!("{error:?}");
    };
    assert_eq!(problems[0].field, "schema");
}

#[test]
fn fields_are_named_in_the_words_of_the_contract() {
    for (param, field) in [
        ("messages", "brief"),
        ("messages.[1].content", "brief"),
        ("messages[1].content", "brief"),
        ("response_format.json_schema.schema", "schema"),
        ("model", "model"),
        ("temperature", "options.temperature"),
        ("stream", "stream"),
    ] {
        let body = json!({ "error": {
            "message": "No.", "type": "invalid_request_error", "param": param, "code": null,
        } });
        let error = refusal(Reply::json(400, body.to_string()));
        let ErrorKind::InvalidInput(problems) = error.kind else {
            panic!("{error:?}");
        };
        assert_eq!(problems[0].field, field, "{param}");
    }
}

#[test]
fn an_error_before_the_first_word_is_a_refusal() {
    use ErrorKind as Kind;
    assert_eq!(
        refusal(stream(fixture!("chat-stream-error-first.sse"))).kind,
        Kind::RateLimited(None)
    );
    for (code, class, kind) in [
        (Some("server_error"), "server_error", Kind::Unavailable),
        (None, "server_error", Kind::Unavailable),
        (
            Some("insufficient_quota"),
            "insufficient_quota",
            Kind::QuotaExhausted,
        ),
        (
            Some("content_policy_violation"),
            "any",
            Kind::ContentRejected,
        ),
        (Some("never_heard_of"), "any", Kind::OutcomeUnknown),
    ] {
        let error = refusal(Reply::events([envelope(code, class, "Oops")]));
        assert_eq!(error.kind, kind, "{code:?}");
    }
}

#[test]
fn an_error_after_the_first_word_may_have_cost_something() {
    use ErrorKind as Kind;
    assert_eq!(
        refusal(stream(fixture!("chat-stream-error.sse"))).kind,
        Kind::OutcomeUnknown
    );
    let word = json!({ "choices": [{ "delta": { "content": "Meet" } }] }).to_string();
    for (code, kind) in [
        ("rate_limit_exceeded", Kind::OutcomeUnknown),
        ("server_is_overloaded", Kind::OutcomeUnknown),
        ("never_heard_of", Kind::OutcomeUnknown),
        ("content_policy_violation", Kind::ContentRejected),
        ("insufficient_quota", Kind::QuotaExhausted),
    ] {
        let events = [word.clone(), envelope(Some(code), "any", "Oops")];
        assert_eq!(refusal(Reply::events(events)).kind, kind, "{code}");
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
    assert_eq!(
        refusal(Error::unexpected("odd").into()).kind,
        ErrorKind::OutcomeUnknown
    );
}
