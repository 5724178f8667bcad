//! Webhooks: written down with their event, taken by one node at a time, settled once.

use std::{collections::BTreeSet, time::Duration};

use genvid::{
    dispatch::Outbox as _,
    ids::{EndpointId, UserId},
    jobs::{
        model::{EventType, NewEvent},
        store::Accepted,
    },
    media::Links,
    time,
    vault::Vault,
    webhooks::{
        Answer, Attempt, Change, Courier, DeliveryStatus, DisabledReason, Endpoint, Kind, OVERLAP,
        Parcel, Post, PostError, SealedSecret, Secret, Secrets, Service, Settings, Taken, Verdict,
    },
};
use genvid_media::Signer;

use crate::bench::{Bench, LEASE, change, job, unique};

/// Longer than any test takes.
const DAYS: Duration = Duration::from_secs(5 * 86_400);
const ALL: u32 = 100;

fn endpoint(owner: UserId, events: &[Kind]) -> Endpoint {
    let url = Some("https://example.com/hook".to_owned());
    let mut new = Endpoint::new(owner, url, events.to_vec(), time::now());
    new.secret = sealed(new.id);
    new
}

fn sealed(endpoint: EndpointId) -> SealedSecret {
    let sealed = Secret::generate().seal(&vault(), endpoint);
    sealed.expect("sealed")
}

fn vault() -> Vault {
    Vault::new(&[7; 32], &[])
}

async fn added(bench: &Bench, owner: UserId, events: &[Kind]) -> Endpoint {
    let new = endpoint(owner, events);
    let kept = bench.database.insert_endpoint(new.clone(), 10).await;
    assert!(kept.expect("kept"));
    new
}

fn an_attempt(status: u16) -> Attempt {
    Attempt {
        at: time::now(),
        duration_ms: 12,
        status: Some(status),
        error: None,
        response: "thanks".to_owned(),
    }
}

async fn taken(bench: &Bench, lease: Duration) -> Vec<Taken> {
    let taken = bench.database.claim_deliveries(lease, ALL, ALL).await;
    taken.expect("claimed")
}

async fn settle(bench: &Bench, one: &Taken, status: u16, verdict: Verdict) {
    let settled = bench
        .database
        .settle_delivery(one.clone(), an_attempt(status), verdict, DAYS);
    settled.await.expect("settled");
}

async fn status(bench: &Bench, one: &Taken) -> DeliveryStatus {
    let found = bench
        .database
        .find_delivery(one.endpoint.owner, one.delivery);
    found.await.expect("read").expect("there").status
}

async fn reread(bench: &Bench, endpoint: &Endpoint) -> Endpoint {
    let found = bench.database.find_endpoint(endpoint.owner, endpoint.id);
    found.await.expect("read").expect("there")
}

/// A job of `owner`'s with an address of its own, whose beginning was told to an endpoint.
pub(crate) async fn attempted(bench: &Bench, owner: UserId) {
    let hook = added(bench, owner, &[Kind::JobQueued]).await;
    let mut new = job(owner, &unique());
    new.webhook_url = Some("https://example.com/job".to_owned());
    new.notify = genvid::mail::Address::parse("ann@example.org");
    bench.accept_as(new).await;
    let all = taken(bench, LEASE).await;
    let one = all.iter().find(|one| one.endpoint.id == hook.id);
    settle(bench, one.expect("told"), 200, Verdict::Succeeded).await;
}

pub(crate) async fn a_message_comes_with_its_event(bench: Bench) {
    let hook = added(&bench, bench.ann, &[Kind::JobQueued, Kind::JobFailed]).await;
    added(&bench, bench.ann, &[Kind::JobSucceeded]).await;
    added(&bench, bench.bob, &[Kind::JobQueued]).await;
    let new = job(bench.ann, "once");
    let accepted = bench.accept_as(new.clone()).await;
    // The same request again tells nothing again.
    let (again, _) = bench.database.accept_job(new).await.expect("answered");
    assert!(matches!(again, Accepted::Repeated(_)));
    let all = taken(&bench, LEASE).await;
    let [one] = all.as_slice() else {
        panic!("not one: {all:?}")
    };
    assert_eq!(one.endpoint.id, hook.id);
    assert_eq!(one.url.as_deref(), Some("https://example.com/hook"));
    assert_eq!((one.tries, one.message.kind), (1, Kind::JobQueued));
    assert_eq!(one.message.job, Some(accepted.id));
    let data = &one.message.data;
    assert_eq!(data["jobId"], accepted.id.to_string());
    assert_eq!(data["status"], "QUEUED");
    assert_eq!(data["seq"], 1);
    assert_eq!(one.endpoint.secret, hook.secret);
}

