//! Hundreds of jobs that wait on a slow vendor cost next to nothing.

use std::time::{Duration, Instant};

use genvid_testkit::Vendor;
use serde_json::json;

use crate::support::{audit::job_ids, client::Client, database::Database, until, world::Setup};

/// Jobs that wait before anything is measured: what a busy server needs once is not counted.
const FIRST: usize = 100;
/// Jobs that wait beside them.
const JOBS: usize = 300;
/// All of them.
const ALL: usize = FIRST + JOBS;
/// How long is looked.
const WINDOW: Duration = Duration::from_secs(6);

async fn wait_for(database: &Database, count: usize) {
    let count = i64::try_from(count).expect("a small number");
    until("all of them wait", || async {
        (database.running().await == count).then_some(())
    })
    .await;
}

async fn start(client: &Client, project: &str, numbers: std::ops::Range<usize>) {
    let calls = numbers.map(|number| {
        let (client, project) = (client.clone(), project.to_owned());
        async move {
            let wish = json!({
                "projectId": project, "script": "One of many.", "language": "en",
                "aspect": "SQUARE", "subtitles": "NONE", "provider": "heygen",
                "reuse": false, "idempotencyKey": format!("many-{number}"),
            });
            client.start("GenerateVideo", wish).await
        }
    });
    futures::StreamExt::collect::<Vec<_>>(futures::StreamExt::buffer_unordered(
        futures::stream::iter(calls),
        16,
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_jobs_wait_without_instances_queries_or_memory() {
    let mut world = Setup::default()
        .with_shipped_plugins()
        // An account with many slots; everything else as the vendor asks for.
        .manifest(
            "heygen",
            "concurrency = 10\nrequests_per_second = 10\ncall_timeout_ms = 180_000",
            "concurrency=999\nrequests_per_second=999\ncall_timeout_ms=180000",
        )
        .profile(|pace| pace.render = Duration::from_secs(3_600))
        .set("log.filter", "info,sqlx=debug")
        .set("jobs.lease_seconds", 30)
        .start()
        .await;
    world.vendor(Vendor::HeyGen).set_concurrency(0);
    let client = world.client();
    let project = client.project().await;
    let database = world.database();
    start(&client, &project, 0..FIRST).await;
    wait_for(&database, FIRST).await;
    let before = world.server().memory();
    start(&client, &project, FIRST..ALL).await;
    wait_for(&database, ALL).await;

    // Looks of every 100 ms at the instances, and what was logged meanwhile.
    let logged = world.server().log().len();
    let (mut looks, mut idle) = (0_u32, 0_u32);
    let began = Instant::now();
    while began.elapsed() < WINDOW {
        let health = world.health().await;
        looks += 1;
        idle += u32::from(health["plugins"]["liveInstances"] == 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        idle * 10 > looks * 7,
        "instances were alive in {} of {looks} looks",
        looks - idle
    );
    let log = world.server().log();
    let statements = log[logged..]
        .lines()
        .filter(|line| line.contains("\"sqlx::query\"") && !line.contains("SELECT 1"))
        .count();
    let a_second = statements as f64 / WINDOW.as_secs_f64();
    assert!(a_second < 10.0, "{a_second} statements a second");
    let grown = world.server().memory().saturating_sub(before);
    let each = grown / JOBS as u64;
    assert!(each < 128 << 10, "{each} bytes for each job");

    // A death costs all of them nothing: they are followed on, and nothing is bought again.
    world.kill_and_start_again().await;
    until("all of them are followed again", || async {
        let health = world.health().await;
        (health["worker"]["waiting"] == ALL).then_some(())
    })
    .await;
    wait_for(&database, ALL).await;
    assert_eq!(world.accepted(Vendor::HeyGen), ALL as u64);
    assert_eq!(job_ids(&world.client()).await.len(), ALL);
}
