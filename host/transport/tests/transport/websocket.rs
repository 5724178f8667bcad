//! `graphql-transport-ws`. The plain cases of the protocol are also in `host/tests/conformance/websocket.mjs`, judged
//! by another WebSocket implementation; here is what needs settings, counters or time.

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use futures::{SinkExt, StreamExt};
use genvid_transport::AllowedOrigins;
use http::{HeaderValue, header};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, handshake::client::Request},
};

use crate::server::{Server, eventually};

const PATIENCE: Duration = Duration::from_secs(5);

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

fn upgrade(server: &Server) -> Request {
    let mut request = format!("ws://{}/graphql", server.address)
        .into_client_request()
        .unwrap();
    request.headers_mut().insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static("graphql-transport-ws"),
    );
    request
}

/// The HTTP status of a refused handshake.
async fn refused(request: Request) -> u16 {
    match connect_async(request).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

impl Socket {
    async fn open(server: &Server) -> Self {
        Self(connect_async(upgrade(server)).await.unwrap().0)
    }

    async fn ready(server: &Server, token: Option<&str>) -> Self {
        let mut socket = Self::open(server).await;
        socket.init(token).await;
        assert_eq!(socket.message().await, json!({ "type": "connection_ack" }));
        socket
    }

    async fn init(&mut self, token: Option<&str>) {
        let payload = token.map_or(
            json!({}),
            |token| json!({ "authorization": format!("Bearer {token}") }),
        );
        self.send(&json!({ "type": "connection_init", "payload": payload }))
            .await;
    }

    async fn send(&mut self, message: &Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(&json!({ "id": id, "type": "subscribe", "payload": { "query": query } }))
            .await;
    }

    async fn frame(&mut self) -> Option<Result<Message, Error>> {
        timeout(PATIENCE, self.0.next())
            .await
            .expect("nothing arrived")
    }

    async fn message(&mut self) -> Value {
        loop {
            match self.frame().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    async fn next(&mut self, id: &str) -> Value {
        let message = self.message().await;
        assert_eq!(
            (&message["id"], &message["type"]),
            (&json!(id), &json!("next")),
            "{message}"
        );
        message["payload"].clone()
    }

    async fn completed(&mut self, id: &str) {
        assert_eq!(
            self.message().await,
            json!({ "id": id, "type": "complete" })
        );
    }

    /// Skips messages until the close frame.
    async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("expected a close frame, got {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn operations_of_every_kind_run() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, Some("good")).await;
    socket.subscribe("q", "{ whoami }").await;
    assert_eq!(
        socket.next("q").await,
        json!({ "data": { "whoami": "good" } })
    );
    socket.completed("q").await;
    socket.subscribe("m", "mutation { increment }").await;
    assert_eq!(
        socket.next("m").await,
        json!({ "data": { "increment": 1 } })
    );
    socket.completed("m").await;
    socket.subscribe("s", "subscription { count(to: 3) }").await;
    for number in 1..=3 {
        assert_eq!(
            socket.next("s").await,
            json!({ "data": { "count": number } })
        );
    }
    socket.completed("s").await;
    socket.subscribe("who", "subscription { greeting }").await;
    assert_eq!(
        socket.next("who").await,
        json!({ "data": { "greeting": "good" } })
    );
    socket.completed("who").await;
    let id = "quote \" backslash \\ \u{1F3C3}";
    let payload = json!({
        "query": "query A($name: String!) { hello(name: $name) } query B { whoami }",
        "operationName": "A",
        "variables": { "name": "line\nbreak" },
        "extensions": {},
    });
    socket
        .send(&json!({ "id": id, "type": "subscribe", "payload": payload }))
        .await;
    assert_eq!(
        socket.next(id).await,
        json!({ "data": { "hello": "Hello, line\nbreak" } })
    );
    socket.completed(id).await;
}

#[tokio::test]
async fn failures_are_told_by_their_kind() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    for (id, query, code) in [
        ("a", "{ nothingLikeThis }", "GRAPHQL_VALIDATION_FAILED"),
        ("b", "{", "GRAPHQL_PARSE_FAILED"),
        ("c", "subscription { count }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "d",
            "{ nest { a { b { c { d { e { f { g { h { i { j { k { l { m { n { o } } } } } } } } } } } } } } } }",
            "QUERY_TOO_COMPLEX",
        ),
    ] {
        socket.subscribe(id, query).await;
        let message = socket.message().await;
        assert_eq!(
            (&message["id"], &message["type"]),
            (&json!(id), &json!("error")),
            "{message}"
        );
        assert_eq!(message["payload"][0]["extensions"]["code"], code);
    }
    // Nothing followed: the next message is the answer to this.
    socket.send(&json!({ "type": "ping" })).await;
    assert_eq!(socket.message().await, json!({ "type": "pong" }));

    socket.subscribe("f", "{ coded }").await;
    let payload = socket.next("f").await;
    assert_eq!(
        (
            &payload["data"],
            &payload["errors"][0]["extensions"]["code"]
        ),
        (&json!({ "coded": null }), &json!("FORBIDDEN"))
    );
    socket.completed("f").await;
    socket.subscribe("r", "subscription { refused }").await;
    assert_eq!(
        socket.next("r").await["errors"][0]["extensions"]["code"],
        "NOT_FOUND"
    );
    socket.completed("r").await;
    socket.subscribe("u", "{ uncoded }").await;
    let error = socket.next("u").await["errors"][0].clone();
    assert_eq!(error["message"], "Internal error");
    assert!(error["extensions"]["requestId"].is_string());
    socket.completed("u").await;
}

#[tokio::test]
async fn a_panic_ends_its_operation_only() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    socket.subscribe("other", "subscription { silence }").await;
    socket.subscribe("p", "subscription { panicking }").await;
    for number in [1, 2] {
        assert_eq!(socket.next("p").await["data"]["panicking"], number);
    }
    let message = socket.message().await;
    assert_eq!(
        (
            &message["type"],
            &message["payload"][0]["extensions"]["code"]
        ),
        (&json!("error"), &json!("INTERNAL"))
    );
    socket.subscribe("p", "{ hello }").await;
    socket.next("p").await;
    socket.completed("p").await;
    assert_eq!(server.open_streams(), 1);
}

#[tokio::test]
async fn streams_end_with_complete_and_with_the_socket() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    socket.subscribe("a", "subscription { silence }").await;
    socket.subscribe("b", "subscription { silence }").await;
    eventually("two streams", || server.open_streams() == 2).await;
    socket.send(&json!({ "id": "a", "type": "complete" })).await;
    eventually("one stream", || server.open_streams() == 1).await;
    socket.subscribe("a", "subscription { silence }").await;
    eventually("two streams again", || server.open_streams() == 2).await;
    drop(socket);
    eventually("no stream", || server.open_streams() == 0).await;
    eventually("no socket", || server.shutdown.open() == 0).await;
}

#[tokio::test]
async fn a_token_ends_the_socket_or_is_renewed() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, Some("short-300")).await;
    socket.subscribe("s", "subscription { silence }").await;
    assert_eq!(socket.closed().await, (4403, "Token expired".to_owned()));
    eventually("no stream", || server.open_streams() == 0).await;

    let renew = |token: &str| json!({ "type": "ping", "payload": { "authorization": format!("Bearer {token}") } });
    let start = Instant::now();
    let mut socket = Socket::ready(&server, Some("short-300")).await;
    socket.subscribe("s", "subscription { silence }").await;
    socket.send(&renew("short-900")).await;
    assert_eq!(
        socket.message().await,
        json!({ "type": "pong" }),
        "the token is not echoed"
    );
    assert_eq!(socket.closed().await.0, 4403);
    assert!(
        start.elapsed() >= Duration::from_millis(850),
        "the new token counts"
    );

    let mut socket = Socket::ready(&server, Some("short-5000")).await;
    socket.send(&renew("other")).await;
    assert_eq!(
        socket.closed().await,
        (4403, "The new token is somebody else's".to_owned())
    );
    let mut socket = Socket::ready(&server, Some("short-5000")).await;
    socket.send(&renew("bad")).await;
    assert_eq!(
        socket.closed().await,
        (4403, "The token is not valid".to_owned())
    );
    // Before the acknowledgement a ping is a ping.
    let mut socket = Socket::open(&server).await;
    socket.send(&renew("good")).await;
    assert_eq!(socket.message().await["type"], "pong");
}

