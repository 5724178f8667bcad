//! A plugin that misbehaves gets a typed error; the server and everybody else's jobs go on.

use std::time::{Duration, Instant};

use genvid_testkit::Vendor;
use serde_json::{Value, json};

use crate::support::{
    all_attempts, step, text,
    world::{Setup, World},
};

/// Where the guest's requests end up: at one of the simulators, which knows no such path.
async fn with_guest() -> World {
    let world = Setup::default()
        .with_guest()
        .manifest(
            "test-guest",
            "call_timeout_ms = 6_000",
            "call_timeout_ms = 1_500",
        )
        .start_vendors()
        .await;
    let url = world.vendor(Vendor::OpenAi).url().to_owned();
    let mut settings = std::fs::read_to_string(&world.launch.config).expect("the settings");
    settings.push_str(&format!(
        "[providers.test-guest]\nsecrets = {{ VENDOR_API_KEY = \"guests-own-secret-0123456789\", \
         VENDOR_ISSUER = \"guest\" }}\n\
         reroute = {{ \"api.vendor.example\" = \"{url}\" }}\n"
    ));
    std::fs::write(&world.launch.config, settings).expect("room for the settings");
    world.with_server().await
}

async fn command(world: &World, command: Value) -> String {
    world
        .script(json!({"provider": "test-guest", "options": command}))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_plugin_does_only_its_own_job_suffers() {
    let world = with_guest().await;
    let client = world.client();
    let calm = world.voice(json!({})).await;
    let job = client.ended(&calm, "SUCCEEDED").await;
    let calm = elapsed(&job);

    let mut bad = Vec::new();
    for (wish, words) in [
        (json!({"do": "spin"}), "timeout"),
        (json!({"do": "grow"}), "memory"),
        (json!({"do": "recurse"}), ""),
        (json!({"do": "trap"}), ""),
        (json!({"do": "big-text", "bytes": 100 << 20}), ""),
        (json!({"do": "many-outputs", "count": 100_000}), ""),
        (json!({"do": "bad-metadata"}), ""),
    ] {
        bad.push((command(&world, wish).await, words));
    }
    let others: Vec<String> = vec![
        world
            .voice(json!({"text": "While others misbehave."}))
            .await,
        world.voice(json!({"text": "We go on as ever."})).await,
    ];
    for id in &others {
        let job = client.ended(id, "SUCCEEDED").await;
        // Several seconds of computing without end must not be waited for.
        assert!(
            elapsed(&job) < calm + Duration::from_secs(3),
            "{:?}",
            elapsed(&job)
        );
    }
    for (id, words) in bad {
        let job = client.ended(&id, "FAILED").await;
        assert_eq!(job["error"]["code"], "PROVIDER_UNAVAILABLE", "{job:#}");
        assert!(text(&job, "/error/message").contains(words), "{job:#}");
        for attempt in all_attempts(&job) {
            assert_eq!(
                attempt["charge"], "NOT_CHARGED",
                "nothing had left this host"
            );
        }
    }
    let memory = world.server().memory();
    assert!(memory < 1 << 30, "{} MiB", memory >> 20);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_goes_nowhere_but_where_it_may() {
    let world = with_guest().await;
    let client = world.client();
    let get = |url: &str| json!({"method": "GET", "url": url});
    for url in [
        "https://example.com/v1/a",
        "https://api.vendor.example/v2/a",
        "http://127.0.0.1:22/v1/a",
        "https://vendor.localhost/a",
    ] {
        let wish = json!({"do": "http", "exchanges": [get(url)]});
        let id = command(&world, wish).await;
        // The guest tells what came of it as its script, which is no script.
        let job = client.ended(&id, "FAILED").await;
        assert_eq!(job["error"]["code"], "MEDIA_FAILED", "{job:#}");
    }
    let seen = world.vendor(Vendor::OpenAi).requests();
    assert!(seen.is_empty(), "{seen:?}");
    let log = world.server().log();
    assert!(!log.contains("guests-own-secret"), "a secret is in the log");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_dies_after_sending_leaves_the_outcome_open() {
    let world = with_guest().await;
    let client = world.client();
    let post = json!({"method": "POST", "url": "https://api.vendor.example/v1/buy", "body": {"text": "one"}});
    let began = Instant::now();
    let id = command(
        &world,
        json!({"do": "http", "exchanges": [post], "then": {"do": "trap"}}),
    )
    .await;
    let job = client
        .wait(&id, "unconfirmed", |job| {
            step(job, "SCRIPT")["status"] == "UNCONFIRMED"
        })
        .await;
    assert_eq!(all_attempts(&job).len(), 1);
    assert_eq!(all_attempts(&job)[0]["charge"], "UNKNOWN");
    // It is looked up, and the guest never finds it; nothing is sent again meanwhile.
    crate::support::until("looked up several times", || async {
        (began.elapsed() > Duration::from_secs(4)).then_some(())
    })
    .await;
    let posts = world.vendor(Vendor::OpenAi).requests();
    assert_eq!(
        posts.iter().filter(|seen| seen.method == "POST").count(),
        1,
        "{posts:?}"
    );
    client.change("CancelJob", json!({"jobId": id})).await;
    client.ended(&id, "CANCELED").await;
    world.audit().await;
}

/// From acceptance to the end.
fn elapsed(job: &Value) -> Duration {
    let at =
        |pointer| chrono::DateTime::parse_from_rfc3339(text(job, pointer)).expect("an instant");
    (at("/completedAt") - at("/createdAt"))
        .to_std()
        .expect("it ended after it began")
}
