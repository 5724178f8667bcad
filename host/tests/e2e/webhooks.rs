//! Webhooks, as their receivers see them.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    list,
    receiver::{Got, Receiver, Reply},
    text, until,
    world::{Setup, World},
};

pub(crate) const CREATE: &str = "mutation ($input: CreateWebhookEndpointInput!) {
    result: createWebhookEndpoint(input: $input) {
    ... on CreateWebhookEndpointSuccess { secret endpoint { id } } ... on Problem { message } } }";
pub(crate) const ROTATE: &str = "mutation ($input: RotateWebhookSecretInput!) {
    result: rotateWebhookSecret(input: $input) {
    ... on RotateWebhookSecretSuccess { secret } ... on Problem { message } } }";
const TEST: &str = "mutation ($input: SendTestWebhookInput!) {
    result: sendTestWebhook(input: $input) {
    ... on SendTestWebhookSuccess { delivery { id messageId } } ... on Problem { message } } }";
const REDELIVER: &str = "mutation ($input: RedeliverWebhookInput!) {
    result: redeliverWebhook(input: $input) {
    ... on RedeliverWebhookSuccess { delivery { id } } ... on Problem { message } } }";
const ENDPOINT: &str = "query ($id: ID!) { webhookEndpoint(id: $id) {
    enabled disabledReason deliveries { nodes { id messageId eventType status jobId
    attempts { status error response durationMs } } } } }";
pub(crate) const SECRET: &str = "{ jobWebhookSecret { secret endpoint { id } } }";

async fn start() -> World {
    Setup::default()
        .set("webhooks.retry_seconds", "[0, 0, 1]")
        .set("webhooks.timeout_seconds", 2)
        .start()
        .await
}

async fn result(client: &Client, mutation: &str, input: Value) -> Value {
    client.ask(mutation, json!({ "input": input })).await["result"].take()
}

/// An endpoint at this address; its id and secret.
async fn endpoint(client: &Client, url: &str, types: Value) -> (String, String) {
    let input = json!({"url": url, "eventTypes": types});
    let made = result(client, CREATE, input).await;
    let id = text(&made, "/endpoint/id").to_owned();
    (id, text(&made, "/secret").to_owned())
}

async fn test(client: &Client, endpoint: &str) -> String {
    let sent = result(client, TEST, json!({ "endpointId": endpoint })).await;
    text(&sent, "/delivery/id").to_owned()
}

/// A delivery to an endpoint, once it is in this state, with the endpoint.
async fn settled(client: &Client, endpoint: &str, delivery: &str, status: &str) -> (Value, Value) {
    let found = until(&format!("the delivery is {status}"), || async {
        let data = client.ask(ENDPOINT, json!({ "id": endpoint })).await;
        let all = list(&data, "/webhookEndpoint/deliveries/nodes").to_vec();
        let found = all.into_iter().find(|one| one["id"] == delivery)?;
        (found["status"] == status).then_some(found)
    })
    .await;
    // Asked anew: the first answer may have read its endpoint before the last attempt ended.
    let data = client.ask(ENDPOINT, json!({ "id": endpoint })).await;
    (found, data["webhookEndpoint"].clone())
}

fn statuses(delivery: &Value) -> Vec<Value> {
    let attempts = list(delivery, "/attempts").iter();
    attempts.map(|attempt| attempt["status"].clone()).collect()
}