#[tokio::test]
async fn nothing_runs_before_the_acknowledgement() {
    let server = Server::with(|options| options.init_timeout = Duration::from_millis(300)).await;
    let mut socket = Socket::open(&server).await;
    socket.subscribe("a", "mutation { increment }").await;
    assert_eq!(socket.closed().await, (4401, "Unauthorized".to_owned()));
    let mut socket = Socket::open(&server).await;
    socket.init(Some("bad")).await;
    assert_eq!(
        socket.closed().await,
        (4403, "The token is not valid".to_owned())
    );
    let mut socket = Socket::open(&server).await;
    socket.init(Some("slow")).await;
    socket.subscribe("a", "mutation { increment }").await;
    assert_eq!(
        socket.closed().await.0,
        4401,
        "while the token is being checked"
    );
    let mut socket = Socket::open(&server).await;
    socket.init(Some("slow")).await;
    socket.init(Some("good")).await;
    assert_eq!(socket.closed().await.0, 4429);
    let mut socket = Socket::open(&server).await;
    assert_eq!(
        socket.closed().await,
        (4408, "Connection initialisation timeout".to_owned())
    );
    let mut socket = Socket::open(&server).await;
    socket.init(Some("slow")).await;
    assert_eq!(socket.closed().await.0, 4408, "a check that takes too long");
    assert_eq!(server.increments(), 0);
}

