//! Redis may go away, come back and forget: subscribers miss nothing.

use std::time::{Duration, Instant};

use genvid::jobs::remote::Nudge;

use crate::support::{Node, World, redis};

#[tokio::test(flavor = "multi_thread")]
async fn followers_miss_nothing_whatever_happens_to_redis() {
    let (world, mut server) = (World::new().await, redis().await);
    let mut here = Node::over(&server, &world).await;
    let mut there = Node::over(&server, &world).await;
    let mut writer = world.job(&here.bus).await;
    let mut of_job = world.follow_job(&there.bus, writer.job);
    let mut of_owner = world.follow_owner(&there.bus);
    let followers = tokio::spawn(async move {
        let mut last = 0;
        // Ends with the number that the writer tells at last.
        move_on(&mut of_job, &mut last, 1_001).await;
        let mut position = 0;
        move_on(&mut of_owner, &mut position, 1_001).await;
    });
    for round in 0..100 {
        writer.tell(&here.bus, 10).await;
        match round {
            10 | 60 => server.cut().expect("cut"),
            20 => {
                server.ask("FLUSHALL").expect("emptied");
            }
            30 => {
                server.stop();
                there.whole(false).await;
                here.whole(false).await;
            }
            50 => {
                server.start_again().expect("started again");
                there.whole(true).await;
                here.whole(true).await;
            }
            80 => {
                server.stop();
                server.start_again().expect("started again");
            }
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    assert_eq!(writer.written(), 1_001);
    tokio::time::timeout(Duration::from_secs(20), followers)
        .await
        .expect("in time")
        .expect("complete and in order");
    here.whole(true).await;
    there.whole(true).await;

    there.heard().await;
    here.nudges.send(Nudge::Cancel(writer.job));
    assert_eq!(there.heard().await, [Nudge::Cancel(writer.job)]);
}

async fn move_on(follower: &mut crate::support::Follower, last: &mut usize, end: usize) {
    follower.expect(*last + 1, end).await;
    *last = end;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_the_log_is_looked_at() {
    let (world, mut server) = (World::new().await, redis().await);
    let here = Node::over(&server, &world).await;
    let mut there = Node::over(&server, &world).await;
    let mut writer = world.job(&here.bus).await;
    let mut follower = world.follow_job(&there.bus, writer.job);
    follower.expect(1, 1).await;
    server.stop();
    there.whole(false).await;
    for _ in 0..3 {
        let began = Instant::now();
        writer.tell(&here.bus, 2).await;
        follower
            .expect(writer.written() - 1, writer.written())
            .await;
        assert!(began.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nobody_told_is_found() {
    let (world, server) = (World::new().await, redis().await);
    let there = Node::over(&server, &world).await;
    let mut writer = world.job(&there.bus).await;
    let mut of_job = world.follow_job(&there.bus, writer.job);
    let mut of_owner = world.follow_owner(&there.bus);
    of_job.expect(1, 1).await;
    of_owner.expect(1, 1).await;
    // Its node died between commit and telling.
    writer.commit(2).await;
    of_job.expect(2, 3).await;
    of_owner.expect(2, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_could_not_tell_says_so_later() {
    let (world, server) = (World::new().await, redis().await);
    let here = Node::over(&server, &world).await;
    let there = Node::over(&server, &world).await;
    let mut writer = world.job(&here.bus).await;
    let mut follower = world.follow_job(&there.bus, writer.job);
    follower.expect(1, 1).await;
    for _ in 0..5 {
        // Only connections for commands: the listeners notice nothing.
        server
            .ask("CLIENT KILL TYPE normal SKIPME yes")
            .expect("cut");
        let began = Instant::now();
        writer.tell(&here.bus, 2).await;
        follower
            .expect(writer.written() - 1, writer.written())
            .await;
        assert!(
            began.elapsed() < Duration::from_millis(2_500),
            "said, not found by the rare look: {:?}",
            began.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_understood_makes_listeners_look() {
    let (world, server) = (World::new().await, redis().await);
    let there = Node::over(&server, &world).await;
    let mut writer = world.job(&there.bus).await;
    let mut follower = world.follow_job(&there.bus, writer.job);
    follower.expect(1, 1).await;
    for message in ["nonsense", "{}", "[7]"] {
        writer.commit(1).await;
        let began = Instant::now();
        server
            .ask(&format!("PUBLISH {{test}}:events {message}"))
            .expect("told");
        follower.expect(writer.written(), writer.written()).await;
        assert!(began.elapsed() < Duration::from_millis(2_500));
    }
}
