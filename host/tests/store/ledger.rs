//! The books: nothing is moved twice, nothing is lost, nothing is below zero, nothing is
//! changed afterwards.

use std::time::Duration;

use genvid::{
    adapters::sql::{Database, Error},
    billing::{
        Adjustment, Balance, Booked, Grant, Holding, RoutePrice, Shortage, StepQuote, TransferKind,
    },
    ids::{JobId, UserId},
    jobs::{
        model::{Attempt, AttemptStatus, Charge, EventType, Job, JobStatus, NewEvent, StepStatus},
        store::{Accepted, Change, Claimed, JobChange, NewJob, OwnerDecision},
    },
    time::{self, Timestamp},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::bench::{Bench, LEASE, attempt, change, job, later, unique, with_attempt};

/// A job whose first step may cost `most`.
pub(crate) fn priced(owner: UserId, most: i64) -> NewJob {
    let mut new = job(owner, &unique());
    new.steps[0].quote = Some(StepQuote {
        routes: vec![RoutePrice {
            provider: "elevenlabs".to_owned(),
            min_credits: 1,
            max_credits: most,
        }],
    });
    new.hold = most;
    new
}

pub(crate) fn gift(user: UserId, credits: i64) -> Grant {
    Grant {
        user,
        credits,
        reason: "A gift".to_owned(),
        actor: "test".to_owned(),
        key: unique(),
        expires_at: None,
    }
}

pub(crate) fn correction(user: UserId, credits: i64) -> Adjustment {
    Adjustment {
        user,
        credits,
        reason: "A mistake".to_owned(),
        actor: "test".to_owned(),
        key: unique(),
    }
}

/// The attempt that is about to be sent, and may cost `most`.
pub(crate) fn intent(claimed: &Claimed, number: i64, most: i64) -> Attempt {
    Attempt {
        status: AttemptStatus::Submitting,
        charge: Charge::Unknown,
        cost_micro_usd: None,
        max_credits: most,
        accepted_at: None,
        ..attempt(&claimed.step, number)
    }
}

pub(crate) fn bought(attempt: &Attempt, credits: i64) -> Attempt {
    Attempt {
        status: AttemptStatus::Succeeded,
        charge: Charge::Charged,
        credits,
        finished_at: Some(time::now()),
        ..attempt.clone()
    }
}

/// The job ends, with what became of its attempt. A step that is still to be settled is kept.
pub(crate) fn end(
    claimed: &Claimed,
    status: JobStatus,
    attempt: Option<Attempt>,
    settle: bool,
) -> Change {
    let mut change = change(claimed);
    change.step.status = match status {
        JobStatus::Succeeded => StepStatus::Succeeded,
        JobStatus::Canceled => StepStatus::Canceled,
        _ => StepStatus::Failed,
    };
    change.step.due_at = settle.then(time::now);
    change.keep_lease = settle;
    change.attempt = attempt;
    change.job = Some(JobChange {
        status,
        error: None,
    });
    change
}

/// The books of a test, as the worker sees them.
pub(crate) struct Books<'b> {
    bench: &'b Bench,
    pub(crate) database: Database,
}

impl<'b> Books<'b> {
    pub(crate) fn of(bench: &'b Bench) -> Self {
        Self {
            bench,
            database: bench.database.for_worker(),
        }
    }

    pub(crate) async fn give(&self, credits: i64) {
        let given = self.database.grant(gift(self.bench.ann, credits)).await;
        assert_eq!(given.expect("given"), Booked::Done);
    }

    /// Available and held.
    pub(crate) async fn has(&self) -> (i64, i64) {
        let Balance { available, held } =
            self.database.balance(self.bench.ann).await.expect("read");
        (available, held)
    }

    pub(crate) async fn holding(&self, job: JobId) -> Holding {
        let all = self.database.holdings_of(&[job]).await.expect("read");
        all[&job]
    }

