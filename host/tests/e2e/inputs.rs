//! Wrong input of every kind: the code of the public list, and the field by name.

use serde_json::{Value, json};

use crate::support::{client::document, list, text, world::World};

/// Asserts that a mutation names each of these fields, and starts nothing.
async fn assert_fields(world: &World, name: &str, input: Value, fields: &[&[&str]]) {
    let answer = world
        .client()
        .send(document(name), json!({"input": input}))
        .await;
    let data = answer["data"]
        .as_object()
        .unwrap_or_else(|| panic!("{name} {input}: {answer:#}"));
    let result = data.values().next().expect("one result");
    assert_eq!(
        result["code"], "INVALID_INPUT",
        "{name} {input}: {answer:#}"
    );
    let named: Vec<&Value> = list(result, "/problems")
        .iter()
        .map(|problem| &problem["path"])
        .collect();
    let wanted: Vec<Value> = fields.iter().map(|path| json!(path)).collect();
    assert_eq!(
        named,
        wanted.iter().collect::<Vec<_>>(),
        "{name} {input}: {result:#}"
    );
    assert_eq!(result["path"], wanted[0]);
    assert!(!text(result, "/message").is_empty());
}

/// Asserts that a request is refused with this code, and this field if any.
async fn assert_refused(
    world: &World,
    query: &str,
    variables: Value,
    code: &str,
    field: Option<&str>,
) {
    let answer = world.client().send(query, variables).await;
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!(extensions["code"], code, "{query}: {answer:#}");
    assert_eq!(extensions["field"].as_str(), field, "{query}: {answer:#}");
}

