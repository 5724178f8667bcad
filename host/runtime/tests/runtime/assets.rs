//! Media that pass by the guest: into the host's storage and out of it, with constant memory.

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::network::{arrived, arrived_body, echo};
use crate::support::{Memory, call, exchange, exchange_with, get, plugin, post, serve};

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

fn save(mut request: Value, how: &str) -> Value {
    request["how"] = json!(how);
    request
}

/// Serves one body under `/v1/body`, in pieces of an odd length.
async fn body(mime: &'static str, bytes: Vec<u8>) -> String {
    let bytes = Bytes::from(bytes);
    let handler = move || async move {
        let pieces: Vec<Result<Bytes, std::io::Error>> = bytes
            .chunks(7_777)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        (
            [("content-type", mime)],
            Body::from_stream(futures::stream::iter(pieces)),
        )
    };
    serve(Router::new().route("/v1/body", any(handler))).await
}

#[tokio::test]
async fn a_whole_answer_becomes_an_asset() {
    let bytes = noise(3_000_000);
    let plugin = plugin(&body("Video/MP4; codecs=avc1", bytes.clone()).await).await;
    let memory = Memory::default();
    let (came, trace) =
        exchange_with(&plugin, memory.call(), save(post("/v1/body", "{}"), "save")).await;
    assert_eq!(
        came,
        json!({ "asset": "asset_1", "mime": "video/mp4", "size": 3_000_000, "rest": null })
    );
    assert!(memory.get("asset_1") == bytes);
    assert!(trace.sent && !trace.unanswered);
}

#[tokio::test]
async fn base64_inside_json_becomes_an_asset_with_constant_memory() {
    // Far more than may enter the guest, and more than any buffer on the way.
    let bytes = noise(24 << 20);
    let audio = STANDARD.encode(&bytes);
    let text = format!(
        r#"{{ "other": ["audio", {{"audio_base64": "no"}}], "audio_base64" : "{audio}" , "alignment": {{"words": [1.50, "a\"b"]}} }}"#
    );
    let plugin = plugin(&body("application/json", text.into_bytes()).await).await;
    let memory = Memory::default();
    let (came, trace) = exchange_with(
        &plugin,
        memory.call(),
        save(post("/v1/body", "{}"), "json-base64:/audio_base64"),
    )
    .await;
    assert_eq!(came["mime"], "application/octet-stream");
    assert_eq!(came["size"], 24 << 20);
    assert_eq!(
        came["rest"],
        r#"{ "other": ["audio", {"audio_base64": "no"}],  "alignment": {"words": [1.50, "a\"b"]} }"#
    );
    assert!(memory.get("asset_1") == bytes);
    assert!(!trace.unanswered);
    let largest = *memory.largest_chunk.lock().expect("a lock");
    assert!(largest <= 1 << 20, "{largest} bytes were held at once");
}

async fn pointed(text: &str, pointer: &str) -> (Value, Option<Vec<u8>>) {
    let plugin = plugin(&body("application/json", text.as_bytes().to_vec()).await).await;
    let memory = Memory::default();
    let how = format!("json-base64:{pointer}");
    let (came, _) = exchange_with(&plugin, memory.call(), save(get("/v1/body"), &how)).await;
    let bytes = came["asset"].as_str().map(|name| memory.get(name).to_vec());
    (came, bytes)
}

