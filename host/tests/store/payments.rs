//! What was paid: events once, purchases once, and never a balance below zero.

use std::time::Duration;

use genvid::{
    adapters::sql::Settled,
    ids::UserId,
    payments::{Purchase, Seen, Status, Subject, Subscription},
    time,
};

use crate::{
    bench::Bench,
    ledger::{gift, prove},
};

const LEASE: Duration = Duration::from_secs(60);

fn seen(id: &str, session: &str) -> Seen {
    Seen {
        id: id.to_owned(),
        kind: "checkout.session.completed".to_owned(),
        at: 1_760_000_000,
        subject: Some(Subject::Session(session.to_owned())),
    }
}

fn pack(user: UserId, key: &str, recalled: i64) -> Purchase {
    Purchase {
        key: key.to_owned(),
        user,
        credits: 1_000,
        amount: 1_200,
        currency: "usd".to_owned(),
        payment: Some(format!("pi_{key}")),
        invoice_url: None,
        recalled,
    }
}

fn plan(id: &str, plan: &str, status: Status) -> Subscription {
    Subscription {
        id: id.to_owned(),
        plan: plan.to_owned(),
        status,
        period_end: Some(time::now()),
        ends: false,
    }
}

/// One row at least in every table of payments.
pub(crate) async fn fill(bench: &Bench, user: UserId) {
    let books = bench.database.for_worker();
    let customer = books.note_customer(user, format!("cus_{user}")).await;
    customer.expect("kept");
    let event = seen(&format!("evt_{user}"), "cs_1");
    books.note_payment_event(&event).await.expect("kept");
    let bought = pack(user, &format!("cs_{user}"), 0);
    books.settle_purchase(bought, None).await.expect("written");
    let subscription = plan(&format!("sub_{user}"), "pro", Status::Canceled);
    let written = books.settle_subscription(user, subscription, time::now(), None);
    written.await.expect("written");
}

async fn settle(bench: &Bench, bought: Purchase) {
    let books = bench.database.for_worker();
    let known = books.payment_version(&bought.key).await.expect("read");
    let written = books.settle_purchase(bought, known).await.expect("written");
    assert_eq!(written, Settled::Done);
}

async fn available(bench: &Bench) -> i64 {
    let balance = bench.database.for_user(bench.ann).balance(bench.ann).await;
    balance.expect("read").available
}

async fn owed(bench: &Bench) -> i64 {
    bench.database.owing(bench.ann).await.expect("read").credits
}

pub(crate) async fn an_event_is_kept_once_and_worked_off_once(bench: Bench) {
    let books = bench.database.for_worker();
    let event = seen("evt_1", "cs_1");
    assert!(books.note_payment_event(&event).await.expect("kept"));
    assert!(!books.note_payment_event(&event).await.expect("known"));
    let mut idle = seen("evt_2", "cs_1");
    (idle.kind, idle.subject) = ("customer.created".to_owned(), None);
    assert!(books.note_payment_event(&idle).await.expect("kept"));
    assert_eq!(books.open_payment_events().await.expect("read"), 1);

    let mut due = books
        .claim_payment_events(10, LEASE)
        .await
        .expect("claimed");
    assert_eq!(due.len(), 1);
    let first = due.remove(0);
    assert_eq!(first.subject, Subject::Session("cs_1".to_owned()));
    assert_eq!(first.tries, 0);
    let again = books
        .claim_payment_events(10, LEASE)
        .await
        .expect("claimed");
    assert!(again.is_empty(), "it is somebody's: {again:?}");
    let why = Some((Duration::ZERO, "no answer".to_owned()));
    books
        .finish_payment_event(first.clone(), why)
        .await
        .expect("written");
    let mut due = books
        .claim_payment_events(10, LEASE)
        .await
        .expect("claimed");
    let second = due.remove(0);
    assert_eq!(second.tries, 1);
    // Whoever lost it does not end it.
    books
        .finish_payment_event(first, None)
        .await
        .expect("nothing");
    assert_eq!(books.open_payment_events().await.expect("read"), 1);
    books
        .finish_payment_event(second, None)
        .await
        .expect("written");
    assert_eq!(books.open_payment_events().await.expect("read"), 0);
    assert!(!books.note_payment_event(&event).await.expect("known"));
    assert_eq!(books.open_payment_events().await.expect("read"), 0);

    assert!(books.claim_reconciliation(LEASE).await.expect("asked"));
    assert!(!books.claim_reconciliation(LEASE).await.expect("asked"));
    books.move_payment_horizon(20).await.expect("moved");
    books.move_payment_horizon(10).await.expect("stays");
    assert_eq!(books.payment_horizon().await.expect("read"), 20);
}

pub(crate) async fn of_many_looks_at_once_one_gives_the_credits(bench: Bench) {
    let books = bench.database.for_worker();
    let looks = (0..16).map(|_| {
        let (books, bought) = (books.clone(), pack(bench.ann, "cs_1", 0));
        tokio::spawn(async move { books.settle_purchase(bought, None).await })
    });
    let mut done = 0;
    for look in looks.collect::<Vec<_>>() {
        let written = look.await.expect("ended").expect("written");
        done += usize::from(written == Settled::Done);
    }
    assert_eq!(done, 1);
    assert_eq!(available(&bench).await, 1_000);
    prove(&bench.database).await;
}

