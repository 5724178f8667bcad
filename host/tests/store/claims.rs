//! Claims: one holder at a time, for as long as its lease.

use std::{collections::HashSet, time::Duration};

use genvid::{
    ids::{NodeId, StepId},
    jobs::{
        model::{StepKind, StepStatus},
        store::{self, Claimed, OwnerDecision, Rota},
    },
};

use crate::bench::{Bench, LEASE, change, job, later, unique};

const SHORT: Duration = Duration::from_millis(30);

pub(crate) async fn each_due_step_is_claimed_once(bench: Bench) {
    let mut wanted = HashSet::new();
    for _ in 0..60 {
        wanted.insert(bench.accept(bench.ann).await.id);
    }
    let other = bench.another_node().await;
    let claimers = (0..4).map(|n| {
        let database = if n % 2 == 0 {
            bench.database.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            let node = NodeId::generate();
            let (mut mine, mut empty) = (Vec::new(), 0);
            while empty < 3 {
                let claimed = database
                    .claim_steps(node, LEASE, 7, &[], &Rota::default())
                    .await
                    .expect("claimed");
                assert!(claimed.len() <= 7, "a batch has its limit");
                empty = if claimed.is_empty() { empty + 1 } else { 0 };
                mine.extend(claimed);
            }
            mine
        })
    });
    let claimed: Vec<Claimed> = futures::future::join_all(claimers)
        .await
        .into_iter()
        .flat_map(|mine| mine.expect("it ran"))
        .collect();
    let steps: HashSet<StepId> = claimed.iter().map(|claimed| claimed.step.id).collect();
    assert_eq!((claimed.len(), steps.len()), (60, 60));
    assert_eq!(
        claimed.iter().map(|c| c.step.job).collect::<HashSet<_>>(),
        wanted
    );
    assert!(
        claimed
            .iter()
            .all(|c| c.owner == bench.ann && c.fence.epoch == 1)
    );
}

pub(crate) async fn what_is_not_due_is_left(bench: Bench) {
    let mut new = job(bench.ann, &unique());
    new.steps[0].due_at = Some(later());
    bench.accept_as(new).await;
    assert!(bench.claim(NodeId::generate(), LEASE).await.is_empty());
    let (_, claimed) = bench.accept_and_claim(bench.ann).await;
    let mut done = change(&claimed);
    done.step.status = StepStatus::Succeeded;
    done.step.due_at = None;
    done.keep_lease = false;
    bench.done(done).await;
    assert!(bench.claim(NodeId::generate(), LEASE).await.is_empty());
}

pub(crate) async fn the_oldest_come_first(bench: Bench) {
    let first = bench.accept(bench.ann).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = bench.accept(bench.bob).await;
    for wanted in [first, second] {
        let claimed = bench
            .database
            .claim_steps(NodeId::generate(), LEASE, 1, &[], &Rota::default())
            .await;
        let claimed = claimed.expect("claimed");
        assert_eq!(claimed.len(), 1);
        assert_eq!(claimed[0].step.job, wanted.id);
        assert_eq!(claimed[0].deadline, wanted.deadline);
    }
}

/// A node whose benches are taken leaves to others what needs them, and takes the rest.
pub(crate) async fn what_a_busy_node_cannot_begin_is_left(bench: Bench) {
    let mut held = Vec::new();
    for (kind, status) in [
        (StepKind::Compose, StepStatus::Pending),
        (StepKind::Video, StepStatus::Storing),
        (StepKind::Script, StepStatus::Storing),
    ] {
        let mut new = job(bench.ann, &unique());
        new.steps[0].kind = kind;
        bench.accept_as(new).await;
        let claimed = bench.claim(NodeId::generate(), LEASE).await;
        let [claimed] = &claimed[..] else {
            panic!("one step is due: {claimed:?}");
        };
        let mut change = change(claimed);
        change.step.status = status;
        bench.done(change).await;
        held.push(claimed.clone());
    }
    let database = bench.database.for_worker();
    for claimed in &held {
        let released = database.hand_back(vec![claimed.fence]);
        released.await.expect("handed back");
    }
    let claim = async |busy: &'static [store::Bench]| {
        let claimed = bench
            .database
            .claim_steps(NodeId::generate(), LEASE, 10, busy, &Rota::default())
            .await
            .expect("claimed");
        claimed
            .iter()
            .map(|claimed| claimed.step.kind)
            .collect::<Vec<_>>()
    };
    let both = &[store::Bench::Fetch, store::Bench::Compose];
    assert_eq!(claim(both).await, [StepKind::Script]);
    assert_eq!(claim(&[store::Bench::Fetch]).await, [StepKind::Compose]);
    assert_eq!(claim(&[]).await, [StepKind::Video]);
}

