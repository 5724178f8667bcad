//! Starting and stopping: a graceful end, a second process, settings that are wrong.

use std::time::Duration;

use genvid_testkit::{Fault, FaultKind, Vendor};
use serde_json::json;

use crate::support::{
    attempts,
    client::document,
    live::{Events, Said},
    server::{self, Server},
    step, text,
    world::{Setup, World},
};

const HEYGEN: &str = "POST /v3/videos";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_end_hands_everything_back() {
    let mut world = Setup::default()
        .profile(|pace| pace.render = Duration::from_secs(6))
        .set("jobs.lease_seconds", 600)
        .start()
        .await;
    let client = world.client();
    let waiting = world.film(json!({"provider": "heygen"})).await;
    client
        .wait(&waiting, "running", |job| {
            step(job, "VIDEO")["status"] == "RUNNING"
        })
        .await;
    // A call in flight is waited for: its answer is worth money.
    let slow = Fault::new(HEYGEN, FaultKind::Delay).delay(Duration::from_millis(1_000));
    world.fault(Vendor::HeyGen, [slow]);
    let calling = world.film(json!({"provider": "heygen"})).await;
    client
        .wait(&calling, "submitting", |job| {
            step(job, "VIDEO")["status"] == "SUBMITTING"
        })
        .await;
    let mut live = client.live().await;
    live.follow(&waiting, 0).await;
    let mut stream = Events::new(
        client
            .stream(document("WatchJob"), json!({"jobId": waiting, "after": 0}))
            .await,
    );

    let status = world.server_mut().terminate().await;
    assert_eq!(status.code(), Some(0));
    while let Said::Event(_) = live.next().await {}
    let end = loop {
        match stream.next().await {
            Said::Event(_) => {}
            end => break end,
        }
    };
    assert_eq!(
        end,
        Said::Cut,
        "a stream that is not complete must not say so"
    );
    assert_eq!(world.database().leases().await, 0);

    world.start_again().await;
    let client = world.client();
    for id in [&waiting, &calling] {
        let job = client.ended(id, "SUCCEEDED").await;
        assert_eq!(attempts(&job, "VIDEO"), ["heygen SUCCEEDED CHARGED"]);
        let log = client.log(id).await;
        assert!(
            log.iter().all(|event| event["type"] != "STEP_UNCONFIRMED"),
            "{log:#?}"
        );
    }
    assert_eq!(world.accepted(Vendor::HeyGen), 2);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_data_is_turned_away() {
    // Processes that share a server are no strangers to each other.
    let world = Setup::default().embedded().start().await;
    let mut second = world.launch.clone();
    second.port = 0;
    let why = Server::try_start(&second)
        .await
        .expect_err("two servers share one folder");
    assert!(why.contains("in use by another genvid process"), "{why}");
    assert!(why.contains("--data-dir"), "{why}");
    // The first one has not noticed.
    let job = world.script(json!({})).await;
    world.client().ended(&job, "SUCCEEDED").await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_and_a_folder_that_cannot_be_written_are_told() {
    let world = Setup::default().embedded().start().await;
    let mut other = world.launch.clone();
    other.data = world.launch.folder.join("elsewhere");
    let why = Server::try_start(&other)
        .await
        .expect_err("two servers share one port");
    assert!(why.contains("cannot listen on 127.0.0.1:"), "{why}");
    other.port = 0;
    let file = world.launch.folder.join("a-file");
    std::fs::write(&file, "").expect("a file");
    other.data = file.join("data");
    let why = Server::try_start(&other)
        .await
        .expect_err("a file is no folder");
    assert!(why.contains("a-file"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_settings_are_told_all_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("wrong.toml");
    std::fs::write(
        &config,
        "[server]\nprot = 1\n[jobs]\nlease_seconds = 1\n[providers.heygen]\nenabeld = true\n\
         reroute = { \"api.heygen.com\" = \"nowhere\" }\n[unknown]\n",
    )
    .expect("a file");
    let config = config.display().to_string();
    let env = [
        ("GENVID__LOG__FORMAT", "loud"),
        ("GENVID__MEDIA__MAX_MIB", "many"),
        ("GENVID__SERVER__PORT", "99999"),
        ("GENVID__JOBS__SETTLE_HOURS", "0"),
    ];
    let output = server::run(folder.path(), &["serve", "--config", &config], &env).await;
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    for wanted in [
        "server.prot",
        "did you mean port?",
        "jobs.lease_seconds",
        "providers.heygen.enabeld",
        "did you mean enabled?",
        "providers.heygen.reroute.api.heygen.com",
        "unknown",
        "log.format",
        "media.max_mib",
        "99999",
        "jobs.settle_hours",
    ] {
        assert!(said.contains(wanted), "{wanted:?} is not in: {said}");
    }
    let missing = folder.path().join("missing.toml").display().to_string();
    let output = server::run(folder.path(), &["serve", "--config", &missing], &[]).await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("missing.toml"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_an_earlier_life_is_all_there() {
    let mut world = World::start().await;
    let job = world.film(json!({"provider": "heygen"})).await;
    let before = world.client().ended(&job, "SUCCEEDED").await;
    let film = world.client().download(text(&before, "/videoUrl")).await;
    let link = text(&before, "/videoUrl").to_owned();
    assert_eq!(world.server_mut().terminate().await.code(), Some(0));
    world.start_again().await;
    let client = world.client();
    let after = client.job(&job).await;
    assert_eq!(
        (&after["steps"], &after["lastSeq"]),
        (&before["steps"], &before["lastSeq"])
    );
    assert!(client.download(text(&after, "/videoUrl")).await == film);
    // Links that were given out go on working.
    assert!(client.download(&link).await == film);
    world.audit().await;
}
