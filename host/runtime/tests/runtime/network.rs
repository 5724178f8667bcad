//! Where a plugin may go, and what comes back to it.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Query, Request};
use axum::response::{IntoResponse, Redirect};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{
    API_KEY, command, exchange, exchange_with, get as get_path, lonely, plugin, post,
    sandbox_error, serve, text_of,
};

/// Answers with what arrived.
pub(crate) async fn echo(request: Request) -> impl IntoResponse {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.expect("a body");
    let headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        // The credential would be scrubbed from the answer, so that a test saw nothing.
        .map(|(name, value)| {
            (
                name,
                URL_SAFE_NO_PAD.encode(value.chars().rev().collect::<String>()),
            )
        })
        .collect();
    let arrived = json!({
        "method": head.method.as_str(),
        "uri": head.uri.to_string(),
        "headers": headers,
        "body": STANDARD.encode(body),
    });
    ([("content-type", "application/json")], arrived.to_string())
}

/// What [`echo`] says about a header.
pub(crate) fn arrived(answer: &Value, header: &str) -> Option<String> {
    let body: Value = serde_json::from_str(answer["body"].as_str()?).expect("JSON");
    let headers = body["headers"].as_array().expect("a list");
    let value = headers.iter().find(|pair| pair[0] == header)?[1].as_str()?;
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(value).expect("base64")).expect("text");
    Some(text.chars().rev().collect())
}

pub(crate) fn arrived_body(answer: &Value) -> Vec<u8> {
    let body: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON");
    STANDARD
        .decode(body["body"].as_str().expect("a text"))
        .expect("base64")
}

/// Why the host refused a request; it must not have left.
async fn refusal(exchange_json: Value) -> String {
    let plugin = lonely().await;
    let (answer, trace) = exchange(&plugin, exchange_json.clone()).await;
    assert_eq!(
        answer["kind"], "ErrorKind::NotPermitted",
        "{exchange_json}: {answer}"
    );
    assert!(
        !trace.sent && !trace.unanswered && trace.last_status.is_none(),
        "{trace:?}"
    );
    answer["message"].as_str().expect("a message").to_owned()
}

fn get_url(url: &str) -> Value {
    json!({ "method": "GET", "url": url })
}

