//! Vendors that are left alone for a while, and how it is found out that they work again.

use genvid_testkit::{Fault, FaultKind, Vendor};
use serde_json::{Value, json};

use crate::support::{
    attempts, list, step, text, until,
    world::{Setup, World},
};

const HEYGEN: &str = "POST /v3/videos";
const OPENAI: &str = "POST /v1/chat/completions";

const STEPS: &str = "query($id: ID!) { job(id: $id) { status steps { kind status retryAt
    error { code message } attempts { id } } } }";
const HEALTH: &str =
    "{ providers { id health { state openUntil reason successRate p50 p95 samples }
    models { id health { state } } } }";

/// How a provider stands.
async fn health(world: &World, provider: &str) -> Value {
    let data = world.client().ask(HEALTH, json!({})).await;
    let found = list(&data, "/providers")
        .iter()
        .find(|p| p["id"] == provider);
    found.expect("installed")["health"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_fails_is_left_alone_and_found_again() {
    let world = Setup::default()
        .set("routing.failures", 2)
        .set("routing.open_seconds", 8)
        .start()
        .await;
    world.fault(
        Vendor::HeyGen,
        [Fault::new(HEYGEN, FaultKind::Unavailable).times(2)],
    );
    assert_eq!(health(&world, "heygen").await["state"], "CLOSED");
    let client = world.client();
    let first = client
        .ended(&world.film(json!({})).await, "SUCCEEDED")
        .await;
    assert_eq!(
        attempts(&first, "VIDEO"),
        [
            "heygen FAILED NOT_CHARGED",
            "heygen FAILED NOT_CHARGED",
            "kling SUCCEEDED CHARGED"
        ],
        "the third try goes elsewhere"
    );
    let stands = health(&world, "heygen").await;
    assert_ne!(stands["state"], "CLOSED", "{stands}");
    assert!(
        stands["openUntil"].is_string() && stands["reason"].is_string(),
        "{stands}"
    );
    assert_eq!(health(&world, "kling").await["state"], "CLOSED");
    let log = client.log(text(&first, "/id")).await;
    let words = log
        .iter()
        .filter(|event| event["type"] == "STEP_FAILED_OVER")
        .map(|event| text(event, "/message"));
    assert_eq!(
        words.collect::<Vec<_>>(),
        ["heygen is left alone for now. Going on with kling"]
    );
    // After its time one call finds out.
    until("heygen is asked again", || async {
        let next = world.film(json!({})).await;
        let next = client.ended(&next, "SUCCEEDED").await;
        (attempts(&next, "VIDEO") == ["heygen SUCCEEDED CHARGED"]).then_some(())
    })
    .await;
    let closed = || async { (health(&world, "heygen").await["state"] == "CLOSED").then_some(()) };
    until("the circuit is closed", closed).await;
    world.assert_faults_struck(Vendor::HeyGen);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nobody_else_a_step_waits_and_that_is_no_try() {
    let world = Setup::default()
        .set("routing.failures", 2)
        .set("routing.open_seconds", 4)
        .start()
        .await;
    world.fault(
        Vendor::OpenAi,
        [Fault::new(OPENAI, FaultKind::Unavailable).times(2)],
    );
    let client = world.client();
    let first = world.script(json!({})).await;
    let waits = |id: String| {
        let client = client.clone();
        async move {
            let data = client.ask(STEPS, json!({"id": id})).await;
            let script = list(&data, "/job/steps")[0].clone();
            let waits = script["retryAt"].is_string()
                && script["error"]["message"]
                    .as_str()
                    .is_some_and(|words| words.contains("left alone"));
            waits.then_some(script)
        }
    };
    let script = until("it waits", || waits(first.clone())).await;
    assert_eq!(script["status"], "PENDING");
    assert_eq!(script["error"]["code"], "PROVIDER_UNAVAILABLE");
    assert_eq!(list(&script, "/attempts").len(), 2);
    // Work that comes now waits too, without calling anybody.
    let second = world.script(json!({})).await;
    let script = until("the second waits", || waits(second.clone())).await;
    assert!(list(&script, "/attempts").is_empty(), "{script}");
    let first = client.ended(&first, "SUCCEEDED").await;
    let second = client.ended(&second, "SUCCEEDED").await;
    assert_eq!(attempts(&second, "SCRIPT"), ["openai SUCCEEDED CHARGED"]);
    assert_eq!(attempts(&first, "SCRIPT").len(), 3);
    assert!(step(&second, "SCRIPT")["error"].is_null());
    assert_eq!(world.calls(Vendor::OpenAi, OPENAI), 4);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_key_stops_all_calls_until_a_free_check_passes() {
    let world = Setup::default()
        .set("routing.open_seconds", 3)
        .start()
        .await;
    world.fault(
        Vendor::OpenAi,
        [Fault::new(OPENAI, FaultKind::Unauthorized)],
    );
    let client = world.client();
    let first = client.ended(&world.script(json!({})).await, "FAILED").await;
    assert_eq!(first["error"]["code"], "PROVIDER_MISCONFIGURED");
    let stands = health(&world, "openai").await;
    assert_eq!(stands["state"], "OPEN", "{stands}");
    let second = client
        .ended(&world.script(json!({})).await, "SUCCEEDED")
        .await;
    assert_eq!(attempts(&second, "SCRIPT"), ["openai SUCCEEDED CHARGED"]);
    assert_eq!(world.calls(Vendor::OpenAi, OPENAI), 2);
    assert_eq!(health(&world, "openai").await["state"], "CLOSED");
    world.audit().await;
}
