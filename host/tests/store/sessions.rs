//! Sessions and links: each token once, however many come with it.

use std::time::Duration;

use genvid::{
    accounts::{
        Role, User,
        links::{Followed, Link, LinkPurpose},
        sessions::{EndReason, Presented, Rotation, Session},
    },
    billing::Booked,
    ids::{SessionId, UserId},
    mail::{Address, Language, NewMail, Receipt},
    time::{self, Timestamp},
};

use crate::{
    bench::{Bench, later},
    ledger::gift,
};

/// A session of this user with its first token, and a link that is on its way.
pub(crate) async fn made(bench: &Bench, owner: UserId) -> (Session, Vec<u8>) {
    let now = time::now();
    let session = Session {
        id: SessionId::generate(),
        user: owner,
        address: "192.0.2.1".to_owned(),
        agent: "test".to_owned(),
        created_at: now,
        last_used_at: now,
        expires_at: later(),
    };
    let token = session.id.uuid().as_bytes().to_vec();
    let opened = (bench.database).open_session(session.clone(), token.clone(), later());
    opened.await.expect("kept");
    let (mail, link) = mail(owner, "new@example.com", LinkPurpose::Verify);
    let sent = bench.database.send_link(mail, Some(link));
    sent.await.expect("kept");
    (session, token)
}

fn mail(user: UserId, address: &str, purpose: LinkPurpose) -> (NewMail, Link) {
    let id = SessionId::generate();
    let to = Address::parse(address).expect("an address");
    let url = "https://genvid.test/".to_owned();
    let mail = NewMail::verification(user, to, Language::English, url, 5, &id.to_string());
    let link = Link {
        hash: id.uuid().as_bytes().to_vec(),
        user,
        purpose,
        address: address.to_owned(),
        created_at: time::now(),
        expires_at: later(),
    };
    (mail, link)
}

fn presented(token: &[u8], salt: u8, arrived: Timestamp) -> Presented {
    Presented {
        hash: token.to_vec(),
        successor: [token, &[salt]].concat(),
        salt: vec![salt],
        attempt: None,
        same: Duration::from_secs(10),
        arrived,
        idle: later(),
        address: "192.0.2.2".to_owned(),
        agent: "test".to_owned(),
    }
}

/// Many who were under way when the first one was answered get one successor; who comes afterwards
/// closes the session.
pub(crate) async fn a_refresh_token_is_used_once(bench: Bench) {
    let (session, token) = made(&bench, bench.ann).await;
    let arrived = time::now();
    let tries = (0..16).map(|salt| {
        let (database, token) = (bench.database.clone(), token.clone());
        tokio::spawn(async move {
            let outcome = database
                .rotate(presented(&token, salt, arrived), true)
                .await;
            (salt, outcome.expect("an answer"))
        })
    });
    let mut rotated = Vec::new();
    let mut same = Vec::new();
    for tried in tries.collect::<Vec<_>>() {
        match tried.await.expect("an answer") {
            (salt, Rotation::Rotated(_)) => rotated.push(salt),
            (_, Rotation::Same(_, salt)) => same.extend(salt),
            (_, other) => panic!("{other:?}"),
        }
    }
    assert_eq!(rotated.len(), 1, "one of them uses it");
    assert_eq!(same, vec![rotated[0]; 15], "the others get its successor");

    let next = [&*token, &rotated].concat();
    let found = bench
        .database
        .session_user(session.id, bench.ann, time::now());
    assert!(found.await.expect("read").is_some());
    let strange = bench
        .database
        .session_user(session.id, bench.bob, time::now());
    assert!(strange.await.expect("read").is_none());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let stolen = presented(&token, 99, time::now());
    let outcome = bench
        .database
        .rotate(stolen, true)
        .await
        .expect("an answer");
    assert_eq!(outcome, Rotation::Reused(bench.ann, session.id));
    for token in [&next, &token] {
        let late = presented(token, 98, time::now());
        let outcome = bench.database.rotate(late, true).await.expect("an answer");
        assert_eq!(outcome, Rotation::Unknown);
    }
    let found = bench
        .database
        .session_user(session.id, bench.ann, time::now());
    assert!(found.await.expect("read").is_none());
    let found = bench
        .database
        .list_sessions(bench.ann, None, 10, time::now());
    assert!(found.await.expect("read").items.is_empty());
}

/// The same attempt gets the same answer, until the time for that is over.
pub(crate) async fn an_attempt_is_repeated_for_a_while(bench: Bench) {
    let (session, token) = made(&bench, bench.ann).await;
    let attempt = |salt, name: &str| Presented {
        attempt: Some(name.to_owned()),
        ..presented(&token, salt, Timestamp::from_millis(i64::MAX / 2))
    };
    let first = bench.database.rotate(attempt(1, "a"), true).await;
    assert!(matches!(first, Ok(Rotation::Rotated(_))), "{first:?}");
    let again = bench.database.rotate(attempt(2, "a"), true).await;
    let again = again.expect("an answer");
    assert!(
        matches!(&again, Rotation::Same(_, salt) if salt == &[1]),
        "{again:?}"
    );
    let late = Presented {
        same: Duration::ZERO,
        ..attempt(3, "a")
    };
    tokio::time::sleep(Duration::from_millis(5)).await;
    let late = bench.database.rotate(late, false).await.expect("an answer");
    assert_eq!(late, Rotation::Reused(bench.ann, session.id));
}

