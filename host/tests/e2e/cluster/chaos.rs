//! Everything goes wrong at once: nodes die, connections are cut, Redis forgets, the store
//! fails and is slow, vendors misbehave. At the end all books agree.

use std::time::Duration;

use genvid_testkit::{Fault, FaultKind, Vendor};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

use super::{
    Cluster,
    deaths::{crowd, doors},
    quick,
};
use crate::support::{
    crowd::wishes,
    seed::{pause, random},
};

const JOBS: usize = 150;
const FILMS: usize = 6;
const WATCHED: usize = 75;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_everything_failing_at_once_the_books_agree() {
    let mut random = random();
    let setup = quick()
        // Answers that were lost are looked up again and again until the vendor can be asked.
        .set("jobs.unconfirmed_minutes", 600);
    let mut cluster = Cluster::start(setup, 2, 3).await;
    let project = cluster.client(0).project().await;
    misbehave(&cluster);
    let (over, still) = watch::channel(false);
    let crowd = tokio::spawn(crowd(
        doors(&cluster),
        wishes(JOBS, FILMS, &project),
        WATCHED,
        StdRng::seed_from_u64(random.random()),
        over,
    ));
    let mut blows = 0;
    while !*still.borrow() && !crowd.is_finished() {
        pause(&mut random, 300..1_500).await;
        strike(&mut cluster, &mut random).await;
        cluster.settle().await;
        blows += 1;
    }
    let told = crowd.await.expect("the crowd is content");
    assert!(blows > 5, "only {blows} blows: too quick to be a test");
    println!("{blows} blows");
    let outside = cluster.world.outside_mut();
    outside.store.fail_every(0);
    outside.store.wait(Duration::ZERO);

    let world = cluster.survey().await;
    let client = world.client();
    for (job, status, seen) in told {
        // Vendors that failed again and again may have cost a job its tries; none may hang.
        assert!(
            matches!(status.as_str(), "SUCCEEDED" | "FAILED"),
            "{status}: {:#}",
            client.job(&job).await
        );
        client.settled(&job).await;
        if let Some(seen) = seen {
            let log = client.log(&job).await;
            assert_eq!(seen[..], log[..seen.len()], "what a client saw of {job}");
        }
    }
    world.audit().await;
}

/// From now on a part of all calls goes wrong, before or after the vendor took them.
fn misbehave(cluster: &Cluster) {
    const FAULTS: [(FaultKind, f64); 6] = [
        (FaultKind::DropBefore, 0.04),
        (FaultKind::AcceptThenDrop, 0.06),
        (FaultKind::AcceptThenAnswer, 0.04),
        (FaultKind::Unavailable, 0.05),
        (FaultKind::RateLimited, 0.05),
        (FaultKind::Malformed, 0.03),
    ];
    for (vendor, route) in [
        (Vendor::OpenAi, "POST /v1/chat/completions"),
        (Vendor::ElevenLabs, "POST /v1/text-to-speech/*"),
        (Vendor::HeyGen, "POST /v3/videos"),
        (Vendor::Kling, "POST /text-to-video/*"),
    ] {
        let faults = FAULTS.map(|(kind, probability)| {
            let mut fault = Fault::new(route, kind).times(0);
            fault.probability = probability;
            fault
        });
        cluster.world.fault(vendor, faults);
    }
}

async fn strike(cluster: &mut Cluster, random: &mut StdRng) {
    match random.random_range(0..8) {
        0..3 => {
            let number = random.random_range(0..cluster.nodes.len());
            let node = &mut cluster.nodes[number];
            node.kill();
            pause(random, 0..500).await;
            node.rise().await;
        }
        3 => cluster.database().cut().await,
        4 => {
            let redis = &mut cluster.world.outside_mut().redis;
            redis.start_again().expect("it comes back, empty");
        }
        5 => {
            let redis = &cluster.world.outside_mut().redis;
            drop(redis.ask("FLUSHALL").expect("it forgets"));
        }
        6 => {
            let every = [0, 7, 25][random.random_range(0..3)];
            cluster.world.outside_mut().store.fail_every(every);
        }
        _ => {
            let wait = Duration::from_millis(random.random_range(0..60));
            cluster.world.outside_mut().store.wait(wait);
        }
    }
}
