//! Who sees what.

use serde_json::json;

use crate::harness::{Bench, COMPLEXITY};

#[tokio::test]
async fn nobody_sees_only_what_is_public() {
    let bench = Bench::new().await;
    let open = "{ me { id } providers { id unavailableReason } scriptTemplates { id name } }";
    let answer = bench.answer(None, open, json!({})).await;
    assert_eq!(answer.get("errors"), None);
    assert_eq!(answer["data"]["me"], json!(null));
    assert_eq!(answer["data"]["scriptTemplates"][0]["id"], "product-launch");
    let id = "job_00000000000000000000000000000000";
    for closed in [
        format!("{{ job(id: \"{id}\") {{ id }} }}"),
        format!("{{ node(id: \"{id}\") {{ id }} }}"),
        "{ project(id: \"prj_00000000000000000000000000000000\") { id } }".to_owned(),
        "{ projects { nodes { id } } }".to_owned(),
        "{ jobs { nodes { id } } }".to_owned(),
        "{ avatars { nodes { id } } }".to_owned(),
        "{ voices { nodes { id } } }".to_owned(),
        "mutation { createProject(input: { name: \"A\" }) { __typename } }".to_owned(),
        "mutation { deleteProject(input: { id: \"x\" }) { __typename } }".to_owned(),
        "mutation { updateProject(input: { id: \"x\" }) { __typename } }".to_owned(),
        format!("mutation {{ cancelJob(input: {{ jobId: \"{id}\" }}) {{ __typename }} }}"),
        format!("mutation {{ retryJob(input: {{ jobId: \"{id}\" }}) {{ __typename }} }}"),
        "mutation { generateScript(input: { brief: \"b\", language: \"en\",
            idempotencyKey: \"k\" }) { __typename } }"
            .to_owned(),
        "mutation { generateVoice(input: { text: \"b\", language: \"en\",
            idempotencyKey: \"k\" }) { __typename } }"
            .to_owned(),
        "mutation { generateVideo(input: { projectId: \"x\", language: \"en\",
            aspect: SQUARE, idempotencyKey: \"k\" }) { __typename } }"
            .to_owned(),
    ] {
        let answer = bench.answer(None, &closed, json!({})).await;
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "UNAUTHENTICATED", "{closed}");
        assert_eq!(error["extensions"]["retryable"], false);
    }
}

#[tokio::test]
async fn another_users_things_are_as_if_they_were_not_there() {
    let bench = Bench::new().await;
    let project = bench.create_project("Bottle").await;
    let job = bench.accept_video(Some(&project)).await.to_string();
    let bob = Some(&bench.bob);
    for (query, id) in [
        ("query ($id: ID!) { it: project(id: $id) { id } }", &project),
        ("query ($id: ID!) { it: node(id: $id) { id } }", &project),
        ("query ($id: ID!) { it: job(id: $id) { id } }", &job),
        ("query ($id: ID!) { it: node(id: $id) { id } }", &job),
    ] {
        let mine = bench.data(query, json!({ "id": id })).await;
        assert_eq!(mine["it"]["id"].as_str(), Some(id.as_str()));
        let theirs = bench.answer(bob, query, json!({ "id": id })).await;
        assert_eq!(theirs, json!({ "data": { "it": null } }), "{query}");
    }
    let ann = bench.ann.id.to_string();
    let node = "query ($id: ID!) { node(id: $id) { ... on User { email } } }";
    let me = bench.data(node, json!({ "id": ann })).await;
    assert_eq!(me["node"]["email"], "ann@example.com");
    let theirs = bench.answer(bob, node, json!({ "id": ann })).await;
    assert_eq!(theirs["data"]["node"], json!(null));

    let lists = "{ projects { nodes { id } } jobs { nodes { id } } }";
    let theirs = bench.answer(bob, lists, json!({})).await;
    assert_eq!(theirs["data"]["projects"]["nodes"], json!([]));
    assert_eq!(theirs["data"]["jobs"]["nodes"], json!([]));

    let problem = "mutation ($id: ID!) {
        cancelJob(input: { jobId: $id }) { ... on Problem { code path } } }";
    let theirs = bench.answer(bob, problem, json!({ "id": job })).await;
    assert_eq!(
        theirs["data"]["cancelJob"],
        json!({ "code": "NOT_FOUND", "path": ["jobId"] })
    );
    let rename = "mutation ($id: ID!) {
        updateProject(input: { id: $id, name: \"Mine\" }) { ... on Problem { code path } } }";
    let theirs = bench.answer(bob, rename, json!({ "id": project })).await;
    assert_eq!(
        theirs["data"]["updateProject"],
        json!({ "code": "NOT_FOUND", "path": ["id"] })
    );
}

#[tokio::test]
async fn ids_that_are_none_are_told_by_their_argument() {
    let bench = Bench::new().await;
    let user = bench.ann.id.to_string();
    for (query, id) in [
        ("query ($id: ID!) { job(id: $id) { id } }", "garbage"),
        ("query ($id: ID!) { job(id: $id) { id } }", user.as_str()),
        ("query ($id: ID!) { project(id: $id) { id } }", ""),
        ("query ($id: ID!) { node(id: $id) { id } }", "heygen"),
    ] {
        let error = bench.error(query, json!({ "id": id })).await;
        assert_eq!(error["extensions"]["code"], "INVALID_INPUT", "{query}");
        assert_eq!(error["extensions"]["field"], "id");
    }
}

#[tokio::test]
async fn costly_queries_are_refused_before_they_run() {
    let bench = Bench::new().await;
    let fields = (0..40)
        .map(|n| format!("a{n}: id"))
        .collect::<Vec<_>>()
        .join(" ");
    let query =
        format!("{{ jobs(first: 100) {{ nodes {{ steps {{ attempts {{ {fields} }} }} }} }} }}");
    let error = bench.error(&query, json!({})).await;
    assert_eq!(error["message"], "Query is too complex.");
    // A page of the usual size with everything in it is within the budget.
    let everything = include_str!("../../../graphql/operations/Job.graphql");
    let body = everything
        .split_once("job(id: $id)")
        .and_then(|(_, rest)| rest.rsplit_once('}'))
        .expect("the document's shape")
        .0;
    let query = format!("{{ jobs {{ nodes {body} }} }}");
    bench.data(&query, json!({})).await;
    const { assert!(COMPLEXITY <= 20_000) };
}
