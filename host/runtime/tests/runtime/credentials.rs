//! Every recipe, and secrets that are missing or wrong.

use std::collections::HashMap;

use axum::Router;
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use genvid_runtime::manifest::Problem;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

use crate::network::{arrived, arrived_body, echo};
use crate::support::{API_KEY, Memory, component, exchange, exchange_with, grant, plugin, serve};

fn post(path: &str) -> Value {
    json!({
        "method": "POST",
        "url": format!("https://eu.recipes.example{path}"),
        "body": { "text": "the body" },
    })
}

fn hmac(key: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

#[tokio::test]
async fn bearer_and_basic_fill_authorization() {
    let plugin = plugin(&serve(Router::new().fallback(any(echo))).await).await;
    let (answer, _) = exchange(&plugin, post("/bearer")).await;
    assert_eq!(
        arrived(&answer, "authorization"),
        Some(format!("Bearer {API_KEY}"))
    );
    let (answer, _) = exchange(&plugin, post("/basic")).await;
    let pair = STANDARD.encode(format!("ada:{API_KEY}"));
    assert_eq!(
        arrived(&answer, "authorization"),
        Some(format!("Basic {pair}"))
    );
}

#[tokio::test]
async fn a_query_parameter_is_added_and_nobody_elses() {
    let plugin = plugin(&serve(Router::new().fallback(any(echo))).await).await;
    let (answer, _) = exchange(&plugin, post("/query?a=b")).await;
    // The vendor's echo of the URL is scrubbed like everything else.
    assert!(
        answer["body"]
            .as_str()
            .is_some_and(|body| body.contains("/query?a=b&key=[redacted]"))
    );
    let (answer, trace) = exchange(&plugin, post("/query?key=mine")).await;
    assert_eq!(
        answer["message"],
        "the query parameter `key` is the host's own"
    );
    assert!(!trace.sent);
}

#[tokio::test]
async fn a_jwt_is_made_for_each_request() {
    let plugin = plugin(&serve(Router::new().fallback(any(echo))).await).await;
    let (answer, _) = exchange(&plugin, post("/jwt")).await;
    let value = arrived(&answer, "authorization").expect("a header");
    let token = value.strip_prefix("Bearer ").expect("a bearer token");
    let parts: Vec<&str> = token.split('.').collect();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64");
    assert_eq!(decode(parts[0]), br#"{"alg":"HS256","typ":"JWT"}"#);
    let claims: Value = serde_json::from_slice(&decode(parts[1])).expect("JSON");
    assert_eq!(claims["iss"], "issuer-name");
    let (expires, from) = (claims["exp"].as_u64(), claims["nbf"].as_u64());
    assert_eq!(
        expires.zip(from).map(|(expires, from)| expires - from),
        Some(1_805)
    );
    let signed = format!("{}.{}", parts[0], parts[1]);
    assert_eq!(decode(parts[2]), hmac(API_KEY, &[signed.as_bytes()]));
}

#[tokio::test]
async fn a_signature_covers_the_time_and_the_whole_body() {
    let plugin = plugin(&serve(Router::new().fallback(any(echo))).await).await;
    let bytes = vec![7_u8; 10_001];
    let memory = Memory::with("asset_in", "image/png", bytes.clone());
    let mut with_asset = post("/hmac");
    with_asset["body"] = json!({ "asset": "asset_in" });
    for (request, body) in [(post("/hmac"), b"the body".to_vec()), (with_asset, bytes)] {
        let (answer, _) = exchange_with(&plugin, memory.call(), request).await;
        assert_eq!(arrived_body(&answer), body);
        let time = arrived(&answer, "x-timestamp").expect("a header");
        let expected = hmac(API_KEY, &[time.as_bytes(), b".", &body]);
        assert_eq!(arrived(&answer, "x-signature"), Some(hex::encode(expected)));
    }
}

#[tokio::test]
async fn a_credential_without_a_secret_is_unauthorized() {
    let plugin = plugin("http://127.0.0.1:1").await;
    let (answer, trace) = exchange(&plugin, post("/absent")).await;
    assert_eq!(answer["kind"], "ErrorKind::Unauthorized", "{answer}");
    assert_eq!(
        answer["message"],
        "the operator gave no secret for the credential `absent`"
    );
    assert!(!trace.sent);
}

#[tokio::test]
async fn a_grant_tells_all_its_problems_at_once() {
    let mut wrong = grant("http://127.0.0.1:1");
    wrong.settings = json!({ "region": "nowhere", "colour": 1 });
    wrong.secrets = HashMap::from([
        ("VENDOR_ISSUER".to_owned(), SecretString::from("issuer")),
        (
            "VENDOR_OTHER_KEY".to_owned(),
            SecretString::from(" blanks "),
        ),
        ("VENDOR_HOOK".to_owned(), SecretString::from("")),
        ("UNKNOWN".to_owned(), SecretString::from("x")),
    ]);
    wrong.reroute = HashMap::from([
        (
            "evil.example".to_owned(),
            Url::parse("http://127.0.0.1:1").expect("a URL"),
        ),
        (
            "api.vendor.example".to_owned(),
            Url::parse("ftp://127.0.0.1:1").expect("a URL"),
        ),
    ]);
    let error = component()
        .await
        .configure(wrong)
        .expect_err("a wrong grant");
    let problems: Vec<(&str, &str)> = error
        .0
        .iter()
        .map(|Problem { key, message }| (key.as_str(), message.as_str()))
        .collect();
    assert_eq!(
        problems,
        [
            (
                "reroute.api.vendor.example",
                "the target must be http or https with a host, and no user, query or fragment"
            ),
            ("reroute.evil.example", "the manifest declares no such host"),
            ("secrets.UNKNOWN", "the plugin needs no such secret"),
            ("secrets.VENDOR_API_KEY", "is missing"),
            ("secrets.VENDOR_HOOK", "must have 1 to 8,192 bytes"),
            (
                "secrets.VENDOR_OTHER_KEY",
                "has a control character or blanks around it"
            ),
            (
                "settings",
                "Additional properties are not allowed ('colour' was unexpected)"
            ),
            (
                "settings.region",
                "value is not one of \"here\" or \"there\""
            ),
        ]
    );
}

#[tokio::test]
async fn no_secrets_at_all_is_a_problem_of_each() {
    let mut none = grant("http://127.0.0.1:1");
    none.secrets.clear();
    let error = component()
        .await
        .configure(none)
        .expect_err("a wrong grant");
    let keys: Vec<&str> = error.0.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "secrets.VENDOR_API_KEY",
            "secrets.VENDOR_ISSUER",
            "secrets.VENDOR_OTHER_KEY"
        ]
    );
}

#[tokio::test]
async fn secrets_do_not_show_in_debug_output() {
    let grant = grant("http://127.0.0.1:1");
    assert!(!format!("{grant:?}").contains("sk-test"));
    let plugin = component().await.configure(grant).expect("the grant fits");
    assert!(!format!("{plugin:?}").contains("sk-test"));
}