pub(crate) async fn a_jobs_own_address_hears_of_its_end(bench: Bench) {
    let mut new = job(bench.ann, &unique());
    new.webhook_url = Some("https://example.com/mine".to_owned());
    bench.accept_as(new).await;
    bench.accept(bench.ann).await;
    let claimed = bench.claim(genvid::ids::NodeId::generate(), LEASE).await;
    assert_eq!(claimed.len(), 2);
    assert!(taken(&bench, LEASE).await.is_empty(), "nothing has ended");
    for claimed in &claimed {
        let mut write = change(claimed);
        write.events = vec![
            NewEvent::job(EventType::JobStarted),
            NewEvent::job(EventType::JobSucceeded),
        ];
        bench.done(write).await;
    }
    let all = taken(&bench, LEASE).await;
    let [one] = all.as_slice() else {
        panic!("not one: {all:?}")
    };
    assert_eq!(one.url.as_deref(), Some("https://example.com/mine"));
    assert_eq!(one.message.kind, Kind::JobSucceeded);
    // The secret is the one that its owner is shown.
    let other = Endpoint::of_jobs(bench.ann, time::now());
    let shown = bench.database.ensure_job_endpoint(other).await;
    let shown = shown.expect("there");
    assert_eq!(shown.id, one.endpoint.id);
    assert_eq!(shown.secret, one.endpoint.secret);
    // One address that is gone says nothing of the others.
    settle(&bench, one, 410, Verdict::Gone).await;
    assert_eq!(status(&bench, one).await, DeliveryStatus::Exhausted);
    assert_eq!(reread(&bench, &shown).await.disabled, None);
}

pub(crate) async fn a_delivery_belongs_to_one_node_at_a_time(bench: Bench) {
    added(&bench, bench.ann, &[Kind::JobQueued]).await;
    bench.accept(bench.ann).await;
    let first = taken(&bench, Duration::ZERO).await.remove(0);
    let second = taken(&bench, LEASE).await.remove(0);
    assert_eq!(first.delivery, second.delivery);
    assert_eq!(first.message.id, second.message.id);
    assert_eq!((first.tries, second.tries), (1, 2));
    assert!(taken(&bench, LEASE).await.is_empty());
    // Who lost it changes nothing, but what was sent stays to be seen.
    settle(&bench, &first, 500, Verdict::Exhausted).await;
    assert_eq!(status(&bench, &second).await, DeliveryStatus::Pending);
    settle(&bench, &second, 200, Verdict::Succeeded).await;
    assert_eq!(status(&bench, &second).await, DeliveryStatus::Succeeded);
    let ids = [first.delivery];
    let attempts = bench.database.attempts_at(bench.ann, &ids).await;
    let attempts = attempts.expect("read");
    let answers: Vec<_> = attempts.iter().map(|(_, one)| one.status).collect();
    assert_eq!(answers, [Some(500), Some(200)]);
    assert!(taken(&bench, LEASE).await.is_empty());
}

pub(crate) async fn many_nodes_take_each_delivery_once(bench: Bench) {
    added(&bench, bench.ann, &[Kind::JobQueued]).await;
    for _ in 0..40 {
        bench.accept(bench.ann).await;
    }
    let other = bench.another_node().await;
    let claims = (0..8).map(|node| {
        let database = if node % 2 == 0 {
            &bench.database
        } else {
            &other
        };
        database.claim_deliveries(LEASE, 10, ALL)
    });
    let claims = futures::future::try_join_all(claims).await.expect("claims");
    let mut all: Vec<_> = claims.into_iter().flatten().collect();
    // Whoever met a row that another was taking left it; nothing is due twice.
    all.extend(taken(&bench, LEASE).await);
    assert_eq!(all.len(), 40);
    let ids: BTreeSet<_> = all.iter().map(|one| one.delivery).collect();
    assert_eq!(ids.len(), 40);
    assert!(all.iter().all(|one| one.tries == 1));
}

