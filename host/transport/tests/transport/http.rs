//! GraphQL over HTTP.

use std::time::Duration;

use reqwest::header;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::server::{GRAPHQL_RESPONSE, Server, answer, code, content_type};

const JSON: &str = "application/json; charset=utf-8";
const RESPONSE: &str = "application/graphql-response+json; charset=utf-8";

#[tokio::test]
async fn the_accept_header_decides_media_type_and_status() {
    let server = Server::start().await;
    let fine = json!({ "query": "{ hello }" });
    let wrong = json!({ "query": "{ nothingLikeThis }" });
    for (accept, media, wrong_status) in [
        (None, JSON, 200),
        (Some("*/*"), JSON, 200),
        (Some("application/*"), JSON, 200),
        (Some("application/json"), JSON, 200),
        (Some(GRAPHQL_RESPONSE), RESPONSE, 400),
        (
            Some("application/graphql-response+json, application/json;q=0.9"),
            RESPONSE,
            400,
        ),
        (
            Some("application/graphql-response+json;q=0.5, application/json"),
            JSON,
            200,
        ),
        (
            Some("application/json, application/graphql-response+json"),
            JSON,
            200,
        ),
        (
            Some("application/json;q=0, application/graphql-response+json;q=0.1"),
            RESPONSE,
            400,
        ),
        (
            Some("image/png, application/graphql-response+json"),
            RESPONSE,
            400,
        ),
        (Some("text/html, */*;q=0.1"), JSON, 200),
    ] {
        let request = |body: &Value| {
            let request = server.post(body);
            match accept {
                Some(accept) => request.header(header::ACCEPT, accept),
                None => request,
            }
        };
        let response = request(&fine).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), content_type(&response)),
            (200, media),
            "{accept:?}"
        );
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            body,
            json!({ "data": { "hello": "Hello, world" } }),
            "{accept:?}"
        );

        let response = request(&wrong).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), content_type(&response)),
            (wrong_status, media),
            "{accept:?}"
        );
        let body: Value = response.json().await.unwrap();
        assert_eq!(code(&body), "GRAPHQL_VALIDATION_FAILED");
        assert!(
            body.get("data").is_none(),
            "a request error has no data: {body}"
        );
    }
    for accept in ["image/png", "application/json;q=0", "text/html"] {
        let (status, body) = answer(server.post(&fine).header(header::ACCEPT, accept)).await;
        assert_eq!((status, code(&body)), (406, "NOT_ACCEPTABLE"), "{accept}");
    }
}

#[tokio::test]
async fn only_json_bodies_run() {
    let server = Server::start().await;
    let text = json!({ "query": "mutation { increment }" }).to_string();
    for media in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/graphql-response+json",
        "application/json; charset=latin1",
        "text/plain; application/json",
    ] {
        let mut request = server.client.post(server.url()).body(text.clone());
        if !media.is_empty() {
            request = request.header(header::CONTENT_TYPE, media);
        }
        let (status, body) = answer(request).await;
        assert_eq!(
            (status, code(&body)),
            (415, "UNSUPPORTED_MEDIA_TYPE"),
            "{media}"
        );
    }
    let twice = server
        .client
        .post(server.url())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_TYPE, "text/plain")
        .body(text.clone());
    assert_eq!(answer(twice).await.0, 415);
    let packed = server
        .client
        .post(server.url())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_ENCODING, "gzip")
        .body(text.clone());
    assert_eq!(answer(packed).await.0, 415);
    let form = format!(
        "------x\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{text}\r\n------x--\r\n"
    );
    let multipart = server
        .client
        .post(server.url())
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=----x")
        .body(form);
    assert_eq!(answer(multipart).await.0, 415);
    assert_eq!(server.increments(), 0, "nothing ran");

    for media in [
        "application/json",
        "APPLICATION/JSON; Charset=\"UTF-8\"",
        "application/json;charset=utf-8",
    ] {
        let request = server
            .client
            .post(server.url())
            .header(header::CONTENT_TYPE, media)
            .body(text.clone());
        assert_eq!(answer(request).await.0, 200, "{media}");
    }
    assert_eq!(server.increments(), 3);
}

