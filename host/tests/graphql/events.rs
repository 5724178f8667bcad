//! Event logs: read in pages, and followed.

use std::time::Duration;

use futures::StreamExt;
use genvid::jobs::model::{EventType, NewEvent, StepKind};
use serde_json::{Value, json};

use crate::harness::{Bench, succeed};

const FOLLOW: &str = "subscription ($jobId: ID!, $after: Int) {
    jobEvents(jobId: $jobId, after: $after) { jobId seq type step message textDelta cursor
        job { id status lastSeq } } }";

async fn next(events: &mut (impl futures::Stream<Item = Value> + Unpin)) -> Value {
    tokio::time::timeout(Duration::from_secs(20), events.next())
        .await
        .expect("in time")
        .expect("an event")
}

fn delta(text: &str) -> NewEvent {
    NewEvent {
        text_delta: Some(text.to_owned()),
        ..NewEvent::step(EventType::TextDelta, StepKind::Script)
    }
}

#[tokio::test]
async fn the_log_is_read_in_pages() {
    let bench = Bench::new().await;
    let id = bench.accept_video(None).await;
    bench
        .work(id, |change| {
            change.events = (0..9).map(|n| delta(&n.to_string())).collect();
        })
        .await;
    let query = "query ($id: ID!, $after: Int) { job(id: $id) { events(after: $after, first: 4) {
        edges { cursor node { seq textDelta } } pageInfo { hasNextPage endCursor } } } }";
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let data = bench
            .data(query, json!({ "id": id.to_string(), "after": after }))
            .await;
        let page = &data["job"]["events"];
        for edge in page["edges"].as_array().expect("edges") {
            let seq = edge["node"]["seq"].as_i64().expect("a number");
            assert_eq!(edge["cursor"], seq.to_string());
            seen.push(seq);
        }
        if page["pageInfo"]["hasNextPage"] == json!(false) {
            break;
        }
        after = page["pageInfo"]["endCursor"]
            .as_str()
            .and_then(|cursor| cursor.parse().ok())
            .expect("a number");
    }
    assert_eq!(seen, (1..=10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_job_is_followed_from_its_past_to_its_end() {
    let bench = Bench::new().await;
    let id = bench.accept_video(None).await;
    bench
        .work(id, |change| change.events = vec![delta("Hello")])
        .await;
    let job = id.to_string();

    let mut all = bench.follow(FOLLOW, json!({ "jobId": job }));
    let mut late = bench.follow(FOLLOW, json!({ "jobId": job, "after": 1 }));
    let first = next(&mut all).await["data"]["jobEvents"].take();
    assert_eq!(first["type"], "JOB_QUEUED");
    assert_eq!(first["seq"], 1);
    assert_eq!(first["jobId"], json!(job));
    assert_eq!(
        first["job"],
        json!({ "id": job, "status": "QUEUED", "lastSeq": 2 })
    );
    for events in [&mut all, &mut late] {
        let told = next(events).await["data"]["jobEvents"].take();
        assert_eq!(
            (&told["seq"], &told["textDelta"]),
            (&json!(2), &json!("Hello"))
        );
    }

    bench.work(id, |change| succeed(change, &bench.ann)).await;
    for events in [&mut all, &mut late] {
        let step = next(events).await["data"]["jobEvents"].take();
        assert_eq!(
            (&step["type"], &step["step"]),
            (&json!("STEP_SUCCEEDED"), &json!("VOICE"))
        );
        let last = next(events).await["data"]["jobEvents"].take();
        assert_eq!(last["type"], "JOB_SUCCEEDED");
        // Never older than the event itself, although the job was told before.
        assert_eq!(
            last["job"],
            json!({ "id": job, "status": "SUCCEEDED", "lastSeq": 4 })
        );
        assert_eq!(events.next().await, None);
    }

    let mut over = bench.follow(FOLLOW, json!({ "jobId": job, "after": 4 }));
    assert_eq!(over.next().await, None);
}

#[tokio::test]
async fn all_jobs_are_followed_by_a_cursor() {
    let bench = Bench::new().await;
    let query = "subscription ($after: String) { myJobEvents(after: $after) { jobId seq cursor } }";
    let first = bench.accept_video(None).await.to_string();
    let log = "query ($id: ID!) { job(id: $id) { events { nodes { cursor } } } }";
    let cursor =
        bench.data(log, json!({ "id": first })).await["job"]["events"]["nodes"][0]["cursor"].take();
    let second = bench.accept_video(None).await.to_string();

    let mut events = bench.follow(query, json!({ "after": cursor }));
    let told = next(&mut events).await["data"]["myJobEvents"].take();
    assert_eq!((&told["jobId"], &told["seq"]), (&json!(second), &json!(1)));
    let third = bench.accept_video(None).await.to_string();
    let told = next(&mut events).await["data"]["myJobEvents"].take();
    assert_eq!(told["jobId"], json!(third));
}

#[tokio::test]
async fn what_cannot_be_followed_is_one_error() {
    let bench = Bench::new().await;
    let job = bench.accept_video(None).await.to_string();
    let other = "job_00000000000000000000000000000000";
    let mine = "subscription ($after: String) { myJobEvents(after: $after) { seq } }";
    for (query, variables, code) in [
        (FOLLOW, json!({ "jobId": other }), "NOT_FOUND"),
        (FOLLOW, json!({ "jobId": "x" }), "INVALID_INPUT"),
        (
            FOLLOW,
            json!({ "jobId": job, "after": -1 }),
            "INVALID_INPUT",
        ),
        (mine, json!({ "after": "x" }), "INVALID_INPUT"),
        (mine, json!({ "after": "am9iXzE" }), "INVALID_INPUT"),
    ] {
        let mut events = bench.follow(query, variables.clone());
        let refused = next(&mut events).await;
        assert_eq!(
            refused["errors"][0]["extensions"]["code"], code,
            "{variables}"
        );
        assert_eq!(events.next().await, None);
    }
}
