//! Results that cannot be brought home, or are not what they should be. They are paid for:
//! they are fetched again, never bought again.

use std::time::Duration;

use genvid_testkit::{Clock, Fault, FaultKind, Vendor};
use serde_json::json;

use crate::support::{
    attempts, files, step, text,
    world::{Setup, World},
};

const MEDIA: &str = "GET /media/*";
const HEYGEN: &str = "POST /v3/videos";

async fn assert_one_film_was_bought(world: &World, id: &str) {
    let client = world.client();
    let job = client.ended(id, "SUCCEEDED").await;
    assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
    let film = files::inspect(&client.download(text(&job, "/videoUrl")).await).await;
    assert!(film.is_heard());
    assert_eq!(
        (
            world.accepted(Vendor::HeyGen),
            world.accepted(Vendor::Kling)
        ),
        (1, 0)
    );
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_ran_out_is_asked_for_again() {
    let world = Setup::default()
        .set("jobs.retry_base_ms", 300)
        .start()
        .await;
    let heygen = world.vendor(Vendor::HeyGen);
    heygen.set_clock(&Clock {
        media_ttl_ms: Some(0),
        ..Clock::default()
    });
    let id = world.film(json!({"provider": "heygen"})).await;
    let client = world.client();
    client
        .wait(&id, "storing", |job| {
            step(job, "VIDEO")["status"] == "STORING"
        })
        .await;
    // Every link so far is dead; those that are asked for from now on work.
    heygen.set_clock(&Clock {
        media_ttl_ms: Some(60_000),
        ..Clock::default()
    });
    assert_one_film_was_bought(&world, &id).await;
    assert!(world.calls(Vendor::HeyGen, "GET /v3/videos/{video_id}") >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_breaks_is_begun_again() {
    let world = World::start().await;
    let mut down = Fault::new(MEDIA, FaultKind::Answer).answer(503, "unavailable");
    down.times = 2;
    world.fault(
        Vendor::HeyGen,
        [
            down,
            Fault::new(MEDIA, FaultKind::Truncated).after(2),
            Fault::new(MEDIA, FaultKind::DropBefore).after(3),
        ],
    );
    let id = world.film(json!({"provider": "heygen"})).await;
    assert_one_film_was_bought(&world, &id).await;
    world.assert_faults_struck(Vendor::HeyGen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_that_come_later_than_the_word_are_waited_for() {
    let world = World::start().await;
    world.fault(
        Vendor::HeyGen,
        [Fault::new(HEYGEN, FaultKind::LinksMissing).count(3)],
    );
    let id = world.film(json!({"provider": "heygen"})).await;
    assert_one_film_was_bought(&world, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_page_in_place_of_a_film_ends_the_job_and_a_retry_fetches_again() {
    let world = World::start().await;
    world.fault(Vendor::HeyGen, [Fault::new(MEDIA, FaultKind::NotMedia)]);
    let client = world.client();
    let id = world.film(json!({"provider": "heygen"})).await;
    let job = client.ended(&id, "FAILED").await;
    assert_eq!(job["error"]["code"], "MEDIA_FAILED");
    assert_eq!(
        (&job["error"]["retryable"], &job["error"]["charged"]),
        (&json!(true), &json!(true))
    );
    assert!(job["videoUrl"].is_null());
    client.change("RetryJob", json!({"jobId": id})).await;
    assert_one_film_was_bought(&world, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_end_is_cut_off() {
    let world = Setup::default().set("media.max_mib", 1).start().await;
    world.fault(
        Vendor::HeyGen,
        [Fault::new(MEDIA, FaultKind::Huge).bytes(1 << 30).times(0)],
    );
    let before = world.server().memory();
    let client = world.client();
    let id = world.film(json!({"provider": "heygen"})).await;
    let job = client.ended(&id, "FAILED").await;
    assert_eq!(job["error"]["code"], "MEDIA_FAILED", "{job:#}");
    let grown = world.server().memory().saturating_sub(before);
    assert!(grown < 200 << 20, "{} MiB more", grown >> 20);
    // Nothing of it was kept.
    let kept = world.kept_media();
    assert!(kept < 4 << 20, "{kept} bytes were kept");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_too_late_is_there_for_a_retry() {
    let world = Setup::default()
        .profile(|pace| pace.render = Duration::from_secs(3))
        .start()
        .await;
    let client = world.client();
    let deadline = (chrono::Utc::now() + chrono::TimeDelta::milliseconds(1_500)).to_rfc3339();
    let id = world
        .film(json!({"provider": "heygen", "deadline": deadline}))
        .await;
    let job = client.ended(&id, "FAILED").await;
    assert_eq!(job["error"]["code"], "DEADLINE_EXCEEDED");
    // The vendor still works on it: the retry waits for that, and buys nothing.
    client.change("RetryJob", json!({"jobId": id})).await;
    assert_one_film_was_bought(&world, &id).await;
}
