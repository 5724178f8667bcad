//! Limits on documents, and documents that are kept.

use std::{fmt::Write as _, time::Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::{Server, answer, code};

async fn complex(server: &Server, query: &str, limit: &str, actual: usize, maximum: usize) {
    let (status, body) = server.query(query).await;
    assert_eq!(
        (status, code(&body)),
        (400, "QUERY_TOO_COMPLEX"),
        "{limit}: {body}"
    );
    let extensions = &body["errors"][0]["extensions"];
    assert_eq!(
        (
            &extensions["limit"],
            &extensions["actual"],
            &extensions["maximum"]
        ),
        (&json!(limit), &json!(actual), &json!(maximum)),
        "{body}"
    );
    assert!(body.get("data").is_none());
}

async fn fine(server: &Server, query: &str) {
    let (status, body) = server.query(query).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.get("errors").is_none(), "{body}");
}

fn nest(depth: usize) -> String {
    format!(
        "{{ nest {}{{ depth }}{} }}",
        "{ inner ".repeat(depth - 2),
        " }".repeat(depth - 2)
    )
}

fn repeat(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, index| {
        let _ = write!(text, "{} ", each(index));
        text
    })
}

#[tokio::test]
async fn each_limit_holds_exactly() {
    let server = Server::start().await;
    fine(&server, &nest(15)).await;
    complex(&server, &nest(16), "depth", 16, 15).await;

    let aliases = |count| {
        format!(
            "{{ nest {{ {} }} }}",
            repeat(count, |index| format!("a{index}: depth"))
        )
    };
    fine(&server, &aliases(30)).await;
    complex(&server, &aliases(31), "aliases", 31, 30).await;

    let roots = |count| format!("{{ {} }}", repeat(count, |_| "hello".to_owned()));
    fine(&server, &roots(20)).await;
    complex(&server, &roots(21), "rootFields", 21, 20).await;
    complex(&server, "{ ...A ...A } fragment A on Query { hello hello hello hello hello hello hello hello hello hello hello }", "rootFields", 22, 20).await;

    let directives = |count| {
        format!(
            "{{ nest {{ {} }} }}",
            repeat(count, |_| "depth @include(if: true)".to_owned())
        )
    };
    fine(&server, &directives(50)).await;
    complex(&server, &directives(51), "directives", 51, 50).await;
    let overload = format!("{{ hello {} }}", "@include(if: true) ".repeat(60));
    complex(&server, &overload, "directives", 60, 50).await;

    let fields = |count| format!("{{ nest {{ {} }} }}", repeat(count, |_| "depth".to_owned()));
    fine(&server, &fields(999)).await;
    complex(&server, &fields(1_000), "fields", 1_001, 1_000).await;

    let operations = |count| repeat(count, |index| format!("query Q{index} {{ hello }}"));
    let body = |count| json!({ "query": operations(count), "operationName": "Q0" });
    assert_eq!(server.send(&body(20)).await.0, 200);
    complex(&server, &operations(21), "operations", 21, 20).await;

    let fragments = |count| {
        format!(
            "{{ {} }} {}",
            "hello",
            repeat(count, |index| format!(
                "fragment F{index} on Query {{ hello }}"
            ))
        )
    };
    complex(&server, &fragments(101), "fragments", 101, 100).await;

    let tokens = format!("{{ hello {} }}", "# comment\n , \"".repeat(0));
    fine(&server, &tokens).await;
    complex(
        &server,
        &format!("{{ {} }}", "hello ".repeat(4_000)),
        "tokens",
        4_002,
        4_000,
    )
    .await;
    let bytes = format!("{{ hello }} # {}", "x".repeat(100_000 - 12));
    fine(&server, &bytes).await;
    complex(&server, &format!("{bytes}x"), "bytes", 100_001, 100_000).await;
}

#[tokio::test]
async fn strings_and_comments_are_one_token() {
    let server = Server::with(|options| options.limits.tokens = 8).await;
    for text in [
        r#""a b [[[ {{{ \" ((( c""#,
        r#""""a "quoted" \""" [[[[ b""""#,
        "\"\\\\\"",
        "\"\"",
        "\"\"\"\"\"\"",
    ] {
        fine(
            &server,
            &format!("{{ hello(name: {text}) }} # [[[[[ a b c d e f g h"),
        )
        .await;
    }
    complex(&server, "{ hello(name: \"a\") hello }", "tokens", 9, 8).await;
}

