//! Batches: written down whole, each item a job once or refused, and no dearer together than
//! their budget.

use std::time::Duration;

use genvid::{
    adapters::sql::{Database, Error},
    ids::{BatchId, BatchQuoteId, NodeId, ProjectId, UserId},
    jobs::{
        batch::{
            Batch, Begun, Counts, Item, NewBatch, Place, Reason, Refused, Spending, Standing,
            StoredQuote, Taken, Verdict,
        },
        limits::{Scope, TooMany},
        model::{Aspect, SubtitleMode},
        store::{Accepted, NewJob},
        wish::VideoWish,
    },
    time,
};

use crate::{
    bench::{Bench, LEASE, change, later, project, with_attempt},
    ledger::{bought, gift, intent, priced, prove},
};

/// More than any test puts in.
const MANY: u32 = 1_000;

fn film(project: ProjectId) -> Item {
    Ok(VideoWish {
        project,
        script: Some("Cold water, all day.".to_owned()),
        language: "en".to_owned(),
        aspect: Aspect::Portrait,
        provider: None,
        exclude: Vec::new(),
        only: None,
        avatar: None,
        voice_provider: None,
        voice: None,
        images: Vec::new(),
        max_seconds: None,
        subtitles: SubtitleMode::Sidecar,
        options: None,
        buy_again: false,
        idempotency_key: "batch".to_owned(),
        deadline: None,
        webhook_url: None,
        notification_email: None,
        max_credits: None,
        quote: None,
        place: None,
        by: None,
    })
}

fn refused(reason: Reason) -> Refused {
    Refused {
        reason,
        message: "Not this one.".to_owned(),
        field: None,
    }
}

async fn shelf(bench: &Bench, owner: UserId) -> ProjectId {
    let shelf = bench.database.insert_project(project(owner, "Shelf"));
    shelf.await.expect("kept").id
}

fn wanted(owner: UserId, project: ProjectId, films: usize, budget: Option<i64>) -> NewBatch {
    let id = BatchId::generate();
    NewBatch {
        batch: Batch {
            id,
            owner,
            project,
            name: "Spring".to_owned(),
            quoted: None,
            created_at: time::now(),
        },
        items: (0..films).map(|_| film(project)).collect(),
        idempotency_key: id.to_string(),
        request_hash: id.to_string().into_bytes(),
        budget,
        most_waiting: MANY,
        by: None,
    }
}

async fn begin(database: &Database, new: NewBatch) -> Batch {
    match database.insert_batch(new).await.expect("kept") {
        Begun::Batch(batch) => batch,
        Begun::KeyReused => panic!("nobody has used this key"),
    }
}

/// A batch of a user, written down, and the project of its films.
pub(crate) async fn begun(bench: &Bench, owner: UserId, films: usize) -> Batch {
    let shelf = shelf(bench, owner).await;
    begin(&bench.database, wanted(owner, shelf, films, None)).await
}

/// One row of each table that batches have, for this user.
pub(crate) async fn filled(bench: &Bench, owner: UserId) {
    let batch = begun(bench, owner, 1).await;
    let scoped = bench.database.for_user(owner);
    let noted = scoped.note_batch_retry(owner, batch.id, "again").await;
    noted.expect("noted");
    let quote = StoredQuote {
        request_hash: Vec::new(),
        items: vec![None],
        max_credits: 7,
        expires_at: later(),
    };
    let kept = scoped.insert_batch_quote(owner, BatchQuoteId::generate(), quote);
    kept.await.expect("kept");
}

async fn claim(bench: &Bench, limit: u32, lease: Duration) -> Vec<Taken> {
    let worker = bench.database.for_worker();
    worker.claim_batch_items(limit, lease).await.expect("taken")
}

/// The job that an item becomes.
fn job(taken: &Taken, most: i64) -> NewJob {
    let mut new = priced(taken.owner, most);
    new.idempotency_key = format!("{}/{}", taken.place.batch, taken.place.position);
    new.place = Some(taken.place);
    new
}

async fn standing(bench: &Bench, batch: &Batch) -> Standing {
    let scoped = bench.database.for_user(batch.owner);
    let found = scoped.find_batch(batch.owner, batch.id).await;
    let found = found.expect("read").expect("there");
    let mut standings = scoped.standings(batch.owner, vec![found]).await;
    standings.as_mut().expect("read").pop().expect("one")
}

async fn counts(bench: &Bench, batch: &Batch) -> Counts {
    standing(bench, batch).await.counts
}

fn is_decided<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    assert!(matches!(outcome, Err(Error::Decided)), "{outcome:?}");
}

