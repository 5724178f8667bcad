//! Catalog, account, webhook, and what the manifest promises.

use genvid_plugin_heygen::HeyGen;
use genvid_sdk::testing::{Reply, Vendor};
use genvid_sdk::{Account, Catalog, Context, ErrorKind, Webhook, catalog, serde_json, webhook};

use crate::{context, fixture, json};

#[test]
fn avatars_that_can_make_films() {
    let vendor = Vendor::new().expect("GET", "/v3/avatars/looks", fixture!("looks.response.json"));
    let private = Context {
        settings: r#"{"avatars":"private"}"#.to_owned(),
        ..context()
    };
    let page = HeyGen::list(catalog::Kind::Avatar, Some("tok_1"), &private).expect("a page");
    let ids: Vec<&str> = page.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["look_5f1c"], "the one in training makes no film");
    assert_eq!(page.next.as_deref(), Some("tok_2"));
    assert_eq!(page.items[0].name, "Ada in the office");
    let sent = vendor.only();
    assert_eq!(sent.query("token").as_deref(), Some("tok_1"));
    assert_eq!(sent.query("ownership").as_deref(), Some("private"));
}

#[test]
fn voices_with_their_languages() {
    let vendor = Vendor::new().expect("GET", "/v3/voices", fixture!("voices.response.json"));
    let page = HeyGen::list(catalog::Kind::Voice, None, &context()).expect("a page");
    assert_eq!(page.next, None, "has_more is false");
    assert_eq!(page.items[0].language.as_deref(), Some("en"));
    assert_eq!(page.items[1].language, None);
    assert_eq!(page.items[1].kind, catalog::Kind::Voice);
    assert_eq!(vendor.only().query("ownership"), None);
}

#[test]
fn models_are_those_of_the_manifest() {
    let vendor = Vendor::new();
    let page = HeyGen::list(catalog::Kind::Model, None, &context()).expect("a page");
    assert!(vendor.sent().is_empty());
    let manifest: toml::Table = fixture!("../plugin.toml").parse().expect("TOML");
    let listed = |key: &str, name: &str| -> Vec<String> {
        manifest["video"][key]
            .as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry[name].as_str().expect("a name").to_owned())
            .collect()
    };
    let ids: Vec<String> = page.items.into_iter().map(|item| item.id).collect();
    assert_eq!(ids, listed("models", "id"));
    assert_eq!(ids, listed("prices", "model"));
}

#[test]
fn the_schemas_of_the_manifest_are_json() {
    let manifest: toml::Table = fixture!("../plugin.toml").parse().expect("TOML");
    let settings = manifest["settings"]["schema"].as_str().expect("text");
    let options = manifest["options"]["video"].as_str().expect("text");
    for schema in [settings, options] {
        let schema: serde_json::Value = serde_json::from_str(schema).expect("JSON");
        assert_eq!(schema["additionalProperties"], false);
    }
}

#[test]
fn the_account_and_what_is_left() {
    let _vendor = Vendor::new().expect("GET", "/v3/users/me", fixture!("users-me.response.json"));
    let info = HeyGen::check(&context()).expect("good");
    assert_eq!(info.label, "a@b.c");
    let remaining = json(&info.remaining.expect("a wallet"));
    assert_eq!(remaining["wallet"]["remaining_balance"], 42.17);
    assert!(remaining.get("subscription").is_none());
}

#[test]
fn a_wrong_key() {
    let _vendor = Vendor::new().expect(
        "GET",
        "/v3/users/me",
        Reply::json(401, fixture!("error-401.response.json")),
    );
    let error = HeyGen::check(&context()).expect_err("wrong");
    assert_eq!(error.kind, ErrorKind::Unauthorized);
}

fn delivery(body: &str) -> webhook::Delivery {
    webhook::Delivery {
        headers: vec![("heygen-event-id".to_owned(), "evt_1".to_owned())],
        body: body.as_bytes().to_vec(),
    }
}

#[test]
fn both_outcomes_hint_at_the_video() {
    for body in [
        fixture!("webhook-success.json"),
        fixture!("webhook-fail.json"),
    ] {
        let hints = HeyGen::parse(&delivery(body)).expect("a hint");
        let hint = webhook::Hint {
            task_id: Some("vid_8c1e".to_owned()),
            client_ref: Some("ref_1".to_owned()),
            event_id: Some("evt_1".to_owned()),
        };
        assert_eq!(hints, [hint]);
    }
}

#[test]
fn other_events_hint_at_nothing_and_nonsense_is_refused() {
    let other =
        r#"{"event_type":"video_translate.success","event_data":{"video_translate_id":"t"}}"#;
    assert_eq!(HeyGen::parse(&delivery(other)), Ok(Vec::new()));
    for nonsense in [
        "",
        "[]",
        r#"{"event_type":"avatar_video.success","event_data":{}}"#,
    ] {
        let error = HeyGen::parse(&delivery(nonsense)).expect_err("nonsense");
        assert!(
            matches!(error.kind, ErrorKind::InvalidInput(_)),
            "{nonsense}"
        );
    }
}
