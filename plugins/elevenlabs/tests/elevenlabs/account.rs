//! `account`.

use super::*;

#[test]
fn tells_the_plan_and_what_is_left() {
    let _vendor = Vendor::new().expect(
        "GET",
        "/v1/user/subscription",
        fixture!("subscription.json"),
    );
    let info = ElevenLabs::check(&context()).unwrap();
    assert_eq!(info.label, "ElevenLabs creator (active)");
    let remaining: Value = serde_json::from_str(&info.remaining.unwrap()).unwrap();
    assert_eq!(
        remaining,
        json!({
            "credits": 81_769, "credit_limit": 100_000,
            "resets_at_unix": 1_796_083_200, "may_exceed_by": "unlimited",
        })
    );
}

#[test]
fn a_key_for_speech_alone_is_a_good_key() {
    let _vendor = Vendor::new()
        .expect(
            "GET",
            "/v1/user/subscription",
            Reply::json(401, detail("missing_permissions", "user_read is missing.")),
        )
        .expect("GET", "/v1/models", fixture!("models.json"));
    let info = ElevenLabs::check(&context()).unwrap();
    assert_eq!(info.remaining, None);
}

#[test]
fn a_bad_key_is_told() {
    let _vendor = Vendor::new().expect(
        "GET",
        "/v1/user/subscription",
        Reply::json(401, detail("invalid_api_key", "Invalid API key")),
    );
    let error = ElevenLabs::check(&context()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert_eq!(error.vendor_code.as_deref(), Some("invalid_api_key"));
}
