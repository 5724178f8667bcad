//! Operators compare what is written down with the vendors' own records.

use std::time::Duration;

use genvid_testkit::{Fault, FaultKind, Vendor};
use rand::RngExt;
use serde_json::{Value, json};

use crate::{
    lost_answers::park,
    support::{attempts, step, text, world::World},
};

/// One run: whether it found nothing, and its lines.
async fn reconcile(world: &World, more: &[&str]) -> (bool, Vec<Value>) {
    let simulators = world.launch.simulators.display().to_string();
    let words = ["admin", "reconcile", "--json", "--simulators", &simulators];
    let bought: u64 = Vendor::ALL.iter().map(|one| world.accepted(*one)).sum();
    let output = world.run_beside(&[&words[..], more].concat()).await;
    if !more.contains(&"--apply") {
        let now: u64 = Vendor::ALL.iter().map(|one| world.accepted(*one)).sum();
        assert_eq!(bought, now, "comparing buys nothing");
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} {said}")))
        .collect();
    let last = lines.last().unwrap_or_else(|| panic!("no summary: {said}"));
    assert_eq!(last["type"], "summary", "{said}");
    assert_eq!(last["ok"], output.status.success(), "{last} {said}");
    (output.status.success(), lines)
}

fn of<'a>(lines: &'a [Value], what: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["type"] == what).collect()
}

/// A film whose call never reached Kling, and that could not be looked up.
async fn never_arrived(world: &World) -> String {
    let faults = [
        Fault::new("POST /text-to-video/*", FaultKind::DropBefore),
        Fault::new("GET /tasks", FaultKind::Unavailable).times(0),
    ];
    world.fault(Vendor::Kling, faults);
    let client = world.client();
    let id = world.film(json!({"provider": "kling"})).await;
    client
        .wait(&id, "unconfirmed", |job| {
            step(job, "VIDEO")["status"] == "UNCONFIRMED"
        })
        .await;
    let database = world.database();
    database.age_open_attempts(Duration::from_secs(3_600)).await;
    client.ended(&id, "UNCONFIRMED").await;
    world.vendor(Vendor::Kling).clear_faults();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_vendor_has_is_found_and_followed() {
    let mut world = World::start().await;
    let job = park(&world).await;
    // A vendor that cannot be asked is no agreement.
    let (ok, lines) = reconcile(&world, &["--provider", "kling"]).await;
    assert!(!ok);
    assert_eq!(of(&lines, "provider")[0]["notAsked"], 1, "{lines:?}");
    assert_eq!(of(&lines, "difference").len(), 0, "{lines:?}");
    world.vendor(Vendor::Kling).clear_faults();

    let (ok, lines) = reconcile(&world, &[]).await;
    assert!(!ok);
    let differences = of(&lines, "difference");
    assert_eq!(differences.len(), 1, "{lines:?}");
    assert_eq!(differences[0]["difference"], "UNKNOWN_FOUND");
    assert_eq!(text(differences[0], "/job"), job);
    let invoice = world.vendor(Vendor::Kling).invoice();
    let task = invoice.calls.iter().find_map(|call| call.task_id.clone());
    assert_eq!(differences[0]["vendorTaskId"], json!(task));
    assert!(differences[0]["settled"].is_null(), "{lines:?}");
    for provider in of(&lines, "provider") {
        assert_eq!(provider["listing"], false, "{provider}");
    }
    // It was dry.
    let client = world.client();
    assert_eq!(client.job(&job).await["status"], "UNCONFIRMED");
    // The voice comes before the film in the order of the providers.
    let attempt = text(differences[0], "/attempt");
    let (ok, lines) = reconcile(&world, &["--after", attempt]).await;
    assert!(ok, "{lines:?}");

    let simulators = world.launch.simulators.display().to_string();
    let words = ["admin", "reconcile", "--apply", "--simulators", &simulators];
    for _ in 0..4 {
        let mut child = world.command_beside(&words).spawn().expect("it runs");
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..400))).await;
        // It may be over already.
        let _ = child.kill();
        child.wait().expect("it ended");
    }
    world.kill_and_start_again().await;
    reconcile(&world, &["--apply"]).await;
    let client = world.client();
    let row = client.ended(&job, "SUCCEEDED").await;
    assert_eq!(attempts(&row, "VIDEO"), ["kling SUCCEEDED CHARGED"]);
    let log = client.log(&job).await;
    let settled = log.iter().filter(|event| {
        let words = event["message"].as_str().unwrap_or_default();
        words.starts_with("Found at the provider by genvid admin reconcile")
    });
    assert_eq!(settled.count(), 1, "{log:?}");
    let (ok, lines) = reconcile(&world, &["--apply"]).await;
    assert!(ok, "{lines:?}");
    assert_eq!(client.log(&job).await, log, "a further run changes nothing");
    assert_eq!(world.billed(Vendor::Kling), 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_vendor_never_got_is_not_charged_and_tried_again() {
    let world = World::start().await;
    let job = never_arrived(&world).await;
    let (ok, lines) = reconcile(&world, &["--provider", "kling", "--apply"]).await;
    assert!(!ok);
    let differences = of(&lines, "difference");
    assert_eq!(differences.len(), 1, "{lines:?}");
    assert_eq!(differences[0]["difference"], "UNKNOWN_NOT_THERE");
    assert_eq!(differences[0]["settled"], true);
    let client = world.client();
    let row = client.ended(&job, "SUCCEEDED").await;
    let tried = attempts(&row, "VIDEO");
    assert_eq!(
        tried,
        ["kling FAILED NOT_CHARGED", "kling SUCCEEDED CHARGED"]
    );
    let (ok, lines) = reconcile(&world, &["--apply"]).await;
    assert!(ok, "{lines:?}");
    assert_eq!(world.billed(Vendor::Kling), 1);
    world.audit().await;
}

/// Its invoice has a film that nobody was charged for, so that no audit can hold here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_settled_wrongly_is_told() {
    let world = World::start().await;
    let job = park(&world).await;
    world.vendor(Vendor::Kling).clear_faults();
    let (_, lines) = reconcile(&world, &["--provider", "kling"]).await;
    let attempt = text(of(&lines, "difference")[0], "/attempt").to_owned();
    let words = [
        "admin",
        "attempts",
        "settle",
        &attempt,
        "--as",
        "not-charged",
    ];
    let words = [&words[..], &["--reason", "a mistake"]].concat();
    assert!(world.run_beside(&words).await.status.success());
    world.client().ended(&job, "SUCCEEDED").await;
    for _ in 0..2 {
        let (ok, lines) = reconcile(&world, &["--apply"]).await;
        assert!(!ok);
        let differences = of(&lines, "difference");
        assert_eq!(differences.len(), 1, "{lines:?}");
        assert_eq!(differences[0]["difference"], "THERE_NOT_CHARGED");
        assert_eq!(differences[0]["attempt"], attempt);
        // Nobody but a person can set that right.
        assert!(differences[0]["settled"].is_null(), "{lines:?}");
    }
    assert_eq!(world.billed(Vendor::Kling), 2);
}
