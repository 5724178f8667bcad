//! Schemas, as the vendor gets them.

use super::*;

/// The `json_schema` that is sent for this schema, and the answer that comes back for one
/// with nulls in it.
fn sent_for(schema: &Value, content: &str) -> (Value, Result<Done>) {
    let chunk =
        json!({ "choices": [{ "delta": { "content": content }, "finish_reason": "stop" }] });
    let vendor = Vendor::new().expect(
        "POST",
        CHAT,
        Reply::events([chunk.to_string(), "[DONE]".to_owned()]),
    );
    let request = script::Request {
        schema: Some(schema.to_string()),
        ..script_request()
    };
    let done = write(&request, &reference());
    let sent = vendor.only().json()["response_format"]["json_schema"].clone();
    (sent, done)
}

#[test]
fn is_made_strict() {
    let (sent, _) = sent_for(&parsed(fixture!("schema-given.json")), "{}");
    assert_eq!(sent["name"], "script");
    assert_eq!(sent["strict"], true);
    assert_eq!(sent["schema"], parsed(fixture!("schema-strict.json")));
}

#[test]
fn is_kept_where_it_is_strict_already() {
    let strict = json!({
        "type": "object", "additionalProperties": false, "required": ["a", "b"],
        "properties": {
            "a": { "type": "array", "minItems": 1, "maxItems": 3, "items": { "type": "number", "minimum": 0 } },
            "b": { "anyOf": [{ "type": "string", "format": "date" }, { "type": "null" }] },
        },
    });
    let (sent, done) = sent_for(&strict, r#"{"a":[1],"b":null}"#);
    assert_eq!(sent["strict"], true);
    assert_eq!(sent["schema"], strict);
    // Here null is an answer, not an absence.
    assert_eq!(text(&done.unwrap().outputs[0]), r#"{"a":[1],"b":null}"#);
}

#[test]
fn what_strict_mode_does_not_know_is_left_to_the_host() {
    let given = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
        "required": ["a", "b"], "minProperties": 1, "x-note": 1,
        "properties": {
            "a": { "type": "string", "minLength": 1, "maxLength": 9, "format": "uri", "default": "x" },
            "b": { "const": "fixed" },
        },
    });
    let (sent, _) = sent_for(&given, "{}");
    assert_eq!(sent["strict"], true);
    assert_eq!(
        sent["schema"],
        json!({
            "type": "object", "additionalProperties": false, "required": ["a", "b"],
            "properties": { "a": { "type": "string" }, "b": { "type": "string", "const": "fixed" } },
        })
    );
}

#[test]
fn is_passed_on_as_a_hint_where_strict_mode_cannot_express_it() {
    let object = |property: Value| json!({ "type": "object", "required": ["a"], "properties": { "a": property } });
    let mut deep = json!({ "type": "string" });
    for _ in 0..70 {
        deep = json!({ "type": "array", "items": deep });
    }
    for given in [
        json!({ "type": "array", "items": { "type": "string" } }),
        json!({ "type": "object" }),
        json!({ "anyOf": [{ "type": "object", "properties": {} }] }),
        json!(true),
        object(json!({ "type": "object" })),
        object(
            json!({ "type": "object", "properties": {}, "additionalProperties": { "type": "string" } }),
        ),
        object(json!({ "type": "array" })),
        object(json!({ "not": { "type": "string" } })),
        object(json!({ "type": "object", "patternProperties": { "^a": { "type": "string" } } })),
        object(json!(true)),
        object(json!({})),
        json!({ "type": "object", "required": ["b"], "properties": {} }),
        // Null has a meaning here, so it cannot stand for "left out" too.
        json!({ "type": "object", "required": ["a"], "properties": {
            "a": { "type": ["string", "null"] }, "b": { "type": "string" },
        } }),
        object(deep),
    ] {
        let (sent, done) = sent_for(&given, r#"{"a":null}"#);
        assert_eq!(sent["strict"], false, "{given}");
        assert_eq!(sent["schema"], given);
        assert_eq!(text(&done.unwrap().outputs[0]), r#"{"a":null}"#);
    }
}

#[test]
fn one_of_becomes_any_of() {
    let given = json!({
        "type": "object", "required": ["a"],
        "properties": { "a": { "oneOf": [{ "type": "string" }, { "type": "integer" }] } },
    });
    let (sent, _) = sent_for(&given, "{}");
    assert_eq!(sent["strict"], true);
    assert_eq!(
        sent["schema"]["properties"]["a"],
        json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] })
    );
}