#[tokio::test]
async fn handshakes_are_checked() {
    let server = Server::with(|options| {
        options.allowed_origins =
            AllowedOrigins::SameHostAnd(vec!["https://app.example.com".to_owned()]);
    })
    .await;
    for protocol in [None, Some("graphql-ws"), Some("graphql-transport-wsx")] {
        let mut request = upgrade(&server);
        match protocol {
            Some(protocol) => {
                request.headers_mut().insert(
                    header::SEC_WEBSOCKET_PROTOCOL,
                    HeaderValue::from_static(protocol),
                );
            }
            None => {
                request.headers_mut().remove(header::SEC_WEBSOCKET_PROTOCOL);
            }
        }
        assert_eq!(refused(request).await, 400, "{protocol:?}");
    }
    for (origin, allowed) in [
        ("https://app.example.com".to_owned(), true),
        (format!("http://{}", server.address), true),
        ("https://app.example.com.evil.example".to_owned(), false),
        ("http://app.example.com".to_owned(), false),
        ("null".to_owned(), false),
        (format!("http://{}.evil.example", server.address), false),
    ] {
        let mut request = upgrade(&server);
        request
            .headers_mut()
            .insert(header::ORIGIN, HeaderValue::from_str(&origin).unwrap());
        if allowed {
            assert!(connect_async(request).await.is_ok(), "{origin}");
        } else {
            assert_eq!(refused(request).await, 403, "{origin}");
        }
    }
    let any = Server::with(|options| options.allowed_origins = AllowedOrigins::Any).await;
    let mut request = upgrade(&any);
    request.headers_mut().insert(
        header::ORIGIN,
        HeaderValue::from_static("https://anywhere.example"),
    );
    assert!(connect_async(request).await.is_ok());
}

