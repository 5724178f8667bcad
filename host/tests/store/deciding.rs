//! What owners decide, while workers write.

use std::time::Duration;

use genvid::{
    ids::NodeId,
    jobs::{
        model::{
            Attempt, AttemptStatus, EventType, Failure, FailureCode, JobStatus, NewEvent,
            StepStatus,
        },
        store::{Applied, Claimed, JobChange, OwnerDecision},
    },
    time,
};
use serde_json::json;

use crate::bench::{Bench, LEASE, attempt, change, later, told, with_attempt};

pub(crate) async fn a_cancel_is_written_once(bench: Bench) {
    let job = bench.accept(bench.ann).await;
    let database = bench.database.for_user(bench.ann);
    let (changed, events) = database
        .decide(job.id, OwnerDecision::Cancel)
        .await
        .expect("decided");
    assert!(changed);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].body.event, EventType::CancelRequested);
    assert_eq!(events[0].seq, 2);
    let (changed, events) = database
        .decide(job.id, OwnerDecision::Cancel)
        .await
        .expect("decided");
    assert!(!changed && events.is_empty());
    assert!(bench.job(job.id).await.cancel_requested);
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    let told = bench.apply(change(&claimed[0])).await;
    assert!(matches!(
        told,
        Applied::Done {
            cancel_requested: true,
            ..
        }
    ));
}

pub(crate) async fn a_cancel_wakes_what_is_parked(bench: Bench) {
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    park(&bench, &claimed).await;
    assert!(bench.claim(NodeId::generate(), LEASE).await.is_empty());
    let database = bench.database.for_user(bench.ann);
    database
        .decide(job.id, OwnerDecision::Cancel)
        .await
        .expect("decided");
    let woken = bench.claim(NodeId::generate(), LEASE).await;
    assert_eq!(woken.len(), 1);
    assert_eq!(woken[0].step.id, claimed.step.id);
}

async fn park(bench: &Bench, claimed: &Claimed) -> Attempt {
    let lost = Attempt {
        status: AttemptStatus::Unconfirmed,
        accepted_at: None,
        vendor_task: None,
        uncertain_at: Some(time::now()),
        ..attempt(&claimed.step, 1)
    };
    let mut parked = with_attempt(change(claimed), lost.clone());
    parked.step.status = StepStatus::Unconfirmed;
    parked.step.due_at = None;
    parked.keep_lease = false;
    parked.job = Some(JobChange {
        status: JobStatus::Unconfirmed,
        error: Some(Failure::new(FailureCode::Unconfirmed, "Nobody knows.")),
    });
    bench.done(parked).await;
    lost
}

pub(crate) fn retry(from: JobStatus, claimed: &Claimed) -> OwnerDecision {
    OwnerDecision::Retry {
        from,
        step: claimed.step.id,
        deadline: later(),
        plans: std::sync::Arc::default(),
        event: NewEvent::step(EventType::JobRetried, claimed.step.kind),
    }
}

pub(crate) async fn a_retry_begins_a_new_round(bench: Bench) {
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    let lost = park(&bench, &claimed).await;
    assert_eq!(bench.job(job.id).await.status, JobStatus::Unconfirmed);
    let database = bench.database.for_user(bench.ann);
    let (changed, _) = database
        .decide(job.id, retry(JobStatus::Failed, &claimed))
        .await
        .expect("decided");
    assert!(!changed, "the job is in another state");
    let (changed, events) = database
        .decide(job.id, retry(JobStatus::Unconfirmed, &claimed))
        .await
        .expect("decided");
    assert!(changed);
    assert_eq!(events[0].body.event, EventType::JobRetried);
    let row = bench.job(job.id).await;
    assert_eq!((row.status, row.error), (JobStatus::Running, None));
    let left = bench.attempts(job.id).await;
    assert_eq!(left.len(), 1);
    assert_eq!(
        (left[0].id, left[0].status),
        (lost.id, AttemptStatus::Abandoned)
    );
    let again = bench.claim(NodeId::generate(), LEASE).await;
    assert_eq!(again.len(), 1);
    assert_eq!(
        (again[0].step.status, again[0].step.round),
        (StepStatus::Pending, 2)
    );
}

pub(crate) async fn a_retry_goes_on_with_what_was_bought(bench: Bench) {
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    let bought = Attempt {
        status: AttemptStatus::Succeeded,
        delivered: Some(json!({"url": "https://vendor.example/film"})),
        finished_at: Some(time::now()),
        ..attempt(&claimed.step, 1)
    };
    let mut failed = with_attempt(change(&claimed), bought);
    failed.step.status = StepStatus::Failed;
    failed.step.due_at = None;
    failed.keep_lease = false;
    failed.job = Some(JobChange {
        status: JobStatus::Failed,
        error: Some(Failure::new(FailureCode::MediaFailed, "The link was dead.")),
    });
    bench.done(failed).await;
    let database = bench.database.for_user(bench.ann);
    let (changed, _) = database
        .decide(job.id, retry(JobStatus::Failed, &claimed))
        .await
        .expect("decided");
    assert!(changed);
    let again = bench.claim(NodeId::generate(), LEASE).await;
    assert_eq!(again[0].step.status, StepStatus::Storing);
}

/// Both lock a job and its steps; whatever comes first, neither may wait for the other for
/// ever, and no number of the log may be given twice.
pub(crate) async fn cancels_and_moves_do_not_stop_each_other(bench: Bench) {
    let mut claimed = Vec::new();
    for _ in 0..12 {
        claimed.push(bench.accept_and_claim(bench.ann).await.1);
    }
    let other = bench.another_node().await.for_user(bench.ann);
    let work = claimed.iter().map(|claimed| async {
        let owner = async {
            other
                .decide(claimed.step.job, OwnerDecision::Cancel)
                .await
                .expect("decided")
        };
        let worker = async {
            for n in 0..5 {
                let mut moved = change(claimed);
                moved.events = vec![told(&n.to_string())];
                if n == 4 {
                    moved.step.status = StepStatus::Unconfirmed;
                    moved.step.due_at = None;
                }
                bench.done(moved).await;
            }
        };
        tokio::join!(owner, worker)
    });
    let all = tokio::time::timeout(Duration::from_secs(30), futures::future::join_all(work)).await;
    assert_eq!(all.expect("in time").len(), 12);
    for claimed in &claimed {
        let log = bench.log(claimed.step.job).await;
        let numbers: Vec<i64> = log.iter().map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=7).collect::<Vec<_>>());
        let (parked, stop) = (
            &bench.steps(claimed.step.job).await[0],
            log.iter()
                .position(|event| event.body.event == EventType::CancelRequested),
        );
        // A cancel that came after the step was parked has woken it.
        assert_eq!(parked.due_at.is_some(), stop == Some(6), "{log:#?}");
    }
}
