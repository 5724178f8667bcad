//! What jobs hold, spend and give back.

use genvid::{
    adapters::sql::Error,
    billing::{Holding, Shortage, TransferKind},
    jobs::{
        model::{Attempt, AttemptStatus, JobStatus, StepStatus},
        store::{Accepted, JobChange},
    },
    time,
};

use crate::{
    bench::{Bench, change, with_attempt},
    ledger::{Books, bought, correction, end, intent, priced, shortage},
};

pub(crate) async fn a_job_holds_and_spends_what_it_was_charged(bench: Bench) {
    let books = Books::of(&bench);
    books.give(100).await;
    let new = priced(bench.ann, 40);
    let job = bench.accept_as(new.clone()).await;
    let (again, _) = bench.database.accept_job(new).await.expect("answered");
    assert!(matches!(again, Accepted::Repeated(_)));
    assert_eq!(books.has().await, (60, 40), "held once");
    let claimed = books.claim(job.id).await;
    let sent = intent(&claimed, 1, 40);
    bench
        .done(with_attempt(change(&claimed), sent.clone()))
        .await;
    let done = end(
        &claimed,
        JobStatus::Succeeded,
        Some(bought(&sent, 25)),
        false,
    );
    bench.done(done.clone()).await;
    assert_eq!(books.has().await, (75, 0));
    assert_eq!(
        books.holding(job.id).await,
        Holding {
            held: 0,
            captured: 25
        }
    );
    // A repetition of the last write finds its lease gone.
    bench.apply(done).await;
    assert_eq!(books.has().await, (75, 0));
    let lines = books
        .database
        .ledger(bench.ann, None, 10)
        .await
        .expect("read")
        .items;
    let lines: Vec<_> = lines
        .iter()
        .map(|line| (line.kind, line.amount, line.job))
        .collect();
    let id = Some(job.id);
    assert_eq!(
        lines,
        [
            (TransferKind::Release, 15, id),
            (TransferKind::Hold, -40, id),
            (TransferKind::Grant, 100, None)
        ]
    );
    // One that failed without a charge costs nothing.
    let (_, claimed) = books.begin(30).await;
    bench
        .done(end(&claimed, JobStatus::Failed, None, false))
        .await;
    assert_eq!(books.has().await, (75, 0));
    books.prove().await;
}

pub(crate) async fn without_credits_nothing_is_written(bench: Bench) {
    let books = Books::of(&bench);
    let refused = bench.database.accept_job(priced(bench.ann, 10)).await;
    assert_eq!(
        shortage(refused),
        Shortage {
            required: 10,
            available: 0
        }
    );
    books.give(9).await;
    let new = priced(bench.ann, 10);
    let refused = bench.database.accept_job(new.clone()).await;
    assert_eq!(
        shortage(refused),
        Shortage {
            required: 10,
            available: 9
        }
    );
    let found = bench.database.find_job(bench.ann, new.job.id).await;
    assert_eq!(found.expect("read"), None);
    assert!(bench.log(new.job.id).await.is_empty());
    // The key is free: the same request may come again with more credits.
    books.give(1).await;
    bench.accept_as(new).await;
    assert_eq!(books.has().await, (0, 10));
    books.prove().await;
}

/// An attempt that may be billed after its job is over keeps what it may cost, and no more.
pub(crate) async fn what_is_settled_late_is_paid_late(bench: Bench) {
    for (charged, available) in [(Some(12), 88), (None, 100)] {
        let bench = &bench;
        let books = Books::of(bench);
        let (before, _) = books.has().await;
        books.give(100 - before).await;
        let (job, claimed) = books.begin(50).await;
        let sent = intent(&claimed, 1, 20);
        let accepted = Attempt {
            status: AttemptStatus::Accepted,
            ..sent.clone()
        };
        bench.done(with_attempt(change(&claimed), sent)).await;
        bench
            .done(with_attempt(change(&claimed), accepted.clone()))
            .await;
        bench
            .done(end(&claimed, JobStatus::Canceled, None, true))
            .await;
        assert_eq!(books.has().await, (80, 20), "30 came back");
        books.prove().await;
        let settled = match charged {
            Some(credits) => bought(&accepted, credits),
            None => Attempt {
                status: AttemptStatus::Abandoned,
                finished_at: Some(time::now()),
                ..accepted
            },
        };
        let mut last = with_attempt(change(&claimed), settled);
        last.step.status = StepStatus::Canceled;
        last.step.due_at = None;
        last.keep_lease = false;
        bench.done(last).await;
        assert_eq!(books.has().await, (available, 0));
        let captured = charged.unwrap_or(0);
        assert_eq!(books.holding(job.id).await, Holding { held: 0, captured });
        books.prove().await;
    }
}

