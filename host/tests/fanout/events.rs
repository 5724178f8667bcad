//! Subscribers on one node hear what another node commits: the same on each implementation.

use std::time::Duration;

use crate::support::{Node, World, redis};

async fn order_and_no_repetition(world: &World, here: &Node, there: &Node) {
    let mut first = world.job(&here.bus).await;
    let mut second = world.job(&here.bus).await;
    let mut of_first = world.follow_job(&there.bus, first.job);
    let mut of_owner = world.follow_owner(&there.bus);
    of_first.expect(1, 1).await;
    of_owner.expect(1, 2).await;
    for burst in [1, 2, 90, 1, 250, 3, 1] {
        first.tell(&here.bus, burst).await;
        second.tell(&there.bus, burst).await;
    }
    of_first.expect(2, first.written()).await;
    of_owner.expect(3, first.written() + second.written()).await;
    // Who comes late reads the log, and then hears the same.
    let mut late = world.follow_job(&there.bus, first.job);
    late.expect(1, first.written()).await;
    first.tell(&here.bus, 5).await;
    late.expect(first.written() - 4, first.written()).await;
    of_first.expect(first.written() - 4, first.written()).await;
    let quiet = Duration::from_millis(300);
    late.expect_silence(quiet).await;
    of_first.expect_silence(quiet).await;
}

/// Events of one job may be told by two nodes, and pass each other on the way.
async fn out_of_order(world: &World, here: &Node, there: &Node) {
    let mut writer = world.job(&here.bus).await;
    let mut follower = world.follow_job(&there.bus, writer.job);
    follower.expect(1, 1).await;
    for _ in 0..20 {
        let early = writer.commit(2).await;
        let late = writer.commit(3).await;
        there.bus.publish(late);
        here.bus.publish(early.clone());
        here.bus.publish(early);
    }
    follower.expect(2, writer.written()).await;
    follower.expect_silence(Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_tells_in_order_and_once() {
    let world = World::new().await;
    let node = Node::alone();
    order_and_no_repetition(&world, &node, &node).await;
    out_of_order(&world, &node, &node).await;
}

/// Whoever hears a later event waits a moment for those before it, and then reads them.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_tells_is_read_from_the_log() {
    let (world, node) = (World::new().await, Node::alone());
    let mut writer = world.job(&node.bus).await;
    let mut of_job = world.follow_job(&node.bus, writer.job);
    let mut of_owner = world.follow_owner(&node.bus);
    of_job.expect(1, 1).await;
    of_owner.expect(1, 1).await;
    for _ in 0..3 {
        writer.commit(2).await;
        writer.tell(&node.bus, 1).await;
        of_job.expect(writer.written() - 2, writer.written()).await;
        of_owner
            .expect(writer.written() - 2, writer.written())
            .await;
    }
    // More than may wait.
    writer.commit(1).await;
    for _ in 0..300 {
        writer.tell(&node.bus, 1).await;
    }
    of_job
        .expect(writer.written() - 300, writer.written())
        .await;
    of_owner
        .expect(writer.written() - 300, writer.written())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_tell_each_other_in_order_and_once() {
    let (world, server) = (World::new().await, redis().await);
    let here = Node::over(&server, &world).await;
    let there = Node::over(&server, &world).await;
    order_and_no_repetition(&world, &here, &there).await;
    out_of_order(&world, &here, &there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_says_last_is_heard() {
    let (world, server) = (World::new().await, redis().await);
    let here = Node::over(&server, &world).await;
    let there = Node::over(&server, &world).await;
    let mut writer = world.job(&here.bus).await;
    let mut follower = world.follow_job(&there.bus, writer.job);
    follower.expect(1, 1).await;
    writer.tell(&here.bus, 3).await;
    here.close().await;
    let began = std::time::Instant::now();
    follower.expect(2, writer.written()).await;
    assert!(began.elapsed() < Duration::from_secs(1), "told, not found");
}
