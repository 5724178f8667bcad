//! The page for browsers.

use genvid_transport::Graphiql;
use reqwest::header;

use crate::server::{Server, answer, code, content_type};

#[tokio::test]
async fn browsers_get_a_page_of_their_own_server() {
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let graphiql = Graphiql {
        title: "Toy <&>".to_owned(),
        endpoint: "/graphql".to_owned(),
    };
    let server = Server::with(|options| options.graphiql = Some(graphiql)).await;
    let get = || {
        server
            .client
            .get(server.url())
            .header(header::ACCEPT, browser)
    };
    let response = get().send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(content_type(&response), "text/html; charset=utf-8");
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'nonce-"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    let page = response.text().await.unwrap();
    assert!(
        page.contains("Toy &lt;&amp;&gt;")
            && !page.contains("{nonce}")
            && !page.contains("{endpoint}")
    );
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "nothing from elsewhere"
    );
    assert!(page.contains("npm ci") || page.contains("/graphql/assets/graphiql.js"));
    let again = get().send().await.unwrap();
    assert_ne!(
        again.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap(),
        policy,
        "a nonce is used once"
    );
    let script = server
        .client
        .get(format!("{}/assets/page.js", server.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(content_type(&script), "text/javascript; charset=utf-8");
    assert!(script.text().await.unwrap().contains("text/event-stream"));
    for name in ["unknown.js", "..%2Fpackage.json"] {
        let missing = server
            .client
            .get(format!("{}/assets/{name}", server.url()))
            .send()
            .await
            .unwrap();
        assert_eq!(missing.status(), 404, "{name}");
    }
    // A client that takes anything wants an answer, not the page.
    assert_eq!(
        answer(
            server
                .get(&[("query", "{ hello }")])
                .header(header::ACCEPT, "*/*")
        )
        .await
        .0,
        200
    );

    let without = Server::start().await;
    let response = without
        .client
        .get(without.url())
        .header(header::ACCEPT, browser)
        .send()
        .await
        .unwrap();
    assert_eq!(
        response.status(),
        400,
        "no page, so it is a request without a query"
    );
    assert_eq!(code(&response.json().await.unwrap()), "BAD_REQUEST");
}
