//! Verification of deliveries, with the vendors' own vectors where they publish some.

use genvid_runtime::{Plugin, WebhookRefused};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;

use crate::loading::with_manifest;
use crate::support::{call, grant, runtime};

const GUEST_RULE: &str = r#"verify = { kind = "hmac-sha256-hex", header = "X-Hook-Signature", timestamp_header = "X-Hook-Time", secret = "VENDOR_HOOK" }"#;

async fn plugin(rule: &str, secret: Option<&str>) -> Plugin {
    let manifest = include_str!("../guest/plugin.toml").replace(GUEST_RULE, rule);
    let runtime = runtime(genvid_runtime::Options {
        max_instances: 2,
        ..Default::default()
    });
    let component = runtime
        .load(with_manifest(&manifest))
        .await
        .expect("the guest loads");
    let mut grant = grant("http://127.0.0.1:1");
    grant.secrets.remove("VENDOR_HOOK");
    if let Some(secret) = secret {
        grant
            .secrets
            .insert("VENDOR_HOOK".to_owned(), SecretString::from(secret));
    }
    component.configure(grant).expect("the grant fits")
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        })
        .collect()
}

/// HeyGen, "Webhooks": hex HMAC-SHA256 of the raw body; the time is a header of its own.
#[tokio::test]
async fn heygens_signature_is_verified() {
    let rule = r#"verify = { kind = "hmac-sha256-hex", header = "Heygen-Signature", timestamp_header = "Heygen-Timestamp", secret = "VENDOR_HOOK" }"#;
    let plugin = plugin(rule, Some("hg_secret")).await;
    let body = br#"{"event_type":"avatar_video.success"}"#;
    let signature = "3ba19f6efec87391f4cc9ecb805522f635e08003521b7c0dc1a12bc4653ceb8a";
    let good = headers(&[
        ("heygen-signature", signature),
        ("heygen-timestamp", "1700000000"),
    ]);
    let now = 1_700_000_000_000;
    assert_eq!(plugin.verify_webhook(&good, body, now), Ok(()));
    assert_eq!(plugin.verify_webhook(&good, body, now + 300_999), Ok(()));
    let refused = |result| match result {
        Err(why) => why,
        Ok(()) => panic!("verified"),
    };
    let stale = refused(plugin.verify_webhook(&good, body, now + 301_000));
    assert_eq!(stale, WebhookRefused::Stale);
    let future = refused(plugin.verify_webhook(&good, body, now - 301_000));
    assert_eq!(future, WebhookRefused::Stale);
    let other = refused(plugin.verify_webhook(&good, b"{}", now));
    assert_eq!(other, WebhookRefused::BadSignature);
    for wrong in [
        headers(&[("heygen-timestamp", "1700000000")]),
        headers(&[("heygen-signature", signature)]),
        headers(&[
            ("heygen-signature", "zz"),
            ("heygen-timestamp", "1700000000"),
        ]),
        headers(&[
            ("heygen-signature", signature),
            ("heygen-timestamp", "yesterday"),
        ]),
        headers(&[
            ("heygen-signature", signature),
            ("heygen-signature", "00"),
            ("heygen-timestamp", "1700000000"),
        ]),
    ] {
        assert_eq!(
            refused(plugin.verify_webhook(&wrong, body, now)),
            WebhookRefused::Malformed
        );
    }
    let short = headers(&[
        ("heygen-signature", "3ba1"),
        ("heygen-timestamp", "1700000000"),
    ]);
    assert_eq!(
        refused(plugin.verify_webhook(&short, body, now)),
        WebhookRefused::BadSignature
    );
}

/// Kling, "Callback": Standard Webhooks with its own vector.
#[tokio::test]
async fn standard_webhooks_are_verified() {
    let rule =
        r#"verify = { kind = "standard-webhooks", prefix = "webhook", secret = "VENDOR_HOOK" }"#;
    let secret = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI=";
    let plugin = plugin(rule, Some(secret)).await;
    let body = br#"{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}"#;
    let signature = "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=";
    let signed = |signature: &str| {
        headers(&[
            ("webhook-id", "9876543210"),
            ("webhook-timestamp", "1781080794"),
            ("webhook-signature", signature),
        ])
    };
    let now = 1_781_080_794_000;
    assert_eq!(plugin.verify_webhook(&signed(signature), body, now), Ok(()));
    let rotated = format!("v1a,xx v1,bm8= {signature}");
    assert_eq!(plugin.verify_webhook(&signed(&rotated), body, now), Ok(()));
    assert_eq!(
        plugin.verify_webhook(&signed("v1,bm8="), body, now),
        Err(WebhookRefused::BadSignature)
    );
    assert_eq!(
        plugin.verify_webhook(&signed(signature), body, now + 301_000),
        Err(WebhookRefused::Stale)
    );
    let mut other = signed(signature);
    other.insert("webhook-id", HeaderValue::from_static("9876543211"));
    assert_eq!(
        plugin.verify_webhook(&other, body, now),
        Err(WebhookRefused::BadSignature)
    );
}

#[tokio::test]
async fn without_a_secret_nothing_is_verified() {
    let plugin = plugin(GUEST_RULE, None).await;
    assert_eq!(
        plugin.verify_webhook(&HeaderMap::new(), b"{}", 0),
        Err(WebhookRefused::NotConfigured)
    );
}

#[tokio::test]
async fn unsigned_deliveries_pass_and_are_parsed() {
    let plugin = plugin(r#"verify = { kind = "unsigned" }"#, None).await;
    let headers = headers(&[("x-note", "a")]);
    assert_eq!(plugin.verify_webhook(&headers, b"task-7", 0), Ok(()));
    let hints = plugin
        .parse_webhook(call(), &headers, b"task-7")
        .await
        .result
        .expect("hints");
    assert_eq!(hints.len(), 1);
    assert_eq!(hints[0].task_id.as_deref(), Some("task-7"));
}