pub(crate) async fn of_many_with_one_key_one_batch_is_written(bench: Bench) {
    let shelf = shelf(&bench, bench.ann).await;
    let first = wanted(bench.ann, shelf, 3, None);
    let other = bench.another_node().await;
    let asking = (0..16).map(|n| {
        let database = if n % 2 == 0 { &bench.database } else { &other };
        let (database, mut new) = (database.clone(), first.clone());
        new.batch.id = BatchId::generate();
        tokio::spawn(async move { database.insert_batch(new).await })
    });
    let mut ids = Vec::new();
    for outcome in futures::future::join_all(asking).await {
        match outcome.expect("it ran").expect("answered") {
            Begun::Batch(batch) => ids.push(batch.id),
            Begun::KeyReused => panic!("it is the same request"),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "all are answered with the same batch");
    let taken = claim(&bench, MANY, LEASE).await;
    assert_eq!(taken.len(), 3, "its films are there once");

    let mut another = first.clone();
    another.request_hash = b"something else".to_vec();
    let answer = bench.database.insert_batch(another).await;
    assert_eq!(answer.expect("answered"), Begun::KeyReused);
    // Keys are each user's own.
    let mut theirs = wanted(bench.bob, self::shelf(&bench, bench.bob).await, 1, None);
    theirs.idempotency_key.clone_from(&first.idempotency_key);
    begin(&bench.database, theirs).await;
}

pub(crate) async fn an_item_becomes_one_job(bench: Bench) {
    let batch = begun(&bench, bench.ann, 40).await;
    let other = bench.another_node().await.for_worker();
    let ours = bench.database.for_worker();
    // As many nodes as like take and accept at once, and each tries twice.
    let working = (0..8).map(|n| {
        let worker = if n % 2 == 0 { &ours } else { &other }.clone();
        let users = bench.database.clone();
        tokio::spawn(async move {
            let mut accepted = Vec::new();
            loop {
                let taken = worker.claim_batch_items(3, LEASE).await.expect("taken");
                if taken.is_empty() {
                    return accepted;
                }
                for item in taken {
                    let (answer, _) = users.accept_job(job(&item, 0)).await.expect("accepted");
                    assert!(matches!(answer, Accepted::Created(_)), "{answer:?}");
                    is_decided(users.accept_job(job(&item, 0)).await);
                    accepted.push(item.place.position);
                }
            }
        })
    });
    let mut all = Vec::new();
    for accepted in futures::future::join_all(working).await {
        all.extend(accepted.expect("it ran"));
    }
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<i64>>());
    let counts = counts(&bench, &batch).await;
    assert_eq!(
        (counts.under_way, counts.waiting, counts.total()),
        (40, 0, 40)
    );
    let scoped = bench.database.for_user(bench.ann);
    let mut after = None;
    let mut jobs = std::collections::HashSet::new();
    loop {
        let page = scoped.batch_items(bench.ann, batch.id, after, 7).await;
        let page = page.expect("read");
        for item in &page.items {
            assert_eq!(item.position, after.map_or(0, |last| last + 1));
            after = Some(item.position);
            assert!(jobs.insert(item.job.expect("a job")), "a job of two items");
        }
        if !page.more {
            break;
        }
    }
    assert_eq!(jobs.len(), 40);
    prove(&ours).await;
}

pub(crate) async fn who_was_too_slow_makes_no_job(bench: Bench) {
    let batch = begun(&bench, bench.ann, 1).await;
    let slow = claim(&bench, MANY, Duration::ZERO).await.remove(0);
    let quick = claim(&bench, MANY, LEASE).await.remove(0);
    assert_eq!(quick.place.position, slow.place.position);
    assert!(quick.place.epoch > slow.place.epoch);
    is_decided(bench.database.accept_job(job(&slow, 0)).await);
    // Nor does it say what became of the item.
    let worker = bench.database.for_worker();
    let verdict = Verdict::Refused(refused(Reason::ProviderUnavailable));
    worker
        .decide_batch_item(slow.place, verdict)
        .await
        .expect("answered");
    assert_eq!(counts(&bench, &batch).await.waiting, 1);
    // A node that dies here has written nothing.
    let mut broken = job(&quick, 0);
    broken.events.clear();
    broken.job.project = Some(ProjectId::generate());
    bench
        .database
        .accept_job(broken)
        .await
        .expect_err("there is no such project");
    assert_eq!(counts(&bench, &batch).await.waiting, 1);
    bench.accept_as(job(&quick, 0)).await;
    assert_eq!(counts(&bench, &batch).await.under_way, 1);
    let verdict = Verdict::Refused(refused(Reason::ProviderUnavailable));
    worker
        .decide_batch_item(quick.place, verdict)
        .await
        .expect("answered");
    assert_eq!(counts(&bench, &batch).await.refused, 0, "it has a job");
    assert!(claim(&bench, MANY, LEASE).await.is_empty());
}