pub(crate) async fn an_endpoint_has_so_many_on_their_way(bench: Bench) {
    let slow = added(&bench, bench.ann, &[Kind::JobQueued]).await;
    for _ in 0..5 {
        bench.accept(bench.ann).await;
    }
    let quick = added(&bench, bench.bob, &[Kind::JobQueued]).await;
    bench.accept(bench.bob).await;
    let claim = || async {
        let claimed = bench.database.claim_deliveries(LEASE, ALL, 2).await;
        claimed.expect("claimed")
    };
    let first = claim().await;
    let of = |all: &[Taken], endpoint: &Endpoint| {
        all.iter()
            .filter(|one| one.endpoint.id == endpoint.id)
            .count()
    };
    assert_eq!((of(&first, &slow), of(&first, &quick)), (2, 1));
    assert!(claim().await.is_empty());
    let done = first.iter().find(|one| one.endpoint.id == slow.id);
    settle(&bench, done.expect("one"), 200, Verdict::Succeeded).await;
    assert_eq!(of(&claim().await, &slow), 1);
}

pub(crate) async fn an_attempt_moves_a_delivery_on(bench: Bench) {
    let hook = added(&bench, bench.ann, &[Kind::JobQueued]).await;
    bench.accept(bench.ann).await;
    let one = taken(&bench, LEASE).await.remove(0);
    settle(&bench, &one, 500, Verdict::Again(Duration::ZERO)).await;
    assert!(reread(&bench, &hook).await.failing_since.is_some());
    let one = taken(&bench, LEASE).await.remove(0);
    assert_eq!(one.tries, 2);
    settle(&bench, &one, 503, Verdict::Again(LEASE)).await;
    assert!(taken(&bench, LEASE).await.is_empty(), "it is not due");
    let page = bench.database.list_deliveries(bench.ann, hook.id, None, 10);
    let page = page.await.expect("read");
    assert_eq!(page.items.len(), 1);
    let due = page.items[0].due_at.expect("it is to be tried");
    assert!(due.since(time::now()) > LEASE / 2);
    // Anew, at once, with all attempts.
    let again = bench.database.redeliver(bench.ann, one.delivery).await;
    assert!(again.expect("begun"));
    let one = taken(&bench, LEASE).await.remove(0);
    assert_eq!(one.tries, 1);
    let busy = bench.database.redeliver(bench.ann, one.delivery).await;
    assert!(!busy.expect("answered"), "it is being made");
    settle(&bench, &one, 200, Verdict::Succeeded).await;
    assert_eq!(reread(&bench, &hook).await.failing_since, None);
    let again = bench.database.redeliver(bench.ann, one.delivery).await;
    assert!(again.expect("begun"), "also what had arrived");
    assert_eq!(status(&bench, &one).await, DeliveryStatus::Pending);
}

