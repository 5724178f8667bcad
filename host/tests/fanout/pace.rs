//! The vendors' requests per second, shared by all nodes.

use std::{sync::Arc, time::Duration};

use genvid::adapters::redis::Redis;
use genvid_runtime::{Pace, Pass};
use genvid_testing as servers;

use crate::support::{PATIENCE, link, redis};

const VENDOR: &str = "vendor";
const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(60);

async fn wait(pace: &Arc<dyn Pace>, per_second: u32) -> Duration {
    match pace.take(VENDOR, per_second, LONG).await {
        Pass::After(wait) => wait,
        other => panic!("{other:?}"),
    }
}

/// A node whose connection works.
async fn node(server: &servers::Redis) -> (Redis, Arc<dyn Pace>) {
    let redis = link(server);
    let mut reach = redis.remote().reach();
    tokio::time::timeout(PATIENCE, reach.wait_for(|reach| reach.telling))
        .await
        .expect("in time")
        .expect("the node is there");
    let pace = redis.pace();
    (redis, pace)
}

#[tokio::test]
async fn three_nodes_share_one_second() {
    let server = redis().await;
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(node(&server).await);
    }
    // The first ten may go at once, whoever sends them.
    for turn in 0..10 {
        assert_eq!(wait(&nodes[turn % 3].1, 10).await, Duration::ZERO);
    }
    // The others have to come one after the other: 30 of all nodes in three seconds.
    let mut longest = Duration::ZERO;
    for turn in 0..30 {
        longest = longest.max(wait(&nodes[turn % 3].1, 10).await);
    }
    assert!(longest > 2 * SECOND && longest <= 3 * SECOND, "{longest:?}");
    // Who cannot wait for so long takes nothing from the others.
    for _ in 0..100 {
        let pass = nodes[0].1.take(VENDOR, 10, SECOND).await;
        assert_eq!(pass, Pass::TooLate);
    }
    assert!(wait(&nodes[1].1, 10).await <= longest + SECOND);
    // Another vendor has its own.
    let other = nodes[2].1.take("another", 10, SECOND).await;
    assert_eq!(other, Pass::After(Duration::ZERO));
    for (redis, _) in nodes {
        redis.close().await;
    }
}

#[tokio::test]
async fn without_redis_each_keeps_to_its_share() {
    let mut server = redis().await;
    let (one, first) = node(&server).await;
    let (two, second) = node(&server).await;
    wait(&first, 10).await;
    wait(&second, 10).await;
    wait(&first, 10).await;
    server.stop();
    assert_eq!(first.take(VENDOR, 10, LONG).await, Pass::Share(2));
    // What was never counted may have any number of callers.
    assert_eq!(first.take("another", 10, LONG).await, Pass::Share(10));
    server.start_again().expect("it comes back, empty");
    for _ in 0..200 {
        if let Pass::After(wait) = first.take(VENDOR, 10, LONG).await {
            assert!(wait <= SECOND, "nothing old counts: {wait:?}");
            one.close().await;
            two.close().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it is not counted together again");
}
