//! `tasks`: scripts whose answer was lost.

use super::*;

const STORED: &str = "/v1/chat/completions/chatcmpl-Bx1";

fn lost(request: &script::Request, context: Context) -> tasks::Lost {
    tasks::Lost {
        context,
        kind: "script".to_owned(),
        request: serde_json::to_string(request).unwrap(),
        submitted_at_ms: SUBMITTED_MS,
    }
}

fn poll(reply: Reply) -> Result<Status> {
    let _vendor = Vendor::new().expect("GET", STORED, reply);
    let task = tasks::Task {
        id: "chatcmpl-Bx1".to_owned(),
        context: reference(),
    };
    let mut answers = OpenAi::poll(std::slice::from_ref(&task));
    assert_eq!(answers.len(), 1);
    answers.remove(0)
}

fn stored() -> Value {
    parsed(fixture!("stored-completion.json"))
}

#[test]
fn finds_the_completion_that_carries_the_reference() {
    let vendor = Vendor::new().expect("GET", CHAT, fixture!("stored-list.json"));
    let found = OpenAi::find(&lost(&brief(), reference())).unwrap();
    assert_eq!(found.as_deref(), Some("chatcmpl-Bx1"));
    assert_eq!(
        vendor.only().query("metadata[genvid_ref]").as_deref(),
        Some("att_01j9zq3v7e")
    );
}

#[test]
fn an_early_empty_answer_proves_nothing() {
    // 20 s, and 5 ms for each of 8,000 tokens.
    for (after_ms, kind) in [(59_999, Some(ErrorKind::Unavailable)), (60_000, None)] {
        let _vendor = Vendor::new().at_ms(SUBMITTED_MS + after_ms).expect(
            "GET",
            CHAT,
            fixture!("stored-list-empty.json"),
        );
        let answer = OpenAi::find(&lost(&brief(), reference()));
        assert_eq!(answer.err().map(|error| error.kind), kind, "{after_ms}");
    }
}

#[test]
fn another_attempt_is_not_taken_for_this_one() {
    let mut other = parsed(fixture!("stored-list.json"));
    for metadata in [json!({ "genvid_ref": "att_other" }), json!({}), Value::Null] {
        other["data"][0]["metadata"] = metadata;
        let _vendor =
            Vendor::new()
                .at_ms(SUBMITTED_MS + 600_000)
                .expect("GET", CHAT, other.clone());
        let error = OpenAi::find(&lost(&brief(), reference())).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unexpected);
    }
}

#[test]
fn a_refused_search_proves_nothing() {
    for (reply, kind) in [
        (Reply::status(500), ErrorKind::Unavailable),
        (Reply::json(200, "{"), ErrorKind::Unexpected),
        (
            Reply::json(401, envelope(Some("invalid_api_key"), "any", "No.")),
            ErrorKind::Unauthorized,
        ),
        (
            Error::unavailable("no network").into(),
            ErrorKind::Unavailable,
        ),
    ] {
        let _vendor = Vendor::new().expect("GET", CHAT, reply);
        let error = OpenAi::find(&lost(&brief(), reference())).unwrap_err();
        assert_eq!(error.kind, kind);
    }
}

#[test]
fn what_is_not_kept_cannot_be_found() {
    let vendor = Vendor::new();
    let unstored = lost(&brief(), with_settings(json!({ "store": false })));
    let mut spoken = lost(&brief(), reference());
    spoken.kind = "voice".to_owned();
    for lost in [unstored, spoken] {
        let error = OpenAi::find(&lost).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
    }
    assert!(vendor.sent().is_empty());
}

#[test]
fn reads_what_was_found() {
    let Ok(Status::Done(done)) = poll(fixture!("stored-completion.json").into()) else {
        panic!("a stored completion is done");
    };
    assert_eq!(done.outputs[0].mime, "application/json");
    assert_eq!(
        parsed(text(&done.outputs[0])),
        json!({
            "title": "Cold for a day",
            "scenes": [{ "narration": "Meet the bottle.", "mood": "lively" }],
        })
    );
    assert_eq!(done.cost_micro_usd, Some(925));
}

#[test]
fn reads_it_as_the_submission_said() {
    for (form, content, mime, expected) in [
        (json!("text"), " {Hi} ", "text/plain", "{Hi}"),
        (
            json!("json"),
            r#"{"a":null}"#,
            "application/json",
            r#"{"a":null}"#,
        ),
        (
            Value::Null,
            r#"{"a":null}"#,
            "application/json",
            r#"{"a":null}"#,
        ),
        (Value::Null, "Hi.", "text/plain", "Hi."),
    ] {
        let mut completion = stored();
        completion["metadata"] = json!({ "genvid_form": form });
        completion["choices"][0]["message"]["content"] = json!(content);
        let Ok(Status::Done(done)) = poll(completion.into()) else {
            panic!("{content}");
        };
        assert_eq!(done.outputs[0].mime, mime);
        assert_eq!(text(&done.outputs[0]), expected);
    }
}

#[test]
fn an_answer_that_cannot_be_used_is_a_failure() {
    for (field, value, kind) in [
        ("refusal", json!("No."), ErrorKind::ContentRejected),
        ("content", Value::Null, ErrorKind::Unexpected),
    ] {
        let mut completion = stored();
        completion["choices"][0]["message"][field] = value;
        let Ok(Status::Failed(error)) = poll(completion.into()) else {
            panic!("{field}");
        };
        assert_eq!(error.kind, kind);
    }
    let mut empty = stored();
    empty["choices"] = json!([]);
    assert!(matches!(poll(empty.into()), Ok(Status::Failed(_))));
}

#[test]
fn polling_tells_trouble_from_an_end() {
    for (reply, kind) in [
        (Reply::status(404), ErrorKind::NotFound),
        (Reply::status(500), ErrorKind::Unavailable),
        (Reply::status(429), ErrorKind::RateLimited(None)),
        (Reply::json(200, "{"), ErrorKind::Unexpected),
        (Reply::json(200, "{}"), ErrorKind::Unexpected),
    ] {
        assert_eq!(poll(reply).unwrap_err().kind, kind);
    }
}

#[test]
fn answers_stand_in_the_order_of_the_tasks() {
    let _vendor = Vendor::new()
        .expect(
            "GET",
            "/v1/chat/completions/chatcmpl-Bx1",
            fixture!("stored-completion.json"),
        )
        .expect(
            "GET",
            "/v1/chat/completions/..%2Fmodels",
            Reply::status(404),
        );
    let tasks = ["chatcmpl-Bx1", "../models"].map(|id| tasks::Task {
        id: id.to_owned(),
        context: reference(),
    });
    let answers = OpenAi::poll(&tasks);
    assert!(matches!(answers[0], Ok(Status::Done(_))));
    assert!(answers[1].is_err());
}

#[test]
fn nothing_can_be_stopped() {
    let task = tasks::Task {
        id: "chatcmpl-Bx1".to_owned(),
        context: reference(),
    };
    let error = OpenAi::cancel(&task).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
}
