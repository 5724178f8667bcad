//! Jobs under way: never more than their owner's plan allows, however many come at once.

use std::{collections::BTreeMap, sync::Arc};

use genvid::{
    adapters::sql::Error,
    ids::{NodeId, UserId},
    jobs::{
        limits::{Plan, Plans, Scope, TooMany},
        model::{EventType, Failure, FailureCode, JobStatus, NewEvent, StepStatus},
        store::{Accepted, Claimed, JobChange, NewJob, OwnerDecision},
    },
    time,
};

use crate::{
    bench::{Bench, LEASE, change, later},
    ledger::{gift, priced, prove},
};

/// So many at a time, and more for those who pay.
fn plans(free: u32, pro: u32) -> Arc<Plans> {
    let plan = |in_flight| Plan {
        in_flight,
        ..Plan::default()
    };
    let named = [("pro".to_owned(), plan(pro))];
    Arc::new(Plans::new(BTreeMap::from(named), plan(free)))
}

fn wanted(owner: UserId, plans: &Arc<Plans>) -> NewJob {
    NewJob {
        plans: Arc::clone(plans),
        ..priced(owner, 10)
    }
}

fn too_many<T: std::fmt::Debug>(refused: Result<T, Error>) -> TooMany {
    match refused {
        Err(Error::TooManyJobs(too_many)) => too_many,
        other => panic!("not refused for their number: {other:?}"),
    }
}

async fn end(bench: &Bench, claimed: &Claimed, status: JobStatus) {
    let mut change = change(claimed);
    change.step.status = StepStatus::Failed;
    change.step.due_at = None;
    change.keep_lease = false;
    let failure = Failure::new(FailureCode::ProviderUnavailable, "Nobody is there.");
    change.job = Some(JobChange {
        status,
        error: (status == JobStatus::Failed).then_some(failure),
    });
    bench.done(change).await;
}

pub(crate) async fn of_many_at_once_so_many_are_under_way(bench: Bench) {
    let worker = bench.database.for_worker();
    for user in [bench.ann, bench.bob] {
        worker.grant(gift(user, 1_000)).await.expect("given");
    }
    let (plans, other) = (plans(7, 9), bench.another_node().await);
    let all: Vec<_> = (0..64).map(|_| wanted(bench.ann, &plans)).collect();
    let accepting = all.iter().cloned().enumerate().map(|(n, new)| {
        let database = if n % 2 == 0 { &bench.database } else { &other };
        let database = database.clone();
        tokio::spawn(async move { database.accept_job(new).await })
    });
    let mut there = Vec::new();
    let outcomes = futures::future::join_all(accepting).await;
    for (outcome, new) in outcomes.into_iter().zip(&all) {
        match outcome.expect("it ran") {
            Ok((Accepted::Created(_), _)) => there.push(new.clone()),
            refused => {
                let limit = TooMany {
                    scope: Scope::User,
                    limit: 7,
                    in_flight: 7,
                };
                assert_eq!(too_many(refused), limit);
            }
        }
    }
    assert_eq!(there.len(), 7);
    let balance = worker.balance(bench.ann).await.expect("read");
    assert_eq!(
        (balance.available, balance.held),
        (930, 70),
        "nothing is held"
    );
    let listed = bench.database.list_jobs(
        bench.ann,
        genvid::jobs::store::JobFilter::default(),
        None,
        100,
    );
    assert_eq!(
        listed.await.expect("read").items.len(),
        7,
        "nothing is left"
    );

    // A key that came before has its answer; another user has places of their own.
    let again = bench.database.accept_job(there[0].clone()).await;
    assert!(matches!(again, Ok((Accepted::Repeated(job), _)) if job.id == there[0].job.id));
    bench.accept_as(wanted(bench.bob, &plans)).await;
    // Who is put on another plan has more, and who loses it keeps what runs.
    let put = bench
        .database
        .set_plan(bench.ann, "pro".to_owned(), "operator".to_owned())
        .await;
    assert!(put.expect("written"));
    for _ in 0..2 {
        bench.accept_as(wanted(bench.ann, &plans)).await;
    }
    let more = bench.database.accept_job(wanted(bench.ann, &plans)).await;
    assert_eq!(too_many(more).limit, 9);
    bench
        .database
        .set_plan(bench.ann, "gone".to_owned(), "operator".to_owned())
        .await
        .expect("written");
    let fewer = bench.database.accept_job(wanted(bench.ann, &plans)).await;
    let fewer = too_many(fewer);
    assert_eq!((fewer.limit, fewer.in_flight), (7, 9));
    // Each one that is over makes room.
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    let hers: Vec<_> = claimed.iter().filter(|c| c.owner == bench.ann).collect();
    let ends = [JobStatus::Failed, JobStatus::Canceled, JobStatus::Succeeded];
    for (claimed, status) in hers.into_iter().zip(ends) {
        end(&bench, claimed, status).await;
    }
    bench.accept_as(wanted(bench.ann, &plans)).await;
    let refused = bench.database.accept_job(wanted(bench.ann, &plans)).await;
    assert_eq!(too_many(refused).in_flight, 7);
    prove(&worker).await;
}

pub(crate) async fn a_retry_needs_a_place_too(bench: Bench) {
    let worker = bench.database.for_worker();
    worker.grant(gift(bench.ann, 1_000)).await.expect("given");
    let plans = plans(1, 1);
    let failed = bench.accept_as(wanted(bench.ann, &plans)).await;
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    let [claimed] = &claimed[..] else {
        panic!("one step is due: {claimed:?}");
    };
    end(&bench, claimed, JobStatus::Failed).await;
    let runs = bench.accept_as(wanted(bench.ann, &plans)).await;
    let retry = || OwnerDecision::Retry {
        from: JobStatus::Failed,
        step: claimed.step.id,
        deadline: later(),
        plans: Arc::clone(&plans),
        event: NewEvent::job(EventType::JobRetried),
    };
    let ann = bench.database.for_user(bench.ann);
    assert_eq!(too_many(ann.decide(failed.id, retry()).await).in_flight, 1);
    assert_eq!(bench.job(failed.id).await.status, JobStatus::Failed);
    let began = time::now();
    let other = bench.claim(NodeId::generate(), LEASE).await;
    let other = other.iter().find(|claimed| claimed.step.job == runs.id);
    end(&bench, other.expect("it is due"), JobStatus::Canceled).await;
    let (changed, events) = ann.decide(failed.id, retry()).await.expect("decided");
    assert!(changed);
    assert!(events.iter().all(|event| event.at >= began));
    assert_eq!(bench.job(failed.id).await.status, JobStatus::Running);
    prove(&worker).await;
}
