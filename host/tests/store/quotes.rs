//! Quotes, and the times that they are reckoned from.

use std::time::Duration;

use genvid::{
    billing::{RoutePrice, StepQuote},
    ids::{QuoteId, UserId},
    jobs::{
        model::{AttemptStatus, Charge, JobKind, StepKind, StepStatus},
        quote::{Other, Quote, QuotedStep, Took},
    },
    providers::Code,
    time,
};

use crate::bench::{Bench, attempt, change, with_attempt};

pub(crate) fn quote(owner: UserId) -> Quote {
    let now = time::now();
    Quote {
        id: QuoteId::generate(),
        owner,
        kind: JobKind::Voice,
        request_hash: owner.uuid().as_bytes().to_vec(),
        steps: vec![QuotedStep {
            kind: StepKind::Voice,
            quote: StepQuote {
                routes: vec![RoutePrice {
                    provider: "elevenlabs".to_owned(),
                    min_credits: 2,
                    max_credits: 7,
                }],
            },
            others: vec![Other {
                provider: "heygen".to_owned(),
                model: None,
                code: Code::Language,
                message: "does not offer the language".to_owned(),
                tried: false,
            }],
            ignored: Vec::new(),
            reused_from: None,
            took: Took::of(vec![Duration::from_secs(3)]),
        }],
        created_at: now,
        expires_at: now.after(Duration::from_secs(60)),
    }
}

pub(crate) async fn a_quote_is_its_owners_alone(bench: Bench) {
    let kept = quote(bench.ann);
    let (ann, bob) = (
        bench.database.for_user(bench.ann),
        bench.database.for_user(bench.bob),
    );
    ann.insert_quote(&kept).await.expect("kept");
    let found = ann.find_quote(bench.ann, kept.id).await.expect("read");
    let found = found.expect("there");
    assert_eq!((found.min_credits(), found.max_credits()), (2, 7));
    assert_eq!(found.expected_seconds(), Some((3.0, 3.0)));
    assert_eq!(found, kept);
    let none = bob.find_quote(bench.bob, kept.id).await.expect("read");
    assert_eq!(none, None, "a stranger's is as good as missing");
}

pub(crate) async fn times_are_of_what_was_delivered(bench: Bench) {
    let (_, claimed) = bench.accept_and_claim(bench.ann).await;
    let kind = claimed.step.kind;
    let mut row = attempt(&claimed.step, 1);
    row.submitted_at = time::now();
    let provider = row.provider.clone();
    let database = bench.database.for_worker();
    let times = async || {
        let times = database.delivery_times(&provider, kind, 10);
        times.await.expect("read")
    };
    bench
        .done(with_attempt(change(&claimed), row.clone()))
        .await;
    assert!(times().await.is_empty(), "it is not over");
    row.status = AttemptStatus::Succeeded;
    row.charge = Charge::Charged;
    row.finished_at = Some(row.submitted_at.after(Duration::from_millis(1_500)));
    let mut done = with_attempt(change(&claimed), row);
    done.step.status = StepStatus::Succeeded;
    bench.done(done).await;
    assert_eq!(times().await, [Duration::from_millis(1_500)]);
    let other = database.delivery_times("nobody", kind, 10).await;
    assert!(other.expect("read").is_empty());
}
