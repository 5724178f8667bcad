//! Hosts need not agree on the time.

use std::{path::Path, time::Duration};

use serde_json::json;

use super::{Cluster, Role, quick};
use crate::support::text;

/// Debian's `libfaketime`, which shows a process another time.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_differ_by_hours_change_nothing() {
    let library = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
        .map(|folder| Path::new(folder).join(LIBRARY))
        .into_iter()
        .find(|path| path.is_file())
        .expect("libfaketime; `cargo xtask setup` installs it");
    let setup = quick().profile(|pace| pace.render = Duration::from_secs(5));
    let mut cluster = Cluster::start(setup, 1, 2).await;
    for (number, shift) in [(0, "+2h"), (1, "-3h"), (2, "+90m")] {
        let node = &mut cluster.nodes[number];
        node.kill();
        node.launch.env.extend(
            [
                ("LD_PRELOAD", library.display().to_string()),
                ("FAKETIME", shift.to_owned()),
                // Waiting is not shifted: only what time it is.
                ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        node.rise().await;
    }
    let client = cluster.client(0);
    let project = client.project().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        let deadline = (chrono::Utc::now() + chrono::TimeDelta::minutes(5)).to_rfc3339();
        let wish = cluster.world.wish(
            &project,
            json!({"provider": "heygen", "deadline": deadline}),
        );
        jobs.push(client.start("GenerateVideo", wish).await);
    }
    // The leases of these worlds last 3 s, the films 5: a node that trusted its own clock
    // would take the other's work, or let its own go.
    for id in &jobs {
        let job = client.ended(id, "SUCCEEDED").await;
        let told: chrono::DateTime<chrono::Utc> = text(&job, "/createdAt").parse().expect("a time");
        let off = (chrono::Utc::now() - told).num_seconds().abs();
        assert!(off < 200, "{told} is the time of a node's own clock");
        let log = client.log(id).await;
        let times: Vec<chrono::DateTime<chrono::Utc>> = log
            .iter()
            .map(|event| text(event, "/at").parse().expect("a time"))
            .collect();
        assert!(times.is_sorted(), "{times:?}");
    }
    assert_eq!(cluster.of_role(Role::Worker).len(), 2);
    cluster.survey().await.audit().await;
}
