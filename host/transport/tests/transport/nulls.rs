//! A failed field is `null`, and a failed non-null one takes its nearest nullable parent with it.

use serde_json::{Value, json};

use crate::server::{Server, code};

async fn gives(server: &Server, query: &str, data: Value) {
    let (status, body) = server.query(query).await;
    assert_eq!((status, code(&body)), (200, "FORBIDDEN"), "{query}: {body}");
    assert_eq!(body["data"], data, "{query}");
}

#[tokio::test]
async fn with_the_schema_as_the_specification_says() {
    let server = Server::start().await;
    for (query, data) in [
        ("{ coded }", json!({ "coded": null })),
        (
            "{ hello a: coded b: coded }",
            json!({ "hello": "Hello, world", "a": null, "b": null }),
        ),
        (
            "{ family { coded } }",
            json!({ "family": { "coded": null } }),
        ),
        (
            "{ family { required } hello }",
            json!({ "family": null, "hello": "Hello, world" }),
        ),
        ("{ family { id required } }", json!({ "family": null })),
        (
            "{ family { id a: required b: coded c: required } }",
            json!({ "family": null }),
        ),
        (
            "{ family { id child { id required } } }",
            json!({ "family": { "id": 0, "child": null } }),
        ),
        (
            "{ family { id child { coded } } }",
            json!({ "family": { "id": 0, "child": { "coded": null } } }),
        ),
        (
            "{ family { id sure { id required } } }",
            json!({ "family": null }),
        ),
        (
            "{ family { child { sure { sure { required } } } } }",
            json!({ "family": { "child": null } }),
        ),
        (
            "{ family { id children { odd } } }",
            json!({ "family": null }),
        ),
        (
            "{ family { id children { coded } } }",
            json!({ "family": { "id": 0, "children": [{ "coded": null }, { "coded": null }, { "coded": null }] } }),
        ),
        (
            "{ family { maybes { odd } } }",
            json!({ "family": { "maybes": [{ "odd": 1 }, null, { "odd": 3 }] } }),
        ),
        (
            "{ f: family { ...F ... on Family { y: maybes { ...G } } } } fragment F on Family { x: child { id } } \
             fragment G on Family { x: odd z: coded }",
            json!({ "f": { "x": { "id": 1 }, "y": [{ "x": 1, "z": null }, null, { "x": 3, "z": null }] } }),
        ),
        (
            "{ f: family { ...F } } fragment F on Family { id x: required }",
            json!({ "f": null }),
        ),
    ] {
        gives(&server, query, data).await;
    }
    let (status, body) = server.query("{ hello required }").await;
    assert_eq!(
        (status, code(&body), &body["data"]),
        (200, "NOT_FOUND", &Value::Null)
    );
}

#[tokio::test]
async fn without_the_schema_every_failed_field_is_null() {
    let server = Server::with(|options| options.types = None).await;
    for (query, data) in [
        ("{ coded }", json!({ "coded": null })),
        (
            "{ family { id required } }",
            json!({ "family": { "id": 0, "required": null } }),
        ),
        (
            "{ family { children { odd } } }",
            json!({ "family": { "children": [{ "odd": 1 }, { "odd": null }, { "odd": 3 }] } }),
        ),
    ] {
        gives(&server, query, data).await;
    }
}
