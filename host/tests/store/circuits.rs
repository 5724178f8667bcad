//! Providers that are left alone, as all nodes see it.

use std::time::Duration;

use genvid::{
    jobs::model::{AttemptStatus, Failure, FailureCode},
    providers::{CircuitState, Entry, Health, Kind, Lane, Look, Rules, Sign},
};

use crate::bench::{Bench, attempt, change, with_attempt};

const RULES: Rules = Rules {
    failures: 3,
    window: Duration::from_secs(600),
    open: Duration::from_secs(600),
    longest: Duration::from_secs(3_600),
    trial: Duration::from_secs(600),
};

/// Open for no time: a trial is due at once.
const AT_ONCE: Rules = Rules {
    open: Duration::ZERO,
    ..RULES
};

fn lane() -> Lane {
    Lane::of("kling", Kind::Video, Some("v2"))
}

fn down() -> Sign {
    Sign::Fails("It is down.".to_owned())
}

fn health(bench: &Bench, rules: Rules) -> Health {
    let history = Duration::from_secs(86_400);
    Health::new(bench.database.clone(), rules, history, || ())
}

pub(crate) async fn failures_count_whichever_node_sees_them(bench: Bench) {
    let other = bench.another_node().await;
    let lane = lane();
    let tell = |n: usize| {
        let database = [&bench.database, &other][n % 2];
        database.tell_circuit(&lane, down(), RULES)
    };
    let told = futures::future::join_all((0..6).map(tell)).await;
    let opened = told
        .into_iter()
        .map(|told| told.expect("told"))
        .filter(|(before, after)| before.state != after.state)
        .count();
    assert_eq!(opened, 1, "one of them opens it");
    let all = other.circuits().await.expect("read");
    assert_eq!(all.len(), 1);
    let (named, circuit) = &all[0];
    assert_eq!(*named, lane);
    assert_eq!((circuit.state, circuit.opened), (CircuitState::Open, 1));
    assert_eq!(circuit.reason.as_deref(), Some("It is down."));
    let entry = other
        .enter_circuit(&lane, RULES)
        .await
        .expect("asked")
        .entry;
    assert_eq!(entry, Entry::Wait(circuit.until.expect("a time")));
}

pub(crate) async fn of_many_who_ask_one_makes_the_trial(bench: Bench) {
    let other = bench.another_node().await;
    let lane = lane();
    for _ in 0..3 {
        let told = bench.database.tell_circuit(&lane, down(), AT_ONCE).await;
        told.expect("told");
    }
    let ask = |n: usize| {
        let database = [&bench.database, &other][n % 2];
        database.enter_circuit(&lane, AT_ONCE)
    };
    let asked = futures::future::join_all((0..20).map(ask)).await;
    let trials = asked
        .into_iter()
        .filter(|asked| matches!(asked.as_ref().expect("asked").entry, Entry::Trial(_)))
        .count();
    assert_eq!(trials, 1);
    let (before, after) = other
        .tell_circuit(&lane, Sign::Works, AT_ONCE)
        .await
        .expect("told");
    assert_eq!(before.state, CircuitState::HalfOpen);
    assert!(after.is_sound());
    // What was stored comes back whole.
    let all = bench.database.circuits().await.expect("read");
    assert_eq!(all, [(lane, after)]);
}

pub(crate) async fn a_node_hears_of_it_from_the_rows(bench: Bench) {
    let (here, there) = (health(&bench, RULES), health(&bench, RULES));
    for _ in 0..3 {
        here.tell(&lane(), down()).await.expect("told");
    }
    assert!(matches!(here.look(&lane()), Look::Wait(..)));
    assert_eq!(there.look(&lane()), Look::Free, "it has not looked yet");
    there.look_around().await.expect("looked");
    assert!(matches!(there.look(&lane()), Look::Wait(_, why) if why == "It is down."));
    // Another model is another matter; refused credentials are everybody's.
    let other = Lane::of("kling", Kind::Video, Some("v3"));
    assert_eq!(there.look(&other), Look::Free);
    let barred = Sign::Barred("The key is wrong.".to_owned());
    here.tell(&other, barred).await.expect("told");
    there.look_around().await.expect("looked");
    assert!(matches!(there.look(&other), Look::Wait(_, why) if why == "The key is wrong."));
    let standing = there.standing_of_all("kling");
    assert_eq!(standing.state, CircuitState::Open);
    assert_eq!(there.standing_of_all("heygen").state, CircuitState::Closed);
}

pub(crate) async fn what_works_writes_nothing(bench: Bench) {
    let health = health(&bench, RULES);
    for _ in 0..3 {
        health.tell(&lane(), Sign::Works).await.expect("told");
    }
    assert!(bench.database.circuits().await.expect("read").is_empty());
    health.tell(&lane(), down()).await.expect("told");
    health.tell(&lane(), Sign::Works).await.expect("told");
    let all = bench.database.circuits().await.expect("read");
    assert!(all[0].1.is_sound(), "{all:?}");
}

pub(crate) async fn outcomes_are_of_what_came_to_an_end(bench: Bench) {
    for (status, code) in [
        (AttemptStatus::Succeeded, None),
        (
            AttemptStatus::Failed,
            Some(FailureCode::ProviderUnavailable),
        ),
        (AttemptStatus::Failed, Some(FailureCode::ContentRejected)),
        (AttemptStatus::Unconfirmed, None),
        (AttemptStatus::Accepted, None),
    ] {
        let (_, claimed) = bench.accept_and_claim(bench.ann).await;
        let mut row = attempt(&claimed.step, 1);
        row.provider = "kling".to_owned();
        row.model = Some("v2".to_owned());
        row.status = status;
        row.error = code.map(|code| Failure::new(code, "No."));
        row.finished_at = (status == AttemptStatus::Succeeded)
            .then(|| row.submitted_at.after(Duration::from_secs(7)));
        bench.done(with_attempt(change(&claimed), row)).await;
    }
    let hour = Duration::from_secs(3_600);
    let outcomes = bench
        .database
        .outcomes("kling", hour, 100)
        .await
        .expect("read");
    let mut worked: Vec<bool> = outcomes.iter().map(|outcome| outcome.worked).collect();
    worked.sort_unstable();
    assert_eq!(worked, [false, false, true]);
    let took: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.took).collect();
    assert_eq!(took, [Duration::from_secs(7)]);
    for outcome in &outcomes {
        assert_eq!(outcome.lane.provider, "kling");
        assert_eq!(outcome.lane.model, "v2");
    }
    assert!(
        bench
            .database
            .outcomes("heygen", hour, 100)
            .await
            .expect("read")
            .is_empty()
    );
}
