//! Operators settle what nobody can look up.

use std::time::Duration;

use genvid_testkit::Vendor;
use rand::RngExt;
use serde_json::{Value, json};

use crate::{
    lost_answers::park,
    support::{attempts, list, text, world::World},
};

async fn admin(world: &World, words: &[&str]) -> (bool, Value, String) {
    let all = [&["admin", "attempts"], words, &["--json"]].concat();
    let output = world.run_beside(&all).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.success(), answer, said)
}

/// The attempt that is open, and the task that Kling has for it.
async fn open(world: &World) -> (String, String) {
    let (ok, listed, said) = admin(world, &["list", "--unconfirmed"]).await;
    assert!(ok, "{said}");
    let all = list(&listed, "/attempts");
    assert_eq!(all.len(), 1, "{listed}");
    assert_eq!(all[0]["provider"], "kling");
    assert_eq!(all[0]["jobStatus"], "UNCONFIRMED");
    let id = text(&all[0], "/id").to_owned();
    let invoice = world.vendor(Vendor::Kling).invoice();
    let call = invoice
        .calls
        .iter()
        .find(|call| call.client_ref.as_ref() == Some(&id));
    let task = call.and_then(|call| call.task_id.clone());
    (id, task.expect("Kling has it"))
}

fn found(log: &[Value]) -> usize {
    let told = log.iter().filter(|event| {
        event["type"] == "ATTEMPT_ACCEPTED"
            && event["message"]
                .as_str()
                .is_some_and(|words| words.starts_with("Found at the provider"))
    });
    told.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_an_operator_found_brings_its_film() {
    let world = World::start().await;
    let job = park(&world).await;
    let (id, task) = open(&world).await;
    let (ok, _, said) = admin(
        &world,
        &[
            "settle",
            &id,
            "--as",
            "not-charged",
            "--task",
            &task,
            "--reason",
            "x",
        ],
    )
    .await;
    assert!(!ok && said.contains("--task"), "{said}");
    let (ok, _, said) = admin(&world, &["settle", &id, "--as", "charged", "--reason", " "]).await;
    assert!(!ok && said.contains("--reason"), "{said}");
    world.vendor(Vendor::Kling).clear_faults();
    let words = [
        "settle",
        &id,
        "--as",
        "charged",
        "--task",
        &task,
        "--reason",
        "in the console",
        "--by",
        "Olga",
    ];
    let (ok, answer, said) = admin(&world, &words).await;
    assert!(ok, "{said}");
    assert_eq!(answer["jobStatus"], "RUNNING", "{answer}");
    let client = world.client();
    let row = client.ended(&job, "SUCCEEDED").await;
    assert_eq!(attempts(&row, "VIDEO"), ["kling SUCCEEDED CHARGED"]);
    assert_eq!(world.billed(Vendor::Kling), 1);
    let log = client.log(&job).await;
    assert_eq!(found(&log), 1);
    let told = log.iter().filter_map(|event| event["message"].as_str());
    assert!(
        told.into_iter()
            .any(|words| words.contains("Olga: in the console"))
    );
    let (ok, _, said) = admin(&world, &words).await;
    assert!(!ok && said.contains("not open"), "{said}");
    let result = client.change("RetryJob", json!({"jobId": job})).await;
    assert_eq!(result["code"], "CONFLICT", "{result}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_is_settled_once() {
    let mut world = World::start().await;
    let job = park(&world).await;
    let (id, task) = open(&world).await;
    world.vendor(Vendor::Kling).clear_faults();
    let words = [
        "admin",
        "attempts",
        "settle",
        &id,
        "--as",
        "charged",
        "--task",
        &task,
        "--reason",
        "in the console",
    ];
    for _ in 0..8 {
        let mut child = world.command_beside(&words).spawn().expect("it runs");
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..120))).await;
        // It may be over already.
        let _ = child.kill();
        child.wait().expect("it ended");
    }
    world.kill_and_start_again().await;
    let (ok, _, said) = admin(&world, &words[2..]).await;
    assert!(ok || said.contains("not open"), "{said}");
    let client = world.client();
    let row = client.ended(&job, "SUCCEEDED").await;
    assert_eq!(attempts(&row, "VIDEO"), ["kling SUCCEEDED CHARGED"]);
    assert_eq!(found(&client.log(&job).await), 1);
    assert_eq!(world.billed(Vendor::Kling), 1);
    world.audit().await;
}
