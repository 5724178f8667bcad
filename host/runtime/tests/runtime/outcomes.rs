//! Whether a request was sent and whether it was answered, over servers that break in every
//! place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use genvid_runtime::{SandboxErrorKind, Trace};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    Memory, command, exchange, exchange_with, get, plugin, post, sandbox_error, text_of,
};

/// Serves each connection by a function of its number, beginning with 0.
async fn raw<F, W>(serve: F) -> (String, Arc<AtomicU32>)
where
    F: Fn(TcpStream, u32) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, number));
        }
    });
    (format!("http://{address}"), count)
}

/// Reads one request with its body.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("content-length: ")?
                        .parse()
                        .ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

async fn answer(stream: &mut TcpStream, text: &str) {
    stream
        .write_all(text.as_bytes())
        .await
        .expect("the client listens");
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";

fn facts(trace: &Trace) -> (bool, bool) {
    (trace.sent, trace.unanswered)
}

#[tokio::test]
async fn a_refused_connection_means_never_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let plugin = plugin(&format!("http://{address}")).await;
    for request in [post("/v1/x", "{}"), get("/v1/x")] {
        let (came, trace) = exchange(&plugin, request).await;
        assert_eq!(came["kind"], "ErrorKind::Unavailable");
        assert_eq!(facts(&trace), (false, false));
        assert_eq!((trace.requests, trace.last_status), (1, None));
    }
}

#[tokio::test]
async fn a_host_that_does_not_resolve_means_never_sent() {
    // `.invalid` never resolves (RFC 6761, section 6.4).
    let plugin = plugin("http://vendor.invalid:80").await;
    let (came, trace) = exchange(&plugin, post("/v1/x", "{}")).await;
    assert_eq!(came["kind"], "ErrorKind::Unavailable");
    assert!(
        came["message"]
            .as_str()
            .is_some_and(|why| why.contains("resolve")),
        "{came}"
    );
    assert_eq!(facts(&trace), (false, false));
}

#[tokio::test]
async fn a_failed_handshake_means_never_sent() {
    let (url, _) = raw(|mut stream, _| async move {
        answer(&mut stream, "this is no TLS").await;
    })
    .await;
    let plugin = plugin(&url.replace("http:", "https:")).await;
    let (came, trace) = exchange(&plugin, post("/v1/x", "{}")).await;
    assert_eq!(came["kind"], "ErrorKind::Unavailable");
    assert_eq!(facts(&trace), (false, false));
}

#[tokio::test]
async fn a_connection_that_is_cut_means_unanswered() {
    let (url, _) = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
    })
    .await;
    let plugin = plugin(&url).await;
    let (came, trace) = exchange(&plugin, post("/v1/x", "{}")).await;
    assert_eq!(came["kind"], "ErrorKind::OutcomeUnknown");
    assert_eq!(facts(&trace), (true, true));
    let (came, trace) = exchange(&plugin, get("/v1/x")).await;
    assert_eq!(came["kind"], "ErrorKind::Unavailable");
    assert_eq!(facts(&trace), (false, false));
}

#[tokio::test]
async fn a_body_that_is_cut_means_unanswered() {
    let (url, _) = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        answer(
            &mut stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbeginning",
        )
        .await;
    })
    .await;
    let (came, trace) = exchange(&plugin(&url).await, post("/v1/x", "{}")).await;
    assert_eq!(came["kind"], "ErrorKind::OutcomeUnknown");
    assert_eq!(facts(&trace), (true, true));
    assert_eq!(trace.last_status, Some(200));
}

#[tokio::test]
async fn rubbish_instead_of_http_means_unanswered() {
    let (url, _) = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        answer(&mut stream, "rubbish\r\n\r\n").await;
    })
    .await;
    let (came, trace) = exchange(&plugin(&url).await, post("/v1/x", "{}")).await;
    assert_eq!(came["kind"], "ErrorKind::OutcomeUnknown");
    assert_eq!(facts(&trace), (true, true));
}

#[tokio::test]
async fn silence_means_unanswered() {
    let (url, _) = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let plugin = plugin(&url).await;
    for (mut request, kind, expected) in [
        (
            post("/v1/x", "{}"),
            "ErrorKind::OutcomeUnknown",
            (true, true),
        ),
        (get("/v1/x"), "ErrorKind::Unavailable", (false, false)),
    ] {
        request["timeout_ms"] = json!(300);
        let (came, trace) = exchange(&plugin, request).await;
        assert_eq!(came["kind"], kind);
        assert_eq!(facts(&trace), expected);
    }
}

#[tokio::test]
async fn a_call_that_times_out_while_it_waits_means_unanswered() {
    let (url, _) = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    // Each request ends before the call does, and only together they outlast it.
    let exchanges: Vec<Value> = vec![post("/v1/x", "{}"); 3];
    let outcome = command(
        &plugin(&url).await,
        json!({ "do": "http", "exchanges": exchanges, "then": { "do": "spin" } }),
    )
    .await;
    assert_eq!(sandbox_error(&outcome).kind, SandboxErrorKind::Timeout);
    assert_eq!(facts(&outcome.trace), (true, true));
}

