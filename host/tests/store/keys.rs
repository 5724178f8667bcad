//! API keys: who signs in with them, and what their jobs may do.

use std::time::Duration;

use genvid::{
    accounts::keys::{ApiKey, KeyLimits},
    adapters::sql::{Database, Error},
    billing::budget::{Budget, Limit, Period},
    ids::{ApiKeyId, NodeId, UserId},
    jobs::{
        limits::{Scope, TooMany},
        store::{Accepted, NewJob},
    },
    time::{self, Timestamp},
};

use crate::{
    bench::{Bench, LEASE, change, later, with_attempt},
    ledger::{bought, gift, intent, priced, prove},
};

fn key(owner: UserId) -> ApiKey {
    ApiKey {
        id: ApiKeyId::generate(),
        owner,
        name: "Shop".to_owned(),
        hint: "1234".to_owned(),
        scopes: None,
        providers: None,
        in_flight: None,
        budget: None,
        created_at: time::now(),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

fn hash(key: &ApiKey) -> Vec<u8> {
    key.id.uuid().as_bytes().to_vec()
}

/// A key of this user that is kept.
pub(crate) async fn made(bench: &Bench, owner: UserId) -> ApiKey {
    keep(bench, key(owner)).await
}

async fn keep(bench: &Bench, key: ApiKey) -> ApiKey {
    let kept = bench.database.insert_key(key.clone(), hash(&key), 50).await;
    assert!(kept.expect("kept"));
    key
}

async fn limited(bench: &Bench, in_flight: Option<u32>, credits: Option<i64>) -> ApiKey {
    let budget = credits.map(|credits| Budget {
        limit: Limit {
            credits,
            period: Period::Month,
        },
        spent: 0,
        held: 0,
    });
    let new = ApiKey {
        in_flight,
        budget,
        ..key(bench.ann)
    };
    keep(bench, new).await
}

fn wanted(key: &ApiKey, most: i64) -> NewJob {
    let mut new = priced(key.owner, most);
    new.by = Some(key.id);
    new
}

async fn signs_in(database: &Database, key: &ApiKey, at: Timestamp) -> bool {
    let found = database.key_owner(&hash(key), at).await.expect("read");
    if let Some((user, found)) = &found {
        assert_eq!((user.id, found.id), (key.owner, key.id));
    }
    found.is_some()
}

async fn find(bench: &Bench, key: &ApiKey) -> ApiKey {
    let found = bench.database.find_key(key.owner, key.id).await;
    found.expect("read").expect("there")
}

pub(crate) async fn a_key_signs_in_until_it_ends(bench: Bench) {
    let now = time::now();
    let (endless, ending) = (made(&bench, bench.ann).await, key(bench.ann));
    let end = now.after(Duration::from_secs(60));
    let ending = ApiKey {
        expires_at: Some(end),
        ..ending
    };
    let ending = keep(&bench, ending).await;
    let other = bench.another_node().await;
    for key in [&endless, &ending] {
        assert!(signs_in(&other, key, now).await);
    }
    assert!(!signs_in(&other, &ending, end).await);
    // It is its owner's alone.
    let theirs = bench.database.find_key(bench.bob, endless.id).await;
    assert_eq!(theirs.expect("read"), None);
    let listed = bench.database.list_keys(bench.bob, None, 10).await;
    assert!(listed.expect("read").items.is_empty());
    let done = bench.database.revoke_key(bench.bob, endless.id, now).await;
    done.expect("answered");
    let limits = KeyLimits {
        in_flight: Some(1),
        budget: None,
    };
    let done = bench
        .database
        .limit_key(bench.bob, endless.id, limits)
        .await;
    done.expect("answered");
    assert!(signs_in(&other, &endless, now).await);
    assert_eq!(find(&bench, &endless).await, endless);

    bench
        .database
        .use_key(endless.id, now)
        .await
        .expect("written");
    assert_eq!(find(&bench, &endless).await.last_used_at, Some(now));
    for at in [now, later()] {
        let revoked = bench.database.revoke_key(bench.ann, endless.id, at).await;
        revoked.expect("revoked");
        assert_eq!(find(&bench, &endless).await.revoked_at, Some(now), "once");
    }
    assert!(!signs_in(&other, &endless, now).await);
    let listed = bench
        .database
        .list_keys(bench.ann, None, 1)
        .await
        .expect("read");
    assert!(listed.more);
    assert_eq!(listed.items[0].id, ending.id, "newest first");
}

pub(crate) async fn of_many_at_once_so_many_keys_are_kept(bench: Bench) {
    let other = bench.another_node().await;
    let making = (0..16).map(|n| {
        let database = if n % 2 == 0 { &bench.database } else { &other }.clone();
        let new = key(bench.ann);
        tokio::spawn(async move { database.insert_key(new.clone(), hash(&new), 5).await })
    });
    let mut kept = 0;
    for outcome in futures::future::join_all(making).await {
        kept += u32::from(outcome.expect("it ran").expect("answered"));
    }
    assert_eq!(kept, 5);
    let all = bench
        .database
        .list_keys(bench.ann, None, 50)
        .await
        .expect("read");
    assert_eq!(all.items.len(), 5);
    // A revoked one makes room, another user has room of their own.
    let gone = bench
        .database
        .revoke_key(bench.ann, all.items[0].id, time::now())
        .await;
    gone.expect("revoked");
    for owner in [bench.ann, bench.bob] {
        let new = key(owner);
        let kept = bench.database.insert_key(new.clone(), hash(&new), 5).await;
        assert!(kept.expect("answered"));
    }
}

pub(crate) async fn of_many_at_once_none_passes_a_keys_limits(bench: Bench) {
    let worker = bench.database.for_worker();
    worker.grant(gift(bench.ann, 10_000)).await.expect("given");
    let other = bench.another_node().await;
    let few = limited(&bench, Some(7), None).await;
    let cheap = limited(&bench, None, Some(75)).await;
    for key in [&few, &cheap] {
        let accepting = (0..64).map(|n| {
            let database = if n % 2 == 0 { &bench.database } else { &other }.clone();
            let new = wanted(key, 10);
            tokio::spawn(async move { database.accept_job(new).await })
        });
        let mut accepted = 0;
        for outcome in futures::future::join_all(accepting).await {
            match outcome.expect("it ran") {
                Ok((Accepted::Created(_), _)) => accepted += 1,
                Err(Error::TooManyJobs(TooMany {
                    scope: Scope::Key,
                    limit: 7,
                    ..
                })) => assert_eq!(key.id, few.id),
                Err(Error::BudgetExceeded(overrun)) => {
                    assert_eq!(key.id, cheap.id);
                    assert_eq!((overrun.budget.limit.credits, overrun.needed), (75, 10));
                }
                other => panic!("neither accepted nor refused: {other:?}"),
            }
        }
        assert_eq!(accepted, 7);
    }
    // The user, and another key, may go on.
    bench.accept_as(priced(bench.ann, 10)).await;
    let free = made(&bench, bench.ann).await;
    bench.accept_as(wanted(&free, 10)).await;
    prove(&worker).await;

    let mut ended = 0;
    for claimed in bench.claim(NodeId::generate(), LEASE).await {
        let sent = intent(&claimed, 1, 10);
        bench
            .done(with_attempt(change(&claimed), sent.clone()))
            .await;
        bench
            .done(with_attempt(change(&claimed), bought(&sent, 4)))
            .await;
        ended += 1;
    }
    assert_eq!(ended, 16);
    let budget = find(&bench, &cheap).await.budget.expect("a budget");
    assert!(budget.spent + budget.held <= 75, "{budget:?}");
    prove(&worker).await;

    // Lowered, it stops what has not been bought; taken away, it stops nothing.
    let lower = KeyLimits {
        in_flight: None,
        budget: Some(Limit {
            credits: 0,
            period: Period::Total,
        }),
    };
    let set = bench.database.limit_key(bench.ann, cheap.id, lower).await;
    set.expect("set");
    let refused = bench.database.accept_job(wanted(&cheap, 1)).await;
    assert!(
        matches!(refused, Err(Error::BudgetExceeded(_))),
        "{refused:?}"
    );
    bench.accept_as(wanted(&cheap, 0)).await;
    let set = bench
        .database
        .limit_key(bench.ann, cheap.id, KeyLimits::default())
        .await;
    set.expect("set");
    bench.accept_as(wanted(&cheap, 100)).await;
    prove(&worker).await;

    bench.run("UPDATE spending SET held = held + 1").await;
    let audit = worker.audit_credits().await.expect("audited");
    let told = [&cheap, &few, &free].map(|key| {
        let told = format!("{}: what counts for the API key's budget", key.id);
        audit.mismatches.iter().any(|one| one.starts_with(&told))
    });
    // Of one kind only the first few are told.
    assert!(!audit.ok && told.contains(&true), "{audit:?}");
}