fn seconds(got: &Got) -> i64 {
    got.header("webhook-timestamp").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_job_is_told_and_signed() {
    let world = start().await;
    let (client, receiver) = (world.client(), Receiver::start().await);
    let types = json!(["JOB_QUEUED", "JOB_STARTED", "JOB_SUCCEEDED"]);
    let (_, secret) = endpoint(&client, &receiver.at("/all"), types).await;
    let mine = client.ask(SECRET, json!({})).await["jobWebhookSecret"].take();
    let job = world
        .voice(json!({"webhookUrl": receiver.at("/mine")}))
        .await;
    client.ended(&job, "SUCCEEDED").await;
    let all = receiver.wait(4).await;
    let told = |path: &str| -> Vec<Got> {
        let found = all.iter().filter(|got| got.path == path);
        found.cloned().collect()
    };
    let mut kinds: Vec<_> = told("/all").iter().map(Got::kind).collect();
    kinds.sort();
    assert_eq!(kinds, ["job.queued", "job.started", "job.succeeded"]);
    for got in told("/all") {
        assert_eq!(got.signatures_of(&secret), 1, "{got:?}");
        assert_eq!(got.header("content-type"), "application/json");
        assert!(got.header("webhook-id").starts_with("msg_"));
        assert!(got.body.len() <= 20_000);
        assert_eq!(got.json()["data"]["jobId"], job);
    }
    let [last] = told("/mine").try_into().expect("one");
    assert_eq!(last.kind(), "job.succeeded");
    assert_eq!(last.signatures_of(text(&mine, "/secret")), 1);
    assert_eq!(last.signatures_of(&secret), 0);
    let data = last.json()["data"].take();
    assert_eq!(data["status"], "SUCCEEDED");
    assert_eq!(data["kind"], "VOICE");
    assert_eq!(data["error"], Value::Null);
    // The event's number leads on in the job's log.
    let log = client.log(&job).await;
    assert_eq!(data["seq"], log.last().expect("events")["seq"]);
    let voice = client.download(text(&data, "/links/voice")).await;
    assert!(!voice.is_empty());
    assert_eq!(receiver.got().len(), 4, "nothing is told twice");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_arrive_is_sent_again_with_the_same_id() {
    let world = start().await;
    let (client, receiver) = (world.client(), Receiver::start().await);
    let (id, secret) = endpoint(&client, &receiver.at("/"), json!(null)).await;
    receiver.answer([Reply::Status(500), Reply::Status(500)]);
    let delivery = test(&client, &id).await;
    let (done, _) = settled(&client, &id, &delivery, "SUCCEEDED").await;
    assert_eq!(statuses(&done), [json!(500), json!(500), json!(200)]);
    assert_eq!(done["attempts"][0]["response"], "thanks");
    let all = receiver.got();
    assert_eq!(all.len(), 3);
    for got in &all {
        assert_eq!(got.header("webhook-id"), text(&done, "/messageId"));
        assert_eq!(got.body, all[0].body);
        // Of the attempt's own time.
        assert_eq!(got.signatures_of(&secret), 1);
    }
    assert!(seconds(&all[2]) > seconds(&all[0]));

    // When every attempt fails, that is the end; its owner can begin anew.
    receiver.answer([Reply::Status(404), Reply::Status(301), Reply::Status(500)]);
    let delivery = test(&client, &id).await;
    let (failed, seen) = settled(&client, &id, &delivery, "EXHAUSTED").await;
    assert_eq!(statuses(&failed), [json!(404), json!(301), json!(500)]);
    assert_eq!(seen["enabled"], true);
    result(&client, REDELIVER, json!({ "deliveryId": delivery })).await;
    let (done, _) = settled(&client, &id, &delivery, "SUCCEEDED").await;
    assert_eq!(statuses(&done).len(), 4);
    let all = receiver.got();
    let again = all.last().expect("one");
    assert_eq!(again.header("webhook-id"), text(&failed, "/messageId"));

    // Who asks for time gets it.
    receiver.answer([Reply::Later(503, 2)]);
    let began = Instant::now();
    let delivery = test(&client, &id).await;
    settled(&client, &id, &delivery, "SUCCEEDED").await;
    assert!(began.elapsed() >= Duration::from_secs(2));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_receivers_cost_little_and_lead_nowhere() {
    let world = start().await;
    let (client, receiver) = (world.client(), Receiver::start().await);
    let trap = Receiver::start().await;
    let (id, _) = endpoint(&client, &receiver.at("/"), json!(null)).await;
    receiver.answer([
        Reply::Redirect(trap.at("/inside")),
        Reply::Slow(Duration::from_secs(60)),
        Reply::Endless,
    ]);
    let delivery = test(&client, &id).await;
    let (done, _) = settled(&client, &id, &delivery, "SUCCEEDED").await;
    assert_eq!(statuses(&done), [json!(302), json!(null), json!(200)]);
    assert!(trap.got().is_empty(), "nobody follows");
    let slow = &done["attempts"][1];
    assert_eq!(slow["error"], "no answer in time");
    let took = slow["durationMs"].as_i64().expect("a number");
    assert!((2_000..10_000).contains(&took), "{took} ms");
    assert_eq!(text(&done, "/attempts/2/response").len(), 1_024);

    let nobody = {
        // Somebody who was there and is not any more.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let (dead, _) = endpoint(&client, &format!("http://{nobody}/"), json!(null)).await;
    let delivery = test(&client, &dead).await;
    let (failed, _) = settled(&client, &dead, &delivery, "EXHAUSTED").await;
    let error = text(&failed, "/attempts/0/error");
    assert!(error.starts_with("no connection"), "{error}");

    receiver.answer([Reply::Status(410)]);
    let delivery = test(&client, &id).await;
    let (_, seen) = settled(&client, &id, &delivery, "EXHAUSTED").await;
    assert_eq!(seen["enabled"], false);
    assert_eq!(seen["disabledReason"], "GONE");
    let refused = result(&client, TEST, json!({ "endpointId": id })).await;
    assert!(text(&refused, "/message").contains("disabled"));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_rotated_while_both_sign() {
    let world = start().await;
    let (client, receiver) = (world.client(), Receiver::start().await);
    let (id, old) = endpoint(&client, &receiver.at("/"), json!(null)).await;
    let rotated = result(&client, ROTATE, json!({ "endpointId": id })).await;
    let new = text(&rotated, "/secret");
    assert_ne!(new, old);
    test(&client, &id).await;
    let [got] = receiver.wait(1).await.try_into().expect("one");
    assert_eq!((got.signatures_of(new), got.signatures_of(&old)), (1, 1));
    // A day later the old one is forgotten.
    let by = world.database().milliseconds(25 * 3_600_000);
    let sql = format!("UPDATE webhook_endpoints SET previous_until = previous_until - {by}");
    world.database().run(sql).await;
    test(&client, &id).await;
    let got = receiver.wait(2).await.remove(1);
    assert_eq!((got.signatures_of(new), got.signatures_of(&old)), (1, 0));
    let log = world.server().log();
    for secret in [new, old.as_str()] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    world.audit().await;
}

/// SIGKILL when the job has ended and nothing is told yet, and once more while it is being
/// told: it arrives, under one id.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_event_and_its_delivery_loses_nothing() {
    let mut world = start().await;
    let receiver = Receiver::start().await;
    let (id, secret) = endpoint(&world.client(), &receiver.at("/"), json!(null)).await;
    // Nothing can be told before the kill: the first receiver never answers.
    receiver.answer([Reply::Slow(Duration::from_secs(600))]);
    let job = world.voice(json!({})).await;
    receiver.wait(1).await;
    world.kill();
    // As if the dead node had just not come so far.
    let sql = "UPDATE webhook_deliveries SET lease_until = NULL, tries = 0";
    world.database().run(sql.to_owned()).await;
    receiver.answer([Reply::Slow(Duration::from_secs(600))]);
    world.start_again().await;
    receiver.wait(2).await;
    world.kill_and_start_again().await;
    // This time the lease has to end.
    let all = receiver.wait(3).await;
    let client = world.client();
    client.ended(&job, "SUCCEEDED").await;
    for got in &all {
        assert_eq!(got.kind(), "job.succeeded");
        assert_eq!(got.header("webhook-id"), all[0].header("webhook-id"));
        assert_eq!(got.signatures_of(&secret), 1);
        assert_eq!(got.json()["data"]["jobId"], job);
    }
    let data = client.ask(ENDPOINT, json!({ "id": id })).await;
    let delivery = list(&data, "/webhookEndpoint/deliveries/nodes")[0].clone();
    settled(&client, &id, text(&delivery, "/id"), "SUCCEEDED").await;
    world.audit().await;
}

/// The key that seals changes, as the guide for operators says it.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_outlive_the_key_that_sealed_them() {
    const KEY: &str = "GENVID__ENCRYPTION__KEY";
    const PREVIOUS: &str = "GENVID__ENCRYPTION__PREVIOUS_KEYS";
    let [old, new] = [7, 8].map(|byte| STANDARD.encode([byte; 32]));
    let mut world = Setup::default().set("encryption.key", &old).start().await;
    let receiver = Receiver::start().await;
    let (id, secret) = endpoint(&world.client(), &receiver.at("/"), json!(null)).await;
    let told = |world: &World| {
        let client = world.client();
        let id = id.clone();
        async move {
            let delivery = test(&client, &id).await;
            settled(&client, &id, &delivery, "SUCCEEDED").await;
        }
    };

    world.launch.env.retain(|(name, _)| name != KEY);
    let both = [(KEY, new), (PREVIOUS, format!("[\"{old}\"]"))];
    (world.launch.env).extend(both.map(|(name, value)| (name.to_owned(), value)));
    world.kill_and_start_again().await;
    told(&world).await;
    for keys in [1, 0] {
        let sealed = world.run_beside(&["admin", "reseal", "--json"]).await;
        assert!(sealed.status.success(), "{sealed:?}");
        let sealed: Value = serde_json::from_slice(&sealed.stdout).expect("JSON");
        assert_eq!(
            sealed,
            json!({"signingKeys": keys, "webhookEndpoints": keys, "providerSecrets": 0})
        );
    }

    world.launch.env.retain(|(name, _)| name != PREVIOUS);
    world.kill_and_start_again().await;
    told(&world).await;
    for got in receiver.wait(2).await {
        assert_eq!(got.signatures_of(&secret), 1, "{got:?}");
    }
}
