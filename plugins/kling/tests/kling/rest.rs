//! Catalog, account, webhook, and what the manifest promises.

use genvid_plugin_kling::Kling;
use genvid_sdk::testing::{self, Reply, Vendor};
use genvid_sdk::{Account, Catalog, ErrorKind, Webhook, catalog, serde_json, webhook};

use crate::{fixture, json};

fn manifest() -> toml::Table {
    fixture!("../plugin.toml").parse().expect("TOML")
}

#[test]
fn models_are_those_of_the_manifest() {
    let page = Kling::list(catalog::Kind::Model, None, &testing::context()).expect("a page");
    let manifest = manifest();
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
    assert_eq!(page.next, None);
}

#[test]
fn there_are_no_avatars_and_no_voices() {
    for kind in [catalog::Kind::Avatar, catalog::Kind::Voice] {
        let page = Kling::list(kind, None, &testing::context()).expect("a page");
        assert!(page.items.is_empty());
    }
}

#[test]
fn the_schemas_of_the_manifest_are_json() {
    let manifest = manifest();
    let settings = manifest["settings"]["schema"].as_str().expect("text");
    let options = manifest["options"]["video"].as_str().expect("text");
    for schema in [settings, options] {
        let schema: serde_json::Value = serde_json::from_str(schema).expect("JSON");
        assert_eq!(schema["additionalProperties"], false);
    }
}

#[test]
fn the_account_and_its_packs() {
    let vendor = Vendor::new().at_ms(1_795_305_600_000).expect(
        "GET",
        "/account/costs",
        fixture!("account-costs.response.json"),
    );
    let info = Kling::check(&testing::context()).expect("good");
    assert_eq!(info.label, "Kling account in singapore");
    let remaining = json(&info.remaining.expect("packs"));
    assert_eq!(remaining["packs"].as_array().map(Vec::len), Some(1));
    assert_eq!(remaining["packs"][0]["remaining"], 618.5);
    let sent = vendor.only();
    assert_eq!(sent.query("start_time").as_deref(), Some("1792713600000"));
    assert_eq!(sent.query("end_time").as_deref(), Some("1795305600000"));
}

#[test]
fn a_wrong_key_and_an_error_inside_the_data() {
    let vendor = Vendor::new().expect(
        "GET",
        "/account/costs",
        Reply::json(401, fixture!("error-1002.response.json")),
    );
    let error = Kling::check(&testing::context()).expect_err("wrong");
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    drop(vendor);
    let inner = r#"{"code":0,"message":"SUCCEED","data":{"code":7,"msg":"no such account"}}"#;
    let _vendor = Vendor::new().expect("GET", "/account/costs", inner);
    let error = Kling::check(&testing::context()).expect_err("wrong");
    assert_eq!(error.message, "no such account");
}

fn delivery(body: &str) -> webhook::Delivery {
    webhook::Delivery {
        headers: vec![("webhook-id".to_owned(), "9876543210".to_owned())],
        body: body.as_bytes().to_vec(),
    }
}

#[test]
fn both_dialects_hint_at_their_task() {
    let hint = |task_id: &str, client_ref: Option<&str>| webhook::Hint {
        task_id: Some(task_id.to_owned()),
        client_ref: client_ref.map(str::to_owned),
        event_id: Some("9876543210".to_owned()),
    };
    for (body, expected) in [
        (
            fixture!("webhook-succeeded.json"),
            hint("831240", Some("ref_1")),
        ),
        (fixture!("webhook-vector.json"), hint("1234567890", None)),
        (
            fixture!("webhook-avatar.json"),
            hint("legacy-avatar:771100", Some("ref_1")),
        ),
    ] {
        assert_eq!(Kling::parse(&delivery(body)), Ok(vec![expected]));
    }
}

#[test]
fn nonsense_is_refused() {
    for nonsense in ["", "[]", "{}", r#"{"status":"succeeded"}"#] {
        let error = Kling::parse(&delivery(nonsense)).expect_err("nonsense");
        assert!(
            matches!(error.kind, ErrorKind::InvalidInput(_)),
            "{nonsense}"
        );
    }
}