    /// Accepts a job that may cost `most`, and takes its step in hand.
    pub(crate) async fn begin(&self, most: i64) -> (Job, Claimed) {
        let job = self.bench.accept_as(priced(self.bench.ann, most)).await;
        (job.clone(), self.claim(job.id).await)
    }

    pub(crate) async fn claim(&self, job: JobId) -> Claimed {
        let claimed = self
            .bench
            .claim(genvid::ids::NodeId::generate(), LEASE)
            .await;
        let mine = claimed.into_iter().find(|claimed| claimed.step.job == job);
        mine.expect("its step is due")
    }

    pub(crate) async fn retry(&self, job: &Job, claimed: &Claimed) -> Result<bool, Error> {
        let decision = OwnerDecision::Retry {
            from: JobStatus::Failed,
            step: claimed.step.id,
            deadline: later(),
            plans: std::sync::Arc::default(),
            event: NewEvent::job(EventType::JobRetried),
        };
        let database = self.bench.database.for_user(job.owner);
        Ok(database.decide(job.id, decision).await?.0)
    }

    pub(crate) async fn prove(&self) {
        prove(&self.database).await;
    }
}

pub(crate) async fn prove(database: &Database) {
    let audit = database.audit_credits().await.expect("audited");
    assert!(audit.ok, "{audit:#?}");
    assert_eq!(audit.sum, 0);
}

pub(crate) fn shortage<T: std::fmt::Debug>(refused: Result<T, Error>) -> Shortage {
    match refused {
        Err(Error::InsufficientCredits(shortage)) => shortage,
        other => panic!("not refused for credits: {other:?}"),
    }
}

pub(crate) async fn a_key_moves_credits_once(bench: Bench) {
    let books = Books::of(&bench);
    let grant = gift(bench.ann, 100);
    let all = (0..8).map(|_| books.database.grant(grant.clone()));
    let booked = futures::future::join_all(all).await;
    let done = booked
        .iter()
        .filter(|booked| matches!(booked, Ok(Booked::Done)));
    assert_eq!(done.count(), 1);
    let rest = booked
        .iter()
        .filter(|booked| matches!(booked, Ok(Booked::Repeated)));
    assert_eq!(rest.count(), 7);
    for other in [
        Grant {
            credits: 101,
            ..grant.clone()
        },
        Grant {
            user: bench.bob,
            ..grant.clone()
        },
    ] {
        let refused = books.database.grant(other).await.expect("answered");
        assert_eq!(refused, Booked::KeyReused);
    }
    let fewer = correction(bench.ann, -30);
    for wanted in [Booked::Done, Booked::Repeated] {
        let booked = books.database.adjust(fewer.clone()).await;
        assert_eq!(booked.expect("booked"), wanted);
    }
    let reused = Adjustment {
        key: grant.key.clone(),
        ..fewer
    };
    let reused = books.database.adjust(reused).await;
    assert_eq!(reused.expect("answered"), Booked::KeyReused);
    assert_eq!(books.has().await, (70, 0));
    let refused = books.database.adjust(correction(bench.ann, -71)).await;
    assert_eq!(
        shortage(refused),
        Shortage {
            required: 71,
            available: 70
        }
    );
    let page = books
        .database
        .ledger(bench.ann, None, 1)
        .await
        .expect("read");
    assert!(page.more);
    let line = &page.items[0];
    assert_eq!(
        (line.kind, line.amount, line.balance_after),
        (TransferKind::Adjustment, -30, 70)
    );
    let rest = books
        .database
        .ledger(bench.ann, Some(line.seq), 5)
        .await
        .expect("read");
    assert_eq!(rest.items.len(), 1);
    assert_eq!(rest.items[0].amount, 100);
    books.prove().await;
}

