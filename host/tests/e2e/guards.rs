//! What stands before the API: how often somebody may do something, what a browser's cookies are good for, which pages
//! may ask, and which operations are run.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    accounts::{Answer, Door, ME, PASSWORD, PROJECT, REFRESH, REGISTER, door, setup},
    support::{text, world::Setup},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_are_looked_at_five_times() {
    let world = setup().start_with_mail().await;
    let open = door(&world);
    let home = open.from("203.0.113.7");
    home.register("ann@example.com", PASSWORD).await;
    open.register("bob@example.com", PASSWORD).await;

    // A node beside this one counts with it, where they share a Redis.
    let another = match world.is_on_servers() {
        true => Some(world.another_server().await),
        false => None,
    };
    let there = another
        .as_ref()
        .map_or(&world.server().url, |node| &node.url);
    let there = Door::of(there);
    let thief = there.from("198.51.100.66");
    for turn in 0..5 {
        let door = if turn % 2 == 0 {
            &thief
        } else {
            &open.from("198.51.100.66")
        };
        let wrong = door.login("ann@example.com", "guessing").await;
        assert_eq!(wrong.code(), "UNAUTHENTICATED", "{turn}: {}", wrong.body);
    }
    for door in [&thief, &open.from("198.51.100.66")] {
        let sixth = door.login("ann@example.com", PASSWORD).await;
        assert_eq!(sixth.code(), "RATE_LIMITED", "{}", sixth.body);
        assert_eq!(sixth.status, StatusCode::TOO_MANY_REQUESTS);
        let wait = sixth.headers["retry-after"].to_str().expect("text");
        let wait: u64 = wait.parse().expect("seconds");
        assert!((800..=900).contains(&wait), "{wait}");
        assert_eq!(sixth.headers["ratelimit-policy"], r#""login";q=5;w=900"#);
        let wait = sixth.result()["retryAfterMs"].as_i64().expect("a number");
        assert!((800_000..=900_000).contains(&wait), "{wait}");
    }
    // Nor another account from there; nor hers from another place that nobody knows; but she comes in
    // from where she was before.
    assert_eq!(
        thief.login("bob@example.com", PASSWORD).await.code(),
        "RATE_LIMITED"
    );
    let strange = open.from("192.0.2.99");
    assert_eq!(
        strange.login("ann@example.com", PASSWORD).await.code(),
        "RATE_LIMITED"
    );
    assert_eq!(strange.login("bob@example.com", PASSWORD).await.code(), "");
    assert_eq!(home.login("ann@example.com", PASSWORD).await.code(), "");
    // Right passwords are not counted.
    for _ in 0..8 {
        assert_eq!(home.login("ann@example.com", PASSWORD).await.code(), "");
    }
    // Aliases are counted one by one, and addresses are no matter of what a client writes.
    let aliases: String = (0..8)
        .map(|n| format!("a{n}: login(input: {{email: \"bob@example.com\", password: \"guess{n}\"}}) {{ ... on Problem {{ code }} }} "))
        .collect();
    let door = open.from("192.0.2.50");
    let many = door
        .send(&format!("mutation {{ {aliases} }}"), json!({}))
        .await;
    let codes = many.body["data"].as_object().expect("data").values();
    let refused = codes.filter(|one| one["code"] == "RATE_LIMITED").count();
    assert_eq!(refused, 3, "{}", many.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_limited_is_limited_by_account_and_key() {
    let world = setup()
        .set("limits.create_project", "2/1h")
        .set("limits.register", "3/1h")
        .set("limits.api_key", "4/1h")
        .start_with_mail()
        .await;
    let open = door(&world);
    let ann = open.register("ann@example.com", PASSWORD).await;
    let bob = open.register("bob@example.com", PASSWORD).await;
    let ann = open.with(&ann["accessToken"]);
    // What is refused for another reason is not counted.
    assert_eq!(
        ann.one(PROJECT, json!({"name": ""})).await.code(),
        "INVALID_INPUT"
    );
    for left in [1, 0] {
        let made = ann.one(PROJECT, json!({"name": "Aurora"})).await;
        assert_eq!(made.code(), "", "{}", made.body);
        let standing = made.headers["ratelimit"].to_str().expect("text");
        assert!(
            standing.starts_with(&format!(r#""create-project";r={left};t=3"#)),
            "{standing}"
        );
    }
    let third = ann.one(PROJECT, json!({"name": "Aurora"})).await;
    assert_eq!((third.code(), third.status.as_u16()), ("RATE_LIMITED", 429));
    let other = open.with(&bob["accessToken"]);
    assert_eq!(
        other.one(PROJECT, json!({"name": "Aurora"})).await.code(),
        ""
    );
    // The operator's own token of development is not counted.
    for _ in 0..4 {
        world.client().project().await;
    }

    let made = "mutation { result: createApiKey(input: {name: \"Shop\"}) {
        ... on CreateApiKeySuccess { secret } } }";
    let key = ann.send(made, json!({})).await;
    let program = open.with(&key.result()["secret"]);
    for _ in 0..4 {
        assert_eq!(program.send(ME, json!({})).await.code(), "");
    }
    let fifth = program.send(ME, json!({})).await;
    assert_eq!((fifth.code(), fifth.status.as_u16()), ("RATE_LIMITED", 429));
    assert!(fifth.headers.contains_key("retry-after"));
    assert_eq!(ann.send(ME, json!({})).await.code(), "");

    // By address, and by mail address.
    let third = open
        .one(
            REGISTER,
            json!({"email": "c@example.com", "password": PASSWORD}),
        )
        .await;
    assert_eq!(third.code(), "");
    let fourth = json!({"email": "d@example.com", "password": PASSWORD});
    assert_eq!(
        open.one(REGISTER, fourth.clone()).await.code(),
        "RATE_LIMITED"
    );
    let elsewhere = open.from("192.0.2.1");
    assert_eq!(elsewhere.one(REGISTER, fourth).await.code(), "");
    assert_eq!(text(&ann.me().await, "/email"), "ann@example.com");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_session_is_kept_in_cookies() {
    let world = setup().start_with_mail().await;
    let open = door(&world);
    let input = json!({"email": "ann@example.com", "password": PASSWORD, "cookies": true});
    let made = open.one(REGISTER, input).await;
    assert_eq!(made.result()["accessToken"], Value::Null);
    assert_eq!(made.result()["refreshToken"], Value::Null);
    let jar = |answer: &Answer| {
        let set = answer.headers.get_all("set-cookie").iter();
        let set: Vec<_> = set
            .map(|value| value.to_str().expect("text").to_owned())
            .collect();
        assert_eq!(set.len(), 2, "{set:?}");
        for cookie in &set {
            assert!(cookie.starts_with("__Host-genvid_"), "{cookie}");
            for part in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Strict"] {
                assert!(cookie.contains(part), "{cookie}");
            }
        }
        let pairs: Vec<_> = set
            .iter()
            .filter_map(|cookie| cookie.split(';').next())
            .collect();
        pairs.join("; ")
    };
    let cookies = jar(&made);
    let page = Door {
        cookies: Some(cookies),
        csrf: true,
        ..open.clone()
    };
    assert_eq!(page.me().await["email"], "ann@example.com");

    // Another page can have the browser send the cookies, and nothing comes of it.
    let forged = Door {
        csrf: false,
        ..page.clone()
    };
    assert_eq!(forged.me().await, Value::Null);
    let project = forged.one(PROJECT, json!({"name": "Aurora"})).await;
    assert_eq!(project.code(), "UNAUTHENTICATED", "{}", project.body);
    assert!(project.body.to_string().contains("x-genvid-csrf"));
    let refreshed = forged.one(REFRESH, json!({})).await;
    assert_eq!(refreshed.code(), "UNAUTHENTICATED");
    for (kind, body) in [
        ("text/plain", r#"{"query":"mutation { logout }"}"#),
        (
            "application/x-www-form-urlencoded",
            "query=mutation+%7B+logout+%7D",
        ),
    ] {
        let sent = (forged.http.post(format!("{}/graphql", forged.url)))
            .header("content-type", kind)
            .header("cookie", page.cookies.clone().expect("cookies"))
            .body(body);
        let sent = sent.send().await.expect("an answer");
        assert_eq!(sent.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let get = format!("{}/graphql?query=mutation%7Blogout%7D", page.url);
    let get = (page.http.get(get)).header("cookie", page.cookies.clone().expect("cookies"));
    let get = get
        .header("accept", "application/json")
        .send()
        .await
        .expect("an answer");
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(page.me().await["id"].is_string(), "it is still open");

    let next = page.one(REFRESH, json!({"cookies": true})).await;
    assert_eq!(next.result()["__typename"], "AuthSuccess", "{}", next.body);
    let page = Door {
        cookies: Some(jar(&next)),
        ..page
    };
    let out = page.send("mutation { result: logout }", json!({})).await;
    assert_eq!(*out.result(), json!(true));
    jar(&out);
    assert_eq!(page.me().await, Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_named_pages_of_other_hosts_may_use_the_api() {
    let world = Setup::default()
        .set("server.allowed_origins", r#"["https://app.example.com"]"#)
        .start()
        .await;
    let open = door(&world);
    let url = format!("{}/graphql", open.url);
    for (origin, named) in [
        ("https://app.example.com", true),
        ("https://app.example.com.evil.test", false),
        ("https://evil.test", false),
        ("null", false),
    ] {
        let asked = (open.http.request(reqwest::Method::OPTIONS, &url))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "content-type,x-genvid-csrf",
            );
        let asked = asked.send().await.expect("an answer");
        let sent = (open.http.post(&url))
            .header("origin", origin)
            .json(&json!({"query": ME}));
        let sent = sent.send().await.expect("an answer");
        assert_eq!(sent.status(), StatusCode::OK, "who answers is no browser");
        for headers in [asked.headers(), sent.headers()] {
            let allowed = headers.get("access-control-allow-origin");
            let allowed = allowed.and_then(|value| value.to_str().ok());
            assert_eq!(allowed, named.then_some(origin), "{origin}");
        }
        if named {
            let headers = asked.headers()["access-control-allow-headers"].to_str();
            assert!(headers.expect("text").contains("x-genvid-csrf"));
            assert_eq!(asked.headers()["access-control-allow-credentials"], "true");
        }
        let headers = sent.headers();
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert!(!headers.contains_key("strict-transport-security"), "no TLS");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_stored_operations_are_run_where_the_operator_says_so() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../graphql/operations");
    let world = Setup::default()
        .set("graphql.stored_operations", folder.display())
        .set("accounts.registration", false)
        .start()
        .await;
    // Those of the repository's clients.
    world.client().project().await;
    let open = door(&world);
    let refused = open.send(ME, json!({})).await;
    assert_eq!(refused.code(), "OPERATION_NOT_STORED", "{}", refused.body);
    let name = folder.join("CreateProject.graphql");
    let text = std::fs::read_to_string(name).expect("a document");
    let hash = {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(text.as_bytes()))
    };
    let client = (open.http.post(format!("{}/graphql", open.url)))
        .bearer_auth(&world.launch.token)
        .json(&json!({
            "variables": {"input": {"name": "Aurora"}},
            "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash}},
        }));
    let answer: Value = client
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert!(answer["data"]["createProject"].is_object(), "{answer}");
    // Nor can one be stored by asking.
    let hash = {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(ME.as_bytes()))
    };
    let client = (open.http.post(format!("{}/graphql", open.url))).json(&json!({
        "query": ME,
        "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash}},
    }));
    let answer: Value = client
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let code = &answer["errors"][0]["extensions"]["code"];
    assert_eq!(code, "OPERATION_NOT_STORED", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_request_costs_is_told_to_who_asks() {
    let world = setup().start_with_mail().await;
    let open = door(&world);
    let query = "{ jobs(first: 10) { nodes { id kind } } }";
    let silent = world.client().send(query, json!({})).await;
    assert!(silent.get("extensions").is_none(), "{silent}");
    for turn in 0..2 {
        let asked = json!({"query": query, "extensions": {"cost": true}});
        let answer = (open.http.post(format!("{}/graphql", open.url)))
            .bearer_auth(&world.launch.token)
            .json(&asked)
            .send()
            .await
            .expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["data"]["jobs"]["nodes"], json!([]), "{answer}");
        let cost = &answer["extensions"]["cost"];
        assert_eq!(cost["maximum"], 20_000, "{turn}: {answer}");
        let requested = cost["requested"].as_u64().expect("a number");
        assert!((20..=60).contains(&requested), "{turn}: {answer}");
        // Over a socket it is the same.
        let mut live = world.client().live().await;
        let there = live.ask(asked).await;
        assert_eq!(there["extensions"]["cost"], *cost, "{turn}: {there}");
    }
}
