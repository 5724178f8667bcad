//! GraphQL over server-sent events.

use std::{sync::atomic::Ordering, time::Duration};

use reqwest::{RequestBuilder, Response, header};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::server::{Server, answer, code, content_type, eventually};

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, PartialEq)]
enum Event {
    Comment,
    Next(Value),
    Complete,
}

struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(request: RequestBuilder) -> Self {
        let response = request
            .header(header::ACCEPT, "text/event-stream")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(content_type(&response), "text/event-stream; charset=utf-8");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self {
            response,
            text: String::new(),
        }
    }

    async fn query(server: &Server, query: &str) -> Self {
        Self::open(server.post(&json!({ "query": query }))).await
    }

    /// `None` at the end of the body.
    async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = match event.split_once('\n') {
                    None if event == ":" => Event::Comment,
                    Some(("event: complete", "data: ")) => Event::Complete,
                    Some(("event: next", data)) => Event::Next(
                        serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
                    ),
                    _ => panic!("not an event of the protocol: {event:?}"),
                };
                self.text = rest.to_owned();
                return Some(event);
            }
            let chunk = timeout(PATIENCE, self.response.chunk())
                .await
                .expect("nothing arrived")
                .unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// All events but comments, until the body ends.
    async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            if event != Event::Comment {
                events.push(event);
            }
        }
        events
    }
}

fn data(data: Value) -> Event {
    Event::Next(json!({ "data": data }))
}

#[tokio::test]
async fn operations_of_every_kind_run() {
    let server = Server::start().await;
    let events = Stream::query(&server, "{ hello(name: \"line\\nbreak\") }")
        .await
        .rest()
        .await;
    assert_eq!(
        events,
        [
            data(json!({ "hello": "Hello, line\nbreak" })),
            Event::Complete
        ]
    );
    let events = Stream::query(&server, "mutation { increment }")
        .await
        .rest()
        .await;
    assert_eq!(events, [data(json!({ "increment": 1 })), Event::Complete]);
    let events = Stream::query(&server, "subscription { count(to: 2) }")
        .await
        .rest()
        .await;
    assert_eq!(
        events,
        [
            data(json!({ "count": 1 })),
            data(json!({ "count": 2 })),
            Event::Complete
        ]
    );

    let request = server
        .get(&[("query", "subscription { greeting }")])
        .header(header::AUTHORIZATION, "Bearer good");
    assert_eq!(
        Stream::open(request).await.rest().await,
        [data(json!({ "greeting": "good" })), Event::Complete]
    );
    let refused = server
        .get(&[("query", "mutation { increment }")])
        .header(header::ACCEPT, "text/event-stream");
    let (status, body) = answer(refused).await;
    assert_eq!((status, code(&body)), (405, "METHOD_NOT_ALLOWED"));
    assert_eq!(server.increments(), 1);
}