#[tokio::test]
async fn get_runs_queries_only() {
    let server = Server::start().await;
    let (status, body) = answer(server.get(&[
        (
            "query",
            "query A($name: String!) { hello(name: $name) } query B { whoami }",
        ),
        ("operationName", "A"),
        ("variables", r#"{"name":"Zoë 🏃"}"#),
        ("extensions", "{}"),
        ("unknown", "1"),
    ]))
    .await;
    assert_eq!(
        (status, body),
        (200, json!({ "data": { "hello": "Hello, Zoë 🏃" } }))
    );

    for accept in ["application/json", GRAPHQL_RESPONSE, "text/event-stream"] {
        let request = server
            .get(&[("query", "mutation { increment }")])
            .header(header::ACCEPT, accept);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 405, "{accept}");
        assert_eq!(response.headers()[header::ALLOW], "POST");
        assert_eq!(code(&response.json().await.unwrap()), "METHOD_NOT_ALLOWED");
    }
    let chosen = server.get(&[
        ("query", "query A { hello } mutation B { increment }"),
        ("operationName", "B"),
    ]);
    assert_eq!(answer(chosen).await.0, 405);
    let chosen = server.get(&[
        ("query", "query A { hello } mutation B { increment }"),
        ("operationName", "A"),
    ]);
    assert_eq!(answer(chosen).await.0, 200);
    assert_eq!(server.increments(), 0, "nothing ran");

    for parameters in [
        &[][..],
        &[("query", "{ hello }"), ("query", "{ whoami }")],
        &[("query", "{ hello }"), ("variables", "[]")],
        &[("query", "{ hello }"), ("variables", "{")],
        &[("query", "{ hello }"), ("extensions", "1")],
    ] {
        let (status, body) = answer(server.get(parameters)).await;
        assert_eq!(
            (status, code(&body)),
            (400, "BAD_REQUEST"),
            "{parameters:?}"
        );
    }
    let (status, body) = answer(server.get(&[("query", "subscription { count(to: 1) }")])).await;
    assert_eq!((status, code(&body)), (400, "BAD_REQUEST"));
}

#[tokio::test]
async fn other_methods_are_refused() {
    let server = Server::start().await;
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request = server
            .client
            .request(method.parse().unwrap(), server.url())
            .json(&json!({ "query": "{ hello }" }));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()[header::ALLOW], "GET, POST");
    }
}

#[tokio::test]
async fn parameters_have_their_types() {
    let server = Server::start().await;
    for body in [
        json!({}),
        json!({ "query": null }),
        json!({ "query": 1 }),
        json!({ "query": { "a": 1 } }),
        json!({ "query": "{ hello }", "operationName": 1 }),
        json!({ "query": "{ hello }", "variables": "x" }),
        json!({ "query": "{ hello }", "variables": [1] }),
        json!({ "query": "{ hello }", "extensions": [1] }),
        json!({ "query": "{ hello }", "extensions": false }),
        json!("{ hello }"),
        json!(null),
        json!(1),
        json!([{ "query": "{ hello }" }]),
        json!([]),
        json!(["{ hello }"]),
    ] {
        for accept in ["application/json", GRAPHQL_RESPONSE] {
            let (status, answer) = answer(server.post(&body).header(header::ACCEPT, accept)).await;
            assert_eq!((status, code(&answer)), (400, "BAD_REQUEST"), "{body}");
            assert!(answer.get("data").is_none());
        }
    }
    for text in [
        "",
        "  ",
        "{",
        "{ \"query\": \"{ hello }\" } x",
        "nonsense",
        "{\"query\":\"{ hello }\",\"query\":\"{ hello }\"}",
    ] {
        let request = server
            .client
            .post(server.url())
            .header(header::CONTENT_TYPE, "application/json")
            .body(text);
        let (status, body) = answer(request).await;
        assert_eq!((status, code(&body)), (400, "BAD_REQUEST"), "{text:?}");
    }
    let not_utf8 = b"{\"query\":\"{ hello(name: \\\"\xff\\\") }\"}".to_vec();
    let request = server
        .client
        .post(server.url())
        .header(header::CONTENT_TYPE, "application/json")
        .body(not_utf8);
    assert_eq!(answer(request).await.0, 400);
    let nulls = json!({ "query": "{ hello }", "operationName": null, "variables": null, "extensions": null });
    assert_eq!(server.send(&nulls).await.0, 200);
    let deep = format!(
        "{{\"query\":\"{{ hello }}\",\"variables\":{}1{}}}",
        "{\"a\":".repeat(100_000),
        "}".repeat(100_000)
    );
    let request = server
        .client
        .post(server.url())
        .header(header::CONTENT_TYPE, "application/json")
        .body(deep);
    assert_eq!(answer(request).await.0, 400);
}