pub(crate) async fn a_look_that_is_older_writes_nothing(bench: Bench) {
    let books = bench.database.for_worker();
    settle(&bench, pack(bench.ann, "cs_1", 0)).await;
    let known = books.payment_version("cs_1").await.expect("read");
    // The refund is seen by somebody who looked later and wrote earlier.
    settle(&bench, pack(bench.ann, "cs_1", 1_000)).await;
    assert_eq!(available(&bench).await, 0);
    let late = books
        .settle_purchase(pack(bench.ann, "cs_1", 0), known)
        .await;
    assert_eq!(late.expect("read"), Settled::Stale);
    assert_eq!(available(&bench).await, 0, "it is not given again");

    let first = plan("sub_1", "pro", Status::Active);
    let write = |subscription, known| {
        books.settle_subscription(bench.ann, subscription, time::now(), known)
    };
    assert_eq!(
        write(first.clone(), None).await.expect("written"),
        Settled::Done
    );
    assert_eq!(
        write(first.clone(), None).await.expect("read"),
        Settled::Stale
    );
    let known = books.payment_version("sub_1").await.expect("read");
    let over = plan("sub_1", "pro", Status::Canceled);
    assert_eq!(
        write(over.clone(), known).await.expect("written"),
        Settled::Done
    );
    assert_eq!(write(first, known).await.expect("read"), Settled::Stale);
    let kept = bench
        .database
        .subscription_of(bench.ann)
        .await
        .expect("read");
    assert_eq!(kept.expect("there").status, over.status);
    prove(&bench.database).await;
}

pub(crate) async fn what_goes_back_is_taken_and_the_rest_noted(bench: Bench) {
    let books = bench.database.for_worker();
    // Given credits that end at a time are not what was bought.
    let mut promise = gift(bench.ann, 50);
    promise.expires_at = Some(time::now().after(Duration::from_secs(3_600)));
    books.grant(promise).await.expect("given");
    settle(&bench, pack(bench.ann, "cs_1", 0)).await;
    settle(&bench, pack(bench.ann, "cs_2", 0)).await;
    settle(&bench, pack(bench.ann, "cs_1", 250)).await;
    assert_eq!((available(&bench).await, owed(&bench).await), (1_800, 0));
    settle(&bench, pack(bench.ann, "cs_1", 250)).await;
    assert_eq!(
        available(&bench).await,
        1_800,
        "the same again moves nothing"
    );
    settle(&bench, pack(bench.ann, "cs_1", 1_000)).await;
    assert_eq!(available(&bench).await, 1_050);
    prove(&bench.database).await;
    let spent = genvid::billing::Adjustment {
        user: bench.ann,
        credits: -900,
        reason: "Spent".to_owned(),
        actor: "test".to_owned(),
        key: "spent".to_owned(),
    };
    books.adjust(spent).await.expect("taken");
    settle(&bench, pack(bench.ann, "cs_2", 1_000)).await;
    assert_eq!((available(&bench).await, owed(&bench).await), (0, 850));
    // A dispute that is won: what nobody took is forgiven first, and the rest comes back.
    settle(&bench, pack(bench.ann, "cs_2", 100)).await;
    assert_eq!((available(&bench).await, owed(&bench).await), (50, 0));
    settle(&bench, pack(bench.ann, "cs_2", 0)).await;
    assert_eq!((available(&bench).await, owed(&bench).await), (150, 0));
    // Somebody has changed at the vendor how many credits it was for.
    let mut more = pack(bench.ann, "cs_1", 5_000);
    more.credits = 5_000;
    settle(&bench, more).await;
    assert_eq!((available(&bench).await, owed(&bench).await), (150, 0));
    prove(&bench.database).await;
}

pub(crate) async fn a_plan_follows_the_subscriptions(bench: Bench) {
    let books = bench.database.for_worker();
    let write = async |id: &str, name: &str, status| {
        let known = books.payment_version(id).await.expect("read");
        let subscription = plan(id, name, status);
        let written = books.settle_subscription(bench.ann, subscription, time::now(), known);
        assert_eq!(written.await.expect("written"), Settled::Done);
        books
            .follow_subscriptions(bench.ann)
            .await
            .expect("followed");
        bench.database.plan_of(bench.ann).await.expect("read")
    };
    let is = |name: &str| Some(name.to_owned());
    assert_eq!(write("sub_1", "pro", Status::Incomplete).await, is("free"));
    assert_eq!(write("sub_1", "pro", Status::Active).await, is("pro"));
    assert_eq!(
        write("sub_1", "business", Status::PastDue).await,
        is("business")
    );
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(write("sub_2", "pro", Status::Trialing).await, is("pro"));
    assert_eq!(
        write("sub_2", "pro", Status::Canceled).await,
        is("business")
    );
    assert_eq!(write("sub_1", "business", Status::Unpaid).await, is("free"));
    let bob = bench.database.plan_of(bench.bob).await.expect("read");
    assert_eq!(bob, is("free"), "nobody else's changes");
}