pub(crate) async fn a_lease_that_ran_out_goes_to_others(bench: Bench) {
    bench.accept(bench.ann).await;
    let (one, two) = (NodeId::generate(), NodeId::generate());
    let first = bench.claim(one, SHORT).await;
    assert_eq!(first.len(), 1);
    assert!(bench.claim(two, LEASE).await.is_empty(), "it is held");
    tokio::time::sleep(SHORT * 2).await;
    assert!(
        bench.claim(one, LEASE).await.is_empty(),
        "it is in its own memory"
    );
    let second = bench.claim(two, LEASE).await;
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].step.id, first[0].step.id);
    assert_eq!(second[0].fence.epoch, first[0].fence.epoch + 1);
}

pub(crate) async fn a_renewed_lease_stays(bench: Bench) {
    bench.accept(bench.ann).await;
    let (one, two) = (NodeId::generate(), NodeId::generate());
    assert_eq!(bench.claim(one, SHORT).await.len(), 1);
    let asked = bench
        .database
        .renew_leases(one, LEASE)
        .await
        .expect("renewed");
    assert!(asked.is_empty());
    tokio::time::sleep(SHORT * 2).await;
    assert!(bench.claim(two, LEASE).await.is_empty());
    // Renewing changes nobody's right to write.
    bench
        .database
        .renew_leases(two, LEASE)
        .await
        .expect("renewed");
    assert!(bench.claim(two, LEASE).await.is_empty());
}

pub(crate) async fn leases_that_are_handed_back_are_free_at_once(bench: Bench) {
    for _ in 0..3 {
        bench.accept(bench.ann).await;
    }
    let (one, two) = (NodeId::generate(), NodeId::generate());
    assert_eq!(bench.claim(one, LEASE).await.len(), 3);
    assert_eq!(
        bench.database.release_leases(two).await.expect("released"),
        0
    );
    assert_eq!(
        bench.database.release_leases(one).await.expect("released"),
        3
    );
    assert_eq!(bench.claim(two, LEASE).await.len(), 3);
}

pub(crate) async fn only_others_lose_their_leases_at_a_start(bench: Bench) {
    let (one, two) = (NodeId::generate(), NodeId::generate());
    bench.accept(bench.ann).await;
    assert_eq!(bench.claim(one, LEASE).await.len(), 1);
    bench.accept(bench.ann).await;
    assert_eq!(bench.claim(two, LEASE).await.len(), 1);
    let count = bench.database.expire_foreign_leases(two).await;
    assert_eq!(count.expect("expired"), 1);
    assert_eq!(bench.claim(NodeId::generate(), LEASE).await.len(), 1);
}

pub(crate) async fn renewing_tells_who_asked_to_stop(bench: Bench) {
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    bench.accept_and_claim(bench.ann).await;
    let database = bench.database.for_user(bench.ann);
    database
        .decide(job.id, OwnerDecision::Cancel)
        .await
        .expect("decided");
    let asked = bench.database.renew_leases(claimed.fence.node, LEASE).await;
    assert_eq!(asked.expect("renewed"), [claimed.step.job]);
}

