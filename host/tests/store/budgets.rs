//! Budgets: a project's jobs never hold and spend more than theirs, and nothing is bought beyond.

use genvid::{
    adapters::sql::Error,
    billing::budget::{Budget, Limit, Overrun, Period},
    ids::{NodeId, ProjectId},
    jobs::{
        model::{Attempt, EventType, Failure, FailureCode, JobStatus, NewEvent, StepStatus},
        store::{Accepted, Claimed, JobChange, NewJob, OwnerDecision},
    },
};

use crate::{
    bench::{Bench, LEASE, change, later, project, with_attempt},
    ledger::{bought, gift, intent, priced, prove},
};

/// A project of ann's, who has 1,000 credits.
async fn shelf(bench: &Bench, credits: i64, period: Period) -> ProjectId {
    let worker = bench.database.for_worker();
    let given = worker.grant(gift(bench.ann, 1_000)).await;
    given.expect("given");
    let shelf = bench.database.insert_project(project(bench.ann, "Shelf"));
    let id = shelf.await.expect("kept").id;
    limit(bench, id, Some(Limit { credits, period })).await;
    id
}

async fn limit(bench: &Bench, project: ProjectId, limit: Option<Limit>) {
    let set = bench.database.set_project_budget(bench.ann, project, limit);
    assert!(set.await.expect("set"));
}

async fn budget(bench: &Bench, project: ProjectId) -> Option<Budget> {
    let found = bench.database.find_project(bench.ann, project).await;
    found.expect("read").expect("there").budget
}

/// What is spent, held and left.
async fn counts(bench: &Bench, project: ProjectId) -> (i64, i64, i64) {
    let budget = budget(bench, project).await.expect("a budget");
    (budget.spent, budget.held, budget.remaining())
}

fn wanted(bench: &Bench, project: ProjectId, most: i64) -> NewJob {
    let mut new = priced(bench.ann, most);
    new.job.project = Some(project);
    new
}

fn overrun<T: std::fmt::Debug>(refused: Result<T, Error>) -> Overrun {
    match refused {
        Err(Error::BudgetExceeded(overrun)) => overrun,
        other => panic!("not refused for the budget: {other:?}"),
    }
}

async fn begin(bench: &Bench, claimed: &Claimed, most: i64) -> Result<Attempt, Error> {
    let sent = intent(claimed, 1, most);
    let begun = with_attempt(change(claimed), sent.clone());
    bench.database.apply(begun).await.map(|_| sent)
}

async fn end(bench: &Bench, claimed: &Claimed, attempt: Option<Attempt>) {
    let mut change = change(claimed);
    let (step, job) = match attempt {
        Some(_) => (StepStatus::Succeeded, JobStatus::Succeeded),
        None => (StepStatus::Failed, JobStatus::Failed),
    };
    change.step.status = step;
    change.step.due_at = None;
    change.keep_lease = false;
    let failure = Failure::new(FailureCode::BudgetExceeded, "There is no more.");
    change.job = Some(JobChange {
        status: job,
        error: attempt.is_none().then_some(failure),
    });
    change.attempt = attempt;
    bench.done(change).await;
}

pub(crate) async fn of_many_at_once_none_passes_the_budget(bench: Bench) {
    let shelf = shelf(&bench, 75, Period::Month).await;
    let other = bench.another_node().await;
    let accepting = (0..64).map(|n| {
        let database = if n % 2 == 0 { &bench.database } else { &other };
        let (database, new) = (database.clone(), wanted(&bench, shelf, 10));
        tokio::spawn(async move { database.accept_job(new).await })
    });
    let mut accepted = 0;
    for outcome in futures::future::join_all(accepting).await {
        match outcome.expect("it ran") {
            Ok((Accepted::Created(_), _)) => accepted += 1,
            refused => {
                let Overrun { budget, needed } = overrun(refused);
                assert_eq!((budget.limit.credits, needed), (75, 10));
                assert_eq!((budget.spent, budget.held), (0, 70));
            }
        }
    }
    assert_eq!(accepted, 7);
    assert_eq!(counts(&bench, shelf).await, (0, 70, 5));
    let worker = bench.database.for_worker();
    let balance = worker.balance(bench.ann).await.expect("read");
    assert_eq!((balance.available, balance.held), (930, 70));
    // Elsewhere there is no budget; and what is less fits.
    bench.accept_as(priced(bench.ann, 100)).await;
    let small = bench.accept_as(wanted(&bench, shelf, 5)).await;
    assert_eq!(counts(&bench, shelf).await, (0, 75, 0));
    prove(&worker).await;

    // All end at once: what was spent stays counted, the rest comes back.
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    let ours = claimed
        .into_iter()
        .filter(|claimed| claimed.step.job != small.id);
    let mut ended = 0;
    for claimed in ours {
        let job = bench.job(claimed.step.job).await;
        if job.project != Some(shelf) {
            continue;
        }
        let sent = begin(&bench, &claimed, 10).await.expect("it fits");
        end(&bench, &claimed, Some(bought(&sent, 4))).await;
        ended += 1;
    }
    assert_eq!(ended, 7);
    assert_eq!(counts(&bench, shelf).await, (28, 5, 42));
    let refused = overrun(bench.database.accept_job(wanted(&bench, shelf, 43)).await);
    assert_eq!((refused.budget.spent, refused.budget.held), (28, 5));
    bench.accept_as(wanted(&bench, shelf, 42)).await;
    prove(&worker).await;
}