/// Credits with an end go first, come back to where they were, and end at their time.
pub(crate) async fn credits_end_at_their_time(bench: Bench) {
    let books = Books::of(&bench);
    let now = time::now();
    let soon = now.after(Duration::from_secs(2));
    books.give(50).await;
    for (credits, expires_at) in [(20, later()), (30, soon)] {
        let grant = Grant {
            expires_at: Some(expires_at),
            ..gift(bench.ann, credits)
        };
        books.database.grant(grant).await.expect("given");
    }
    // Holds all 30 that end soon and 10 of the others; spends 15 of those that end soon.
    let (_, claimed) = books.begin(40).await;
    let sent = intent(&claimed, 1, 40);
    bench
        .done(with_attempt(change(&claimed), sent.clone()))
        .await;
    assert_eq!(books.database.expire_credits(10).await.expect("ended"), 0);
    wait_until(soon).await;
    // They are held, so they do not end yet.
    assert_eq!(books.database.expire_credits(10).await.expect("ended"), 0);
    bench
        .done(end(
            &claimed,
            JobStatus::Succeeded,
            Some(bought(&sent, 15)),
            false,
        ))
        .await;
    assert_eq!(books.has().await, (85, 0));
    // What came back is over: it cannot be spent, ended or not.
    let refused = bench.database.accept_job(priced(bench.ann, 71)).await;
    assert_eq!(
        shortage(refused),
        Shortage {
            required: 71,
            available: 70
        }
    );
    let ended = futures::future::join_all((0..4).map(|_| books.database.expire_credits(10))).await;
    let ended: i64 = ended.into_iter().map(|ended| ended.expect("ended")).sum();
    assert_eq!(ended, 15);
    assert_eq!(books.has().await, (70, 0));
    books.prove().await;
    // A correction takes those without an end first, then the others.
    books
        .database
        .adjust(correction(bench.ann, -60))
        .await
        .expect("booked");
    assert_eq!(books.has().await, (10, 0));
    books.prove().await;
}

async fn wait_until(at: Timestamp) {
    let left = at.since(time::now()) + Duration::from_millis(20);
    tokio::time::sleep(left).await;
}

/// Any number of spenders of one account end at exactly what the books say.
pub(crate) async fn many_spend_at_once(bench: Bench) {
    let books = Books::of(&bench);
    books.give(300).await;
    let other = bench.another_node().await;
    let spenders = (0..64).map(|n| {
        let database = if n % 2 == 0 {
            bench.database.clone()
        } else {
            other.clone()
        };
        let new = priced(bench.ann, 10);
        tokio::spawn(async move { database.accept_job(new).await })
    });
    let mut held = 0;
    for outcome in futures::future::join_all(spenders).await {
        match outcome.expect("it ran") {
            Ok((accepted, _)) => {
                assert!(matches!(accepted, Accepted::Created(_)));
                held += 10;
            }
            refused => {
                let shortage = shortage(refused);
                assert!(
                    shortage.required == 10 && shortage.available < 10,
                    "{shortage:?}"
                );
            }
        }
    }
    assert_eq!(held, 300);
    assert_eq!(books.has().await, (0, 300));
    books.prove().await;
    // They end at once, while others begin and credits are given and taken.
    let claimed = bench.claim(genvid::ids::NodeId::generate(), LEASE).await;
    assert_eq!(claimed.len(), 30);
    let ends = claimed.into_iter().enumerate().map(|(n, claimed)| {
        let database = if n % 2 == 0 {
            bench.database.clone()
        } else {
            other.clone()
        };
        let ann = bench.ann;
        tokio::spawn(async move {
            let sent = intent(&claimed, 1, 10);
            let begun = with_attempt(change(&claimed), sent.clone());
            database.apply(begun).await.expect("written");
            if n % 3 == 0 {
                let given = database.for_worker().grant(gift(ann, 7)).await;
                given.expect("given");
            }
            let done = end(
                &claimed,
                JobStatus::Succeeded,
                Some(bought(&sent, 4)),
                false,
            );
            database.apply(done).await.expect("written");
        })
    });
    for ended in futures::future::join_all(ends).await {
        ended.expect("it ran");
    }
    assert_eq!(books.has().await, (30 * 6 + 10 * 7, 0));
    books.prove().await;
}

