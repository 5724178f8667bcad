//! Endpoints of webhooks, as their owners see them.

use std::{sync::Arc, time::Duration};

use genvid::{
    accounts::User,
    time,
    webhooks::{Attempt, Verdict},
};
use serde_json::{Value, json};

use crate::harness::Bench;

const CREATE: &str = "mutation ($input: CreateWebhookEndpointInput!) {
    createWebhookEndpoint(input: $input) { __typename
    ... on CreateWebhookEndpointSuccess { secret endpoint { id url eventTypes description enabled } }
    ... on InvalidInputProblem { problems { path message } }
    ... on Problem { code message path } } }";
const UPDATE: &str = "mutation ($input: UpdateWebhookEndpointInput!) {
    updateWebhookEndpoint(input: $input) { __typename
    ... on UpdateWebhookEndpointSuccess { endpoint { id url eventTypes description enabled
        disabledReason disabledAt } }
    ... on Problem { code message path } } }";
const DELETE: &str = "mutation ($input: DeleteWebhookEndpointInput!) {
    deleteWebhookEndpoint(input: $input) { __typename
    ... on DeleteWebhookEndpointSuccess { deletedEndpointId }
    ... on Problem { code message path } } }";
const ROTATE: &str = "mutation ($input: RotateWebhookSecretInput!) {
    rotateWebhookSecret(input: $input) { __typename
    ... on RotateWebhookSecretSuccess { secret endpoint { id previousSecretUntil } }
    ... on Problem { code message path } } }";
const TEST: &str = "mutation ($input: SendTestWebhookInput!) {
    sendTestWebhook(input: $input) { __typename
    ... on SendTestWebhookSuccess { delivery { id messageId eventType status jobId } }
    ... on Problem { code message path } } }";
const REDELIVER: &str = "mutation ($input: RedeliverWebhookInput!) {
    redeliverWebhook(input: $input) { __typename
    ... on RedeliverWebhookSuccess { delivery { id messageId status attempts { status } } }
    ... on Problem { code message path } } }";
const ENDPOINT: &str = "query ($id: ID!) { webhookEndpoint(id: $id) { id url
    deliveries(first: 10) { pageInfo { hasNextPage }
    nodes { id messageId eventType status jobId nextAttemptAt completedAt
        attempts { status error response durationMs } } } } }";
const JOBS: &str = "{ jobWebhookSecret { secret endpoint { id url enabled } } }";

/// The result of a mutation that is expected to run.
async fn done(bench: &Bench, user: &Arc<User>, mutation: &str, input: Value) -> Value {
    let variables = json!({ "input": input });
    let answer = bench.answer(Some(user), mutation, variables).await;
    assert_eq!(answer.get("errors"), None, "{answer}");
    let data = answer["data"].as_object().expect("data");
    data.values().next().expect("one result").clone()
}

async fn created(bench: &Bench) -> (String, String) {
    let input = json!({"url": "https://example.com/hook"});
    let made = done(bench, &bench.ann, CREATE, input).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&made["endpoint"]["id"]), text(&made["secret"]))
}

#[tokio::test]
async fn an_endpoint_from_its_beginning_to_its_end() {
    let bench = Bench::new().await;
    let input = json!({"url": "https://example.com/hook", "description": " Shop ",
        "eventTypes": ["JOB_FAILED", "JOB_QUEUED", "JOB_FAILED"]});
    let made = done(&bench, &bench.ann, CREATE, input).await;
    let secret = made["secret"].as_str().expect("a secret");
    assert!(secret.starts_with("whsec_"), "{secret}");
    let id = made["endpoint"]["id"].clone();
    assert_eq!(
        made["endpoint"],
        json!({"id": id, "url": "https://example.com/hook", "description": "Shop",
            "eventTypes": ["JOB_QUEUED", "JOB_FAILED"], "enabled": true})
    );
    let changed = json!({"endpointId": id, "url": "https://example.com:8443/new",
        "eventTypes": ["JOB_STARTED"], "enabled": false});
    let changed = done(&bench, &bench.ann, UPDATE, changed).await;
    let endpoint = &changed["endpoint"];
    assert_eq!(endpoint["url"], "https://example.com:8443/new");
    assert_eq!(endpoint["eventTypes"], json!(["JOB_STARTED"]));
    assert_eq!(endpoint["description"], "Shop");
    assert_eq!(endpoint["enabled"], false);
    assert_eq!(endpoint["disabledReason"], "OWNER");
    let test = json!({"endpointId": id});
    let refused = done(&bench, &bench.ann, TEST, test.clone()).await;
    assert_eq!(refused["code"], "CONFLICT", "{refused}");
    let enabled = json!({"endpointId": id, "enabled": true});
    let enabled = done(&bench, &bench.ann, UPDATE, enabled).await;
    assert_eq!(enabled["endpoint"]["disabledAt"], Value::Null);
    let rotated = done(&bench, &bench.ann, ROTATE, test.clone()).await;
    assert_ne!(rotated["secret"], made["secret"]);
    assert!(rotated["endpoint"]["previousSecretUntil"].is_string());
    let deleted = done(&bench, &bench.ann, DELETE, test.clone()).await;
    assert_eq!(deleted["deletedEndpointId"], id);
    let gone = bench.data(ENDPOINT, json!({ "id": id })).await;
    assert_eq!(gone["webhookEndpoint"], Value::Null);
    for mutation in [UPDATE, DELETE, ROTATE, TEST] {
        let missing = done(&bench, &bench.ann, mutation, test.clone()).await;
        assert_eq!(missing["code"], "NOT_FOUND", "{missing}");
        assert_eq!(missing["path"], json!(["endpointId"]));
    }
}