pub(crate) async fn the_first_films_of_all_go_first(bench: Bench) {
    let long = begun(&bench, bench.ann, 30).await;
    let short = begun(&bench, bench.bob, 2).await;
    let mut places: Vec<_> = claim(&bench, 4, LEASE).await;
    places.sort_by_key(|taken| (taken.place.position, taken.owner));
    let mut wanted: Vec<_> = [(0, &long), (0, &short), (1, &long), (1, &short)]
        .map(|(position, batch)| (position, batch.owner))
        .into();
    wanted.sort_unstable();
    let got: Vec<_> = places
        .iter()
        .map(|taken| (taken.place.position, taken.owner))
        .collect();
    assert_eq!(got, wanted, "nobody waits for another's long batch");
    // What waits for jobs that are under way is left until its time.
    let worker = bench.database.for_worker();
    let wait = Verdict::Later(Duration::from_secs(600));
    worker
        .decide_batch_item(places[0].place, wait)
        .await
        .expect("written");
    let others = claim(&bench, MANY, LEASE).await;
    assert_eq!(others.len(), 28);
    assert!(others.iter().all(|taken| taken.place.position >= 2));
    let none = Verdict::Later(Duration::ZERO);
    worker
        .decide_batch_item(others[0].place, none)
        .await
        .expect("written");
    let again = claim(&bench, MANY, LEASE).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].place.position, others[0].place.position);
}

pub(crate) async fn what_is_canceled_becomes_no_job(bench: Bench) {
    let batch = begun(&bench, bench.ann, 3).await;
    let taken = claim(&bench, 2, LEASE).await;
    bench.accept_as(job(&taken[0], 0)).await;
    let scoped = bench.database.for_user(bench.ann);
    // Somebody else's stays as it is.
    let stranger = bench.database.for_user(bench.bob);
    let theirs = stranger.refuse_waiting_items(bench.bob, batch.id, refused(Reason::Canceled));
    theirs.await.expect("answered");
    assert_eq!(counts(&bench, &batch).await.waiting, 2);
    let canceled = scoped.refuse_waiting_items(bench.ann, batch.id, refused(Reason::Canceled));
    canceled.await.expect("written");
    is_decided(bench.database.accept_job(job(&taken[1], 0)).await);
    let counts = counts(&bench, &batch).await;
    assert_eq!(
        (counts.under_way, counts.refused, counts.waiting),
        (1, 2, 0)
    );
    assert!(claim(&bench, MANY, LEASE).await.is_empty());
}

pub(crate) async fn what_was_refused_is_asked_for_again_once(bench: Bench) {
    let batch = begun(&bench, bench.ann, 1).await;
    let worker = bench.database.for_worker();
    let first = claim(&bench, MANY, LEASE).await.remove(0);
    assert!(!first.again);
    let verdict = Verdict::Refused(refused(Reason::InsufficientCredits));
    worker
        .decide_batch_item(first.place, verdict.clone())
        .await
        .expect("written");
    let scoped = bench.database.for_user(bench.ann);
    let noted = scoped
        .note_batch_retry(bench.ann, batch.id, "again")
        .await
        .expect("noted");
    let again = |asked_at| scoped.ask_batch_item_again(bench.ann, batch.id, 0, asked_at);
    assert!(again(noted).await.expect("written"));
    assert!(!again(noted).await.expect("answered"), "it waits already");
    let second = claim(&bench, MANY, LEASE).await.remove(0);
    assert!(second.again, "its quote was of another time");
    tokio::time::sleep(Duration::from_millis(5)).await;
    worker
        .decide_batch_item(second.place, verdict)
        .await
        .expect("written");
    // The same key is of the time before.
    let same = scoped
        .note_batch_retry(bench.ann, batch.id, "again")
        .await
        .expect("noted");
    assert_eq!(same, noted);
    assert!(
        !again(same).await.expect("answered"),
        "it was refused later"
    );
    let another = scoped
        .note_batch_retry(bench.ann, batch.id, "once more")
        .await;
    assert!(again(another.expect("noted")).await.expect("written"));
}