pub(crate) async fn what_is_lowered_stops_before_it_buys(bench: Bench) {
    let shelf = shelf(&bench, 30, Period::Total).await;
    for _ in 0..3 {
        bench.accept_as(wanted(&bench, shelf, 10)).await;
    }
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    let [first, second, third] = &claimed[..] else {
        panic!("three steps are due: {claimed:?}");
    };
    let sent = begin(&bench, first, 10).await.expect("it fits");
    let lower = Limit {
        credits: 25,
        period: Period::Total,
    };
    limit(&bench, shelf, Some(lower)).await;
    assert_eq!(counts(&bench, shelf).await, (0, 30, 0));
    let refused = overrun(begin(&bench, second, 10).await);
    assert_eq!((refused.budget.held, refused.needed), (30, 10));
    assert!(
        bench.attempts(second.step.job).await.is_empty(),
        "nothing is to be sent"
    );
    // It gives back what it held, and then the next one fits.
    end(&bench, second, None).await;
    begin(&bench, third, 10).await.expect("it fits again");
    // What was bought is booked, whatever the budget says meanwhile.
    let nothing = Limit {
        credits: 0,
        ..lower
    };
    limit(&bench, shelf, Some(nothing)).await;
    end(&bench, first, Some(bought(&sent, 9))).await;
    assert_eq!(counts(&bench, shelf).await, (9, 10, 0));
    overrun(bench.database.accept_job(wanted(&bench, shelf, 1)).await);
    // What costs nothing is not a matter of budgets.
    bench.accept_as(wanted(&bench, shelf, 0)).await;
    limit(&bench, shelf, None).await;
    assert_eq!(budget(&bench, shelf).await, None);
    bench.accept_as(wanted(&bench, shelf, 100)).await;
    prove(&bench.database.for_worker()).await;

    let theirs = bench
        .database
        .set_project_budget(bench.bob, shelf, Some(lower));
    assert!(!theirs.await.expect("answered"), "it is somebody else's");
}

pub(crate) async fn a_month_begins_anew(bench: Bench) {
    let shelf = shelf(&bench, 20, Period::Month).await;
    bench.accept_as(wanted(&bench, shelf, 10)).await;
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    let sent = begin(&bench, &claimed[0], 10).await.expect("it fits");
    end(&bench, &claimed[0], Some(bought(&sent, 10))).await;
    bench.accept_as(wanted(&bench, shelf, 5)).await;
    assert_eq!(counts(&bench, shelf).await, (10, 5, 5));
    // The last capture was long ago.
    bench.run("UPDATE spending SET month = 202001").await;
    assert_eq!(
        counts(&bench, shelf).await,
        (0, 5, 15),
        "what is held goes along"
    );
    bench.accept_as(wanted(&bench, shelf, 15)).await;
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    let small = claimed.iter().find(|claimed| {
        let quote = claimed.step.quote.as_ref();
        quote.is_some_and(|quote| quote.max_credits() == 5)
    });
    let small = small.expect("it is due");
    let sent = begin(&bench, small, 5).await.expect("it fits");
    end(&bench, small, Some(bought(&sent, 3))).await;
    assert_eq!(
        counts(&bench, shelf).await,
        (3, 15, 2),
        "a new month is counted"
    );
    let total = Limit {
        credits: 20,
        period: Period::Total,
    };
    limit(&bench, shelf, Some(total)).await;
    assert_eq!(
        counts(&bench, shelf).await,
        (13, 15, 0),
        "all months are there"
    );
    prove(&bench.database.for_worker()).await;
}

pub(crate) async fn a_retry_fits_or_is_refused(bench: Bench) {
    let shelf = shelf(&bench, 10, Period::Total).await;
    let failed = bench.accept_as(wanted(&bench, shelf, 10)).await;
    let claimed = bench.claim(NodeId::generate(), LEASE).await;
    end(&bench, &claimed[0], None).await;
    bench.accept_as(wanted(&bench, shelf, 1)).await;
    let retry = || OwnerDecision::Retry {
        from: JobStatus::Failed,
        step: claimed[0].step.id,
        deadline: later(),
        plans: std::sync::Arc::default(),
        event: NewEvent::job(EventType::JobRetried),
    };
    let ann = bench.database.for_user(bench.ann);
    let refused = overrun(ann.decide(failed.id, retry()).await);
    assert_eq!((refused.budget.held, refused.needed), (1, 10));
    assert_eq!(bench.job(failed.id).await.status, JobStatus::Failed);
    let more = Limit {
        credits: 11,
        period: Period::Total,
    };
    limit(&bench, shelf, Some(more)).await;
    assert!(ann.decide(failed.id, retry()).await.expect("decided").0);
    assert_eq!(counts(&bench, shelf).await, (0, 11, 0));
    prove(&bench.database.for_worker()).await;
}

pub(crate) async fn the_audit_counts_what_projects_spend(bench: Bench) {
    let shelf = shelf(&bench, 100, Period::Total).await;
    bench.accept_as(wanted(&bench, shelf, 10)).await;
    let worker = bench.database.for_worker();
    prove(&worker).await;
    bench.run("UPDATE spending SET held = held + 1").await;
    let audit = worker.audit_credits().await.expect("audited");
    let told = format!("{shelf}: what counts for the project's budget");
    assert!(
        !audit.ok
            && audit
                .mismatches
                .iter()
                .any(|told_of| told_of.starts_with(&told)),
        "{audit:?}"
    );
}
