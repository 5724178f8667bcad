//! Attempts that an operator settles, while others do too.

use genvid::{
    ids::NodeId,
    jobs::{
        model::{
            Attempt, AttemptStatus, Charge, EventType, Failure, FailureCode, JobStatus, StepStatus,
        },
        settle::{Finding, Settled, Settlement},
        store::{Applied, Claimed, JobChange, OwnerDecision},
    },
    mail::{Address, Kind},
    time,
};

use crate::{
    bench::{Bench, LEASE, attempt, change, later, with_attempt},
    deciding::retry,
    ledger::{gift, priced, prove},
};

/// A job that holds 5 credits and is parked with an attempt that may cost all of them.
async fn parked(bench: &Bench) -> (Claimed, Attempt) {
    let books = bench.database.for_worker();
    books.grant(gift(bench.ann, 5)).await.expect("given");
    let mut new = priced(bench.ann, 5);
    new.notify = Address::parse("ann@example.org");
    let job = bench.accept_as(new).await;
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    let claimed = claimed
        .into_iter()
        .find(|claimed| claimed.step.job == job.id);
    let claimed = claimed.expect("its step is due");
    let lost = Attempt {
        status: AttemptStatus::Unconfirmed,
        charge: Charge::Unknown,
        accepted_at: None,
        vendor_task: None,
        uncertain_at: Some(time::now()),
        finished_at: None,
        max_credits: 5,
        credits: 0,
        ..attempt(&claimed.step, 1)
    };
    let mut rests = with_attempt(change(&claimed), lost.clone());
    rests.step.status = StepStatus::Unconfirmed;
    rests.step.due_at = None;
    rests.keep_lease = false;
    rests.job = Some(JobChange {
        status: JobStatus::Unconfirmed,
        error: Some(Failure::new(FailureCode::Unconfirmed, "Nobody knows.")),
    });
    bench.done(rests).await;
    (claimed, lost)
}

fn settlement(attempt: &Attempt, finding: Finding) -> Settlement {
    Settlement {
        attempt: attempt.id,
        finding,
        by: "Olga".to_owned(),
        actor: "operator".to_owned(),
        reason: "looked into the console".to_owned(),
        deadline: later(),
    }
}

async fn settle(bench: &Bench, attempt: &Attempt, finding: Finding) -> Settled {
    let wanted = settlement(attempt, finding);
    bench.database.settle_attempt(wanted).await.expect("asked")
}

/// Available and held.
async fn credits(bench: &Bench) -> (i64, i64) {
    let balance = bench.database.for_worker().balance(bench.ann).await;
    let balance = balance.expect("read");
    (balance.available, balance.held)
}