/// What leads inside is refused as soon as it can be seen; where names lead is looked at when
/// something is sent.
#[tokio::test]
async fn addresses_that_lead_inside_are_refused() {
    let bench = Bench::new().await;
    for url in [
        "http://example.com/hook",
        "ftp://example.com/hook",
        "https://user@example.com/",
        "https://user:word@example.com/",
        "https://example.com:22/",
        "https://example.com:6379/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[fd00::1]/",
        "https://localhost/",
        "https://localhost./",
        "https://hook.localhost/",
        "https://db/",
        // Dots of other scripts are dots.
        "https://127\u{3002}0\u{3002}0\u{3002}1/",
        "https://\u{2460}27.0.0.1/",
        "hook",
        "",
    ] {
        let refused = done(&bench, &bench.ann, CREATE, json!({ "url": url })).await;
        assert_eq!(refused["code"], "INVALID_INPUT", "{url}: {refused}");
        assert_eq!(refused["path"], json!(["url"]), "{url}");
    }
    let long = format!("https://example.com/{}", "x".repeat(2_000));
    let input = json!({"url": long, "eventTypes": [], "description": "x".repeat(201)});
    let refused = done(&bench, &bench.ann, CREATE, input).await;
    let fields: Vec<_> = refused["problems"]
        .as_array()
        .expect("problems")
        .iter()
        .map(|problem| problem["path"][0].as_str().expect("a field"))
        .collect();
    assert_eq!(fields, ["url", "eventTypes", "description"]);
    let (id, _) = created(&bench).await;
    let change = json!({"endpointId": id, "url": "https://127.0.0.1/"});
    let refused = done(&bench, &bench.ann, UPDATE, change).await;
    assert_eq!(refused["path"], json!(["url"]));

    // Of a job too.
    const SPEAK: &str = "mutation ($input: GenerateVoiceInput!) { generateVoice(input: $input) {
        ... on Problem { code path } } }";
    let wish = json!({"text": "Hello", "language": "en", "idempotencyKey": "k",
        "webhookUrl": "https://169.254.169.254/"});
    let refused = done(&bench, &bench.ann, SPEAK, wish).await;
    assert_eq!(
        refused,
        json!({"code": "INVALID_INPUT", "path": ["webhookUrl"]})
    );
}

#[tokio::test]
async fn a_user_has_so_many_endpoints() {
    let bench = Bench::new().await;
    for _ in 0..10 {
        created(&bench).await;
    }
    let input = json!({"url": "https://example.com/hook"});
    let refused = done(&bench, &bench.ann, CREATE, input.clone()).await;
    assert_eq!(refused["code"], "CONFLICT", "{refused}");
    let other = done(&bench, &bench.bob, CREATE, input).await;
    assert_eq!(other["__typename"], "CreateWebhookEndpointSuccess");
    let page = "query ($after: String) { webhookEndpoints(first: 6, after: $after) {
        nodes { id } pageInfo { endCursor hasNextPage } } }";
    let first = bench.data(page, json!({})).await["webhookEndpoints"].take();
    assert_eq!(first["nodes"].as_array().map(Vec::len), Some(6));
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let after = json!({"after": first["pageInfo"]["endCursor"]});
    let second = bench.data(page, after).await["webhookEndpoints"].take();
    assert_eq!(second["nodes"].as_array().map(Vec::len), Some(4));
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
}