#[tokio::test]
async fn hostile_nesting_neither_crashes_nor_costs() {
    let server = Server::start().await;
    for (open, close) in [("[", "]"), ("{a:", "}"), ("{ a", "}"), ("(", ")")] {
        let depth = 20_000 / open.len();
        for text in [
            format!(
                "{{ hello(name: {}{}) }}",
                open.repeat(depth),
                close.repeat(depth)
            ),
            format!("{{ hello(name: {}", open.repeat(depth)),
            format!(
                "query($a: {}Int{}) {{ hello }}",
                open.repeat(depth),
                close.repeat(depth)
            ),
            open.repeat(depth),
        ] {
            let (status, body) = server.query(&text).await;
            assert_eq!((status, code(&body)), (400, "QUERY_TOO_COMPLEX"));
        }
    }
    let unlimited = Server::with(|options| options.limits.tokens = usize::MAX).await;
    complex(&unlimited, &"[".repeat(50_000), "brackets", 50_000, 60).await;

    // 2^40 fields in a kilobyte.
    let bomb = repeat(40, |index| {
        format!(
            "fragment F{index} on Nest {{ ...F{n} ...F{n} }}",
            n = index + 1
        )
    });
    let bomb = format!("{{ nest {{ ...F0 }} }} {bomb} fragment F40 on Nest {{ depth }}");
    let start = Instant::now();
    let (status, body) = server.query(&bomb).await;
    assert_eq!((status, code(&body)), (400, "QUERY_TOO_COMPLEX"), "{body}");
    assert!(start.elapsed().as_secs() < 2, "measured without expanding");

    for cycle in [
        "{ nest { ...A } } fragment A on Nest { ...A }",
        "{ nest { ...A } } fragment A on Nest { inner { ...B } } fragment B on Nest { ...A }",
    ] {
        let (status, body) = server.query(cycle).await;
        assert_eq!(
            (status, code(&body)),
            (400, "GRAPHQL_VALIDATION_FAILED"),
            "{body}"
        );
    }
    let deep = repeat(20, |index| {
        format!(
            "fragment F{index} on Nest {{ inner {{ ...F{} }} }}",
            index + 1
        )
    });
    let deep = format!("{{ nest {{ ...F0 }} }} {deep} fragment F20 on Nest {{ depth }}");
    complex(&server, &deep, "depth", 22, 15).await;
    let (_, body) = server.query("subscription { count(to: 1) greeting }").await;
    assert_eq!(
        code(&body),
        "GRAPHQL_VALIDATION_FAILED",
        "one root field for a subscription"
    );
}

#[tokio::test]
async fn introspection_works_and_does_not_cycle() {
    let server = Server::start().await;
    let wrappers = "{ kind name ofType ".repeat(9) + "{ kind name }" + &" }".repeat(9);
    let usual = format!(
        "query IntrospectionQuery {{ __schema {{ queryType {{ name }} types {{ kind name fields(includeDeprecated: true) \
         {{ name args {{ name type {wrappers} }} type {wrappers} }} inputFields {{ name }} interfaces {{ name }} \
         possibleTypes {{ name }} }} directives {{ name locations args {{ name type {wrappers} }} }} }} }}"
    );
    fine(&server, &usual).await;
    complex(
        &server,
        "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
        "introspectionLists",
        3,
        2,
    )
    .await;
    complex(
        &server,
        "{ __type(name: \"Nest\") { ...T } } fragment T on __Type { fields { type { ...U } } } \
         fragment U on __Type { fields { type { interfaces { name } } } }",
        "introspectionLists",
        3,
        2,
    )
    .await;
}

