//! `script.submit`.

use super::*;

#[test]
fn sends_the_brief_and_streams_the_text() {
    let vendor = Vendor::new().expect("POST", CHAT, stream(fixture!("chat-stream.sse")));
    let done = write(&brief(), &reference()).unwrap();

    let sent = vendor.only();
    assert_eq!(sent.url, "https://api.openai.com/v1/chat/completions");
    assert_eq!(sent.json(), parsed(fixture!("chat-request.json")));
    assert_eq!(sent.header("x-client-request-id"), Some("att_01j9zq3v7e"));

    // What was streamed is the vendor's text; the result has no nulls for what is optional.
    assert!(vendor.text().ends_with(r#""call_to_action":null}"#));
    let main = &done.outputs[0];
    assert_eq!(done.outputs.len(), 1);
    assert_eq!(main.role, Role::Main);
    assert_eq!(main.mime, "application/json");
    assert_eq!(
        parsed(text(main)),
        json!({
            "title": "Cold for a day",
            "scenes": [{ "narration": "Meet the bottle.", "mood": "lively" }],
        })
    );
    let facts = parsed(main.metadata.as_deref().unwrap());
    assert_eq!(facts["id"], "chatcmpl-Bx1");
    assert_eq!(facts["model"], "gpt-5.4-mini-2026-03-05");
    assert_eq!(facts["usage"]["completion_tokens"], 180);
    assert_eq!(
        facts["usage"]["completion_tokens_details"]["reasoning_tokens"],
        64
    );
    // (210 - 64) x 0.75 + 64 x 0.075 + 180 x 4.5 = 924.3
    assert_eq!(done.cost_micro_usd, Some(925));
}

#[test]
fn writes_plain_text_without_a_schema() {
    let vendor = Vendor::new().expect("POST", CHAT, stream(fixture!("chat-stream-text.sse")));
    let request = script::Request {
        schema: None,
        ..brief()
    };
    let done = write(&request, &reference()).unwrap();
    assert_eq!(text(&done.outputs[0]), "Meet the bottle.");
    assert_eq!(done.outputs[0].mime, "text/plain");
    assert_eq!(vendor.text(), "Meet the bottle.");
    let body = vendor.only().json();
    assert_eq!(body.get("response_format"), None);
    assert_eq!(body["metadata"]["genvid_form"], "text");
}

#[test]
fn says_how_long_the_script_may_be() {
    for (language, seconds, wanted) in [
        ("en", Some(30), "30 seconds, which is about 72 words"),
        (
            "zh-CN",
            Some(30),
            "30 seconds, which is about 120 characters",
        ),
        ("en", None, "Language: en\n\nBrief:\n"),
    ] {
        let vendor = Vendor::new().expect("POST", CHAT, stream(fixture!("chat-stream-text.sse")));
        let request = script::Request {
            language: language.to_owned(),
            max_seconds: seconds,
            ..script_request()
        };
        write(&request, &reference()).unwrap();
        let body = vendor.only().json();
        let message = body["messages"][1]["content"].as_str().unwrap();
        assert!(message.contains(wanted), "{message}");
        assert!(message.ends_with(&request.brief));
        // 8,000 tokens and 15 for each second.
        let tokens = 8_000 + 15 * seconds.unwrap_or(0);
        assert_eq!(body["max_completion_tokens"], tokens);
    }
}

#[test]
fn obeys_the_settings() {
    let vendor = Vendor::new().expect(
        "POST",
        "https://llm.example/openai/v1/chat/completions",
        stream(fixture!("chat-stream.sse")),
    );
    let context = with_settings(json!({
        "base_url": "https://llm.example/openai/v1",
        "organization": "org-1",
        "project": "proj_1",
        "store": false,
        "token_prices": { "gpt-5.4-mini": { "input": 1, "output": 2.5 } },
    }));
    let done = write(&brief(), &context).unwrap();
    let sent = vendor.only();
    assert_eq!(sent.header("openai-organization"), Some("org-1"));
    assert_eq!(sent.header("openai-project"), Some("proj_1"));
    assert_eq!(sent.json()["store"], false);
    assert_eq!(sent.json().get("metadata"), None);
    assert_eq!(done.cost_micro_usd, Some(210 + 450));
}

#[test]
fn a_cost_is_told_only_when_it_is_known() {
    let sse = fixture!("chat-stream.sse");
    for (changed, cost) in [
        (
            sse.replace("gpt-5.4-mini-2026-03-05", "gpt-5.4-mini"),
            Some(925),
        ),
        (sse.replace("gpt-5.4-mini-2026-03-05", "gpt-9"), None),
        (
            sse.replace("gpt-5.4-mini-2026-03-05", "gpt-5.4-mini-2026-3-5a"),
            None,
        ),
        (
            sse.replace(r#""service_tier":"default""#, r#""service_tier":"flex""#),
            None,
        ),
        (
            sse.replace(r#""prompt_tokens":210"#, r#""prompt_tokens":270001"#),
            None,
        ),
        (sse.replace(r#""usage":{"#, r#""ignored":{"#), None),
    ] {
        let _vendor = Vendor::new().expect("POST", CHAT, stream(&changed));
        let done = write(&brief(), &reference()).unwrap();
        assert_eq!(done.cost_micro_usd, cost, "{changed}");
    }
}

#[test]
fn a_request_that_says_nothing_is_not_sent() {
    let vendor = Vendor::new();
    let empty = script::Request {
        brief: "\n ".to_owned(),
        ..brief()
    };
    let broken = script::Request {
        schema: Some("{".to_owned()),
        ..brief()
    };
    for (request, field) in [(empty, "brief"), (broken, "schema")] {
        let error = write(&request, &reference()).unwrap_err();
        let ErrorKind::InvalidInput(problems) = error.kind else {
            panic!("{error:?}");
        };
        assert_eq!(problems[0].field, field);
    }
    assert!(vendor.sent().is_empty());
}

#[test]
fn a_stream_that_does_not_end_well_is_unknown() {
    for sse in [
        fixture!("chat-stream-cut.sse"),
        fixture!("chat-stream-no-done.sse"),
        fixture!("chat-stream-malformed.sse"),
        "",
        "data: <html>\n",
        "data: 7\n",
        "data: {\"choices\":7}\n",
    ] {
        let _vendor = Vendor::new().expect("POST", CHAT, stream(sse));
        let error = write(&brief(), &reference()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::OutcomeUnknown, "{sse}");
    }
    let broken = stream(fixture!("chat-stream-cut.sse"))
        .broken_by(Error::outcome_unknown("the connection was reset"));
    let vendor = Vendor::new().expect("POST", CHAT, broken);
    let error = write(&brief(), &reference()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::OutcomeUnknown);
    assert_eq!(error.message, "the connection was reset");
    // What came before was live text, but never a result.
    assert!(vendor.text().starts_with(r#"{"title"#));
}

#[test]
fn an_answer_that_cannot_be_used_is_final() {
    for (sse, kind, code) in [
        (
            fixture!("chat-stream-refusal.sse"),
            ErrorKind::ContentRejected,
            Some("refusal"),
        ),
        (
            fixture!("chat-stream-filter.sse"),
            ErrorKind::ContentRejected,
            Some("content_filter"),
        ),
    ] {
        let _vendor = Vendor::new().expect("POST", CHAT, stream(sse));
        let error = write(&brief(), &reference()).unwrap_err();
        assert_eq!((error.kind, error.vendor_code.as_deref()), (kind, code));
    }

    let _vendor = Vendor::new().expect("POST", CHAT, stream(fixture!("chat-stream-length.sse")));
    let error = write(&brief(), &reference()).unwrap_err();
    assert_eq!(error.vendor_code.as_deref(), Some("length"));
    assert!(error.message.contains("after 180"), "{error:?}");
    let ErrorKind::InvalidInput(problems) = error.kind else {
        panic!("{error:?}");
    };
    assert_eq!(problems[0].field, "options.max_completion_tokens");
}

#[test]
fn the_refusal_is_not_live_text() {
    let vendor = Vendor::new().expect("POST", CHAT, stream(fixture!("chat-stream-refusal.sse")));
    let error = write(&brief(), &reference()).unwrap_err();
    assert!(
        error
            .message
            .ends_with("I'm sorry, I can't help with that.")
    );
    assert_eq!(vendor.text(), "");
}

#[test]
fn an_answer_that_breaks_the_contract_is_unexpected() {
    // Prose where JSON was asked for, and nothing at all.
    let prose = fixture!("chat-stream-text.sse").to_owned();
    let nothing = prose.replace("Meet the ", "").replace("bottle.", "");
    for sse in [prose, nothing] {
        let _vendor = Vendor::new().expect("POST", CHAT, stream(&sse));
        let error = write(&brief(), &reference()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unexpected, "{error:?}");
    }
}

#[test]
fn an_endless_answer_is_cut_off() {
    let chunk = json!({ "choices": [{ "delta": { "content": "a".repeat(1 << 16) } }] }).to_string();
    let _vendor = Vendor::new().expect("POST", CHAT, Reply::events(vec![chunk; 17]));
    let error = write(&brief(), &reference()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unexpected);
}