#[tokio::test]
async fn attempts_are_seen_and_made_again() {
    let bench = Bench::new().await;
    let (id, _) = created(&bench).await;
    let sent = done(&bench, &bench.ann, TEST, json!({ "endpointId": id })).await;
    assert_eq!(sent["delivery"]["eventType"], "WEBHOOK_TEST");
    assert_eq!(sent["delivery"]["status"], "PENDING");
    let lease = Duration::from_secs(60);
    let claimed = bench.database.claim_deliveries(lease, 10, 10).await;
    let taken = claimed.expect("claimed").remove(0);
    let attempt = Attempt {
        at: time::now(),
        duration_ms: 15_000,
        status: None,
        error: Some("no answer in time".to_owned()),
        response: String::new(),
    };
    let settled = bench
        .database
        .settle_delivery(taken, attempt, Verdict::Exhausted, lease);
    settled.await.expect("settled");
    let seen = bench.data(ENDPOINT, json!({ "id": id })).await;
    let delivery = &seen["webhookEndpoint"]["deliveries"]["nodes"][0];
    assert_eq!(delivery["status"], "EXHAUSTED");
    assert_eq!(delivery["messageId"], sent["delivery"]["messageId"]);
    assert_eq!(delivery["nextAttemptAt"], Value::Null);
    assert!(delivery["completedAt"].is_string());
    let told = json!([{"status": null, "error": "no answer in time", "response": "",
        "durationMs": 15_000}]);
    assert_eq!(delivery["attempts"], told);
    let again = json!({"deliveryId": delivery["id"]});
    let stranger = done(&bench, &bench.bob, REDELIVER, again.clone()).await;
    assert_eq!(stranger["code"], "NOT_FOUND");
    assert_eq!(stranger["path"], json!(["deliveryId"]));
    let again = done(&bench, &bench.ann, REDELIVER, again).await;
    assert_eq!(again["delivery"]["status"], "PENDING");
    assert_eq!(
        again["delivery"]["messageId"],
        sent["delivery"]["messageId"]
    );
    assert_eq!(again["delivery"]["attempts"], json!([{"status": null}]));
}

#[tokio::test]
async fn a_strangers_endpoint_answers_like_a_missing_one() {
    let bench = Bench::new().await;
    let (anns, _) = created(&bench).await;
    let missing = "whe_01a204190f667761916d48463c070a46";
    let without_ids = |answer: Value, id: &str| answer.to_string().replace(id, "ID");
    for mutation in [UPDATE, DELETE, ROTATE, TEST] {
        let mut answers = Vec::new();
        for id in [anns.as_str(), missing] {
            let input = json!({ "input": { "endpointId": id } });
            let answer = bench
                .answer(Some(&bench.bob), mutation, input.clone())
                .await;
            answers.push(without_ids(answer, id));
            let nobody = bench.answer(None, mutation, input).await;
            let code = &nobody["errors"][0]["extensions"]["code"];
            assert_eq!(code, "UNAUTHENTICATED");
        }
        assert_eq!(answers[0], answers[1]);
        assert!(answers[0].contains("NOT_FOUND"), "{}", answers[0]);
    }
    for id in [anns.as_str(), missing] {
        let answer = bench
            .answer(Some(&bench.bob), ENDPOINT, json!({ "id": id }))
            .await;
        assert_eq!(answer, json!({"data": {"webhookEndpoint": null}}));
    }
}

#[tokio::test]
async fn jobs_own_addresses_have_one_secret() {
    let bench = Bench::new().await;
    let first = bench.data(JOBS, json!({})).await["jobWebhookSecret"].take();
    assert_eq!(first["endpoint"]["url"], Value::Null);
    assert_eq!(first["endpoint"]["enabled"], true);
    let again = bench.data(JOBS, json!({})).await["jobWebhookSecret"].take();
    assert_eq!(first, again);
    let other = bench.answer(Some(&bench.bob), JOBS, json!({})).await;
    assert_ne!(other["data"]["jobWebhookSecret"]["secret"], first["secret"]);
    let input = json!({"endpointId": first["endpoint"]["id"]});
    let rotated = done(&bench, &bench.ann, ROTATE, input.clone()).await;
    let now = bench.data(JOBS, json!({})).await["jobWebhookSecret"].take();
    assert_eq!(now["secret"], rotated["secret"]);
    assert_ne!(now["secret"], first["secret"]);
    for mutation in [UPDATE, DELETE, TEST] {
        let refused = done(&bench, &bench.ann, mutation, input.clone()).await;
        assert_eq!(refused["code"], "CONFLICT", "{refused}");
    }
}
