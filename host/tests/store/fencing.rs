//! Fencing: whoever lost a lease changes nothing.

use std::time::Duration;

use genvid::{
    ids::NodeId,
    jobs::{
        model::{EventType, JobStatus, NewEvent, Step, StepOutput, StepStatus},
        store::{Applied, JobChange, MediaRole},
    },
    time,
};

use crate::bench::{Bench, LEASE, attempt, change, file, told, with_attempt};

pub(crate) async fn who_lost_the_lease_writes_nothing(bench: Bench) {
    let job = bench.accept(bench.ann).await;
    let late = bench
        .claim(NodeId::generate(), Duration::from_millis(10))
        .await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let held = bench.claim(NodeId::generate(), LEASE).await;
    assert_eq!((late.len(), held.len()), (1, 1));
    let before = (bench.job(job.id).await, bench.steps(job.id).await);
    let steps = &before.1;
    let mut write = with_attempt(change(&late[0]), attempt(&late[0].step, 1));
    write.step.status = StepStatus::Succeeded;
    write.next = Some(Step {
        due_at: Some(time::now()),
        ..steps[1].clone()
    });
    write.job = Some(JobChange {
        status: JobStatus::Succeeded,
        error: None,
    });
    write.events = vec![NewEvent::job(EventType::JobSucceeded)];
    write.media = vec![(bench.ann, MediaRole::Video, file())];
    assert!(matches!(bench.apply(write).await, Applied::Lost));
    assert_eq!((bench.job(job.id).await, bench.steps(job.id).await), before);
    assert!(bench.attempts(job.id).await.is_empty());
    assert_eq!(bench.log(job.id).await.len(), 1);
    let media = bench.database.for_worker().media_of(&[job.id]).await;
    assert!(media.expect("read").is_empty());
    bench.done(change(&held[0])).await;
}

pub(crate) async fn the_next_step_goes_along(bench: Bench) {
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    let steps = bench.steps(job.id).await;
    let mut write = with_attempt(change(&claimed), attempt(&claimed.step, 1));
    write.step.status = StepStatus::Succeeded;
    write.step.provider = Some("elevenlabs".to_owned());
    write.step.progress = Some(1.0);
    write.step.output = Some(StepOutput::Voice {
        audio: file(),
        words: None,
    });
    write.step.due_at = None;
    write.step.completed_at = Some(time::now());
    let written = write.step.clone();
    write.next = Some(Step {
        due_at: Some(time::now()),
        ..steps[1].clone()
    });
    let published = file();
    write.media = vec![(bench.ann, MediaRole::Voice, published.clone())];
    write.events = vec![told("done")];
    let Applied::Done {
        events,
        next,
        cancel_requested,
    } = bench.apply(write.clone()).await
    else {
        panic!("it is held");
    };
    assert_eq!((events.len(), cancel_requested), (1, false));
    let next = next.expect("the next step is held");
    assert_eq!((next.step, next.node), (steps[1].id, claimed.fence.node));
    assert!(
        matches!(bench.apply(write).await, Applied::Lost),
        "the first one is let go"
    );
    let rows = bench.steps(job.id).await;
    assert_eq!(rows[0], written);
    assert!(rows[1].due_at.is_some());
    assert!(
        bench.claim(NodeId::generate(), LEASE).await.is_empty(),
        "its lease came along"
    );
    let mut last = change(&claimed);
    last.fence = next;
    last.step = rows[1].clone();
    bench.done(last).await;
    let media = bench.database.for_user(bench.ann).media_of(&[job.id]).await;
    assert_eq!(
        media.expect("read"),
        [(job.id, MediaRole::Voice, published)]
    );
}

pub(crate) async fn a_job_that_is_over_stays_so(bench: Bench) {
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    for status in [
        JobStatus::Running,
        JobStatus::Canceled,
        JobStatus::Succeeded,
    ] {
        let mut write = change(&claimed);
        write.job = Some(JobChange {
            status,
            error: None,
        });
        bench.done(write).await;
    }
    let row = bench.job(job.id).await;
    assert_eq!(row.status, JobStatus::Canceled);
    assert!(row.completed_at.is_some());
}

/// The second of two attempts with one number cannot be stored, and takes everything with it.
pub(crate) async fn a_failed_write_leaves_nothing(bench: Bench) {
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    bench
        .done(with_attempt(change(&claimed), attempt(&claimed.step, 1)))
        .await;
    let before = bench.steps(job.id).await;
    let mut write = with_attempt(change(&claimed), attempt(&claimed.step, 1));
    write.step.status = StepStatus::Running;
    write.events = vec![told("never")];
    assert!(bench.database.apply(write).await.is_err());
    assert_eq!(bench.steps(job.id).await, before);
    assert_eq!(bench.log(job.id).await.len(), 1);
    // The database goes on working.
    bench.done(change(&claimed)).await;
}