fn refused(settled: &Settled, word: &str) {
    match settled {
        Settled::Refused(why) => assert!(why.contains(word), "{why}"),
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) async fn what_was_not_charged_is_tried_again(bench: Bench) {
    let (claimed, lost) = parked(&bench).await;
    let open = bench.database.open_attempts(true, None, 10).await;
    let open = open.expect("read").items;
    assert_eq!(open.len(), 1);
    assert_eq!(
        (open[0].attempt.id, open[0].job),
        (lost.id, JobStatus::Unconfirmed)
    );
    let done = settle(&bench, &lost, Finding::NotCharged).await;
    let Settled::Done {
        attempt,
        job,
        events,
    } = done
    else {
        panic!("not settled: {done:?}");
    };
    assert_eq!(
        (attempt.status, attempt.charge, job),
        (
            AttemptStatus::Failed,
            Charge::NotCharged,
            JobStatus::Running
        )
    );
    let told: Vec<EventType> = events.iter().map(|event| event.body.event).collect();
    assert_eq!(told, [EventType::AttemptFailed, EventType::JobRetried]);
    let words = events[0].body.message.as_deref().expect("words");
    assert!(
        words.contains("Olga") && words.contains("console"),
        "{words}"
    );
    assert_eq!(bench.attempts(claimed.step.job).await, [*attempt]);
    let again = bench.claim(NodeId::generate(), LEASE).await;
    assert_eq!(again.len(), 1);
    assert_eq!(
        (again[0].step.status, again[0].step.round),
        (StepStatus::Pending, 2)
    );
    assert_eq!(credits(&bench).await, (0, 5), "the hold is there, once");
    refused(
        &settle(&bench, &lost, Finding::NotCharged).await,
        "not open",
    );
    assert!(
        bench
            .database
            .open_attempts(false, None, 10)
            .await
            .expect("read")
            .items
            .is_empty()
    );
    prove(&bench.database.for_worker()).await;
}

pub(crate) async fn a_task_that_was_found_goes_on(bench: Bench) {
    let (_, lost) = parked(&bench).await;
    let found = Finding::Task("task-7".to_owned());
    let done = settle(&bench, &lost, found.clone()).await;
    assert!(
        matches!(
            done,
            Settled::Done {
                job: JobStatus::Running,
                ..
            }
        ),
        "{done:?}"
    );
    let again = bench.claim(NodeId::generate(), LEASE).await;
    assert_eq!(
        (again[0].step.status, again[0].step.round),
        (StepStatus::Running, 1)
    );
    let row = &bench.attempts(lost.job).await[0];
    assert_eq!(row.status, AttemptStatus::Accepted);
    assert_eq!(row.vendor_task.as_deref(), Some("task-7"));
    // The same task is not another attempt's too.
    let (_, other) = parked(&bench).await;
    refused(&settle(&bench, &other, found).await, "belongs to");
    prove(&bench.database.for_worker()).await;
}

pub(crate) async fn what_was_charged_for_nothing_costs_the_owner_nothing(bench: Bench) {
    let (claimed, lost) = parked(&bench).await;
    let done = settle(&bench, &lost, Finding::Charged).await;
    assert!(
        matches!(
            done,
            Settled::Done {
                job: JobStatus::Failed,
                ..
            }
        ),
        "{done:?}"
    );
    assert_eq!(credits(&bench).await, (5, 0));
    let row = &bench.attempts(lost.job).await[0];
    assert_eq!((row.charge, row.credits), (Charge::Charged, 0));
    assert!(bench.claim(NodeId::generate(), LEASE).await.is_empty());
    let log = bench.log(lost.job).await;
    let last = log.last().expect("events");
    assert_eq!(last.body.event, EventType::JobFailed);
    // Whoever wanted to be told of the end is told of this one, too.
    let mails = bench.database.mails_of(bench.ann, 10).await.expect("read");
    let kinds: Vec<Kind> = mails.iter().map(|mail| mail.kind).collect();
    assert_eq!(kinds, [Kind::Failed]);
    prove(&bench.database.for_worker()).await;
    // The owner may begin again, and holds anew.
    let again = bench.database.for_user(bench.ann);
    let (changed, _) = again
        .decide(lost.job, retry(JobStatus::Failed, &claimed))
        .await
        .expect("decided");
    assert!(changed);
    assert_eq!(credits(&bench).await, (0, 5));
    prove(&bench.database.for_worker()).await;
}

pub(crate) async fn what_is_being_looked_up_is_left_to_the_server(bench: Bench) {
    let (_, lost) = parked(&bench).await;
    // A callback of the vendor's wakes the step, and a worker takes it.
    bench.database.wake_step(lost.step).await.expect("woken");
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    refused(
        &settle(&bench, &lost, Finding::NotCharged).await,
        "looking it up",
    );
    let mut found = with_attempt(
        change(&claimed[0]),
        Attempt {
            status: AttemptStatus::Accepted,
            vendor_task: Some("late".to_owned()),
            accepted_at: Some(time::now()),
            ..lost.clone()
        },
    );
    found.step.status = StepStatus::Running;
    bench.done(found).await;
    refused(
        &settle(&bench, &lost, Finding::NotCharged).await,
        "not open",
    );
    let nobody = Settlement {
        attempt: genvid::ids::AttemptId::generate(),
        ..settlement(&lost, Finding::Charged)
    };
    let missing = bench.database.settle_attempt(nobody).await.expect("asked");
    assert!(matches!(missing, Settled::Missing));
}

/// Operators, the owner and a worker that a late callback woke, all at once and in any order:
/// one of them settles it.
pub(crate) async fn of_all_who_settle_at_once_one_does(bench: Bench) {
    for round in 0..12 {
        let (claimed, lost) = parked(&bench).await;
        let other = bench.another_node().await;
        let findings = [
            Finding::NotCharged,
            Finding::Task(format!("task-{round}")),
            Finding::Charged,
        ];
        let operators = findings.map(|finding| other.settle_attempt(settlement(&lost, finding)));
        let owner = async {
            let database = bench.database.for_user(bench.ann);
            let wanted: OwnerDecision = retry(JobStatus::Unconfirmed, &claimed);
            database.decide(lost.job, wanted).await.expect("decided").0
        };
        let worker = async {
            bench.database.wake_step(lost.step).await.expect("woken");
            let node = NodeId::generate();
            let mut settled = false;
            for held in bench.claim(node, LEASE).await {
                if held.step.id != lost.step || held.step.status != StepStatus::Unconfirmed {
                    continue;
                }
                let mut found = with_attempt(
                    change(&held),
                    Attempt {
                        status: AttemptStatus::Accepted,
                        vendor_task: Some(format!("late-{round}")),
                        accepted_at: Some(time::now()),
                        ..lost.clone()
                    },
                );
                found.step.status = StepStatus::Running;
                settled |= matches!(bench.apply(found).await, Applied::Done { .. });
            }
            settled
        };
        let (operators, owner, worker) =
            tokio::join!(futures::future::join_all(operators), owner, worker);
        let settled = operators
            .iter()
            .filter(|one| matches!(one, Ok(Settled::Done { .. })))
            .count();
        for one in &operators {
            assert!(one.is_ok(), "{one:?}");
        }
        let rows = bench.attempts(lost.job).await;
        assert_eq!(rows.len(), 1);
        assert_ne!(rows[0].status, AttemptStatus::Unconfirmed);
        // Whoever came first is the only one who changed the attempt. What a worker has found
        // goes on, also when the owner asks for another try after that.
        let abandoned = owner && rows[0].status == AttemptStatus::Abandoned;
        assert_eq!(
            settled + usize::from(abandoned) + usize::from(worker),
            1,
            "round {round}: {operators:?}, owner {owner}, worker {worker}: {rows:?}"
        );
        prove(&bench.database.for_worker()).await;
        // Whatever goes on is ended, so that the next round claims its own step only.
        bench
            .database
            .for_user(bench.ann)
            .decide(lost.job, OwnerDecision::Cancel)
            .await
            .expect("canceled");
    }
}
