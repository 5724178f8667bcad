//! The event log: whole and in order, whoever writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use genvid::{
    ids::NodeId,
    jobs::{model::NewEvent, store::Claimed},
};

use crate::bench::{Bench, LEASE, change, told};

pub(crate) async fn numbers_have_no_gaps_whoever_writes(bench: Bench) {
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    let other = bench.another_node().await;
    let writers = (0..8).map(|n| {
        let database = if n % 2 == 0 {
            bench.database.clone()
        } else {
            other.clone()
        };
        let claimed = claimed.clone();
        tokio::spawn(async move {
            for round in 0..10 {
                let mut more = change(&claimed);
                more.events = vec![told(&format!("{n} {round}")), told("and more")];
                database.apply(more).await.expect("applied");
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.expect("it ran");
    }
    let log = bench.log(job.id).await;
    let numbers: Vec<i64> = log.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=161).collect::<Vec<_>>());
    assert_eq!(bench.job(job.id).await.last_seq, 161);
    // What was written together stays together.
    for pair in log[1..].chunks(2) {
        assert_eq!(pair[1].body.message.as_deref(), Some("and more"));
        assert_ne!(pair[0].body.message.as_deref(), Some("and more"));
    }
}

/// Somebody reads the feed all the while: whatever was passed must not appear later.
pub(crate) async fn a_feed_misses_nothing_while_many_write(bench: Bench) {
    let mut claimed: Vec<Claimed> = Vec::new();
    for _ in 0..8 {
        bench.accept(bench.ann).await;
    }
    claimed.extend(bench.claim(NodeId::generate(), LEASE).await);
    let stop = Arc::new(AtomicBool::new(false));
    let (reader, ended) = (bench.another_node().await, Arc::clone(&stop));
    let ann = bench.ann;
    let reading = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            // Before the read: what is committed by then must be in it.
            let last = ended.load(Ordering::SeqCst);
            let after = seen.last().copied().unwrap_or(0);
            let page = reader.owner_events(ann, after, 7).await.expect("read");
            let empty = page.is_empty();
            seen.extend(page.into_iter().map(|event| event.position));
            if empty && last {
                return seen;
            }
        }
    });
    let other = bench.another_node().await;
    let writers = claimed.into_iter().enumerate().map(|(n, claimed)| {
        let database = if n % 2 == 0 {
            bench.database.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            for round in 0..25_usize {
                let mut more = change(&claimed);
                more.events = (0..=(round % 3)).map(|_| told("more")).collect();
                database.apply(more).await.expect("applied");
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.expect("it ran");
    }
    stop.store(true, Ordering::SeqCst);
    let seen = reading.await.expect("it ran");
    let last = bench.database.last_position(bench.ann).await.expect("read");
    // 8 times the first event, and 25 rounds of one, two or three.
    assert_eq!(last, 8 + 8 * (8 + 8 * 2 + 8 * 3 + 1));
    assert_eq!(seen, (1..=last).collect::<Vec<_>>());
}

pub(crate) async fn feeds_of_users_are_apart(bench: Bench) {
    assert_eq!(
        bench.database.last_position(bench.ann).await.expect("read"),
        0
    );
    let anns = bench.accept(bench.ann).await;
    let bobs = bench.accept(bench.bob).await;
    bench.accept(bench.ann).await;
    let ann = bench
        .database
        .owner_events(bench.ann, 0, 10)
        .await
        .expect("read");
    let bob = bench
        .database
        .owner_events(bench.bob, 0, 10)
        .await
        .expect("read");
    assert_eq!(
        ann.iter().map(|event| event.position).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(
        bob.iter().map(|event| event.position).collect::<Vec<_>>(),
        [1]
    );
    assert_eq!((ann[0].job, bob[0].job), (anns.id, bobs.id));
    assert_eq!(
        bench.database.last_position(bench.ann).await.expect("read"),
        2
    );
}

pub(crate) async fn logs_are_read_in_pages(bench: Bench) {
    let (one, first) = bench.accept_and_claim(bench.ann).await;
    let (two, _) = bench.accept_and_claim(bench.ann).await;
    let mut more = change(&first);
    more.events = (0..250)
        .map(|n| told(&n.to_string()))
        .collect::<Vec<NewEvent>>();
    let events = bench.done(more).await;
    assert_eq!(events.len(), 250, "more than one statement takes");
    let database = bench.database.for_user(bench.ann);
    let page = database.job_events(one.id, 200, 20).await.expect("read");
    let numbers: Vec<i64> = page.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (201..=220).collect::<Vec<_>>());
    let both = database
        .events_of(&[one.id, two.id], 0, 3)
        .await
        .expect("read");
    let of = |id| both.iter().filter(|event| event.job == id).count();
    assert_eq!((of(one.id), of(two.id)), (3, 1));
    assert!(
        database
            .events_of(&[], 0, 3)
            .await
            .expect("read")
            .is_empty()
    );
    tokio::time::timeout(Duration::from_secs(5), async {
        assert!(
            database
                .job_events(one.id, 251, 20)
                .await
                .expect("read")
                .is_empty()
        );
    })
    .await
    .expect("in time");
}