fn with(mut wish: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().into_iter().flatten() {
        wish[name] = value.clone();
    }
    wish
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wishes_for_films() {
    let world = World::start().await;
    let project = world.client().project().await;
    let wish = world.wish(&project, json!({}));
    let long = "x".repeat(20_001);
    let links: Vec<String> = (0..10)
        .map(|n| format!("https://example.com/{n}.jpg"))
        .collect();
    let cases: Vec<(Value, &[&[&str]])> = vec![
        (json!({"projectId": "job_1"}), &[&["projectId"]]),
        (json!({"script": " "}), &[&["script"]]),
        (json!({"script": long}), &[&["script"]]),
        (json!({"script": "a\u{0}b"}), &[&["script"]]),
        (json!({"language": "english"}), &[&["language"]]),
        (json!({"maxSeconds": 0}), &[&["maxSeconds"]]),
        (json!({"maxSeconds": -5}), &[&["maxSeconds"]]),
        (json!({"maxSeconds": 601}), &[&["maxSeconds"]]),
        (json!({"idempotencyKey": ""}), &[&["idempotencyKey"]]),
        (
            json!({"idempotencyKey": "k".repeat(256)}),
            &[&["idempotencyKey"]],
        ),
        (
            json!({"deadline": "2020-01-01T00:00:00Z"}),
            &[&["deadline"]],
        ),
        (
            json!({"deadline": "2099-01-01T00:00:00Z"}),
            &[&["deadline"]],
        ),
        (json!({"deadline": "tomorrow"}), &[&["deadline"]]),
        (json!({"provider": "acme"}), &[&["provider"]]),
        (json!({"provider": "elevenlabs"}), &[&["provider"]]),
        (json!({"provider": "x".repeat(40)}), &[&["provider"]]),
        (json!({"voiceProvider": "heygen"}), &[&["voiceProvider"]]),
        (json!({"avatarId": "look_1"}), &[&["avatarId"]]),
        (
            json!({"provider": "kling", "avatarId": "heygen:look_1"}),
            &[&["avatarId"]],
        ),
        (
            json!({"voiceProvider": "openai", "voiceId": "elevenlabs:v"}),
            &[&["voiceId"]],
        ),
        (
            json!({"provider": "heygen", "excludeProviders": ["heygen"]}),
            &[&["excludeProviders"]],
        ),
        (
            json!({"images": ["ftp://example.com/a.jpg"]}),
            &[&["images", "0"]],
        ),
        (
            json!({"images": ["https://example.com/a.jpg", "nowhere"]}),
            &[&["images", "1"]],
        ),
        (
            json!({"images": ["https://me:secret@example.com/a.jpg"]}),
            &[&["images", "0"]],
        ),
        (json!({"images": links}), &[&["images"]]),
        (json!({"options": {"resolution": "720p"}}), &[&["options"]]),
        (
            json!({"provider": "kling", "options": ["720p"]}),
            &[&["options"]],
        ),
        (
            json!({"provider": "kling", "options": {"resolution": "360p"}}),
            &[&["options", "resolution"]],
        ),
        (
            json!({"provider": "kling", "options": {"model": "kling-99"}}),
            &[&["options", "model"]],
        ),
        (
            json!({"provider": "kling", "options": {"speed": 3}}),
            &[&["options"]],
        ),
    ];
    for (changes, fields) in cases {
        assert_fields(&world, "GenerateVideo", with(wish.clone(), changes), fields).await;
    }
    // Everything that is wrong is named at once.
    let all = json!({"script": "", "language": "?", "maxSeconds": 0, "provider": "acme"});
    let fields: &[&[&str]] = &[&["script"], &["language"], &["maxSeconds"], &["provider"]];
    assert_fields(&world, "GenerateVideo", with(wish.clone(), all), fields).await;

    // What no provider can do is told with the reason of each.
    let wish = with(wish, json!({"excludeProviders": ["heygen", "kling"]}));
    let result = world.client().change("GenerateVideo", wish).await;
    assert_eq!(result["code"], "PROVIDER_UNAVAILABLE", "{result}");
    let why = text(&result, "/message");
    assert!(
        why.contains("heygen") && why.contains("kling") && why.contains("excluded"),
        "{why}"
    );
    assert!(
        crate::support::audit::job_ids(&world.client())
            .await
            .is_empty()
    );
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wishes_for_scripts_voices_and_projects() {
    let world = World::start().await;
    let script = json!({"brief": "A bottle.", "language": "en", "idempotencyKey": "s"});
    let voice = json!({"text": "Hello.", "language": "en", "idempotencyKey": "v"});
    let project = json!({"name": "Aurora"});
    let none = json!({});
    let long = "x".repeat(5_001);
    let cases: Vec<(&str, &Value, Value, &[&[&str]])> = vec![
        (
            "GenerateScript",
            &script,
            json!({"brief": ""}),
            &[&["brief"]],
        ),
        (
            "GenerateScript",
            &script,
            json!({"brief": long}),
            &[&["brief"]],
        ),
        (
            "GenerateScript",
            &script,
            json!({"templateId": "no-such"}),
            &[&["templateId"]],
        ),
        (
            "GenerateScript",
            &script,
            json!({"provider": "kling"}),
            &[&["provider"]],
        ),
        (
            "GenerateScript",
            &script,
            json!({"projectId": "x"}),
            &[&["projectId"]],
        ),
        (
            "GenerateScript",
            &script,
            json!({"language": ""}),
            &[&["language"]],
        ),
        ("GenerateVoice", &voice, json!({"text": ""}), &[&["text"]]),
        (
            "GenerateVoice",
            &voice,
            json!({"text": "x".repeat(20_001)}),
            &[&["text"]],
        ),
        (
            "GenerateVoice",
            &voice,
            json!({"voiceId": "alloy"}),
            &[&["voiceId"]],
        ),
        (
            "GenerateVoice",
            &voice,
            json!({"voiceId": "acme:alloy"}),
            &[&["provider"]],
        ),
        (
            "CreateProject",
            &project,
            json!({"name": " "}),
            &[&["name"]],
        ),
        (
            "CreateProject",
            &project,
            json!({"name": "x".repeat(201)}),
            &[&["name"]],
        ),
        (
            "CreateProject",
            &project,
            json!({"productDescription": long}),
            &[&["productDescription"]],
        ),
        (
            "CreateProject",
            &project,
            json!({"productImages": ["file:///etc/passwd"]}),
            &[&["productImages", "0"]],
        ),
        ("CancelJob", &none, json!({"jobId": "prj_1"}), &[&["jobId"]]),
        ("RetryJob", &none, json!({"jobId": ""}), &[&["jobId"]]),
    ];
    for (name, wish, changes, fields) in cases {
        assert_fields(&world, name, with(wish.clone(), changes), fields).await;
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_and_documents() {
    let world = World::start().await;
    let cases: Vec<(&str, Value, &str, Option<&str>)> = vec![
        (
            "query($id: ID!) { job(id: $id) { id } }",
            json!({"id": "x"}),
            "INVALID_INPUT",
            Some("id"),
        ),
        (
            "query($id: ID!) { node(id: $id) { id } }",
            json!({"id": ""}),
            "INVALID_INPUT",
            Some("id"),
        ),
        (
            "{ jobs(first: 0) { nodes { id } } }",
            json!({}),
            "INVALID_INPUT",
            Some("first"),
        ),
        (
            "{ jobs(first: 101) { nodes { id } } }",
            json!({}),
            "INVALID_INPUT",
            Some("first"),
        ),
        (
            "{ jobs(after: \"?\") { nodes { id } } }",
            json!({}),
            "INVALID_INPUT",
            Some("after"),
        ),
        (
            "{ jobs(filter: {projectId: \"x\"}) { nodes { id } } }",
            json!({}),
            "INVALID_INPUT",
            Some("filter.projectId"),
        ),
        ("{ nothing }", json!({}), "GRAPHQL_VALIDATION_FAILED", None),
        (
            "{ jobs(filter: {status: GONE}) { nodes { id } } }",
            json!({}),
            "GRAPHQL_VALIDATION_FAILED",
            None,
        ),
        ("{ me { id }", json!({}), "GRAPHQL_PARSE_FAILED", None),
        (
            "mutation { createProject { __typename } }",
            json!({}),
            "GRAPHQL_VALIDATION_FAILED",
            None,
        ),
    ];
    for (query, variables, code, field) in cases {
        assert_refused(&world, query, variables, code, field).await;
    }
    // Variables that do not fit the schema name the variable.
    let missing = json!({"input": {"language": "en", "aspect": "ROUND", "idempotencyKey": "k"}});
    let answer = world
        .client()
        .send(document("GenerateVideo"), missing)
        .await;
    let error = &answer["errors"][0];
    assert!(text(error, "/message").contains("input"), "{answer:#}");
    assert!(error["extensions"]["code"].is_string(), "{answer:#}");

    let deep = format!(
        "{{ jobs {{ nodes {{ {} }} }} }}",
        "project { id } ".repeat(1_200)
    );
    assert_refused(&world, &deep, json!({}), "QUERY_TOO_COMPLEX", None).await;
    let client = world.client();
    let large = vec![b' '; 2 << 20];
    let status = client
        .post("/graphql", &[("content-type", "application/json")], large)
        .await;
    assert_eq!(status.as_u16(), 413);
    let status = client
        .post(
            "/graphql",
            &[("content-type", "text/plain")],
            b"{}".to_vec(),
        )
        .await;
    assert_eq!(status.as_u16(), 415);
    world.audit().await;
}