pub(crate) async fn a_step_is_woken_unless_somebody_holds_it(bench: Bench) {
    let (_, claimed) = bench.accept_and_claim(bench.ann).await;
    let mut waits = change(&claimed);
    waits.step.status = StepStatus::Running;
    waits.step.due_at = Some(later());
    waits.keep_lease = false;
    bench.done(waits).await;
    assert!(bench.claim(NodeId::generate(), LEASE).await.is_empty());
    bench
        .database
        .wake_step(claimed.step.id)
        .await
        .expect("woken");
    let again = bench.claim(NodeId::generate(), LEASE).await;
    assert_eq!(again.len(), 1);
    let before = bench.steps(claimed.step.job).await;
    bench
        .database
        .wake_step(claimed.step.id)
        .await
        .expect("left alone");
    assert_eq!(bench.steps(claimed.step.job).await, before);
}

pub(crate) async fn what_a_worker_lost_sight_of_is_claimed_again(bench: Bench) {
    let node = NodeId::generate();
    let (lost, kept) = (bench.accept(bench.ann).await, bench.accept(bench.ann).await);
    assert_eq!(bench.claim(node, LEASE).await.len(), 2);
    bench
        .database
        .let_go(NodeId::generate(), vec![lost.id], Duration::ZERO)
        .await
        .expect("written");
    assert!(
        bench.claim(node, LEASE).await.is_empty(),
        "what another node holds is not touched"
    );
    bench
        .database
        .let_go(node, vec![lost.id], Duration::ZERO)
        .await
        .expect("written");
    let again = bench.claim(node, LEASE).await;
    let jobs: Vec<_> = again.iter().map(|claimed| claimed.step.job).collect();
    assert_eq!(jobs, [lost.id], "the same node too, and not {}", kept.id);
    bench
        .database
        .let_go(node, vec![lost.id], LEASE)
        .await
        .expect("written");
    assert!(bench.claim(node, LEASE).await.is_empty(), "after a while");
}

/// The answer to a hand-back may be lost on the way; it is repeated then, and must not take
/// what was claimed meanwhile. Nobody loses the place in the line by it.
pub(crate) async fn handing_back_twice_takes_nothing_new(bench: Bench) {
    let node = NodeId::generate();
    let first = bench.accept(bench.ann).await;
    let before = bench.claim(node, LEASE).await;
    let [held] = &before[..] else {
        panic!("one step is due: {before:?}");
    };
    let due = bench.steps(first.id).await[0].due_at;
    bench.accept(bench.ann).await;
    let database = bench.database.for_worker();
    let hand_back = async || {
        let handed = database.hand_back(vec![held.fence]);
        handed.await.expect("handed back");
    };
    hand_back().await;
    assert_eq!(bench.steps(first.id).await[0].due_at, due);
    let again = bench
        .database
        .claim_steps(node, LEASE, 1, &[], &Rota::default())
        .await
        .expect("claimed");
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].step.id, held.step.id, "the oldest goes first");
    hand_back().await;
    let rest = bench.claim(NodeId::generate(), LEASE).await;
    assert_eq!(rest.len(), 1, "only the other one is free");
    assert_ne!(rest[0].step.id, held.step.id);
    bench.done(change(&again[0])).await;
}

/// So many jobs of ann that are due long since, written past the door: accepting them one by one
/// would take minutes.
async fn backlog(bench: &Bench, rows: u32) {
    let (id, bytes, late, deadline) = if bench.database.is_embedded() {
        ("randomblob(16)", "x'00'", "1000", "9999999999999")
    } else {
        (
            "gen_random_uuid()",
            "'\\x00'::bytea",
            "now() - interval '1 day'",
            "now() + interval '1 day'",
        )
    };
    let (json, ann) = (
        if bench.database.is_embedded() {
            "'{}'"
        } else {
            "'{}'::jsonb"
        },
        "(SELECT id FROM users WHERE email = 'ann@example.com')",
    );
    bench
        .run_text(format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
             INSERT INTO jobs (id, owner_id, kind, status, input, idempotency_key, request_hash, \
             deadline, created_at) SELECT {id}, {ann}, 'VOICE', 'QUEUED', {json}, \
             'late ' || i, {bytes}, {deadline}, {late} FROM n"
        ))
        .await;
    bench
        .run_text(format!(
            "INSERT INTO steps (id, job_id, position, kind, status, due_at, owner_id) \
             SELECT {id}, id, 0, 'VOICE', 'PENDING', {late}, owner_id FROM jobs \
             WHERE idempotency_key LIKE 'late %'"
        ))
        .await;
}