#[tokio::test]
async fn a_kept_connection_is_used_again() {
    let (url, connections) = raw(|mut stream, _| async move {
        while read_request(&mut stream).await.is_some() {
            answer(&mut stream, OK).await;
        }
    })
    .await;
    let plugin = plugin(&url).await;
    for _ in 0..5 {
        let (came, trace) = exchange(&plugin, post("/v1/x", "{}")).await;
        assert_eq!(came["body"], "ok");
        assert_eq!(facts(&trace), (true, false));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced_without_a_word() {
    let (url, connections) = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        answer(&mut stream, OK).await;
    })
    .await;
    let plugin = plugin(&url).await;
    for _ in 0..4 {
        let (came, trace) = exchange(&plugin, post("/v1/x", "{}")).await;
        assert_eq!(came["body"], "ok", "{came}");
        assert_eq!(facts(&trace), (true, false));
        // So that the end of the connection has arrived.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_kept_connection_that_dies_with_a_request_is_not_sent_twice() {
    let posts = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&posts);
    let (url, _) = raw(move |mut stream, _| {
        let seen = Arc::clone(&seen);
        async move {
            read_request(&mut stream).await;
            seen.fetch_add(1, Ordering::SeqCst);
            answer(&mut stream, OK).await;
            // Takes the second request and dies without an answer.
            if read_request(&mut stream).await.is_some() {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let plugin = plugin(&url).await;
    let (came, _) = exchange(&plugin, post("/v1/x", "{}")).await;
    assert_eq!(came["body"], "ok");
    let (came, trace) = exchange(&plugin, post("/v1/x", "{}")).await;
    assert_eq!(came["kind"], "ErrorKind::OutcomeUnknown");
    assert_eq!(facts(&trace), (true, true));
    assert_eq!(posts.load(Ordering::SeqCst), 2);
    // What is safe is repeated on a new connection.
    let (came, _) = exchange(&plugin, get("/v1/x")).await;
    assert_eq!(came["body"], "ok");
    let (came, _) = exchange(&plugin, get("/v1/x")).await;
    assert_eq!(came["body"], "ok");
}

#[tokio::test]
async fn one_answered_and_one_lost_request_are_unanswered() {
    let (url, _) = raw(|mut stream, number| async move {
        read_request(&mut stream).await;
        if number == 0 {
            answer(&mut stream, OK).await;
        }
    })
    .await;
    let exchanges = json!([post("/v1/x", "{}"), post("/v1/x", "{}"), get("/v1/x")]);
    let outcome = command(
        &plugin(&url).await,
        json!({ "do": "http", "exchanges": exchanges }),
    )
    .await;
    let came = text_of(&outcome);
    assert_eq!(came[0]["body"], "ok");
    assert_eq!(came[1]["kind"], "ErrorKind::OutcomeUnknown");
    assert_eq!(facts(&outcome.trace), (true, true));
    assert_eq!(outcome.trace.requests, 3);
}

#[tokio::test]
async fn nothing_leaves_after_a_call_was_dropped() {
    // More than fits into all buffers between the two.
    const LENGTH: usize = 64 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let plugin = plugin(&url).await;
    let memory = Memory::with("asset_in", "video/mp4", vec![0; LENGTH]);
    let mut request = post("/v1/x", "");
    request["body"] = json!({ "asset": "asset_in" });
    let work = tokio::spawn(async move { exchange_with(&plugin, memory.call(), request).await });
    let (mut stream, _) = listener.accept().await.expect("a connection");
    stream.peek(&mut [0]).await.expect("a beginning");
    work.abort();
    assert!(work.await.is_err_and(|why| why.is_cancelled()));
    // Whoever reads on gets what was under way, and then the end.
    let mut received = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        received += count;
    }
    assert!((1..LENGTH).contains(&received), "{received} bytes");
}

#[tokio::test]
async fn events_are_read_one_by_one_and_a_broken_stream_is_unknown() {
    let (url, _) = raw(|mut stream, number| async move {
        read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 200\r\n\r\n";
        let events = "\u{feff}: hello\r\nid: 7\r\nevent: delta\r\ndata: one\r\ndata:two\r\n\r\ndata\n\nretry: 5\nid\ndata:  three\r\r";
        answer(&mut stream, head).await;
        // In pieces, so that lines and line ends are torn apart.
        for piece in events.as_bytes().chunks(3) {
            stream.write_all(piece).await.expect("the client listens");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if number == 0 {
            let rest = format!("data: cut off{}", "\n".repeat(200 - events.len() - 13));
            answer(&mut stream, &rest[..200 - events.len()]).await;
        }
    })
    .await;
    let plugin = plugin(&url).await;
    let mut request = post("/v1/x", "{}");
    request["how"] = json!("events");
    let first = json!({ "name": "delta", "data": "one\ntwo", "id": "7" });
    let second = json!({ "name": null, "data": "", "id": "7" });
    let third = json!({ "name": null, "data": " three", "id": null });
    let (came, trace) = exchange(&plugin, request.clone()).await;
    let last = json!({ "name": null, "data": "cut off", "id": null });
    assert_eq!(came, json!([first, second, third, last]));
    assert_eq!(facts(&trace), (true, false));

    let (came, trace) = exchange(&plugin, request).await;
    assert_eq!(came.as_array().map(Vec::len), Some(4), "{came}");
    assert_eq!(came[3]["kind"], "ErrorKind::OutcomeUnknown");
    assert_eq!(facts(&trace), (true, true));
}
