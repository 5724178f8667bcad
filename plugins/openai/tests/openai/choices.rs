//! `catalog` and `account`.

use super::*;

const MODELS: &str = "/v1/models";

fn list(kind: catalog::Kind, cursor: Option<&str>) -> Result<catalog::Page> {
    OpenAi::list(kind, cursor, &reference())
}

fn ids(page: &catalog::Page) -> Vec<&str> {
    page.items.iter().map(|item| item.id.as_str()).collect()
}

#[test]
fn models_come_newest_first() {
    let _vendor = Vendor::new().expect("GET", MODELS, fixture!("models.json"));
    let page = list(catalog::Kind::Model, None).unwrap();
    assert_eq!(
        ids(&page),
        ["gpt-5.4-mini", "gpt-5.4", "o4-mini", "gpt-4o-mini-tts"]
    );
    assert_eq!(page.next, None);
    let facts = parsed(page.items[2].metadata.as_deref().unwrap());
    assert_eq!(facts["shutdown_date"], "2027-04-16");
}

#[test]
fn many_models_come_in_pages() {
    let models: Vec<Value> = (0..450)
        .map(|at| json!({ "id": format!("m{at:03}"), "object": "model", "created": 1 }))
        .collect();
    let answer = json!({ "object": "list", "data": models });
    let mut vendor = Vendor::new();
    for _ in 0..4 {
        vendor = vendor.expect("GET", MODELS, answer.clone());
    }
    let first = list(catalog::Kind::Model, None).unwrap();
    let second = list(catalog::Kind::Model, first.next.as_deref()).unwrap();
    let third = list(catalog::Kind::Model, second.next.as_deref()).unwrap();
    assert_eq!(
        first.items.len() + second.items.len() + third.items.len(),
        450
    );
    assert_eq!(second.items[0].id, "m200");
    assert_eq!(third.next, None);
    assert!(list(catalog::Kind::Model, Some("gone")).is_err());
    assert_eq!(vendor.sent().len(), 4);
}

#[test]
fn voices_are_the_documented_ones() {
    let vendor = Vendor::new();
    let page = list(catalog::Kind::Voice, None).unwrap();
    assert!(ids(&page).contains(&"alloy"));
    assert_eq!(page.items.len(), 10);
    assert_eq!(page.items[0].name, "Alloy");
    assert!(list(catalog::Kind::Avatar, None).unwrap().items.is_empty());
    assert!(vendor.sent().is_empty());
}

#[test]
fn the_account_is_checked_for_free() {
    let vendor = Vendor::new().expect(
        "GET",
        MODELS,
        Reply::json(200, fixture!("models.json")).header("openai-organization", "acme-films"),
    );
    let info = OpenAi::check(&reference()).unwrap();
    assert_eq!(info.label, "OpenAI (acme-films), 4 models");
    assert_eq!(info.remaining, None);
    assert_eq!(vendor.only().method, "GET");
}

#[test]
fn trouble_is_told() {
    for (reply, kind) in [
        (
            Reply::json(401, envelope(Some("invalid_api_key"), "any", "No.")),
            ErrorKind::Unauthorized,
        ),
        (Reply::status(403), ErrorKind::Forbidden),
        (Reply::status(502), ErrorKind::Unavailable),
        (Reply::json(200, r#"{"data":[{"#), ErrorKind::Unexpected),
    ] {
        let _vendor = Vendor::new().expect("GET", MODELS, reply.clone());
        assert_eq!(OpenAi::check(&reference()).unwrap_err().kind, kind);
        drop(_vendor);
        let _vendor = Vendor::new().expect("GET", MODELS, reply);
        let error = list(catalog::Kind::Model, None).unwrap_err();
        assert_eq!(error.kind, kind);
    }
}
