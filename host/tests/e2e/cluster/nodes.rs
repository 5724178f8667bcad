//! What nodes are to each other in quiet times.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Cluster, quick};
use crate::support::{client::Client, live::Said, text, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_one_node_sees_what_another_runs() {
    let cluster = Cluster::start(quick(), 2, 1).await;
    let (first, second) = (cluster.client(0), cluster.client(1));
    // Everything that users do at one node is there at the other.
    let project = first.project().await;
    let wish = cluster.world.wish(&project, json!({"subtitles": "BURNED"}));
    let job = second.start("GenerateVideo", wish.clone()).await;
    assert_eq!(first.start("GenerateVideo", wish).await, job);
    let mut live = first.live().await;
    live.follow(&job, 0).await;
    let mut seen = Vec::new();
    loop {
        match live.next().await {
            Said::Event(event) => seen.push(event),
            Said::Complete => break,
            other => panic!("the log broke off: {other:?}"),
        }
    }
    assert_eq!(seen, second.log(&job).await);
    let job = second.ended(&job, "SUCCEEDED").await;
    assert!(!second.download(text(&job, "/videoUrl")).await.is_empty());
    // A worker answers for its health and for nothing else.
    let worker = &cluster.nodes[2];
    let client = Client::new(&worker.url(), Some(&worker.launch.token));
    assert_eq!(client.get_json("/readyz").await["role"], "worker");
    let refused = client.get(&format!("{}/graphql", worker.url()), &[]).await;
    assert_eq!(refused.status(), 404);
    cluster.survey().await.audit().await;
}

/// A node that stops hands its work back at once: nobody waits for its leases to run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_hands_its_work_over() {
    let setup = quick()
        .profile(|pace| pace.render = Duration::from_secs(6))
        .set("jobs.lease_seconds", 600);
    let mut cluster = Cluster::start(setup, 1, 2).await;
    let client = cluster.client(0);
    let project = client.project().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        let more = json!({"provider": "heygen"});
        let wish = cluster.world.wish(&project, more);
        jobs.push(client.start("GenerateVideo", wish).await);
    }
    let database = cluster.database();
    until("all are at the vendor", || async {
        (database.running().await == 4).then_some(())
    })
    .await;
    let began = Instant::now();
    let mut stopping = cluster.nodes[1].server.take().expect("it runs");
    let ended = stopping.terminate().await;
    assert!(ended.success(), "{ended}");
    let took = began.elapsed();
    // The drain time of these worlds is 3 s; nothing here has to be waited for so long.
    assert!(took < Duration::from_secs(8), "it took {took:?} to stop");
    for job in &jobs {
        client.ended(job, "SUCCEEDED").await;
    }
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(60),
        "leases were waited for: {took:?}"
    );
    cluster.survey().await.audit().await;
}
