//! Connections to Redis do not grow with subscribers.

use std::time::Duration;

use futures::future::join_all;
use genvid_testing as servers;

use crate::support::{Node, World, redis};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_followers_cost_no_connection() {
    let (world, server) = (World::new().await, redis().await);
    let here = Node::over(&server, &world).await;
    let there = Node::over(&server, &world).await;
    let before = server.connections().expect("counted");
    assert_eq!(
        before, 4,
        "two nodes, each one for commands and one to hear"
    );
    let mut writer = world.job(&here.bus).await;
    let mut followers: Vec<_> = (0..1_000)
        .map(|_| world.follow_job(&there.bus, writer.job))
        .collect();
    join_all(followers.iter_mut().map(|follower| follower.expect(1, 1))).await;
    writer.tell(&here.bus, 3).await;
    join_all(followers.iter_mut().map(|follower| follower.expect(2, 4))).await;
    expect(&server, 4).await;
    drop(followers);
    tokio::time::sleep(Duration::from_millis(50)).await;
    writer.tell(&here.bus, 1).await;
    expect(&server, 4).await;
    here.close().await;
    there.close().await;
    expect(&server, 0).await;
}

/// The server sees a moment later what was closed.
async fn expect(server: &servers::Redis, wanted: usize) {
    let mut counted = usize::MAX;
    for _ in 0..40 {
        counted = server.connections().expect("counted");
        if counted == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(counted, wanted, "connections");
}