#[tokio::test]
async fn the_operation_must_be_clear_and_complete() {
    let server = Server::start().await;
    for body in [
        json!({ "query": "query A { hello } query B { whoami }" }),
        json!({ "query": "query A { hello } query B { whoami }", "operationName": "C" }),
        json!({ "query": "{ hello }", "operationName": "A" }),
        json!({ "query": "query A($name: String!) { hello(name: $name) }" }),
        json!({ "query": "query A($name: String!) { hello(name: $name) }", "variables": { "name": null } }),
        json!({ "query": "query A($name: String!) { hello(name: $name) }", "variables": { "name": { "a": 1 } } }),
        json!({ "query": "fragment F on Query { hello }" }),
    ] {
        let (status, answer) = server.send(&body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(
            ["GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED"].contains(&code(&answer)),
            "{answer}"
        );
        assert!(answer.get("data").is_none());
    }
    let defaulted = json!({ "query": "query A($name: String! = \"you\") { hello(name: $name) }" });
    assert_eq!(
        server.send(&defaulted).await,
        (200, json!({ "data": { "hello": "Hello, you" } }))
    );
    let named = json!({ "query": "query A { hello } query B { whoami }", "operationName": "B" });
    assert_eq!(
        server.send(&named).await,
        (200, json!({ "data": { "whoami": "nobody" } }))
    );
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let server = Server::with(|options| {
        options.max_body_bytes = 10_000;
        options.body_timeout = Duration::from_millis(300);
    })
    .await;
    for bytes in [10_001, 50_000, 5_000_000] {
        let body = json!({ "query": "{ hello }", "extensions": { "filler": "x".repeat(bytes) } })
            .to_string();
        let announced = server
            .client
            .post(server.url())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.clone());
        let mut outcomes = vec![announced.send().await];
        if bytes < 60_000 {
            let mut raw = TcpStream::connect(server.address).await.unwrap();
            let head = "POST /graphql HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                        transfer-encoding: chunked\r\n\r\n";
            raw.write_all(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes())
                .await
                .unwrap();
            let mut text = String::new();
            raw.read_to_string(&mut text).await.unwrap();
            assert!(
                text.starts_with("HTTP/1.1 413 ") && text.contains("PAYLOAD_TOO_LARGE"),
                "{text}"
            );
        }
        match outcomes.remove(0) {
            Ok(response) => {
                assert_eq!(response.status(), 413);
                assert_eq!(code(&response.json().await.unwrap()), "PAYLOAD_TOO_LARGE");
            }
            // A body that is announced as hopelessly large is cut off while the client still sends.
            Err(error) => assert!(bytes > 80_000, "{error}"),
        }
    }
    let mut raw = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /graphql HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{\"query\"";
    raw.write_all(head.as_bytes()).await.unwrap();
    let mut text = String::new();
    raw.read_to_string(&mut text).await.unwrap();
    assert!(
        text.starts_with("HTTP/1.1 408 ") && text.contains("REQUEST_TIMEOUT"),
        "{text}"
    );
}

#[tokio::test]
async fn arrays_run_up_to_the_maximum() {
    let server = Server::with(|options| options.max_batch = 3).await;
    let batch = json!([
        { "query": "{ hello }" },
        { "query": "{ nothingLikeThis }" },
        { "query": "mutation { increment }" },
    ]);
    let (status, body) = server.send(&batch).await;
    assert_eq!(status, 200);
    assert_eq!(body[0], json!({ "data": { "hello": "Hello, world" } }));
    assert_eq!(code(&body[1]), "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(body[2], json!({ "data": { "increment": 1 } }));
    for batch in [
        json!([]),
        json!([{ "query": "{ hello }" }, {}, {}, {}]),
        json!([[{ "query": "{ hello }" }]]),
    ] {
        let (status, body) = server.send(&batch).await;
        assert_eq!((status, code(&body)), (400, "BAD_REQUEST"), "{batch}");
    }
    let (_, body) = server
        .send(&json!([{ "query": "subscription { count(to: 1) }" }]))
        .await;
    assert_eq!(code(&body[0]), "BAD_REQUEST");
    let capped = Server::with(|options| options.max_batch = 1_000).await;
    let items: Vec<Value> = (0..11).map(|_| json!({ "query": "{ hello }" })).collect();
    assert_eq!(capped.send(&json!(items)).await.0, 400);
    assert_eq!(capped.send(&json!(items[..10])).await.0, 200);
}

#[tokio::test]
async fn errors_say_enough_and_not_too_much() {
    let server = Server::start().await;
    let request = server
        .post(&json!({ "query": "{ hello uncoded }" }))
        .header("x-request-id", "my-request.1");
    let response = request
        .header(header::ACCEPT, GRAPHQL_RESPONSE)
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["x-request-id"], "my-request.1");
    assert_eq!(response.status(), 200, "there is data");
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        body["data"],
        json!({ "hello": "Hello, world", "uncoded": null })
    );
    let error = &body["errors"][0];
    assert_eq!(error["message"], "Internal error");
    assert_eq!(error["path"], json!(["uncoded"]));
    assert_eq!(
        error["extensions"],
        json!({ "code": "INTERNAL", "requestId": "my-request.1" })
    );
    assert!(!body.to_string().contains("secrets"));

    let (_, body) = server.query("{ coded }").await;
    assert_eq!(body["data"], json!({ "coded": null }));
    assert_eq!(body["errors"][0]["message"], "Not yours");
    assert_eq!(code(&body), "FORBIDDEN");

    let (status, body) = server.query("{ required }").await;
    assert_eq!(
        (status, code(&body)),
        (200, "NOT_FOUND"),
        "the field failed, the request did not"
    );
    assert_eq!(body.get("data"), Some(&Value::Null));

    let (status, body) = server.query("{ short(text: \"far too long\") }").await;
    assert_eq!((status, code(&body)), (200, "INVALID_INPUT"), "{body}");

    let (status, body) = server.query("{ panics }").await;
    assert_eq!((status, code(&body)), (500, "INTERNAL"));
    assert!(body["errors"][0]["extensions"]["requestId"].is_string() && body.get("data").is_none());
    assert_eq!(server.query("{ hello }").await.0, 200);

    let (status, body) = server
        .query(&format!("{{ hello\n  {}", "a ".repeat(1_500)))
        .await;
    assert_eq!((status, code(&body)), (400, "GRAPHQL_PARSE_FAILED"));
    let error = &body["errors"][0];
    assert!(error["message"].as_str().unwrap().chars().count() <= 200);
    assert_eq!(error["locations"][0]["line"], 2, "{error}");

    let unknown: String = (0..100).map(|number| format!("unknown{number} ")).collect();
    let limited = Server::with(|options| options.limits.root_fields = 100).await;
    let (_, body) = limited.query(&format!("{{ {unknown} }}")).await;
    assert_eq!(body["errors"].as_array().unwrap().len(), 20);
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = Server::start().await;
    for sent in ["", "has space", "ünïcode", &"x".repeat(129)] {
        let mut request = server.post(&json!({ "query": "{ requestId }" }));
        if let Ok(value) = header::HeaderValue::from_bytes(sent.as_bytes()) {
            request = request.header("x-request-id", value);
        }
        let response = request.send().await.unwrap();
        let id = response.headers()["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(id.len(), 36, "a UUID instead of {sent:?}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["data"]["requestId"], id);
    }
    let refused = server.client.put(server.url()).send().await.unwrap();
    assert!(refused.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn identities_reach_resolvers_and_refusals_the_client() {
    let server = Server::start().await;
    let whoami = json!({ "query": "{ whoami }" });
    for (token, name) in [
        (None, "nobody"),
        (Some("Bearer good"), "good"),
        (Some("Bearer other"), "other"),
    ] {
        let mut request = server.post(&whoami);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token);
        }
        assert_eq!(
            answer(request).await,
            (200, json!({ "data": { "whoami": name } }))
        );
    }
    for accept in ["application/json", GRAPHQL_RESPONSE, "text/event-stream"] {
        let request = server
            .post(&whoami)
            .header(header::AUTHORIZATION, "Bearer bad")
            .header(header::ACCEPT, accept);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        assert_eq!(code(&response.json().await.unwrap()), "UNAUTHENTICATED");
    }
}

#[tokio::test]
async fn headers_of_the_schema_and_caching() {
    let server = Server::start().await;
    let response = server
        .post(&json!({ "query": "{ cookie }" }))
        .send()
        .await
        .unwrap();
    let cookies: Vec<_> = response
        .headers()
        .get_all(header::SET_COOKIE)
        .iter()
        .collect();
    assert_eq!(cookies, ["a=1; HttpOnly", "b=2; HttpOnly"]);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(
        response.headers()[header::X_CONTENT_TYPE_OPTIONS],
        "nosniff"
    );
    let response = server.get(&[("query", "{ cached }")]).send().await.unwrap();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "max-age=60");
    let response = server
        .get(&[("query", "{ cached coded }")])
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
}