pub(crate) async fn an_endpoint_that_only_fails_is_disabled(bench: Bench) {
    let failing = added(&bench, bench.ann, &[Kind::JobQueued]).await;
    let gone = added(&bench, bench.bob, &[Kind::JobQueued]).await;
    for owner in [bench.ann, bench.ann, bench.bob, bench.bob] {
        bench.accept(owner).await;
    }
    let all = taken(&bench, LEASE).await;
    let of = |endpoint: &Endpoint| {
        let mut found = all.iter().filter(|one| one.endpoint.id == endpoint.id);
        let first = found.next().expect("one").clone();
        (first, found.next().expect("two").clone())
    };
    let (first, second) = of(&failing);
    let again = Verdict::Again(Duration::ZERO);
    settle(&bench, &first, 500, again).await;
    assert_eq!(reread(&bench, &failing).await.disabled, None);
    let settled =
        bench
            .database
            .settle_delivery(second.clone(), an_attempt(500), again, Duration::ZERO);
    settled.await.expect("settled");
    let disabled = reread(&bench, &failing).await.disabled;
    assert_eq!(disabled.map(|(_, why)| why), Some(DisabledReason::Failing));
    for one in [&first, &second] {
        assert_eq!(status(&bench, one).await, DeliveryStatus::Canceled);
    }

    let (first, second) = of(&gone);
    settle(&bench, &first, 410, Verdict::Gone).await;
    let disabled = reread(&bench, &gone).await.disabled;
    assert_eq!(disabled.map(|(_, why)| why), Some(DisabledReason::Gone));
    // What was on its way meanwhile is tried no more; what arrived has arrived.
    settle(&bench, &second, 500, again).await;
    assert_eq!(status(&bench, &second).await, DeliveryStatus::Canceled);
    bench.accept(bench.bob).await;
    assert!(taken(&bench, LEASE).await.is_empty());

    // Its owner takes it back.
    let service = Service::new(bench.database.clone(), vault(), Settings::default().into());
    let enable = Change {
        enabled: Some(true),
        ..Change::default()
    };
    let back = service.update(bench.bob, gone.id, enable).await;
    assert_eq!(back.expect("changed").disabled, None);
    bench.accept(bench.bob).await;
    assert_eq!(taken(&bench, LEASE).await.len(), 1);
}

pub(crate) async fn what_is_deleted_is_sent_nothing(bench: Bench) {
    let hook = added(&bench, bench.ann, &[Kind::JobQueued]).await;
    bench.accept(bench.ann).await;
    bench.accept(bench.ann).await;
    let one = bench.database.claim_deliveries(LEASE, 1, ALL).await;
    let one = one.expect("claimed").remove(0);
    let deleted = bench.database.delete_endpoint(bench.ann, hook.id).await;
    assert!(deleted.expect("deleted"));
    let again = bench.database.delete_endpoint(bench.ann, hook.id).await;
    assert!(!again.expect("answered"));
    assert!(taken(&bench, LEASE).await.is_empty());
    settle(&bench, &one, 500, Verdict::Again(Duration::ZERO)).await;
    assert!(taken(&bench, LEASE).await.is_empty());
    let again = bench.database.redeliver(bench.ann, one.delivery).await;
    assert!(!again.expect("answered"));
    bench.accept(bench.ann).await;
    assert!(taken(&bench, LEASE).await.is_empty());
    let found = bench.database.find_endpoint(bench.ann, hook.id).await;
    assert!(found.expect("read").is_none());
}

pub(crate) async fn a_secret_changes_with_an_overlap(bench: Bench) {
    let hook = added(&bench, bench.ann, &[Kind::JobQueued]).await;
    let secret = sealed(hook.id);
    let rotated = bench
        .database
        .rotate_secret(bench.ann, hook.id, secret.clone());
    let rotated = rotated.await.expect("written").expect("there");
    assert_eq!(rotated.secret, secret);
    let (previous, until) = rotated.previous.expect("the one before");
    assert_eq!(previous, hook.secret);
    let left = until.since(time::now());
    assert!(
        left > OVERLAP - LEASE && left <= OVERLAP + LEASE,
        "{left:?}"
    );
}

