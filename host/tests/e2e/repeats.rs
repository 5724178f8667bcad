//! Idempotency keys: the same wish twice is one job, whatever happens in between.

use std::collections::BTreeSet;

use genvid_testkit::Vendor;
use serde_json::json;

use crate::support::{client::document, text, world::World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_at_once_are_one_job() {
    let world = World::start().await;
    let client = world.client();
    let project = client.project().await;
    let wish = world.wish(&project, json!({"provider": "heygen"}));
    let calls = (0..20).map(|_| {
        let (client, wish) = (client.clone(), wish.clone());
        tokio::spawn(async move { client.start("GenerateVideo", wish).await })
    });
    let answers = futures::future::join_all(calls).await;
    let jobs: BTreeSet<String> = answers
        .into_iter()
        .map(|job| job.expect("an answer"))
        .collect();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    client.ended(jobs.first().expect("one"), "SUCCEEDED").await;
    assert_eq!(world.accepted(Vendor::HeyGen), 1);
    // Also long after it is done.
    assert_eq!(
        client.start("GenerateVideo", wish).await,
        *jobs.first().expect("one")
    );
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_belongs_to_its_arguments_also_after_a_crash() {
    let mut world = World::start().await;
    let project = world.client().project().await;
    let wish = world.wish(&project, json!({"provider": "heygen"}));
    let job = world.client().start("GenerateVideo", wish.clone()).await;
    for restarted in [false, true] {
        if restarted {
            world.kill_and_start_again().await;
        }
        let client = world.client();
        assert_eq!(client.start("GenerateVideo", wish.clone()).await, job);
        for (field, value) in [
            ("script", json!("Something else.")),
            ("aspect", json!("SQUARE")),
            ("maxSeconds", json!(30)),
            ("provider", json!("kling")),
            ("deadline", json!("2026-12-01T00:00:00Z")),
        ] {
            let mut other = wish.clone();
            other[field] = value;
            if field == "deadline" {
                other[field] =
                    json!((chrono::Utc::now() + chrono::TimeDelta::hours(3)).to_rfc3339());
            }
            let answer = client
                .send(document("GenerateVideo"), json!({"input": other}))
                .await;
            let result = &answer["data"]["generateVideo"];
            assert_eq!(
                result["code"], "IDEMPOTENCY_KEY_REUSED",
                "{field}: {answer:#}"
            );
            assert_eq!(result["path"], json!(["idempotencyKey"]));
            assert!(!text(result, "/message").is_empty());
        }
    }
    // Keys of other kinds of jobs are apart.
    let key = wish["idempotencyKey"].clone();
    let script = world.script(json!({"idempotencyKey": key})).await;
    assert_ne!(script, job);
    let client = world.client();
    for id in [&script, &job] {
        client.ended(id, "SUCCEEDED").await;
    }
    assert_eq!(world.accepted(Vendor::HeyGen), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_is_answered_when_nobody_could_make_it_any_more() {
    let mut world = World::start().await;
    let wish = json!({"text": "Said once.", "language": "en", "idempotencyKey": "once"});
    let job = world.client().start("GenerateVoice", wish.clone()).await;
    world.client().ended(&job, "SUCCEEDED").await;
    for vendor in Vendor::ALL {
        let name = format!("GENVID__PROVIDERS__{}__ENABLED", vendor.id().to_uppercase());
        world.launch.env.push((name, "false".to_owned()));
    }
    world.kill_and_start_again().await;
    let client = world.client();
    assert_eq!(client.start("GenerateVoice", wish.clone()).await, job);
    for (field, value, code) in [
        ("text", "Said otherwise.", "IDEMPOTENCY_KEY_REUSED"),
        ("idempotencyKey", "twice", "PROVIDER_UNAVAILABLE"),
    ] {
        let mut other = wish.clone();
        other[field] = json!(value);
        let answer = client
            .send(document("GenerateVoice"), json!({"input": other}))
            .await;
        assert_eq!(
            answer["data"]["generateVoice"]["code"], code,
            "{field}: {answer:#}"
        );
    }
    world.audit().await;
}