/// A session ends once, and only its owner ends it.
pub(crate) async fn sessions_are_closed(bench: Bench) {
    let (first, _) = made(&bench, bench.ann).await;
    let (_, token) = made(&bench, bench.ann).await;
    let end = async |owner, only| {
        let ended = bench.database.end_sessions(owner, only, EndReason::Revoked);
        ended.await.expect("ended")
    };
    assert_eq!(end(bench.bob, Some(first.id)).await, 0);
    assert_eq!(end(bench.ann, Some(first.id)).await, 1);
    assert_eq!(end(bench.ann, Some(first.id)).await, 0);
    assert_eq!(end(bench.bob, None).await, 0);
    let kept = bench
        .database
        .rotate(presented(&token, 1, time::now()), true)
        .await;
    assert!(matches!(kept, Ok(Rotation::Rotated(_))), "{kept:?}");
    assert_eq!(end(bench.ann, None).await, 1);
}

fn newcomer(email: &str) -> User {
    User {
        id: UserId::generate(),
        email: email.to_owned(),
        verified_at: None,
        name: "New".to_owned(),
        role: Role::User,
        created_at: time::now(),
    }
}

/// Of many who register with one address, one has it: whoever shows it first.
pub(crate) async fn an_address_is_of_who_shows_it(bench: Bench) {
    let email = "lena@example.com";
    let database = &bench.database;
    let news: Vec<User> = (0..8).map(|_| newcomer(email)).collect();
    let registered = news.iter().map(|new| {
        let (mail, link) = mail(new.id, email, LinkPurpose::Verify);
        let hash = link.hash.clone();
        let kept = database.register(
            new.clone(),
            "$argon2id$none".to_owned(),
            Language::English,
            Some(mail),
            Some(link),
        );
        async move {
            kept.await.expect("kept");
            hash
        }
    });
    let hashes = futures::future::join_all(registered).await;
    let known = database.credentials(email).await.expect("read");
    assert_eq!(known.len(), 2, "whose it is, and the last who claims it");
    let followed = hashes.iter().map(|hash| {
        let (database, hash) = (database.clone(), hash.clone());
        tokio::spawn(async move {
            let done = database.follow_verification(hash, time::now(), None);
            done.await.expect("an answer")
        })
    });
    let mut winners = Vec::new();
    for outcome in followed.collect::<Vec<_>>() {
        match outcome.await.expect("an answer") {
            Followed::Done(user) => winners.push(user),
            Followed::Taken => {}
            Followed::Gone => panic!("each link is good once"),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    let holder = database.verified_holder(email).await.expect("read");
    assert_eq!(holder.map(|user| user.id), Some(winners[0].id));
    for hash in hashes {
        let again = database.follow_verification(hash, time::now(), None);
        assert_eq!(again.await.expect("an answer"), Followed::Gone);
    }

    // A link to a new password: the last one that was sent, once, for the address of then.
    let (first, old) = mail(winners[0].id, email, LinkPurpose::Reset);
    let (second, new) = mail(winners[0].id, email, LinkPurpose::Reset);
    let (old_hash, new_hash) = (old.hash.clone(), new.hash.clone());
    database.send_link(first, Some(old)).await.expect("kept");
    database.send_link(second, Some(new)).await.expect("kept");
    for (hash, good) in [
        (old_hash, false),
        (new_hash.clone(), true),
        (new_hash, false),
    ] {
        assert_eq!(
            database
                .reset_of(&hash, time::now())
                .await
                .expect("read")
                .is_some(),
            good
        );
        let done = database.follow_reset(hash, time::now(), "hash".to_owned(), None);
        let done = done.await.expect("an answer");
        assert_eq!(matches!(done, Followed::Done(_)), good, "{done:?}");
    }
    assert_eq!(
        database
            .password_of(winners[0].id)
            .await
            .expect("read")
            .as_deref(),
        Some("hash")
    );
}

/// Nothing says whose a deleted account was, and nothing of it signs in.
pub(crate) async fn a_deleted_account_is_nobodys(bench: Bench) {
    let database = &bench.database;
    let (session, token) = made(&bench, bench.ann).await;
    let ann = database
        .find_user(bench.ann)
        .await
        .expect("read")
        .expect("Ann");
    let hash = b"token".to_vec();
    let kept = database.add_token(bench.ann, hash.clone(), "test".to_owned(), time::now());
    kept.await.expect("kept");
    assert!(
        database
            .delete_user(bench.ann, None)
            .await
            .expect("deleted")
    );
    // What is paid late, or has to be corrected, is still theirs; their name is not.
    let left = database.find_user(bench.ann).await.expect("read");
    let left = left.expect("the row stays");
    assert_eq!(left.name, "Deleted user");
    assert!(left.email.starts_with("deleted:"), "{}", left.email);
    let late = gift(bench.ann, 5);
    assert_eq!(database.grant(late).await.expect("given"), Booked::Done);
    let receipt = Receipt {
        user: bench.ann,
        credits: 5,
        amount_minor: 5,
        currency: "usd".to_owned(),
        invoice_url: None,
        key: "late".to_owned(),
    };
    assert!(
        !database.write_mail(receipt).await.expect("asked"),
        "nobody is left to write to"
    );
    assert_eq!(
        database.find_user_by_email(&ann.email).await.expect("read"),
        None
    );
    assert_eq!(
        database
            .token_owner(&hash, time::now())
            .await
            .expect("read"),
        None
    );
    let found = database.session_user(session.id, bench.ann, time::now());
    assert_eq!(found.await.expect("read"), None);
    let late = database
        .rotate(presented(&token, 1, time::now()), true)
        .await;
    assert_eq!(late.expect("an answer"), Rotation::Unknown);
    let new = newcomer(&ann.email);
    let id = new.id;
    let kept = database.register(new, "hash".to_owned(), Language::English, None, None);
    kept.await.expect("kept");
    let holder = database.find_user_by_email(&ann.email).await.expect("read");
    assert_eq!(holder.map(|user| user.id), Some(id));
    assert!(database.find_user(bench.bob).await.expect("read").is_some());
}