/// The key changes, and versions before have sealed nothing.
pub(crate) async fn secrets_are_sealed_anew(bench: Bench) {
    let hook = added(&bench, bench.ann, &[Kind::JobQueued]).await;
    let turned = sealed(hook.id);
    let rotated = (bench.database).rotate_secret(bench.ann, hook.id, turned.clone());
    rotated.await.expect("written").expect("there");
    let mut old = endpoint(bench.bob, &[Kind::JobQueued]);
    let plain = Secret::generate();
    old.secret = SealedSecret::from_stored(plain.expose().to_owned());
    let kept = bench.database.insert_endpoint(old.clone(), 10).await;
    assert!(kept.expect("kept"));
    let none = Endpoint::of_jobs(bench.bob, time::now());
    let none = bench.database.ensure_job_endpoint(none).await;
    let none = none.expect("there");

    // By many at once, the secret of before with the one of now.
    let next = Vault::new(&[8; 32], &[[7; 32]]);
    let alone = Vault::new(&[8; 32], &[]);
    let secrets = Secrets::new(bench.database.for_worker(), next);
    let all = (0..8).map(|_| secrets.reseal());
    let done = futures::future::try_join_all(all).await.expect("sealed");
    assert_eq!(done.iter().map(|done| done.changed).sum::<u64>(), 2);
    assert!(done.iter().all(|done| done.unreadable.is_empty()));
    let after = reread(&bench, &hook).await;
    let (previous, _) = after.previous.expect("the one before");
    for (new, old) in [(after.secret, turned), (previous, hook.secret)] {
        let new = new.open(&alone, hook.id).expect("opened");
        let old = old.open(&vault(), hook.id).expect("opened");
        assert_eq!(new.expose(), old.expose());
    }
    let now = reread(&bench, &old).await.secret;
    assert!(!now.stored().contains(plain.expose()));
    let opened = now.open(&alone, old.id).expect("opened");
    assert_eq!(opened.expose(), plain.expose());
    assert!(reread(&bench, &none).await.secret.is_missing());

    // One that is lost keeps none of the others under the old key.
    let lost = added(&bench, bench.ann, &[Kind::JobQueued]).await;
    let last = Vault::new(&[9; 32], &[[8; 32]]);
    let secrets = Secrets::new(bench.database.for_worker(), last);
    let done = secrets.reseal().await.expect("sealed");
    assert_eq!(done.changed, 2);
    let [error] = done.unreadable.as_slice() else {
        panic!("not one: {:?}", done.unreadable)
    };
    let error = error.to_string();
    assert!(error.contains(&lost.id.to_string()), "{error}");
    assert!(error.contains("encryption.previous_keys"), "{error}");
}

/// Receivers that answer everything.
struct Receivers(std::sync::Mutex<Vec<Parcel>>);

#[async_trait::async_trait]
impl Post for Receivers {
    async fn post(&self, parcel: Parcel) -> Result<Answer, PostError> {
        self.0.lock().expect("a list").push(parcel);
        Ok(Answer {
            status: 200,
            retry_after: None,
            excerpt: String::new(),
        })
    }
}

/// A node with another key sends nothing, and nobody pays for it: not the endpoint, not the round.
pub(crate) async fn what_cannot_be_signed_waits(bench: Bench) {
    let hook = added(&bench, bench.ann, &[Kind::JobQueued]).await;
    bench.accept(bench.ann).await;
    let post = std::sync::Arc::new(Receivers(std::sync::Mutex::default()));
    let signer = Signer::new(&[1; 32]).expect("a signer");
    let links = Links::new(signer, "http://127.0.0.1:1", LEASE);
    let settings = Settings {
        disable_after: Duration::ZERO,
        ..Settings::default()
    };
    let settings = std::sync::Arc::new(settings);
    let courier = |vault| Courier {
        database: bench.database.for_worker(),
        secrets: Secrets::new(bench.database.for_worker(), vault),
        post: std::sync::Arc::clone(&post) as _,
        links: links.clone(),
        settings: std::sync::Arc::clone(&settings),
    };
    let one = taken(&bench, LEASE).await.remove(0);
    let other = courier(Vault::new(&[8; 32], &[]));
    other.attempt(one.clone()).await.expect("written down");
    assert_eq!(post.0.lock().expect("a list").len(), 0);
    assert_eq!(status(&bench, &one).await, DeliveryStatus::Pending);
    let seen = reread(&bench, &hook).await;
    assert_eq!((seen.failing_since, seen.disabled), (None, None));
    let attempts = bench.database.attempts_at(bench.ann, &[one.delivery]).await;
    let (_, attempt) = attempts.expect("read").remove(0);
    let said = attempt.error.expect("a reason");
    assert!(said.contains("ask the operator"), "{said}");
    assert!(taken(&bench, LEASE).await.is_empty(), "it waits");

    let again = bench.database.redeliver(bench.ann, one.delivery).await;
    assert!(again.expect("answered"));
    let two = taken(&bench, LEASE).await.remove(0);
    assert_eq!(two.tries, 1);
    courier(vault()).attempt(two).await.expect("sent");
    assert_eq!(status(&bench, &one).await, DeliveryStatus::Succeeded);
    assert_eq!(post.0.lock().expect("a list").len(), 1);
}