/// Random moves, interleaved and repeated, against a sum kept by hand.
pub(crate) async fn whatever_happens_the_books_add_up(bench: Bench) {
    let seed = rand::random();
    let mut dice = StdRng::seed_from_u64(seed);
    let books = Books::of(&bench);
    let (mut wanted, mut open) = (0_i64, Vec::new());
    for turn in 0..120 {
        let told = format!("seed {seed}, turn {turn}");
        match dice.random_range(0..6) {
            0 => {
                let credits = dice.random_range(1..200);
                let expires_at = dice.random_bool(0.5).then(later);
                let grant = Grant {
                    expires_at,
                    ..gift(bench.ann, credits)
                };
                for _ in 0..dice.random_range(1..4) {
                    books.database.grant(grant.clone()).await.expect(&told);
                }
                wanted += credits;
            }
            1 => {
                let credits = dice.random_range(-50..50);
                if credits != 0 {
                    let change = correction(bench.ann, credits);
                    let possible = books.has().await.0 + credits >= 0;
                    for _ in 0..dice.random_range(1..3) {
                        let booked = books.database.adjust(change.clone()).await;
                        assert_eq!(booked.is_ok(), possible, "{told}: {booked:?}");
                    }
                    wanted += if possible { credits } else { 0 };
                }
            }
            2 | 3 => {
                let most = dice.random_range(1..120);
                let new = priced(bench.ann, most);
                let possible = books.has().await.0 >= most;
                for _ in 0..dice.random_range(1..3) {
                    let accepted = bench.database.accept_job(new.clone()).await;
                    assert_eq!(accepted.is_ok(), possible, "{told}");
                }
                if possible {
                    open.push((new.job.clone(), books.claim(new.job.id).await, most, 0));
                }
            }
            4 if !open.is_empty() => {
                let (job, claimed, most, spent) =
                    open.swap_remove(dice.random_range(0..open.len()));
                let sent = intent(&claimed, 1 + spent, most);
                bench
                    .done(with_attempt(change(&claimed), sent.clone()))
                    .await;
                let credits = dice.random_range(1..=most);
                let (outcome, cost) = if dice.random_bool(0.6) {
                    (bought(&sent, credits), credits)
                } else {
                    let refused = Attempt {
                        status: AttemptStatus::Failed,
                        charge: Charge::NotCharged,
                        finished_at: Some(time::now()),
                        ..sent
                    };
                    (refused, 0)
                };
                let status = if cost > 0 {
                    JobStatus::Succeeded
                } else {
                    JobStatus::Failed
                };
                bench
                    .done(end(&claimed, status, Some(outcome), false))
                    .await;
                wanted -= cost;
                if status == JobStatus::Failed && books.retry(&job, &claimed).await.is_ok() {
                    open.push((job.clone(), books.claim(job.id).await, most, spent + 1));
                }
            }
            _ => {
                books.database.expire_credits(5).await.expect(&told);
            }
        }
        let (available, held) = books.has().await;
        assert_eq!(available + held, wanted, "{told}");
    }
    books.prove().await;
}

pub(crate) async fn the_audit_finds_what_is_wrong(bench: Bench) {
    let books = Books::of(&bench);
    books.give(10).await;
    books.prove().await;
    bench
        .run("UPDATE credit_accounts SET balance = 11 WHERE kind = 'available'")
        .await;
    let audit = books.database.audit_credits().await.expect("audited");
    assert!(!audit.ok);
    let wanted = format!("available:{}", bench.ann);
    assert!(
        audit
            .mismatches
            .iter()
            .any(|told| told.starts_with(&wanted)),
        "{audit:?}"
    );
}

pub(crate) async fn what_is_booked_stays(bench: Bench) {
    let books = Books::of(&bench);
    books.give(10).await;
    for sql in [
        "UPDATE credit_entries SET amount = 1",
        "DELETE FROM credit_entries",
        "UPDATE credit_transfers SET amount = 1",
        "DELETE FROM credit_transfers",
    ] {
        let refused = bench.try_run(sql).await.expect_err(sql);
        assert!(refused.contains("never"), "{sql}: {refused}");
    }
    books.prove().await;
}
