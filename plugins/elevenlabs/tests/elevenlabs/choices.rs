//! `catalog`.

use super::*;

fn list(kind: catalog::Kind, cursor: Option<&str>) -> Result<catalog::Page> {
    ElevenLabs::list(kind, cursor, &context())
}

#[test]
fn voices_come_in_pages() {
    let vendor = Vendor::new()
        .expect(
            "GET",
            "/v2/voices?page_size=100",
            fixture!("voices-page.json"),
        )
        .expect(
            "GET",
            "/v2/voices?page_size=100&next_page_token=pNInz6obpgDQGcFmaJgB",
            json!({ "voices": [], "has_more": false, "next_page_token": null }),
        );
    let first = list(catalog::Kind::Voice, None).unwrap();
    assert_eq!(first.next.as_deref(), Some("pNInz6obpgDQGcFmaJgB"));
    let rachel = &first.items[0];
    assert_eq!(
        (rachel.id.as_str(), rachel.name.as_str()),
        (VOICE, "Rachel")
    );
    assert_eq!(rachel.language.as_deref(), Some("en-US"));
    assert!(rachel.preview_url.as_deref().unwrap().ends_with(".mp3"));
    let facts: Value = serde_json::from_str(rachel.metadata.as_deref().unwrap()).unwrap();
    assert_eq!(facts["labels"]["gender"], "female");
    assert_eq!(first.items[1].language, None);

    let last = list(catalog::Kind::Voice, first.next.as_deref()).unwrap();
    assert_eq!((last.items.len(), last.next), (0, None));
    assert_eq!(vendor.sent().len(), 2);
}

#[test]
fn models_that_do_not_speak_are_left_out() {
    let _vendor = Vendor::new().expect("GET", "/v1/models", fixture!("models.json"));
    let page = list(catalog::Kind::Model, None).unwrap();
    let ids: Vec<&str> = page.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["eleven_multilingual_v2", "eleven_flash_v2"]);
    assert_eq!(page.items[0].language, None);
    assert_eq!(page.items[1].language.as_deref(), Some("en"));
    let facts: Value = serde_json::from_str(page.items[0].metadata.as_deref().unwrap()).unwrap();
    assert_eq!(facts["max_characters"], 10_000);
}

#[test]
fn there_are_no_avatars() {
    let vendor = Vendor::new();
    let page = list(catalog::Kind::Avatar, None).unwrap();
    assert!(page.items.is_empty() && page.next.is_none());
    assert!(vendor.sent().is_empty());
}

#[test]
fn trouble_is_told() {
    for (kind, path) in [
        (catalog::Kind::Voice, "/v2/voices"),
        (catalog::Kind::Model, "/v1/models"),
    ] {
        for (reply, expected) in [
            (Reply::status(502), ErrorKind::Unavailable),
            (Reply::json(200, "[{"), ErrorKind::Unexpected),
            (
                Reply::json(401, detail("invalid_api_key", "No.")),
                ErrorKind::Unauthorized,
            ),
        ] {
            let _vendor = Vendor::new().expect("GET", path, reply);
            assert_eq!(list(kind, None).unwrap_err().kind, expected);
        }
    }
}