fn persisted(query: Option<&str>, hash: &str) -> Value {
    let mut body =
        json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } });
    if let Some(query) = query {
        body["query"] = json!(query);
    }
    body
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[tokio::test]
async fn persisted_queries_are_registered_by_their_true_hash() {
    let server = Server::start().await;
    let query = "query Hello($name: String!) { hello(name: $name) }";
    let hash = sha256(query);
    let (status, body) = answer(server.post(&persisted(None, &hash))).await;
    assert_eq!((status, code(&body)), (200, "PERSISTED_QUERY_NOT_FOUND"));
    assert_eq!(body["errors"][0]["message"], "PersistedQueryNotFound");
    assert_eq!(server.send(&persisted(None, &hash)).await.0, 400);

    let (status, body) = server.send(&persisted(Some("{ whoami }"), &hash)).await;
    assert_eq!(
        (status, code(&body)),
        (400, "BAD_REQUEST"),
        "somebody else's hash"
    );
    assert_eq!(
        code(&server.send(&persisted(None, &hash)).await.1),
        "PERSISTED_QUERY_NOT_FOUND"
    );

    for name in ["a", "b"] {
        let mut body = persisted((name == "a").then_some(query), &hash.to_uppercase());
        body["variables"] = json!({ "name": name });
        assert_eq!(
            server.send(&body).await,
            (
                200,
                json!({ "data": { "hello": format!("Hello, {name}") } })
            )
        );
    }
    let extensions = json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } }).to_string();
    let get = server.get(&[
        ("extensions", &extensions),
        ("variables", "{\"name\":\"GET\"}"),
    ]);
    assert_eq!(
        answer(get).await,
        (200, json!({ "data": { "hello": "Hello, GET" } }))
    );

    let mutation = "mutation { increment }";
    assert_eq!(
        server
            .send(&persisted(Some(mutation), &sha256(mutation)))
            .await
            .0,
        200
    );
    let extensions =
        json!({ "persistedQuery": { "version": 1, "sha256Hash": sha256(mutation) } }).to_string();
    assert_eq!(
        answer(server.get(&[("extensions", &extensions)])).await.0,
        405,
        "by hash too"
    );
    assert_eq!(server.increments(), 1);

    let deep = nest(16);
    assert_eq!(
        code(&server.send(&persisted(Some(&deep), &sha256(&deep))).await.1),
        "QUERY_TOO_COMPLEX"
    );
    assert_eq!(
        code(&server.send(&persisted(None, &sha256(&deep))).await.1),
        "PERSISTED_QUERY_NOT_FOUND"
    );

    for wrong in [
        json!(1),
        json!({}),
        json!({ "version": 2, "sha256Hash": hash }),
        json!({ "version": 1, "sha256Hash": "abc" }),
        json!({ "version": 1, "sha256Hash": "g".repeat(64) }),
        json!({ "version": 1 }),
    ] {
        let (status, body) = server
            .send(&json!({ "query": query, "extensions": { "persistedQuery": wrong } }))
            .await;
        assert_eq!((status, code(&body)), (400, "BAD_REQUEST"), "{wrong}");
    }
}

#[tokio::test]
async fn persisted_queries_can_be_off() {
    let server = Server::with(|options| {
        options.apq = None;
        options.document_cache_bytes = 0;
    })
    .await;
    let hash = sha256("{ hello }");
    let (_, body) = server.send(&persisted(None, &hash)).await;
    assert_eq!(body["errors"][0]["message"], "PersistedQueryNotSupported");
    assert_eq!(
        server.send(&persisted(Some("{ hello }"), &hash)).await.0,
        200
    );
}

#[tokio::test]
async fn kept_documents_serve_other_operations_and_variables() {
    let server = Server::start().await;
    let query = "query A($on: Boolean!) { hello @include(if: $on) whoami } query B { whoami }";
    for _ in 0..3 {
        for (name, on, data) in [
            (
                "A",
                true,
                json!({ "hello": "Hello, world", "whoami": "nobody" }),
            ),
            ("A", false, json!({ "whoami": "nobody" })),
            ("B", true, json!({ "whoami": "nobody" })),
        ] {
            let body = json!({ "query": query, "operationName": name, "variables": { "on": on } });
            assert_eq!(server.send(&body).await, (200, json!({ "data": data })));
        }
    }
}
