//! What a guest gets to see of an answer: without secrets, not too much, and in time.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;

use crate::support::{API_KEY, exchange, get as get_path, plugin, post, serve};

#[tokio::test]
async fn no_echo_of_a_credential_reaches_the_guest() {
    async fn leak(headers: HeaderMap) -> impl IntoResponse {
        let key = headers["x-api-key"].to_str().expect("text").to_owned();
        let quoted = json!({ "key": key }).to_string();
        let escaped: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        let body = [
            key.clone(),
            format!("{key}{key}"),
            STANDARD.encode(&key),
            URL_SAFE_NO_PAD.encode(&key),
            escaped,
            quoted.replace('/', "\\/"),
            quoted,
        ]
        .join("\n");
        (
            StatusCode::BAD_REQUEST,
            [
                ("x-echo", key.clone()),
                ("set-cookie", format!("session={key}")),
            ],
            body,
        )
    }
    async fn binary(headers: HeaderMap) -> impl IntoResponse {
        let mut body = b"\xff\xfe".to_vec();
        body.extend_from_slice(headers["x-api-key"].as_bytes());
        body.extend_from_slice(b"tail");
        ([("content-type", "application/octet-stream")], body)
    }
    async fn cut(headers: HeaderMap) -> impl IntoResponse {
        // The secret lies across the place where a refused answer is cut.
        let mut body = "x".repeat(64 * 1024 - 5);
        body.push_str(headers["x-api-key"].to_str().expect("text"));
        body.push_str(&"y".repeat(10_000));
        (StatusCode::FORBIDDEN, body)
    }
    let router = Router::new()
        .route("/v1/leak", any(leak))
        .route("/v1/binary", any(binary))
        .route("/v1/cut", any(cut));
    let plugin = plugin(&serve(router).await).await;
    let (answer, _) = exchange(&plugin, get_path("/v1/leak")).await;
    let text = answer.to_string();
    assert_eq!(answer["status"], 400);
    assert_eq!(
        answer["body"]
            .as_str()
            .map(|body| body.matches("[redacted]").count()),
        Some(8)
    );
    for form in [
        "sk-test",
        "KEY",
        &STANDARD.encode(API_KEY)[..12],
        "set-cookie",
    ] {
        assert!(!text.contains(form), "{form} is in {text}");
    }
    let header = &answer["headers"]
        .as_array()
        .expect("headers")
        .iter()
        .find(|pair| pair[0] == "x-echo");
    assert_eq!(
        header.map(|pair| pair[1].clone()),
        Some(json!("[redacted]"))
    );

    let (answer, _) = exchange(&plugin, get_path("/v1/binary")).await;
    assert_eq!(answer["body"], "\u{fffd}\u{fffd}[redacted]tail");

    let mut request = get_path("/v1/cut");
    request["how"] = json!("save");
    let (answer, _) = exchange(&plugin, request).await;
    let body = answer["refused"]["body"].as_str().expect("text");
    assert!(
        body.len() <= 64 * 1024 && body.ends_with("x[reda"),
        "{}",
        &body[body.len() - 40..]
    );
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let huge = || async {
        let piece = Bytes::from(vec![b'x'; 1 << 20]);
        Body::from_stream(
            futures::stream::iter(0..100).map(move |_| Ok::<_, std::io::Error>(piece.clone())),
        )
    };
    let announced = || async { vec![b'x'; 300 << 10] };
    let router = Router::new()
        .route("/v1/huge", any(huge))
        .route("/v1/announced", any(announced));
    let plugin = plugin(&serve(router).await).await;
    for path in ["/v1/huge", "/v1/announced"] {
        let (answer, trace) = exchange(&plugin, get_path(path)).await;
        assert_eq!(answer["kind"], "ErrorKind::NotPermitted");
        assert_eq!(answer["message"], "the answer is larger than 256 KiB");
        assert!(!trace.sent);
        // After a POST nobody knows what the vendor has done.
        let (answer, trace) = exchange(&plugin, post(path, "{}")).await;
        assert_eq!(answer["kind"], "ErrorKind::OutcomeUnknown");
        assert!(trace.sent && trace.unanswered);
    }
}

#[tokio::test]
async fn an_endless_slow_answer_ends_with_the_request() {
    let endless = || async {
        Body::from_stream(futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        }))
    };
    let plugin = plugin(&serve(Router::new().route("/v1/endless", any(endless))).await).await;
    for (mut request, kind, unanswered) in [
        (get_path("/v1/endless"), "ErrorKind::Unavailable", false),
        (post("/v1/endless", "{}"), "ErrorKind::OutcomeUnknown", true),
    ] {
        request["timeout_ms"] = json!(400);
        let started = Instant::now();
        let (answer, trace) = exchange(&plugin, request).await;
        assert_eq!(answer["kind"], kind);
        assert_eq!(trace.unanswered, unanswered);
        assert!(
            (300..2_000).contains(&started.elapsed().as_millis()),
            "{:?}",
            started.elapsed()
        );
    }
}

#[tokio::test]
async fn answers_are_text_or_bytes_by_their_type() {
    let router = Router::new()
        .route("/v1/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route(
            "/v1/vendor",
            get(|| async {
                (
                    [("content-type", "application/vnd.x+json; charset=utf-8")],
                    "{}",
                )
            }),
        )
        .route(
            "/v1/broken",
            get(|| async { ([("content-type", "text/plain")], b"\xff\xff".to_vec()) }),
        )
        .route(
            "/v1/image",
            get(|| async { ([("content-type", "image/png")], "png") }),
        );
    let plugin = plugin(&serve(router).await).await;
    for (path, body, bytes) in [
        ("/v1/empty", "", None),
        ("/v1/vendor", "{}", None),
        ("/v1/broken", "\u{fffd}\u{fffd}", Some(2)),
        ("/v1/image", "png", Some(3)),
    ] {
        let (answer, _) = exchange(&plugin, get_path(path)).await;
        assert_eq!(answer["body"], body, "{path}");
        assert_eq!(answer["bytes"], json!(bytes), "{path}");
    }
}
