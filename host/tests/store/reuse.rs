//! Steps that ask for the same.

use genvid::{
    adapters::sql,
    ids::StepId,
    jobs::{
        model::{AttemptStatus, Step, StepOutput, StepSource, StepStatus},
        store::Claimed,
    },
    time,
};

use crate::bench::{Bench, attempt, change, file, told, with_attempt};

const KEY: &[u8] = b"what was asked for";

/// Writes down that it is about to ask.
async fn ask(bench: &Bench, claimed: &Claimed, key: Option<&[u8]>) -> Result<(), sql::Error> {
    let mut intent = attempt(&claimed.step, 1);
    intent.status = AttemptStatus::Submitting;
    let mut write = with_attempt(change(claimed), intent);
    write.step.status = StepStatus::Submitting;
    write.step.reuse_key = key.map(<[u8]>::to_vec);
    write.events = vec![told("asking")];
    bench.database.for_worker().apply(write).await.map(|_| ())
}

async fn succeed(bench: &Bench, claimed: &Claimed) -> Step {
    let mut write = change(claimed);
    write.step.status = StepStatus::Succeeded;
    write.step.reuse_key = Some(KEY.to_vec());
    write.step.output = Some(StepOutput::Voice {
        audio: file(),
        words: None,
    });
    write.step.completed_at = Some(time::now());
    let step = write.step.clone();
    bench.done(write).await;
    step
}

async fn alike(bench: &Bench, owner: genvid::ids::UserId) -> Vec<StepId> {
    let database = bench.database.for_worker();
    let found = database.steps_like(owner, StepId::generate(), KEY).await;
    found.expect("read").iter().map(|step| step.id).collect()
}

pub(crate) async fn of_two_that_ask_for_the_same_one_asks(bench: Bench) {
    let (_, first) = bench.accept_and_claim(bench.ann).await;
    let (job, second) = bench.accept_and_claim(bench.ann).await;
    let (one, two) = tokio::join!(
        ask(&bench, &first, Some(KEY)),
        ask(&bench, &second, Some(KEY))
    );
    let refused = [&one, &two]
        .iter()
        .filter(|asked| matches!(asked, Err(sql::Error::Underway)))
        .count();
    assert_eq!(refused, 1, "{one:?} {two:?}");
    // Nothing of the other is written: its step, its attempt, its event.
    if two.is_err() {
        assert_eq!(bench.steps(job.id).await[0].status, StepStatus::Pending);
        assert!(bench.attempts(job.id).await.is_empty());
        assert_eq!(bench.log(job.id).await.len(), 1);
    }
    assert_eq!(alike(&bench, bench.ann).await.len(), 1);
    // Whoever buys everything again waits for nobody.
    let (_, third) = bench.accept_and_claim(bench.ann).await;
    ask(&bench, &third, None).await.expect("asks");
}

pub(crate) async fn what_was_bought_is_found_by_its_owner_alone(bench: Bench) {
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    let done = succeed(&bench, &claimed).await;
    assert_eq!(alike(&bench, bench.ann).await, [done.id]);
    assert!(alike(&bench, bench.bob).await.is_empty());
    let strange = bench.database.for_user(bench.bob);
    let found = strange.steps_like(bench.bob, StepId::generate(), KEY).await;
    assert!(found.expect("read").is_empty());

    // Who takes it over says so.
    let (_, other) = bench.accept_and_claim(bench.ann).await;
    let mut write = change(&other);
    write.step.reused_from = Some(StepSource {
        job: job.id,
        step: done.id,
    });
    write.step.reuse_key = Some(KEY.to_vec());
    let wanted = (write.step.reused_from, write.step.reuse_key.clone());
    bench.done(write).await;
    let row = bench.steps(other.step.job).await[0].clone();
    assert_eq!((row.reused_from, row.reuse_key), wanted);
}
