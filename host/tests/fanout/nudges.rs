//! Workers are called, wherever they are.

use genvid::{
    app, config,
    ids::JobId,
    jobs::remote::{Nudge, Nudges},
};

use crate::support::{Node, PATIENCE, World, redis};

async fn everybody_hears_once(here: &mut Node, there: Option<&mut Node>) {
    let (one, other) = (JobId::generate(), JobId::generate());
    let all = [
        Nudge::Cancel(one),
        Nudge::Look(other),
        Nudge::Work,
        Nudge::Room,
        Nudge::Plugins,
        Nudge::Health,
    ];
    for nudge in all {
        here.nudges.send(nudge);
    }
    assert_eq!(here.heard().await, all, "its own worker, each once");
    if let Some(there) = there {
        let mut heard = there.heard().await;
        // Calls of the same kind may be told together.
        heard.sort_by_key(|nudge| all.iter().position(|known| known == nudge));
        heard.dedup();
        assert_eq!(heard, all, "the other node's worker");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_calls_its_worker() {
    everybody_hears_once(&mut Node::alone(), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_call_each_others_workers() {
    let (world, server) = (World::new().await, redis().await);
    let mut here = Node::over(&server, &world).await;
    let mut there = Node::over(&server, &world).await;
    here.heard().await;
    everybody_hears_once(&mut here, Some(&mut there)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_calls_is_told_as_few() {
    let (world, server) = (World::new().await, redis().await);
    let here = Node::over(&server, &world).await;
    let mut there = Node::over(&server, &world).await;
    for _ in 0..2_000 {
        here.nudges.send(Nudge::Work);
    }
    let heard = there.heard().await;
    assert!(!heard.is_empty() && heard.len() < 200, "{}", heard.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_resume_after_redis_was_away_and_nobody_waits_for_one() {
    let (world, mut server) = (World::new().await, redis().await);
    let mut here = Node::over(&server, &world).await;
    let mut there = Node::over(&server, &world).await;
    server.stop();
    here.whole(false).await;
    there.whole(false).await;
    here.nudges.send(Nudge::Work);
    server.start_again().expect("started again");
    here.whole(true).await;
    there.whole(true).await;
    // Whoever hears again looks for himself: what was said meanwhile is lost.
    assert!(there.heard().await.contains(&Nudge::Work));
    here.nudges.send(Nudge::Room);
    assert_eq!(there.heard().await, [Nudge::Room]);
}

#[test]
fn without_any_worker_nothing_happens() {
    Nudges::default().send(Nudge::Work);
}

/// As `genvid admin` does once it has changed something.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_calls_every_node_and_is_gone() {
    let (world, server) = (World::new().await, redis().await);
    let mut node = Node::over(&server, &world).await;
    let flags = [
        ("redis.url", server.url()),
        ("redis.prefix", "test".to_owned()),
        (
            "database.url",
            "postgres://nobody@127.0.0.1/none".to_owned(),
        ),
    ];
    let settings = config::load(None, &flags).expect("settings");
    for _ in 0..5 {
        app::call_nodes(&settings, PATIENCE).await.expect("told");
        assert_eq!(node.heard().await, [Nudge::Plugins]);
    }
}