/// The endpoint of jobs has no secret until somebody needs it, and then the same for everybody.
pub(crate) async fn a_missing_secret_is_made_once(bench: Bench) {
    let service = Service::new(
        bench.database.clone(),
        vault(),
        std::sync::Arc::new(Settings::default()),
    );
    let asked = (0..16).map(|_| service.of_jobs(bench.ann));
    let shown = futures::future::try_join_all(asked).await.expect("secrets");
    let (first, secret) = &shown[0];
    for (endpoint, other) in &shown {
        assert_eq!(endpoint.id, first.id);
        assert_eq!(other.expose(), secret.expose());
    }
    let kept = reread(&bench, first).await.secret;
    let kept = kept.open(&vault(), first.id).expect("opened");
    assert_eq!(kept.expose(), secret.expose());
    // A rotation before anybody needed it leaves none that signs too.
    let of_bob = Endpoint::of_jobs(bench.bob, time::now());
    let of_bob = bench.database.ensure_job_endpoint(of_bob).await;
    let of_bob = of_bob.expect("there");
    let (rotated, _) = service.rotate(bench.bob, of_bob.id).await.expect("rotated");
    assert!(rotated.previous.is_none());
}

pub(crate) async fn of_many_at_once_so_many_endpoints_are_kept(bench: Bench) {
    let tries = (0..20).map(|_| {
        let new = endpoint(bench.ann, &[Kind::JobFailed]);
        bench.database.insert_endpoint(new, 3)
    });
    let kept = futures::future::try_join_all(tries).await.expect("answers");
    assert_eq!(kept.into_iter().filter(|kept| *kept).count(), 3);
    // The one of jobs does not count.
    let of_jobs = Endpoint::of_jobs(bench.bob, time::now());
    let ensured = bench.database.ensure_job_endpoint(of_jobs).await;
    ensured.expect("there");
    let first = endpoint(bench.bob, &[Kind::JobFailed]);
    assert!(
        bench
            .database
            .insert_endpoint(first, 1)
            .await
            .expect("kept")
    );
}

pub(crate) async fn a_strangers_endpoint_is_as_good_as_missing(bench: Bench) {
    let hook = added(&bench, bench.ann, &[Kind::JobQueued]).await;
    bench.accept(bench.ann).await;
    let one = taken(&bench, LEASE).await.remove(0);
    settle(&bench, &one, 500, Verdict::Exhausted).await;
    let (database, bob) = (&bench.database, bench.bob);
    let found = database.find_endpoint(bob, hook.id).await.expect("read");
    assert!(found.is_none());
    let page = database.list_endpoints(bob, None, 10).await.expect("read");
    assert!(page.items.is_empty());
    let page = database.list_deliveries(bob, hook.id, None, 10).await;
    assert!(page.expect("read").items.is_empty());
    let attempts = database.attempts_at(bob, &[one.delivery]).await;
    assert!(attempts.expect("read").is_empty());
    assert!(
        !database
            .redeliver(bob, one.delivery)
            .await
            .expect("answered")
    );
    assert!(
        !database
            .delete_endpoint(bob, hook.id)
            .await
            .expect("answered")
    );
    let rotated = database.rotate_secret(bob, hook.id, sealed(hook.id)).await;
    assert!(rotated.expect("answered").is_none());
    let mut taken_over = hook.clone();
    taken_over.owner = bob;
    let changed = database.change_endpoint(taken_over, Some(false)).await;
    assert!(changed.expect("answered").is_none());
    assert_eq!(reread(&bench, &hook).await.secret, hook.secret);
}