pub(crate) async fn of_many_at_once_none_passes_a_batchs_budget(bench: Bench) {
    let worker = bench.database.for_worker();
    worker.grant(gift(bench.ann, 1_000)).await.expect("given");
    let shelf = shelf(&bench, bench.ann).await;
    let new = wanted(bench.ann, shelf, 32, Some(75));
    let batch = begin(&bench.database, new).await;
    let other = bench.another_node().await;
    let accepting = claim(&bench, MANY, LEASE).await.into_iter().enumerate();
    let accepting = accepting.map(|(n, item)| {
        let database = if n % 2 == 0 { &bench.database } else { &other };
        let (database, new) = (database.clone(), job(&item, 10));
        tokio::spawn(async move { (item, database.accept_job(new).await) })
    });
    let mut accepted = 0;
    for outcome in futures::future::join_all(accepting.collect::<Vec<_>>()).await {
        match outcome.expect("it ran") {
            (_, Ok((Accepted::Created(_), _))) => accepted += 1,
            (item, Err(Error::BudgetExceeded(overrun))) => {
                assert_eq!((overrun.budget.limit.credits, overrun.needed), (75, 10));
                let why = Verdict::Refused(refused(Reason::BudgetExceeded));
                worker
                    .decide_batch_item(item.place, why)
                    .await
                    .expect("written");
            }
            (_, other) => panic!("neither accepted nor refused: {other:?}"),
        }
    }
    assert_eq!(accepted, 7);
    let Standing {
        counts, spending, ..
    } = standing(&bench, &batch).await;
    assert_eq!((counts.under_way, counts.refused), (7, 25));
    let held = Spending {
        limit: Some(75),
        held: 70,
        captured: 0,
    };
    assert_eq!(spending, held);
    // A job without a batch counts for none.
    bench.accept_as(priced(bench.ann, 100)).await;
    prove(&worker).await;

    for claimed in bench.claim(NodeId::generate(), LEASE).await {
        let most = claimed
            .step
            .quote
            .as_ref()
            .map_or(0, |quote| quote.max_credits());
        if most != 10 {
            continue;
        }
        let sent = intent(&claimed, 1, 10);
        bench
            .done(with_attempt(change(&claimed), sent.clone()))
            .await;
        bench
            .done(with_attempt(change(&claimed), bought(&sent, 4)))
            .await;
    }
    let spending = standing(&bench, &batch).await.spending;
    assert_eq!(spending.limit, Some(75));
    assert!(spending.held + spending.captured <= 75, "{spending:?}");
    prove(&worker).await;

    bench.run("UPDATE spending SET held = held + 1").await;
    let audit = worker.audit_credits().await.expect("audited");
    let told = format!("{}: what counts for the batch's budget", batch.id);
    let mut mismatches = audit.mismatches.iter();
    assert!(
        mismatches.any(|mismatch| mismatch.starts_with(&told)),
        "{audit:?}"
    );
}

pub(crate) async fn no_more_wait_than_may(bench: Bench) {
    let shelf = shelf(&bench, bench.ann).await;
    let new = |films| NewBatch {
        most_waiting: 5,
        ..wanted(bench.ann, shelf, films, None)
    };
    begin(&bench.database, new(3)).await;
    match bench.database.insert_batch(new(3)).await {
        Err(Error::TooManyJobs(TooMany {
            scope: Scope::Waiting,
            limit: 5,
            in_flight: 3,
        })) => {}
        other => panic!("not refused: {other:?}"),
    }
    let listed = bench
        .database
        .for_user(bench.ann)
        .list_batches(bench.ann, None, 10)
        .await;
    assert_eq!(
        listed.expect("read").items.len(),
        1,
        "a refused one leaves nothing"
    );
    begin(&bench.database, new(2)).await;
    for taken in claim(&bench, MANY, LEASE).await {
        bench.accept_as(job(&taken, 0)).await;
    }
    begin(&bench.database, new(5)).await;
}

pub(crate) async fn a_strangers_batch_is_as_good_as_missing(bench: Bench) {
    let batch = begun(&bench, bench.ann, 2).await;
    let quote = StoredQuote {
        request_hash: b"request".to_vec(),
        items: vec![None, None],
        max_credits: 7,
        expires_at: later(),
    };
    let (id, ann) = (BatchQuoteId::generate(), bench.database.for_user(bench.ann));
    ann.insert_batch_quote(bench.ann, id, quote.clone())
        .await
        .expect("kept");
    let found = ann.find_batch_quote(bench.ann, id).await.expect("read");
    assert_eq!(found, Some(quote));
    let bob = bench.database.for_user(bench.bob);
    assert_eq!(
        bob.find_batch_quote(bench.bob, id).await.expect("read"),
        None
    );
    assert_eq!(
        bob.find_batch(bench.bob, batch.id).await.expect("read"),
        None
    );
    let items = bob.batch_items(bench.bob, batch.id, None, 10).await;
    assert!(items.expect("read").items.is_empty());
    let listed = bob.list_batches(bench.bob, None, 10).await;
    assert!(listed.expect("read").items.is_empty());
    let key = batch.id.to_string();
    let by_key = bob.find_batch_by_key(bench.bob, &key).await;
    assert!(by_key.expect("read").is_none());
    let by_key = ann.find_batch_by_key(bench.ann, &key).await;
    assert_eq!(by_key.expect("read").expect("there").0, batch);
    let place = Place {
        batch: batch.id,
        position: 0,
        epoch: 0,
        asked_at: time::now(),
    };
    let mut theirs = priced(bench.bob, 0);
    theirs.place = Some(place);
    is_decided(bench.database.accept_job(theirs).await);
}
