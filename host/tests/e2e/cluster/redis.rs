//! Redis is never the truth: emptied, restarted or away, it costs time and nothing else.

use std::time::Duration;

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
    until,
};

const JOBS: usize = 120;
const FILMS: usize = 4;
const WATCHED: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_forgets_dies_and_stays_away_costs_only_time() {
    let mut random = random();
    let mut cluster = Cluster::start(quick(), 2, 2).await;
    let project = cluster.client(0).project().await;
    let (over, still) = watch::channel(false);
    let crowd = tokio::spawn(crowd(
        doors(&cluster),
        wishes(JOBS, FILMS, &project),
        WATCHED,
        StdRng::seed_from_u64(random.random()),
        over,
    ));
    let mut round = 0;
    while !*still.borrow() && !crowd.is_finished() {
        pause(&mut random, 200..1_000).await;
        let redis = &mut cluster.world.outside_mut().redis;
        match round % 4 {
            0 => drop(redis.ask("FLUSHALL").expect("it forgets")),
            1 => redis.cut().expect("connections are cut"),
            2 => redis.start_again().expect("it comes back, empty"),
            _ => {
                redis.stop();
                tokio::time::sleep(Duration::from_millis(random.random_range(500..3_000))).await;
                let redis = &mut cluster.world.outside_mut().redis;
                redis.start_again().expect("it comes back, empty");
            }
        }
        round += 1;
    }
    let told = crowd.await.expect("the crowd is content");
    assert!(round > 4, "only {round} rounds: too quick to be a test");

    // Whoever looks is told, and told when it is over.
    let client = cluster.client(0);
    until("Redis is heard", || async {
        (client.get_json("/readyz").await["status"] == "ready").then_some(())
    })
    .await;
    cluster.world.outside_mut().redis.stop();
    until("Redis is missed", || async {
        let health = client.get_json("/readyz").await;
        (health["status"] == "degraded" && health["redis"] == "away").then_some(())
    })
    .await;
    // Accepting and doing goes on without it.
    let mut job = None;
    for wish in wishes(JOBS + 1, 0, &project).into_iter().skip(JOBS) {
        job = Some(client.start(wish.0, wish.1).await);
    }
    client.ended(&job.expect("one more"), "SUCCEEDED").await;
    cluster
        .world
        .outside_mut()
        .redis
        .start_again()
        .expect("it comes back");

    let world = cluster.survey().await;
    let client = world.client();
    for (job, status, seen) in told {
        assert_eq!(status, "SUCCEEDED", "{:#}", client.job(&job).await);
        if let Some(seen) = seen {
            assert_eq!(seen, client.log(&job).await, "what a client saw of {job}");
        }
    }
    world.audit().await;
}