pub(crate) async fn a_backlog_of_one_leaves_room_for_others(bench: Bench) {
    backlog(&bench, 20_000).await;
    let single = bench.accept(bench.bob).await;
    let (node, rota) = (NodeId::generate(), Rota::default());
    let claim = async || {
        let claimed = bench.database.claim_steps(node, LEASE, 256, &[], &rota);
        claimed.await.expect("claimed")
    };
    let first = claim().await;
    assert_eq!(
        first.len(),
        256,
        "the rest of the room is for whoever is late"
    );
    assert_eq!(first.iter().filter(|c| c.owner == bench.bob).count(), 1);
    assert!(first.iter().any(|claimed| claimed.step.job == single.id));
    let jobs: HashSet<_> = first.iter().map(|claimed| claimed.step.job).collect();
    assert_eq!(jobs.len(), 256, "each once");

    // Whoever died held so many, too: their steps are not before everybody else's.
    let dead = NodeId::generate();
    let taken = bench
        .database
        .claim_steps(dead, SHORT, 2_000, &[], &Rota::default())
        .await;
    assert_eq!(taken.expect("claimed").len(), 2_000);
    tokio::time::sleep(SHORT * 2).await;
    let next = bench.accept(bench.bob).await;
    let second = claim().await;
    assert_eq!(second.len(), 256);
    assert!(second.iter().any(|claimed| claimed.step.job == next.id));
    assert!(
        second
            .iter()
            .filter(|claimed| claimed.fence.epoch == 2)
            .count()
            >= 127
    );
}

/// More owners than have a turn in one claim: all of them have one after a few.
pub(crate) async fn owners_take_turns_in_claims(bench: Bench) {
    backlog(&bench, 2_000).await;
    let mut wanted = HashSet::new();
    for _ in 0..80 {
        let owner = crate::bench::a_user(&bench.database).await;
        for _ in 0..3 {
            wanted.insert(bench.accept(owner).await.id);
        }
    }
    let (node, rota) = (NodeId::generate(), Rota::default());
    for _ in 0..9 {
        let claimed = bench.database.claim_steps(node, LEASE, 64, &[], &rota);
        for claimed in claimed.await.expect("claimed") {
            wanted.remove(&claimed.step.job);
        }
    }
    // 81 owners, 32 in a claim, a step each: three claims are one round.
    assert!(wanted.is_empty(), "{} were left", wanted.len());
}

/// Steps from before they named their owner, and what an older server adds meanwhile.
pub(crate) async fn steps_without_an_owner_are_claimed_too(bench: Bench) {
    let old = bench.accept(bench.ann).await;
    bench.run("UPDATE steps SET owner_id = NULL").await;
    for _ in 0..3 {
        bench.accept(bench.bob).await;
    }
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    assert_eq!(claimed.len(), 4);
    let old = claimed.iter().find(|claimed| claimed.step.job == old.id);
    assert_eq!(old.map(|claimed| claimed.owner), Some(bench.ann));
}

/// What a claim costs with 100,000 late steps of one owner and one each of 100 others.
async fn measure(bench: Bench) {
    backlog(&bench, 100_000).await;
    bench.run("ANALYZE").await;
    for _ in 0..100 {
        let owner = crate::bench::a_user(&bench.database).await;
        bench.accept(owner).await;
    }
    let (node, rota) = (NodeId::generate(), Rota::default());
    let mut times = Vec::new();
    for _ in 0..40 {
        let began = std::time::Instant::now();
        let claimed = bench.database.claim_steps(node, LEASE, 256, &[], &rota);
        assert_eq!(claimed.await.expect("claimed").len(), 256);
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!(
        "256 of 100,000: median {:?}, slowest {:?}",
        times[20], times[39]
    );
    assert!(times[20] < Duration::from_millis(250), "{:?}", times[20]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run with --run-ignored and --no-capture"]
async fn claims_stay_cheap_on_the_embedded_database() {
    measure(Bench::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run with --run-ignored and --no-capture"]
async fn claims_stay_cheap_on_postgresql() {
    measure(Bench::postgres().await).await;
}