#[tokio::test]
async fn sockets_and_operations_are_counted() {
    let server = Server::with(|options| {
        options.max_sockets = 3;
        options.max_sockets_per_key = 1;
        options.max_operations_per_socket = 2;
    })
    .await;
    let mut first = Socket::ready(&server, Some("good")).await;
    let mut second = Socket::open(&server).await;
    second.init(Some("good")).await;
    assert_eq!(
        second.closed().await,
        (4429, "Too many open sockets".to_owned())
    );
    drop(second);
    eventually("one socket", || server.shutdown.open() == 1).await;
    let _other = Socket::ready(&server, Some("other")).await;
    let _nobody = Socket::ready(&server, None).await;
    assert_eq!(refused(upgrade(&server)).await, 503);

    first.subscribe("a", "subscription { silence }").await;
    first.subscribe("b", "subscription { silence }").await;
    first.subscribe("c", "{ hello }").await;
    let message = first.message().await;
    assert_eq!(
        (&message["id"], &message["type"]),
        (&json!("c"), &json!("error"))
    );
    assert_eq!(
        message["payload"][0]["extensions"]["code"],
        "TOO_MANY_OPERATIONS"
    );
    first.send(&json!({ "id": "a", "type": "complete" })).await;
    first.subscribe("c", "{ hello }").await;
    first.next("c").await;
    first.completed("c").await;

    drop(first);
    eventually("room again", || server.shutdown.open() == 2).await;
    Socket::ready(&server, Some("good")).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_held_back_and_then_closed() {
    let server = Server::with(|options| options.write_timeout = Duration::from_millis(700)).await;
    let mut socket = Socket::ready(&server, None).await;
    socket
        .subscribe("f", "subscription { flood(bytes: 10000) }")
        .await;
    eventually("the flood begins", || {
        server.counters.produced.load(Ordering::SeqCst) > 0
    })
    .await;
    sleep(Duration::from_millis(400)).await;
    let produced = server.counters.produced.load(Ordering::SeqCst);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(
        server.counters.produced.load(Ordering::SeqCst),
        produced,
        "the socket's buffers are full"
    );
    // What the two kernels hold between them, and one frame.
    assert!(
        produced < 2_000,
        "{produced} frames of 10 kB were made for nobody"
    );
    eventually("the stream is dropped", || server.open_streams() == 0).await;
    eventually("the socket is gone", || server.shutdown.open() == 0).await;
}

#[tokio::test]
async fn a_slow_client_gets_everything() {
    let server = Server::with(|options| options.write_timeout = Duration::from_millis(500)).await;
    let mut socket = Socket::ready(&server, None).await;
    socket
        .subscribe("f", "subscription { flood(bytes: 100000) }")
        .await;
    // Longer in all than the time-out: reading at all is what counts.
    for _ in 0..15 {
        sleep(Duration::from_millis(100)).await;
        for _ in 0..5 {
            assert_eq!(
                socket.next("f").await["data"]["flood"]
                    .as_str()
                    .unwrap()
                    .len(),
                100_000
            );
        }
    }
    // And `complete` is heard although frames wait.
    socket.send(&json!({ "id": "f", "type": "complete" })).await;
    eventually("the stream is dropped", || server.open_streams() == 0).await;
    socket.subscribe("q", "{ hello }").await;
    loop {
        let message = socket.message().await;
        if message["id"] == "q" && message["type"] == "complete" {
            break;
        }
    }
}

#[tokio::test]
async fn a_silent_client_is_dropped_and_a_quiet_one_kept() {
    let server = Server::with(|options| {
        options.ping_interval = Duration::from_millis(100);
        options.pong_timeout = Duration::from_millis(200);
    })
    .await;
    let mut quiet = Socket::ready(&server, None).await;
    let mut silent = Socket::ready(&server, None).await;
    silent.subscribe("s", "subscription { silence }").await;
    eventually("the stream is open", || server.open_streams() == 1).await;
    // Reading is what makes the client library answer pings.
    let listening = timeout(Duration::from_millis(900), async {
        let mut pings = 0;
        while let Some(Ok(frame)) = quiet.0.next().await {
            assert!(frame.is_ping(), "{frame:?}");
            pings += 1;
            assert!(pings < 20, "no more often than asked");
        }
    });
    assert!(
        listening.await.is_err(),
        "the quiet client is still connected"
    );
    assert_eq!(server.open_streams(), 0, "the silent client is gone");
    assert_eq!(server.shutdown.open(), 1);
    quiet.subscribe("q", "{ hello }").await;
    quiet.next("q").await;
}

#[tokio::test]
async fn stopping_closes_every_socket() {
    let server = Server::start().await;
    let mut waiting = Socket::open(&server).await;
    let mut running = Socket::ready(&server, Some("good")).await;
    running.subscribe("s", "subscription { silence }").await;
    eventually("the stream is open", || server.open_streams() == 1).await;
    server.shutdown.close();
    assert_eq!(
        running.closed().await,
        (1001, "The server is stopping".to_owned())
    );
    assert_eq!(waiting.closed().await.0, 1001);
    assert_eq!(server.open_streams(), 0);
    timeout(PATIENCE, server.shutdown.drained()).await.unwrap();
    assert_eq!(refused(upgrade(&server)).await, 503);
}

#[tokio::test]
async fn a_flood_of_messages_is_answered_in_bounded_memory() {
    let server = Server::start().await;
    let socket = Socket::ready(&server, None).await;
    let (mut sink, mut stream) = socket.0.split();
    // The pongs are not read while these are sent: the server stops reading, so sending stalls, and nothing breaks.
    let flood = async {
        for number in 0..20_000 {
            let ping = json!({ "type": "ping", "payload": { "number": number, "filler": "x".repeat(200) } });
            sink.send(Message::text(ping.to_string())).await.unwrap();
        }
    };
    let read = async {
        sleep(Duration::from_millis(300)).await;
        for number in 0..20_000 {
            let message = timeout(PATIENCE, stream.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            assert_eq!(message["payload"]["number"], number);
        }
    };
    futures::future::join(flood, read).await;
}

#[tokio::test]
async fn many_ready_operations_take_turns() {
    let server = Server::start().await;
    let mut socket = Socket::ready(&server, None).await;
    for id in ["a", "b", "c"] {
        socket
            .subscribe(id, "subscription { flood(bytes: 10) }")
            .await;
    }
    // The later ones may begin after thousands of events of the first.
    let mut seen = HashMap::new();
    while seen.len() < 3 {
        seen.insert(socket.message().await["id"].as_str().unwrap().to_owned(), 0);
    }
    for _ in 0..3_000 {
        let message = socket.message().await;
        *seen.get_mut(message["id"].as_str().unwrap()).unwrap() += 1;
    }
    assert!(
        seen.len() == 3 && seen.values().all(|count| *count > 500),
        "{seen:?}"
    );
    socket.subscribe("q", "{ hello }").await;
    let start = Instant::now();
    while socket.message().await["id"] != "q" {}
    assert!(start.elapsed() < PATIENCE);
}
