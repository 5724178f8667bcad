//! Vendors' callbacks: hints that only decide when the vendor is asked next.

use std::time::{Duration, Instant};

use genvid_testkit::{Fault, FaultKind, Vendor};
use serde_json::json;

use crate::support::{
    all_attempts, attempts, step, text, until,
    world::{Setup, World},
};

const HEYGEN: &str = "POST /v3/videos";
const KLING: &str = "POST /text-to-video/*";
/// A server that would ask for films after ten minutes only.
fn deaf() -> Setup {
    Setup::default()
        .polls(600_000, 600_000)
        .profile(|pace| pace.render = Duration::from_millis(800))
}

fn looks(world: &World) -> u64 {
    world.calls(Vendor::HeyGen, "GET /v3/videos/{video_id}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_makes_the_poll_happen_now() {
    let world = deaf().start().await;
    let client = world.client();
    let began = Instant::now();
    let heygen = world.film(json!({"provider": "heygen"})).await;
    let kling = world.film(json!({"provider": "kling"})).await;
    for id in [heygen, kling] {
        client.ended(&id, "SUCCEEDED").await;
    }
    assert!(
        began.elapsed() < Duration::from_secs(60),
        "{:?}",
        began.elapsed()
    );
    for vendor in [Vendor::HeyGen, Vendor::Kling] {
        let delivered = world.vendor(vendor).deliveries();
        assert!(!delivered.is_empty(), "{vendor} called nobody back");
        assert!(
            delivered.iter().all(|letter| letter.status == Some(204)),
            "{delivered:?}"
        );
    }
    assert_eq!(looks(&world), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_comes_again_changes_nothing() {
    let world = deaf().start().await;
    let client = world.client();
    world.fault(
        Vendor::HeyGen,
        [Fault::new(HEYGEN, FaultKind::WebhookDuplicate).count(4)],
    );
    let id = world.film(json!({"provider": "heygen"})).await;
    client.ended(&id, "SUCCEEDED").await;
    let log = client.log(&id).await;
    until("all copies are delivered", || async {
        (world.vendor(Vendor::HeyGen).deliveries().len() == 5).then_some(())
    })
    .await;
    let letters = world.vendor(Vendor::HeyGen).deliveries();
    assert!(
        letters.iter().all(|letter| letter.status == Some(204)),
        "{letters:?}"
    );
    assert_eq!(looks(&world), 1, "only the first one is news");
    assert_eq!(client.log(&id).await, log);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_comes_early_is_not_believed() {
    let world = Setup::default()
        .profile(|pace| pace.render = Duration::from_millis(1_500))
        .start()
        .await;
    let client = world.client();
    world.fault(
        Vendor::HeyGen,
        [Fault::new(HEYGEN, FaultKind::WebhookEarly)],
    );
    let began = Instant::now();
    let id = world.film(json!({"provider": "heygen"})).await;
    let job = client.ended(&id, "SUCCEEDED").await;
    assert!(
        began.elapsed() >= Duration::from_millis(1_500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_somebody_else_signed_is_turned_away() {
    let world = Setup::default().with_shipped_plugins().start().await;
    let client = world.client();
    world.fault(
        Vendor::HeyGen,
        [Fault::new(HEYGEN, FaultKind::WebhookForged)],
    );
    let id = world.film(json!({"provider": "heygen"})).await;
    until("a forged one is delivered", || async {
        (!world.vendor(Vendor::HeyGen).deliveries().is_empty()).then_some(())
    })
    .await;
    let letters = world.vendor(Vendor::HeyGen).deliveries();
    assert_eq!(letters[0].status, Some(401));
    assert_eq!(looks(&world), 0, "nobody was asked because of it");
    client.ended(&id, "SUCCEEDED").await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_get_nowhere() {
    let world = World::start().await;
    let client = world.client();
    let id = world.film(json!({"provider": "heygen"})).await;
    let job = client.ended(&id, "SUCCEEDED").await;
    let attempt = text(all_attempts(&job)[0], "/id").to_owned();
    let log = client.log(&id).await;
    let letter = world.vendor(Vendor::HeyGen).deliveries()[0]
        .body
        .clone()
        .into_bytes();
    let signed = [("heygen-signature", "00"), ("heygen-timestamp", "1")];
    for (path, headers, body, status) in [
        (
            format!("/hooks/heygen/{attempt}"),
            &[][..],
            letter.clone(),
            401,
        ),
        (
            format!("/hooks/heygen/{attempt}"),
            &signed[..],
            letter.clone(),
            401,
        ),
        (
            format!("/hooks/kling/{attempt}"),
            &signed[..],
            letter.clone(),
            401,
        ),
        ("/hooks/heygen/att_x".to_owned(), &[][..], Vec::new(), 401),
        (
            format!("/hooks/openai/{attempt}"),
            &[][..],
            letter.clone(),
            404,
        ),
        (
            format!("/hooks/nobody/{attempt}"),
            &[][..],
            letter.clone(),
            404,
        ),
        (
            format!("/hooks/heygen/{attempt}"),
            &[][..],
            vec![b' '; 300 * 1_024],
            413,
        ),
    ] {
        let answer = client.post(&path, headers, body).await;
        assert_eq!(answer.as_u16(), status, "{path}");
    }
    assert_eq!(client.log(&id).await, log);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_for_a_parked_job_settles_it() {
    let world = World::start().await;
    let client = world.client();
    world.fault(
        Vendor::Kling,
        [
            Fault::new(KLING, FaultKind::AcceptThenDrop),
            Fault::new(KLING, FaultKind::WebhookLate).delay(Duration::from_secs(6)),
            Fault::new("GET /tasks", FaultKind::Unavailable).times(0),
        ],
    );
    let id = world.film(json!({"provider": "kling"})).await;
    client
        .wait(&id, "unconfirmed", |job| {
            step(job, "VIDEO")["status"] == "UNCONFIRMED"
        })
        .await;
    world
        .database()
        .age_open_attempts(Duration::from_secs(3_600))
        .await;
    client.ended(&id, "UNCONFIRMED").await;
    world.vendor(Vendor::Kling).clear_faults();
    // Kling tells of the task by itself; then it can be looked up.
    let job = client.ended(&id, "SUCCEEDED").await;
    assert_eq!(attempts(&job, "VIDEO"), ["kling SUCCEEDED CHARGED"]);
    assert_eq!(world.accepted(Vendor::Kling), 1);
    world.audit().await;
}