#[tokio::test]
async fn document_errors_come_in_the_stream_and_others_before_it() {
    let server = Server::start().await;
    for (query, expected) in [
        ("{ nothingLikeThis }", "GRAPHQL_VALIDATION_FAILED"),
        ("{", "GRAPHQL_PARSE_FAILED"),
        ("subscription { count }", "GRAPHQL_VALIDATION_FAILED"),
        (
            "query A { hello } query B { hello }",
            "GRAPHQL_VALIDATION_FAILED",
        ),
    ] {
        let events = Stream::query(&server, query).await.rest().await;
        let [Event::Next(payload), Event::Complete] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(code(payload), expected);
        assert!(payload.get("data").is_none());
    }
    let events = Stream::query(&server, "subscription { refused }")
        .await
        .rest()
        .await;
    let [Event::Next(payload), Event::Complete] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(code(payload), "NOT_FOUND");
    let events = Stream::query(&server, "subscription { panicking }")
        .await
        .rest()
        .await;
    let [
        Event::Next(_),
        Event::Next(_),
        Event::Next(payload),
        Event::Complete,
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(code(payload), "INTERNAL");

    let plain = server
        .client
        .post(server.url())
        .header(header::ACCEPT, "text/event-stream");
    let (status, body) = answer(plain.try_clone().unwrap().body("{\"query\":\"{ hello }\"}")).await;
    assert_eq!((status, code(&body)), (415, "UNSUPPORTED_MEDIA_TYPE"));
    let (status, body) = answer(plain.try_clone().unwrap().json(&json!({ "query": 1 }))).await;
    assert_eq!((status, code(&body)), (400, "BAD_REQUEST"));
    let (status, _) = answer(
        plain
            .json(&json!({ "query": "{ hello }" }))
            .header(header::AUTHORIZATION, "Bearer bad"),
    )
    .await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn idle_streams_are_kept_open_and_end_with_their_client() {
    let server = Server::with(|options| options.sse_keep_alive = Duration::from_millis(100)).await;
    let mut stream = Stream::query(&server, "subscription { silence }").await;
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(stream.event().await, Some(Event::Comment));
    }
    assert!(
        start.elapsed() >= Duration::from_millis(350),
        "the first comes at once, the others in their time"
    );
    assert_eq!((server.open_streams(), server.shutdown.open()), (1, 1));
    drop(stream);
    eventually("the stream is dropped", || {
        server.open_streams() == 0 && server.shutdown.open() == 0
    })
    .await;
}

#[tokio::test]
async fn streams_are_cut_without_complete_when_the_token_or_the_server_ends() {
    let server = Server::start().await;
    let request = server.post(&json!({ "query": "subscription { silence }" }));
    let start = Instant::now();
    let stream = Stream::open(request.header(header::AUTHORIZATION, "Bearer short-300")).await;
    assert_eq!(stream.rest().await, []);
    assert!(start.elapsed() >= Duration::from_millis(250));

    let stream = Stream::query(&server, "subscription { silence }").await;
    eventually("the stream is open", || server.open_streams() == 1).await;
    server.shutdown.close();
    assert_eq!(stream.rest().await, []);
    timeout(PATIENCE, server.shutdown.drained()).await.unwrap();
    assert_eq!(server.open_streams(), 0);
    let late = server
        .post(&json!({ "query": "{ hello }" }))
        .header(header::ACCEPT, "text/event-stream");
    let (status, body) = answer(late).await;
    assert_eq!((status, code(&body)), (503, "UNAVAILABLE"));
}

#[tokio::test]
async fn streams_are_counted() {
    let server = Server::with(|options| {
        options.max_sockets = 2;
        options.max_sockets_per_key = 1;
    })
    .await;
    let request = |token| {
        server
            .post(&json!({ "query": "subscription { silence }" }))
            .header(header::AUTHORIZATION, token)
    };
    let good = Stream::open(request("Bearer good")).await;
    let (status, body) =
        answer(request("Bearer good").header(header::ACCEPT, "text/event-stream")).await;
    assert_eq!((status, code(&body)), (429, "RATE_LIMITED"));
    let _other = Stream::open(request("Bearer other")).await;
    let full = request("Bearer other")
        .header(header::ACCEPT, "text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (full.status().as_u16(), &full.headers()[header::RETRY_AFTER]),
        (503, &header::HeaderValue::from(5))
    );
    drop(good);
    eventually("a place is free", || server.shutdown.open() == 1).await;
    Stream::open(request("Bearer good")).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_back_its_operation() {
    let server = Server::start().await;
    let stream = Stream::query(&server, "subscription { flood(bytes: 10000) }").await;
    sleep(Duration::from_millis(600)).await;
    let produced = server.counters.produced.load(Ordering::SeqCst);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(server.counters.produced.load(Ordering::SeqCst), produced);
    assert!(
        produced < 2_000,
        "{produced} events of 10 kB were made for nobody"
    );
    drop(stream);
    eventually("the stream is dropped", || server.open_streams() == 0).await;
}