#[tokio::test]
async fn a_request_leaves_with_its_credential_and_the_hosts_own_headers() {
    let vendor = serve(Router::new().fallback(any(echo))).await;
    let plugin = plugin(&vendor).await;
    let (answer, trace) = exchange(&plugin, post("/v1/films?size=2#part", r#"{"a":1}"#)).await;
    assert_eq!(answer["status"], 200);
    let body: Value = serde_json::from_str(answer["body"].as_str().expect("text")).expect("JSON");
    assert_eq!(body["method"], "POST");
    assert_eq!(body["uri"], "/v1/films?size=2");
    assert_eq!(arrived_body(&answer), br#"{"a":1}"#);
    assert_eq!(arrived(&answer, "x-api-key").as_deref(), Some(API_KEY));
    assert_eq!(
        arrived(&answer, "host").as_deref(),
        Some("api.vendor.example")
    );
    assert_eq!(
        arrived(&answer, "accept-encoding").as_deref(),
        Some("identity")
    );
    assert_eq!(
        arrived(&answer, "content-type").as_deref(),
        Some("application/json")
    );
    assert_eq!(arrived(&answer, "content-length").as_deref(), Some("7"));
    assert!(arrived(&answer, "user-agent").is_some_and(|agent| agent.starts_with("genvid/")));
    assert_eq!(arrived(&answer, "transfer-encoding"), None);
    assert!(trace.sent && !trace.unanswered);
    assert_eq!((trace.requests, trace.last_status), (1, Some(200)));
}

#[tokio::test]
async fn a_get_is_never_counted_as_sent() {
    let vendor = serve(Router::new().fallback(any(echo))).await;
    let (answer, trace) = exchange(&plugin(&vendor).await, get_path("/v1/films")).await;
    assert_eq!(answer["status"], 200);
    assert!(!trace.sent && !trace.unanswered);
    assert_eq!(arrived(&answer, "content-length"), None);
}

#[tokio::test]
async fn a_reroute_may_have_a_path_of_its_own() {
    let vendor = serve(Router::new().fallback(any(echo))).await;
    let plugin = plugin(&format!("{vendor}/simulators/acme/")).await;
    let (answer, _) = exchange(&plugin, get_path("/v1/films?a=b")).await;
    let body: Value = serde_json::from_str(answer["body"].as_str().expect("text")).expect("JSON");
    assert_eq!(body["uri"], "/simulators/acme/v1/films?a=b");
}

#[tokio::test]
async fn what_the_manifest_does_not_allow_is_refused() {
    for (url, why) in [
        (
            "https://evil.example/v1/x",
            "the manifest does not allow the host evil.example",
        ),
        (
            "https://api.vendor.example.evil.example/v1/x",
            "does not allow the host",
        ),
        (
            "https://api.vendor.example./v1/x",
            "does not allow the host api.vendor.example.",
        ),
        (
            "https://media.example/x",
            "does not allow the host media.example",
        ),
        (
            "https://api.vendor.example/v2/x",
            "does not allow the path /v2/x",
        ),
        (
            "https://api.vendor.example/v1/../v2/x",
            "does not allow the path /v2/x",
        ),
        (
            "https://api.vendor.example/v1/%2e%2e/v2/x",
            "does not allow the path /v2/x",
        ),
        (
            "https://api.vendor.example/v1/..%2fv2",
            "a path that climbs",
        ),
        (
            "https://api.vendor.example/v1/%252e%252e%255cv2",
            "a path that climbs",
        ),
        (
            "http://api.vendor.example/v1/x",
            "only https is allowed, not http",
        ),
        (
            "ftp://api.vendor.example/v1/x",
            "only https is allowed, not ftp",
        ),
        ("file:///etc/passwd", "only https is allowed, not file"),
        (
            "https://user:pass@api.vendor.example/v1/x",
            "a URL with a user",
        ),
        (
            "https://api.vendor.example:8443/v1/x",
            "a URL with a port of its own",
        ),
        ("https://127.0.0.1/v1/x", "an address in place of a name"),
        ("https://127.1/v1/x", "an address in place of a name"),
        ("https://2130706433/v1/x", "an address in place of a name"),
        ("https://0x7f.1/v1/x", "an address in place of a name"),
        ("https://[::1]/v1/x", "an address in place of a name"),
        (
            "https://[::ffff:127.0.0.1]/v1/x",
            "an address in place of a name",
        ),
        (
            "https://169.254.169.254/latest/meta-data",
            "an address in place of a name",
        ),
        (
            "https://localhost/v1/x",
            "does not allow the host localhost",
        ),
        ("/v1/x", "the URL is not valid"),
    ] {
        let message = refusal(get_url(url)).await;
        assert!(message.contains(why), "{url}: {message}");
    }
    let delete = json!({ "method": "DELETE", "url": "https://api.vendor.example/v1/x" });
    assert_eq!(
        refusal(delete).await,
        "the manifest does not allow DELETE for api.vendor.example/v1/x"
    );
    let long = format!("https://api.vendor.example/v1/{}", "x".repeat(9_000));
    assert_eq!(
        refusal(get_url(&long)).await,
        "a URL longer than 8192 bytes"
    );
    let with_body = json!({
        "method": "GET", "url": "https://api.vendor.example/v1/x", "body": { "text": "x" },
    });
    assert_eq!(refusal(with_body).await, "a GET request has no body");
    let patient = json!({
        "method": "GET", "url": "https://api.vendor.example/v1/x", "timeout_ms": 600_001,
    });
    assert_eq!(
        refusal(patient).await,
        "a timeout of 600001 ms; 100 to 600,000 are allowed"
    );
}

#[tokio::test]
async fn a_declared_host_that_leads_inside_is_refused() {
    // Names below `localhost` resolve to the loopback addresses (RFC 6761, section 6.3).
    let plugin = lonely().await;
    let (answer, trace) = exchange(&plugin, get_url("https://vendor.localhost/x")).await;
    assert!(!trace.sent);
    let message = answer["message"].as_str().expect("a message");
    if answer["kind"] == "ErrorKind::NotPermitted" {
        assert_eq!(
            message,
            "vendor.localhost leads to an address that is not public"
        );
    } else {
        // Resolvers without that rule know no such name, which is as good.
        assert_eq!(answer["kind"], "ErrorKind::Unavailable");
        assert!(
            message.starts_with("cannot resolve vendor.localhost"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn headers_of_the_host_are_refused() {
    for name in [
        "Authorization",
        "authorization",
        "Cookie",
        "X-Api-Key",
        "x-signature",
        "X-TIMESTAMP",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Upgrade",
        "Proxy-Authorization",
        "X-Forwarded-For",
        "TE",
        "Expect",
        "Accept-Encoding",
    ] {
        let mut request = get_path("/v1/x");
        request["headers"] = json!([[name, "value"]]);
        let message = refusal(request).await;
        assert_eq!(
            message,
            format!("the header `{}` is the host's own", name.to_lowercase())
        );
    }
}

#[tokio::test]
async fn headers_cannot_be_injected() {
    for (name, value, why) in [
        ("x-note", "a\r\nX-Api-Key: mine", "forbidden characters"),
        ("x-note", "a\nb", "forbidden characters"),
        ("x-note", "a\0b", "forbidden characters"),
        ("x-note: a\r\nhost", "b", "is no header name"),
        ("", "b", "is no header name"),
    ] {
        let mut request = get_path("/v1/x");
        request["headers"] = json!([[name, value]]);
        let message = refusal(request).await;
        assert!(
            message.contains(why) && !message.contains('\n'),
            "{message}"
        );
    }
    let mut request = get_path("/v1/x");
    request["headers"] = json!(vec![["x-note", "value"]; 65]);
    assert_eq!(refusal(request).await, "65 headers; 64 are allowed");
    let mut request = get_path("/v1/x");
    request["headers"] = json!([["x-note", "v".repeat(20_000)]]);
    assert_eq!(
        refusal(request).await,
        "20006 bytes of headers; 16384 are allowed"
    );
}

async fn redirect(Query(target): Query<std::collections::HashMap<String, String>>) -> Redirect {
    Redirect::temporary(&target["to"])
}

fn redirecting() -> Router {
    Router::new()
        .route("/v1/away", any(redirect))
        .route("/open/away", any(redirect))
        .route(
            "/open/loop",
            any(|| async { Redirect::permanent("/open/loop") }),
        )
        .route("/open/see", any(|| async { Redirect::to("/open/echo") }))
        .fallback(any(echo))
}

#[tokio::test]
async fn redirects_with_credentials_are_refused() {
    let plugin = plugin(&serve(redirecting()).await).await;
    let target = "https://api.vendor.example/v1/other";
    let (answer, trace) = exchange(&plugin, get_path(&format!("/v1/away?to={target}"))).await;
    assert_eq!(answer["kind"], "ErrorKind::NotPermitted");
    assert_eq!(
        answer["message"],
        "status 307: redirects of requests with credentials are not followed"
    );
    assert_eq!((trace.requests, trace.last_status), (1, Some(307)));
}

#[tokio::test]
async fn every_hop_of_a_redirect_is_checked_again() {
    let plugin = plugin(&serve(redirecting()).await).await;
    for (target, why) in [
        (
            "https://evil.example/open/x",
            "does not allow the host evil.example",
        ),
        (
            "https://169.254.169.254/latest/meta-data",
            "an address in place of a name",
        ),
        ("http://127.0.0.1:80/", "only https is allowed"),
        (
            "https://api.vendor.example/v1/x",
            "where credentials are needed",
        ),
        (
            "https://api.vendor.example/admin",
            "does not allow the path /admin",
        ),
    ] {
        let (answer, trace) = exchange(&plugin, get_path(&format!("/open/away?to={target}"))).await;
        assert_eq!(
            answer["kind"], "ErrorKind::NotPermitted",
            "{target}: {answer}"
        );
        assert!(
            answer["message"]
                .as_str()
                .is_some_and(|text| text.contains(why)),
            "{answer}"
        );
        assert_eq!(trace.requests, 1, "{target}");
    }
    let target = "https://other.vendor.example/open/x";
    let mut request = get_path(&format!("/open/away?to={target}"));
    request["headers"] = json!([["x-note", "private"], ["accept", "text/html"]]);
    let (answer, trace) = exchange(&plugin, request).await;
    assert_eq!(
        arrived(&answer, "host").as_deref(),
        Some("other.vendor.example")
    );
    assert_eq!(arrived(&answer, "x-note"), None, "told to another host");
    assert_eq!(arrived(&answer, "accept").as_deref(), Some("text/html"));
    assert_eq!(trace.requests, 2);
    let (answer, trace) = exchange(&plugin, get_path("/open/loop")).await;
    assert_eq!(answer["message"], "more than 5 redirects");
    assert_eq!(trace.requests, 6);
    // 303 turns a POST into a GET without a body (RFC 9110, section 15.4.4).
    let (answer, _) = exchange(&plugin, post("/open/see", "{}")).await;
    let body: Value = serde_json::from_str(answer["body"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        (body["method"].as_str(), body["body"].as_str()),
        (Some("GET"), Some(""))
    );
}

#[tokio::test]
async fn requests_of_one_call_are_counted() {
    let plugin = plugin(&serve(Router::new().fallback(any(echo))).await).await;
    let exchanges: Vec<Value> = (0..20).map(|_| get_path("/v1/x")).collect();
    let outcome = command(&plugin, json!({ "do": "http", "exchanges": exchanges })).await;
    let came = text_of(&outcome);
    assert_eq!(came[15]["status"], 200);
    assert_eq!(came[16]["kind"], "ErrorKind::NotPermitted");
    assert_eq!(came[16]["message"], "more than 16 requests in one call");
    assert_eq!(outcome.trace.requests, 16);
}

#[tokio::test]
async fn a_trap_after_a_request_leaves_the_facts() {
    let plugin = plugin(&serve(Router::new().fallback(any(echo))).await).await;
    let trap =
        json!({ "do": "http", "exchanges": [post("/v1/x", "{}")], "then": { "do": "trap" } });
    let outcome = command(&plugin, trap).await;
    assert_eq!(
        sandbox_error(&outcome).kind,
        genvid_runtime::SandboxErrorKind::Trap
    );
    assert!(outcome.trace.sent && !outcome.trace.unanswered);
    assert_eq!(outcome.trace.last_status, Some(200));
}

#[tokio::test]
async fn requests_per_second_are_spread() {
    let vendor = serve(Router::new().fallback(any(echo))).await;
    let text = String::from_utf8(guest_manifest()).expect("text");
    let slow = text.replace("requests_per_second = 10_000", "requests_per_second = 10");
    let runtime = crate::support::runtime(genvid_runtime::Options::default());
    let wasm = crate::loading::with_manifest(&slow);
    let component = runtime.load(wasm).await.expect("the guest loads");
    let plugin = component
        .configure(crate::support::grant(&vendor))
        .expect("the grant fits");
    let started = Instant::now();
    let exchanges: Vec<Value> = (0..15).map(|_| get_path("/v1/x")).collect();
    let outcome = command(&plugin, json!({ "do": "http", "exchanges": exchanges })).await;
    assert!(
        text_of(&outcome)
            .as_array()
            .is_some_and(|all| all.iter().all(|one| one["status"] == 200))
    );
    // Ten at once, and the other five a tenth of a second apart.
    assert!(
        (450..2_000).contains(&started.elapsed().as_millis()),
        "{:?}",
        started.elapsed()
    );
}

/// Counts nothing and answers always the same; remembers what it was asked.
#[derive(Debug)]
struct Fixed(genvid_runtime::Pass, std::sync::Mutex<Vec<(String, u32)>>);

impl genvid_runtime::Pace for Fixed {
    fn take<'a>(
        &'a self,
        plugin: &'a str,
        per_second: u32,
        _: Duration,
    ) -> futures::future::BoxFuture<'a, genvid_runtime::Pass> {
        let asked = (plugin.to_owned(), per_second);
        self.1.lock().expect("a lock").push(asked);
        Box::pin(std::future::ready(self.0))
    }
}

/// The time that 15 requests took with 10 a second and this answer of the pace, and how many
/// of them had an answer.
async fn paced(pass: genvid_runtime::Pass) -> (Duration, usize) {
    let vendor = serve(Router::new().fallback(any(echo))).await;
    let text = String::from_utf8(guest_manifest()).expect("text");
    let slow = text.replace("requests_per_second = 10_000", "requests_per_second = 10");
    let pace = std::sync::Arc::new(Fixed(pass, std::sync::Mutex::default()));
    let runtime = crate::support::runtime(genvid_runtime::Options {
        pace: Some(pace.clone()),
        ..genvid_runtime::Options::default()
    });
    let wasm = crate::loading::with_manifest(&slow);
    let component = runtime.load(wasm).await.expect("the guest loads");
    let id = component.manifest().id.clone();
    let plugin = component
        .configure(crate::support::grant(&vendor))
        .expect("the grant fits");
    let started = Instant::now();
    let exchanges: Vec<Value> = (0..15).map(|_| get_path("/v1/x")).collect();
    let outcome = command(&plugin, json!({ "do": "http", "exchanges": exchanges })).await;
    let came = text_of(&outcome);
    let answered = came.as_array().expect("a list").iter();
    let answered = answered.filter(|one| one["status"] == 200).count();
    assert_eq!(*pace.1.lock().expect("a lock"), vec![(id, 10); 15]);
    (started.elapsed(), answered)
}

#[tokio::test]
async fn who_counts_for_all_processes_is_obeyed() {
    use genvid_runtime::Pass;
    let (took, answered) = paced(Pass::After(Duration::ZERO)).await;
    assert!(
        answered == 15 && took < Duration::from_millis(450),
        "{took:?}"
    );
    let (took, answered) = paced(Pass::After(Duration::from_millis(40))).await;
    assert!(
        answered == 15 && took >= Duration::from_millis(600),
        "{took:?}"
    );
    let (_, answered) = paced(Pass::TooLate).await;
    assert_eq!(answered, 0, "what would come too late is not sent");
    // One of two: five at once, and the other ten a fifth of a second apart.
    let (took, answered) = paced(Pass::Share(2)).await;
    assert!(
        answered == 15 && took >= Duration::from_millis(1_900),
        "{took:?}"
    );
}

#[tokio::test]
async fn what_may_cost_money_leaves_only_with_permission() {
    let arrived = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&arrived);
    let vendor = serve(Router::new().fallback(any(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::future::ready("{}")
    })))
    .await;
    let plugin = plugin(&vendor).await;
    let calls = |may: bool| {
        let mut call = crate::support::call();
        call.permission = Some(std::sync::Arc::new(move || may));
        call
    };
    let (came, trace) = exchange_with(&plugin, calls(true), post("/v1/x", "{}")).await;
    assert_eq!(came["status"], 200);
    assert!(trace.sent && !trace.withheld);
    // On the connection that is open already, and on a new one.
    for _ in 0..2 {
        let (came, trace) = exchange_with(&plugin, calls(false), post("/v1/x", "{}")).await;
        assert!(came["status"].is_null(), "{came}");
        assert!(
            trace.withheld && !trace.sent && !trace.unanswered,
            "{trace:?}"
        );
    }
    assert_eq!(arrived.load(std::sync::atomic::Ordering::SeqCst), 1);
    // Questions are free.
    let (came, trace) = exchange_with(&plugin, calls(false), get_path("/v1/x")).await;
    assert_eq!(came["status"], 200);
    assert!(!trace.withheld, "{trace:?}");
}

fn guest_manifest() -> Vec<u8> {
    include_bytes!("../guest/plugin.toml").to_vec()
}