pub(crate) async fn a_job_that_waits_for_a_decision_keeps_its_hold(bench: Bench) {
    let books = Books::of(&bench);
    books.give(50).await;
    let (job, claimed) = books.begin(50).await;
    let mut parked = with_attempt(change(&claimed), intent(&claimed, 1, 50));
    parked.job = Some(JobChange {
        status: JobStatus::Unconfirmed,
        error: None,
    });
    bench.done(parked).await;
    assert_eq!(books.has().await, (0, 50));
    assert_eq!(
        books.holding(job.id).await,
        Holding {
            held: 50,
            captured: 0
        }
    );
    books.prove().await;
}

/// A retry holds again what its unfinished steps may cost; what was bought is not paid twice.
pub(crate) async fn a_retry_holds_again(bench: Bench) {
    let books = Books::of(&bench);
    books.give(100).await;
    let (job, claimed) = books.begin(60).await;
    bench
        .done(end(&claimed, JobStatus::Failed, None, false))
        .await;
    assert_eq!(books.has().await, (100, 0));
    assert!(books.retry(&job, &claimed).await.expect("decided"));
    assert_eq!(books.has().await, (40, 60));
    assert!(
        !books.retry(&job, &claimed).await.expect("decided"),
        "it runs already"
    );
    assert_eq!(books.has().await, (40, 60));
    // This time it is bought, and its result cannot be fetched.
    let claimed = books.claim(job.id).await;
    let sent = intent(&claimed, 1, 60);
    bench
        .done(with_attempt(change(&claimed), sent.clone()))
        .await;
    let delivered = Attempt {
        delivered: Some(serde_json::json!({})),
        ..bought(&sent, 35)
    };
    bench
        .done(end(&claimed, JobStatus::Failed, Some(delivered), false))
        .await;
    assert_eq!(books.has().await, (65, 0));
    // What is bought needs nothing more.
    assert!(books.retry(&job, &claimed).await.expect("decided"));
    assert_eq!(books.has().await, (65, 0));
    books.prove().await;
    let claimed = books.claim(job.id).await;
    assert_eq!(claimed.step.status, StepStatus::Storing);
    bench
        .done(end(&claimed, JobStatus::Succeeded, None, false))
        .await;
    assert_eq!(books.has().await, (65, 0));
    assert_eq!(books.holding(job.id).await.captured, 35);
    books.prove().await;
    // Another one cannot be paid any more: then nothing of the retry happens.
    let (job, claimed) = books.begin(60).await;
    bench
        .done(end(&claimed, JobStatus::Failed, None, false))
        .await;
    books
        .database
        .adjust(correction(bench.ann, -6))
        .await
        .expect("booked");
    let refused = books.retry(&job, &claimed).await;
    assert_eq!(
        shortage(refused),
        Shortage {
            required: 60,
            available: 59
        }
    );
    assert_eq!(bench.job(job.id).await.status, JobStatus::Failed);
    books.prove().await;
}

/// What an attempt may cost is checked in the transaction that writes down its intent.
pub(crate) async fn no_attempt_goes_beyond_the_hold(bench: Bench) {
    let books = Books::of(&bench);
    books.give(100).await;
    let (_, claimed) = books.begin(50).await;
    let first = intent(&claimed, 1, 30);
    bench
        .done(with_attempt(change(&claimed), first.clone()))
        .await;
    let refused = bench
        .database
        .apply(with_attempt(change(&claimed), intent(&claimed, 2, 21)))
        .await;
    assert!(matches!(refused, Err(Error::OverHold)), "{refused:?}");
    assert_eq!(
        bench.attempts(claimed.step.job).await.len(),
        1,
        "nothing was written"
    );
    // Once it is known what the first one cost, there is room.
    bench
        .done(with_attempt(change(&claimed), bought(&first, 29)))
        .await;
    let second = intent(&claimed, 2, 21);
    bench
        .done(with_attempt(change(&claimed), second.clone()))
        .await;
    bench
        .done(end(
            &claimed,
            JobStatus::Succeeded,
            Some(bought(&second, 21)),
            false,
        ))
        .await;
    assert_eq!(books.has().await, (50, 0));
    books.prove().await;
}
