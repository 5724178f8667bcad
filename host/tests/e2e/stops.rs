//! Jobs that end early: canceled by their owner in every state, or out of time.

use std::time::Duration;

use genvid_testkit::{Fault, FaultKind, Vendor};
use serde_json::{Value, json};

use crate::support::{
    attempts,
    client::Client,
    step, text, until,
    world::{Setup, World, status},
};

const HEYGEN: &str = "POST /v3/videos";
const ELEVENLABS: &str = "POST /v1/text-to-speech/*";

fn slow(route: &str, seconds: u64) -> Fault {
    Fault::new(route, FaultKind::Delay)
        .delay(Duration::from_secs(seconds))
        .times(0)
}

async fn cancel(client: &Client, id: &str) -> Value {
    let result = client.change("CancelJob", json!({"jobId": id})).await;
    assert_eq!(text(&result, "/job/id"), id, "{result}");
    result["job"].clone()
}

async fn assert_ends_canceled(client: &Client, id: &str) -> Value {
    let job = client.ended(id, "CANCELED").await;
    assert!(job["error"].is_null() && !job["completedAt"].is_null());
    let log = client.log(id).await;
    assert_eq!(log.last().expect("events")["type"], "JOB_CANCELED");
    assert_eq!(
        log.iter()
            .filter(|event| event["type"] == "CANCEL_REQUESTED")
            .count(),
        1
    );
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_anything_is_done() {
    let world = World::start().await;
    let client = world.client();
    // The plugin's manifest lets three calls to ElevenLabs through at a time.
    world.fault(Vendor::ElevenLabs, [slow(ELEVENLABS, 2)]);
    let mut busy = Vec::new();
    for _ in 0..3 {
        busy.push(world.voice(json!({})).await);
    }
    for id in &busy {
        client
            .wait(id, "submitting", |job| {
                step(job, "VOICE")["status"] == "SUBMITTING"
            })
            .await;
    }
    let waiting = world.voice(json!({})).await;
    let job = client.job(&waiting).await;
    assert_eq!(
        (status(&job), text(step(&job, "VOICE"), "/status")),
        ("QUEUED", "PENDING")
    );
    cancel(&client, &waiting).await;
    let job = assert_ends_canceled(&client, &waiting).await;
    assert!(attempts(&job, "VOICE").is_empty());
    // Once is enough, and a job that is over stays as it is.
    assert_eq!(cancel(&client, &waiting).await["status"], "CANCELED");
    for id in &busy {
        client.ended(id, "SUCCEEDED").await;
    }
    assert_eq!(cancel(&client, &busy[0]).await["status"], "SUCCEEDED");
    assert_eq!(world.accepted(Vendor::ElevenLabs), 3);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_waits_for_a_slot_between_two_steps() {
    let world = Setup::default()
        // Longer than a voice takes on a busy machine.
        .profile(|pace| pace.render = Duration::from_secs(20))
        // Two films at a time are enough to wait behind.
        .manifest("heygen", "concurrency = 10", "concurrency = 2")
        .start()
        .await;
    let client = world.client();
    let mut busy = Vec::new();
    for _ in 0..2 {
        busy.push(world.film(json!({"provider": "heygen"})).await);
    }
    for id in &busy {
        client
            .wait(id, "running", |job| {
                step(job, "VIDEO")["status"] == "RUNNING"
            })
            .await;
    }
    let waiting = world.film(json!({})).await;
    client
        .wait(&waiting, "spoken", |job| {
            step(job, "VOICE")["status"] == "SUCCEEDED"
        })
        .await;
    cancel(&client, &waiting).await;
    let job = assert_ends_canceled(&client, &waiting).await;
    assert!(attempts(&job, "VIDEO").is_empty());
    for id in &busy {
        cancel(&client, id).await;
    }
    for id in &busy {
        client.settled(id).await;
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_call_is_on_its_way() {
    let world = World::start().await;
    let client = world.client();
    world.fault(Vendor::HeyGen, [slow(HEYGEN, 1)]);
    let id = world.film(json!({"provider": "heygen"})).await;
    client
        .wait(&id, "submitting", |job| {
            step(job, "VIDEO")["status"] == "SUBMITTING"
        })
        .await;
    let job = cancel(&client, &id).await;
    assert_eq!(
        (status(&job), &job["cancelRequested"]),
        ("RUNNING", &json!(true))
    );
    assert_ends_canceled(&client, &id).await;
    // The vendor works on: its attempt is followed to its end, and what it bills is known.
    let job = client.settled(&id).await;
    assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
    assert!(job["videoUrl"].is_null());
    assert_eq!(world.billed(Vendor::HeyGen), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_vendor_works() {
    let world = Setup::default()
        .profile(|pace| pace.render = Duration::from_secs(2))
        .start()
        .await;
    let client = world.client();
    let id = world.film(json!({"provider": "heygen"})).await;
    client
        .wait(&id, "running", |job| {
            step(job, "VIDEO")["status"] == "RUNNING"
        })
        .await;
    cancel(&client, &id).await;
    let job = assert_ends_canceled(&client, &id).await;
    // HeyGen cannot be asked to stop.
    assert_eq!(attempts(&job, "VIDEO"), ["heygen ACCEPTED UNKNOWN"]);
    let job = client.settled(&id).await;
    assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
    assert_eq!(step(&job, "VIDEO")["status"], "CANCELED");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_dead_server_is_away_the_wish_is_kept() {
    let mut world = Setup::default()
        .profile(|pace| pace.render = Duration::from_secs(2))
        .start()
        .await;
    let client = world.client();
    let id = world.film(json!({"provider": "heygen"})).await;
    client
        .wait(&id, "running", |job| {
            step(job, "VIDEO")["status"] == "RUNNING"
        })
        .await;
    cancel(&client, &id).await;
    world.kill_and_start_again().await;
    let client = world.client();
    assert_ends_canceled(&client, &id).await;
    let job = client.settled(&id).await;
    assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_film_is_put_together() {
    let world = World::start().await;
    let client = world.client();
    let id = world
        .film(json!({"provider": "kling", "subtitles": "BURNED"}))
        .await;
    client
        .event(&id, "composing", |event| {
            event["type"] == "STEP_STARTED" && event["step"] == "COMPOSE"
        })
        .await;
    cancel(&client, &id).await;
    let job = assert_ends_canceled(&client, &id).await;
    assert!(job["videoUrl"].is_null());
    assert_eq!(attempts(&job, "VIDEO"), ["kling SUCCEEDED CHARGED"]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_is_too_late_is_still_settled() {
    let world = Setup::default()
        .profile(|pace| pace.render = Duration::from_secs(5))
        .without_callbacks()
        .start()
        .await;
    let client = world.client();
    let id = world
        .film(json!({"provider": "heygen", "deadline": in_seconds(2)}))
        .await;
    let job = client.ended(&id, "FAILED").await;
    assert_eq!(job["error"]["code"], "DEADLINE_EXCEEDED");
    assert_eq!(job["error"]["retryable"], true);
    assert!(
        job["error"]["charged"].is_null(),
        "nobody knows yet: {job:#}"
    );
    assert_eq!(attempts(&job, "VIDEO"), ["heygen ACCEPTED UNKNOWN"]);
    let job = client.settled(&id).await;
    assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
    assert_eq!(
        (status(&job), &job["error"]["charged"]),
        ("FAILED", &json!(true))
    );
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_runs_out_while_it_waits_for_a_slot() {
    let world = World::start().await;
    let client = world.client();
    world.fault(Vendor::ElevenLabs, [slow(ELEVENLABS, 30)]);
    for _ in 0..3 {
        let busy = world.voice(json!({})).await;
        client
            .wait(&busy, "submitting", |job| {
                step(job, "VOICE")["status"] == "SUBMITTING"
            })
            .await;
    }
    let began = std::time::Instant::now();
    let id = world.voice(json!({"deadline": in_seconds(1)})).await;
    let job = client.ended(&id, "FAILED").await;
    assert_eq!(job["error"]["code"], "DEADLINE_EXCEEDED");
    assert!(attempts(&job, "VOICE").is_empty());
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "told after {:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_task_costs_its_job_the_deadline_and_nothing_more() {
    let world = World::start().await;
    let client = world.client();
    world.fault(Vendor::HeyGen, [Fault::new(HEYGEN, FaultKind::Stuck)]);
    let stuck = world
        .film(json!({"provider": "heygen", "deadline": in_seconds(8)}))
        .await;
    until("the first one is stuck", || async {
        (world.accepted(Vendor::HeyGen) == 1).then_some(())
    })
    .await;
    let other = world.film(json!({"provider": "heygen"})).await;
    client.ended(&other, "SUCCEEDED").await;
    let job = client.ended(&stuck, "FAILED").await;
    assert_eq!(job["error"]["code"], "DEADLINE_EXCEEDED");
    // It is followed on, and bought nowhere else.
    let calls = || world.calls(Vendor::HeyGen, "GET /v3/videos/{video_id}");
    let before = calls();
    until("it is asked for again", || async {
        (calls() > before).then_some(())
    })
    .await;
    assert_eq!(
        (
            world.accepted(Vendor::HeyGen),
            world.accepted(Vendor::Kling)
        ),
        (2, 0)
    );
}

fn in_seconds(seconds: i64) -> String {
    (chrono::Utc::now() + chrono::TimeDelta::seconds(seconds)).to_rfc3339()
}