#[tokio::test]
async fn pointers_lead_through_lists_and_odd_names() {
    for (text, pointer, bytes, rest) in [
        (r#"{"a":"aGk="}"#, "/a", "hi", r#"{}"#),
        (r#"{"a":"aGk","b":1}"#, "/a", "hi", r#"{"b":1}"#),
        (r#"{"b":1,"a":"aGk"}"#, "/a", "hi", r#"{"b":1}"#),
        (
            r#"[0,{"x":[1,"aGk="]}]"#,
            "/1/x/1",
            "hi",
            r#"[0,{"x":[1,null]}]"#,
        ),
        (
            r#"{"a/b":{"~":"aGk="},"c":"\u0022"}"#,
            "/a~1b/~0",
            "hi",
            r#"{"a/b":{},"c":"\u0022"}"#,
        ),
        (r#"{"\u0061":"aGk="}"#, "/a", "hi", r#"{}"#),
        (
            r#"{"x":{"a":"bm8="},"a":"aGk="}"#,
            "/a",
            "hi",
            r#"{"x":{"a":"bm8="}}"#,
        ),
        (r#"{"a":"aGk\/\u0061\nGk\u003d"}"#, "/a", "hi?hi", "{}"),
        (r#"{"a":""}"#, "/a", "", "{}"),
        (r#"{"":"aGk="}"#, "/", "hi", "{}"),
    ] {
        let (came, stored) = pointed(text, pointer).await;
        if bytes == "hi?hi" {
            assert_eq!(
                stored,
                Some(STANDARD.decode("aGk/aGk=").expect("base64")),
                "{text}"
            );
        } else {
            assert_eq!(stored.as_deref(), Some(bytes.as_bytes()), "{text}: {came}");
        }
        assert_eq!(came["rest"], rest, "{text}");
    }
}

#[tokio::test]
async fn url_safe_base64_is_understood() {
    let bytes = noise(1_000);
    let text = json!({ "a": URL_SAFE_NO_PAD.encode(&bytes) }).to_string();
    assert_eq!(pointed(&text, "/a").await.1, Some(bytes));
}

#[tokio::test]
async fn answers_without_the_string_are_unexpected() {
    for (text, pointer, why) in [
        (r#"{"b":"aGk="}"#, "/a", "there is no string at the pointer"),
        (r#"{"a":5}"#, "/a", "there is no string at the pointer"),
        (
            r#"{"a":{"a":"aGk="}}"#,
            "/a",
            "there is no string at the pointer",
        ),
        (
            r#"{"a":"not base64!"}"#,
            "/a",
            "the string at the pointer is not base64",
        ),
        (r#"{"a":"aGk"#, "/a", "it ends in the middle"),
        (r#"{"a":"aGk=",}"#, "/a", "it breaks the grammar"),
        (r#"{"a":"aGk="}}"#, "/a", "a bracket too many"),
        (&"[".repeat(100), "/0", "nested too deeply"),
        ("<html>", "/a", "there is no string at the pointer"),
    ] {
        let (came, stored) = pointed(text, pointer).await;
        assert_eq!(came["kind"], "ErrorKind::Unexpected", "{text}: {came}");
        assert!(
            came["message"]
                .as_str()
                .is_some_and(|text| text.contains(why)),
            "{text}: {came}"
        );
        assert_eq!(stored, None);
    }
    let (came, _) = pointed("{}", "a").await;
    assert_eq!(came["kind"], "ErrorKind::NotPermitted");
    assert_eq!(came["message"], "`a` is no JSON pointer (RFC 6901)");
    let rest = format!(r#"{{"b":"{}","a":"aGk="}}"#, "x".repeat(300_000));
    let (came, stored) = pointed(&rest, "/a").await;
    assert_eq!(
        came["message"],
        "the rest of the answer is larger than 262144 bytes"
    );
    assert_eq!(stored, None);
}

#[tokio::test]
async fn what_is_not_a_success_is_not_kept() {
    let refused = || async {
        (
            StatusCode::PAYMENT_REQUIRED,
            [("content-type", "text/plain")],
            "x".repeat(100_000),
        )
            .into_response()
    };
    let plugin = plugin(&serve(Router::new().route("/v1/body", any(refused))).await).await;
    let memory = Memory::default();
    let (came, trace) =
        exchange_with(&plugin, memory.call(), save(post("/v1/body", "{}"), "save")).await;
    assert_eq!(came["refused"]["status"], 402);
    assert_eq!(came["refused"]["body"].as_str().map(str::len), Some(65_536));
    assert_eq!(memory.len(), 0);
    assert!(trace.sent && !trace.unanswered);
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_is_not_a_refusal() {
    let plugin = plugin(&body("video/mp4", noise(10)).await).await;
    let (came, trace) = exchange(&plugin, save(post("/v1/body", "{}"), "save")).await;
    assert_eq!(came["kind"], "ErrorKind::OutcomeUnknown");
    assert!(trace.sent && trace.unanswered);
    let (came, _) = exchange(&plugin, save(get("/v1/body"), "save")).await;
    assert_eq!(came["kind"], "ErrorKind::Unavailable");
}

#[tokio::test]
async fn a_saved_answer_has_a_limit() {
    let endless = || async {
        let piece = Bytes::from(vec![0; 64 << 10]);
        Body::from_stream(futures::stream::repeat(piece).map(Ok::<_, std::io::Error>))
    };
    let vendor = serve(Router::new().route("/v1/body", any(endless))).await;
    let runtime = crate::support::runtime(genvid_runtime::Options {
        max_saved_bytes: 1 << 20,
        ..genvid_runtime::Options::default()
    });
    let component = runtime
        .load(crate::support::guest())
        .await
        .expect("the guest loads");
    let plugin = component
        .configure(crate::support::grant(&vendor))
        .expect("the grant fits");
    let memory = Memory::default();
    let (came, _) = exchange_with(&plugin, memory.call(), save(get("/v1/body"), "save")).await;
    assert_eq!(came["message"], "the answer is larger than 1048576 bytes");
    assert_eq!(memory.len(), 0);
}

#[tokio::test]
async fn an_asset_is_sent_as_a_body() {
    let plugin = plugin(&serve(Router::new().fallback(any(echo))).await).await;
    let bytes = noise(100_001);
    let memory = Memory::with("asset_in", "image/png", bytes.clone());
    let mut request = post("/v1/upload", "");
    request["headers"] = json!([]);
    request["body"] = json!({ "asset": "asset_in" });
    let (came, _) = exchange_with(&plugin, memory.call(), request).await;
    assert!(arrived_body(&came) == bytes, "{came}");
    assert_eq!(arrived(&came, "content-type").as_deref(), Some("image/png"));
    assert_eq!(arrived(&came, "content-length").as_deref(), Some("100001"));
}

#[tokio::test]
async fn assets_are_woven_into_json() {
    let plugin = plugin(&serve(Router::new().fallback(any(echo))).await).await;
    for length in [0, 1, 2, 3, 10_000, 10_001] {
        let bytes = noise(length);
        let memory = Memory::with("asset_in", "image/png", bytes.clone());
        let text = r#"{ "image": "asset:base64:asset_in", "list": ["asset:data-url:asset_in", "x asset:base64:asset_in"],
            "asset:base64:asset_in" : 1.50, "text": "say \"asset:base64:asset_in\"" }"#;
        let mut request = post("/v1/upload", "");
        request["headers"] = json!([]);
        request["body"] = json!({ "json-with-assets": text });
        let (came, _) = exchange_with(&plugin, memory.call(), request).await;
        let encoded = STANDARD.encode(&bytes);
        let expected = text
            .replace(
                r#""image": "asset:base64:asset_in""#,
                &format!(r#""image": "{encoded}""#),
            )
            .replace(
                "asset:data-url:asset_in",
                &format!("data:image/png;base64,{encoded}"),
            );
        assert_eq!(
            String::from_utf8(arrived_body(&came)).as_deref(),
            Ok(expected.as_str())
        );
        assert_eq!(
            arrived(&came, "content-type").as_deref(),
            Some("application/json")
        );
        assert_eq!(
            arrived(&came, "content-length"),
            Some(expected.len().to_string())
        );
    }
}

#[tokio::test]
async fn a_form_carries_texts_and_assets() {
    let plugin = plugin(&serve(Router::new().fallback(any(echo))).await).await;
    let memory = Memory::with("asset_in", "image/png", "the picture");
    let mut request = post("/v1/upload", "");
    request["headers"] = json!([]);
    request["body"] = json!({ "form": [["na\"me\r\n", "va\r\nlue"], ["file", "asset:asset_in"]] });
    let (came, _) = exchange_with(&plugin, memory.call(), request).await;
    let mime = arrived(&came, "content-type").expect("a type");
    let boundary = mime
        .strip_prefix("multipart/form-data; boundary=")
        .expect("a boundary");
    let expected = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"na%22me%0D%0A\"\r\n\r\nva\r\nlue\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a %22file%22.bin\"\r\n\
         Content-Type: image/png\r\n\r\nthe picture\r\n--{boundary}--\r\n"
    );
    assert_eq!(
        String::from_utf8(arrived_body(&came)).as_deref(),
        Ok(expected.as_str())
    );
}

#[tokio::test]
async fn an_asset_of_another_job_does_not_resolve() {
    let plugin = plugin("http://127.0.0.1:1").await;
    for body in [
        json!({ "asset": "asset_other" }),
        json!({ "json-with-assets": r#"{"a":"asset:base64:asset_other"}"# }),
        json!({ "form": [["a", "asset:asset_other"]] }),
    ] {
        let mut request = post("/v1/upload", "");
        request["body"] = body;
        let (came, trace) = exchange_with(&plugin, call(), request).await;
        assert_eq!(came["kind"], "ErrorKind::NotFound");
        assert_eq!(came["message"], "this job has no asset `asset_other`");
        assert!(!trace.sent);
        assert_eq!(trace.requests, 0);
    }
}
