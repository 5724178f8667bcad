//! Variables are checked before anything runs, and a document that has run is not validated again.

use std::sync::{Arc, atomic::Ordering};

use async_graphql::ValidationMode;
use genvid_transport::{Options, Prevalidated};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    server::{Server, code},
    toy::{self, Counters, Tokens},
};

const ORDER: &str = "query Order($input: Order!) { order(input: $input) }";

#[tokio::test]
async fn shapes_are_checked_the_first_time_and_every_time() {
    let server = Server::start().await;
    let order = |input: Value| json!({ "query": ORDER, "variables": { "input": input } });
    for round in 0..2 {
        for (input, path) in [
            (json!(null), "$input"),
            (json!("text"), "$input"),
            (json!({}), "$input.name"),
            (json!({ "name": null }), "$input.name"),
            (json!({ "name": 1 }), "$input.name"),
            (json!({ "name": "a", "amount": "1" }), "$input.amount"),
            (json!({ "name": "a", "amount": 1.5 }), "$input.amount"),
            (json!({ "name": "a", "amount": null }), "$input.amount"),
            (json!({ "name": "a", "size": "HUGE" }), "$input.size"),
            (json!({ "name": "a", "size": 1 }), "$input.size"),
            (json!({ "name": "a", "price": "1" }), "$input.price"),
            (json!({ "name": "a", "gift": "true" }), "$input.gift"),
            (json!({ "name": "a", "gift": 0 }), "$input.gift"),
            (json!({ "name": "a", "tags": ["a", 1] }), "$input.tags[1]"),
            (json!({ "name": "a", "tags": [null] }), "$input.tags[0]"),
            (json!({ "name": "a", "unknown": 1 }), "$input.unknown"),
            (
                json!({ "name": "a", "parts": [{ "name": "b" }, { "name": 2 }] }),
                "$input.parts[1].name",
            ),
            (json!({ "name": "a", "pay": {} }), "$input.pay"),
            (
                json!({ "name": "a", "pay": { "card": "c", "points": 1 } }),
                "$input.pay",
            ),
            (
                json!({ "name": "a", "pay": { "card": null } }),
                "$input.pay",
            ),
            (
                json!({ "name": "a", "pay": { "points": "1" } }),
                "$input.pay.points",
            ),
        ] {
            let (status, body) = server.send(&order(input.clone())).await;
            assert_eq!(
                (status, code(&body)),
                (400, "GRAPHQL_VALIDATION_FAILED"),
                "{round}: {input}: {body}"
            );
            let message = body["errors"][0]["message"].as_str().unwrap();
            assert!(
                message.starts_with(&format!("Variable \"{path}\": ")),
                "{input}: {message}"
            );
            assert_eq!(
                body["errors"][0]["locations"],
                json!([{ "line": 1, "column": 13 }])
            );
        }
        for (input, words) in [
            (json!({ "name": "a" }), "1 a   0  None None"),
            (
                json!({ "name": "a", "amount": 2, "size": "LARGE", "price": 1, "tags": "one", "gift": true,
                        "parts": [{ "name": "b" }], "pay": { "points": 7 } }),
                "2 a large one 1 7 Some(1.0) Some(true)",
            ),
            (
                json!({ "name": "a", "size": null, "tags": null, "pay": null }),
                "1 a   0  None None",
            ),
        ] {
            let (status, body) = server.send(&order(input)).await;
            assert_eq!(
                (status, &body),
                (200, &json!({ "data": { "order": words } })),
                "{round}"
            );
        }
    }
    let echo = |ids: Value| json!({ "query": "query E($ids: [ID!]!) { echo(ids: $ids) }", "variables": { "ids": ids } });
    assert_eq!(
        server.send(&echo(json!(["a", 1]))).await.1,
        json!({ "data": { "echo": ["a", "1"] } })
    );
    assert_eq!(
        server.send(&echo(json!("a"))).await.1,
        json!({ "data": { "echo": ["a"] } })
    );
    for ids in [json!([true]), json!([1.5]), json!([["a"]])] {
        assert_eq!(server.send(&echo(ids)).await.0, 400);
    }
}

#[tokio::test]
async fn only_documents_that_ran_skip_validation() {
    let strict = Arc::new(Counters::default());
    let fast = Arc::new(Counters::default());
    let executor = Prevalidated::new(
        toy::schema(Arc::clone(&strict), ValidationMode::Strict),
        toy::schema(Arc::clone(&fast), ValidationMode::Fast),
    );
    let options = Options {
        types: Some(toy::types()),
        ..Options::default()
    };
    let router = genvid_transport::router(executor, Tokens, options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/graphql", listener.local_addr().unwrap());
    let app = axum::Router::new().nest("/graphql", router);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let client = reqwest::Client::new();
    let send = async |query: &str| -> Value {
        let response = client
            .post(&url)
            .json(&json!({ "query": query }))
            .send()
            .await
            .unwrap();
        response.json().await.unwrap()
    };
    let counts = || {
        (
            strict.increments.load(Ordering::SeqCst),
            fast.increments.load(Ordering::SeqCst),
        )
    };

    send("mutation { increment }").await;
    assert_eq!(counts(), (1, 0));
    send("mutation { increment }").await;
    send("mutation { increment }").await;
    assert_eq!(counts(), (1, 2));
    // A document that validation refuses is refused for ever, whatever ran in between.
    for _ in 0..3 {
        let body = send("mutation { increment unknown }").await;
        assert_eq!(code(&body), "GRAPHQL_VALIDATION_FAILED", "{body}");
    }
    assert_eq!(counts(), (1, 2));
}
