//! Nodes are killed, or stand still for longer than a lease, every few seconds while hundreds of jobs run and hundreds of clients
//! watch.

use std::time::Duration;

use futures::StreamExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::sync::watch;

use super::{Cluster, Role, quick};
use crate::support::{
    all_attempts, attempts,
    crowd::{Doors, Wish, wishes},
    seed::{pause, random},
};

/// Jobs.
const JOBS: usize = 500;
/// Of which films.
const FILMS: usize = 12;
/// Jobs that somebody watches.
const WATCHED: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_that_die_at_any_moment_do_every_job_once() {
    let mut random = random();
    let mut cluster = Cluster::start(quick(), 2, 3).await;
    let project = cluster.client(0).project().await;
    let doors = doors(&cluster);
    let (over, still) = watch::channel(false);
    let crowd = tokio::spawn(crowd(
        doors.clone(),
        wishes(JOBS, FILMS, &project),
        WATCHED,
        StdRng::seed_from_u64(random.random()),
        over,
    ));
    let mut deaths = 0;
    while !*still.borrow() && !crowd.is_finished() {
        pause(&mut random, 1_000..4_000).await;
        let number = random.random_range(0..cluster.nodes.len());
        let node = &mut cluster.nodes[number];
        if random.random_range(0..5) == 0 {
            // It only seems to be dead: others take its steps, and then it goes on.
            node.stand_still(&mut random).await;
        } else {
            node.kill();
            deaths += 1;
            pause(&mut random, 0..500).await;
            node.rise().await;
        }
        cluster.settle().await;
    }
    let told = crowd.await.expect("the crowd is content");
    assert!(deaths > 5, "only {deaths} deaths: too quick to be a test");
    println!("{deaths} deaths");

    let world = cluster.survey().await;
    let client = world.client();
    for (job, status, seen) in told {
        if status != "SUCCEEDED" {
            // Its worker died during each call at a vendor that can be asked; then during one at the
            // vendor that cannot, and nobody may guess what became of that.
            // Or each time before the call left: that is said, and cost nothing.
            let row = client.job(&job).await;
            match status.as_str() {
                "FAILED" => {
                    let all = all_attempts(&row);
                    let free = |attempt: &&Value| attempt["charge"] == "NOT_CHARGED";
                    let error = &row["error"];
                    assert!(
                        all.len() >= 3 && all.iter().rev().take(3).all(free),
                        "{row:#}"
                    );
                    assert_eq!(error["code"], "PROVIDER_UNAVAILABLE", "{row:#}");
                    assert_eq!(error["retryable"], true, "{row:#}");
                }
                _ => {
                    let lost = attempts(&row, "VOICE");
                    let lost = lost.iter().any(|one| one.starts_with("openai UNCONFIRMED"));
                    assert!(status == "UNCONFIRMED" && lost, "{row:#}");
                }
            }
        }
        if let Some(seen) = seen {
            assert_eq!(seen, client.log(&job).await, "what a client saw of {job}");
        }
    }
    world.audit().await;
}

/// The doors of all nodes that answer.
pub(super) fn doors(cluster: &Cluster) -> Doors {
    let urls = cluster
        .of_role(Role::Api)
        .into_iter()
        .map(|number| cluster.nodes[number].url())
        .collect();
    Doors::new(urls, &cluster.nodes[0].launch.token)
}

/// What became of a job: its id, its status, and its events where somebody watched.
pub(super) type Told = (String, String, Option<Vec<serde_json::Value>>);

/// Has everything made, and watches some of it. Says so when all is over.
pub(super) async fn crowd(
    doors: Doors,
    wishes: Vec<Wish>,
    watched: usize,
    mut random: StdRng,
    over: watch::Sender<bool>,
) -> Vec<Told> {
    // Watchers are not stood in line with those who only wait.
    let every = wishes.len() / watched.max(1);
    let tasks: Vec<_> = wishes
        .into_iter()
        .enumerate()
        .map(|(index, wish)| {
            let (doors, seed) = (doors.clone(), random.random::<u64>());
            async move {
                // Not all at the same moment.
                tokio::time::sleep(Duration::from_millis(index as u64 * 20)).await;
                let job = doors.insist(wish, seed).await;
                let seen = match every > 0 && index.is_multiple_of(every) {
                    true => Some(doors.follow(&job, seed).await),
                    false => None,
                };
                let status = doors.over(&job, seed).await;
                (job, status, seen)
            }
        })
        .collect();
    let count = tasks.len();
    let told = futures::stream::iter(tasks)
        .buffer_unordered(count.max(1))
        .collect()
        .await;
    over.send_replace(true);
    told
}
