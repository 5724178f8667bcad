//! Following jobs live: whoever is cut off and comes back with `after` has the whole log.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::support::{
    client::{Client, document},
    live::{Events, Said},
    text,
    world::{Setup, World},
};

fn seq(event: &Value) -> i64 {
    event["seq"].as_i64().expect("a number")
}

/// Follows a job over connections that break after a few events each.
async fn follow_in_pieces(client: Client, job: String, seed: u64, by_socket: bool) -> Vec<Value> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut seen: Vec<Value> = Vec::new();
    loop {
        let after = seen.last().map_or(0, seq);
        let mut left = random.random_range(1..4);
        let mut live = None;
        let mut events = None;
        if by_socket {
            let mut socket = client.live().await;
            socket.follow(&job, after).await;
            live = Some(socket);
        } else {
            let variables = json!({"jobId": job, "after": after});
            events = Some(Events::new(
                client.stream(document("WatchJob"), variables).await,
            ));
        }
        while left > 0 {
            let said = match (&mut live, &mut events) {
                (Some(socket), _) => socket.next().await,
                (None, Some(events)) => events.next().await,
                (None, None) => unreachable!("one of them is open"),
            };
            match said {
                Said::Event(event) => seen.push(event),
                Said::Complete => return seen,
                other => panic!("the log broke off: {other:?}"),
            }
            left -= 1;
        }
        // Dropping it cuts the connection; events go on meanwhile.
        drop((live, events));
        tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_cut_off_rebuilds_the_log() {
    let world = Setup::default()
        .profile(|pace| pace.write = Duration::from_millis(900))
        .start()
        .await;
    let client = world.client();
    let seed = rand::random();
    println!("seed {seed}");
    let job = world
        .film(json!({"script": null, "maxSeconds": 8, "subtitles": "SIDECAR"}))
        .await;
    let (by_socket, by_stream, whole) = tokio::join!(
        follow_in_pieces(client.clone(), job.clone(), seed, true),
        follow_in_pieces(client.clone(), job.clone(), seed.wrapping_add(1), false),
        async {
            let mut live = client.live().await;
            live.follow(&job, 0).await;
            let mut seen = Vec::new();
            while let Said::Event(event) = live.next().await {
                seen.push(event);
            }
            seen
        },
    );
    let log = client.log(&job).await;
    assert_eq!(log.last().expect("events")["type"], "JOB_SUCCEEDED");
    assert_eq!(whole, log, "uncut");
    assert_eq!(by_socket, log, "over sockets that break");
    assert_eq!(by_stream, log, "over streams that break");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_over_is_told_and_ends() {
    let world = World::start().await;
    let client = world.client();
    let job = world.script(json!({})).await;
    client.ended(&job, "SUCCEEDED").await;
    let log = client.log(&job).await;
    let last = seq(log.last().expect("events"));
    for after in [0, 3, last - 1, last, last + 100] {
        let mut live = client.live().await;
        live.follow(&job, after).await;
        let mut seen = Vec::new();
        let end = loop {
            match live.next().await {
                Said::Event(event) => seen.push(event),
                end => break end,
            }
        };
        assert_eq!(end, Said::Complete, "after {after}");
        let wanted: Vec<_> = log
            .iter()
            .filter(|event| seq(event) > after)
            .cloned()
            .collect();
        assert_eq!(seen, wanted, "after {after}");
    }
    let mut live = client.live().await;
    live.follow(&job, -1).await;
    let Said::Refused(errors) = live.next().await else {
        panic!("a number below zero was taken")
    };
    assert_eq!(errors[0]["extensions"]["code"], "INVALID_INPUT");
    assert_eq!(errors[0]["extensions"]["field"], "after");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_jobs_of_a_user_are_followed_by_a_cursor() {
    let mut world = World::start().await;
    let client = world.client();
    let mut from_now = client.live().await;
    from_now.follow_all(None).await;
    assert!(from_now.is_silent(Duration::from_millis(100)).await);
    let mut jobs = vec![world.script(json!({})).await, world.voice(json!({})).await];
    let ends = |event: &Value| event["type"] == "JOB_SUCCEEDED";
    let mut seen = from_now.until(ends).await.expect("the first end");
    let cursor = text(seen.last().expect("events"), "/cursor").to_owned();
    drop(from_now);

    // Cut off, over a death of the server, and with another job meanwhile.
    for job in &jobs {
        client.ended(job, "SUCCEEDED").await;
    }
    world.kill_and_start_again().await;
    let client = world.client();
    jobs.push(world.voice(json!({"text": "And one more."})).await);
    client.ended(&jobs[2], "SUCCEEDED").await;
    let mut live = client.live().await;
    live.follow_all(Some(&cursor)).await;
    for _ in 0..2 {
        seen.extend(live.until(ends).await.expect("the next end"));
    }
    for job in &jobs {
        let of_job: Vec<i64> = seen
            .iter()
            .filter(|e| e["jobId"] == **job)
            .map(seq)
            .collect();
        let log: Vec<i64> = client.log(job).await.iter().map(seq).collect();
        assert_eq!(of_job, log, "{job}");
    }
    for event in &seen {
        assert_eq!(event["job"]["id"], event["jobId"]);
    }
    live.follow_all(Some("not-a-cursor")).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_events_come_in_order_to_everybody() {
    let world = Setup::default()
        .profile(|pace| pace.write = Duration::from_secs(2))
        .start()
        .await;
    let client = world.client();
    // 20 scripts at once, each told in pieces, to three followers of everything.
    let mut followers = Vec::new();
    for _ in 0..3 {
        let mut live = client.live().await;
        live.follow_all(None).await;
        assert!(live.is_silent(Duration::from_millis(50)).await);
        followers.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            let mut left = 20;
            while left > 0 {
                let event = live.next().await.event();
                left -= i32::from(event["type"] == "JOB_SUCCEEDED");
                seen.push(format!("{} {}", event["jobId"], event["seq"]));
            }
            seen
        }));
    }
    for _ in 0..20 {
        world.script(json!({})).await;
    }
    let mut told = Vec::new();
    for follower in followers {
        told.push(follower.await.expect("it followed"));
    }
    assert!(told[0].len() > 200, "{} events", told[0].len());
    assert!(
        told[0] == told[1] && told[1] == told[2],
        "they saw different things"
    );
    world.audit().await;
}
