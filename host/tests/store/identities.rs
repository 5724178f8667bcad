//! People whom another provider vouches for: one account each, however many come at a time.

use genvid::{
    accounts::{
        Role, User,
        google::{Newcomer, Welcome},
    },
    ids::UserId,
    mail::Language,
    time,
};

use crate::bench::{Bench, unique};

fn newcomer(subject: &str, email: &str) -> Newcomer {
    let now = time::now();
    Newcomer {
        issuer: "https://id.example".to_owned(),
        subject: subject.to_owned(),
        authoritative: false,
        user: User {
            id: UserId::generate(),
            email: email.to_owned(),
            verified_at: Some(now),
            name: "Ida".to_owned(),
            role: Role::User,
            created_at: now,
        },
        language: Language::English,
        open: true,
        mail: true,
    }
}

fn user(welcome: &Welcome) -> UserId {
    match welcome {
        Welcome::Known(user) | Welcome::Linked(user) | Welcome::New(user) => user.id,
        Welcome::Closed | Welcome::Taken => panic!("{welcome:?}"),
    }
}

pub(crate) async fn one_account_for_many_who_come_at_once(bench: Bench) {
    let (subject, email) = (unique(), format!("{}@example.com", unique()));
    let tries = (0..16).map(|_| {
        let database = bench.database.clone();
        let newcomer = newcomer(&subject, &email);
        tokio::spawn(async move { database.welcome(newcomer).await.expect("welcome") })
    });
    let all = futures::future::join_all(tries).await;
    let all: Vec<Welcome> = all.into_iter().map(|one| one.expect("it ran")).collect();
    let new = all.iter().filter(|one| matches!(one, Welcome::New(_)));
    assert_eq!(new.count(), 1);
    assert!(all.iter().all(|one| user(one) == user(&all[0])), "{all:?}");
    let found = bench.database.find_user(user(&all[0])).await;
    let found = found.expect("read").expect("somebody");
    assert_eq!(found.email, email);
    assert!(found.verified_at.is_some());

    // Different people with one address: one of them has it.
    let email = format!("{}@example.com", unique());
    let tries = (0..8).map(|_| {
        let database = bench.database.clone();
        let newcomer = newcomer(&unique(), &email);
        tokio::spawn(async move { database.welcome(newcomer).await.expect("welcome") })
    });
    let all = futures::future::join_all(tries).await;
    let all: Vec<Welcome> = all.into_iter().map(|one| one.expect("it ran")).collect();
    let count = |wanted: fn(&Welcome) -> bool| all.iter().filter(|one| wanted(one)).count();
    assert_eq!(count(|one| matches!(one, Welcome::New(_))), 1, "{all:?}");
    assert_eq!(count(|one| *one == Welcome::Taken), 7, "{all:?}");
}

pub(crate) async fn who_vouches_opens_what_was_shown_and_nothing_else(bench: Bench) {
    let database = &bench.database;
    // Somebody claims the address, and never shows that it is theirs.
    let email = format!("{}@example.com", unique());
    let claims = User {
        verified_at: None,
        ..newcomer("", &email).user
    };
    let claims = database.ensure_user(claims).await.expect("a user");
    let subject = unique();
    let welcome = database.welcome(newcomer(&subject, &email)).await;
    let welcome = welcome.expect("welcome");
    assert!(
        matches!(&welcome, Welcome::New(new) if new.id != claims.id),
        "{welcome:?}"
    );
    let claims = database
        .find_user(claims.id)
        .await
        .expect("read")
        .expect("somebody");
    assert_eq!(
        (claims.email.as_str(), claims.verified_at),
        (email.as_str(), None)
    );
    let again = database
        .welcome(newcomer(&subject, "else@example.com"))
        .await;
    assert!(matches!(again.expect("welcome"), Welcome::Known(known) if known.id == user(&welcome)));

    // Somebody has shown it: theirs, and told once.
    let email = format!("{}@example.com", unique());
    let has = database
        .ensure_user(newcomer("", &email).user)
        .await
        .expect("a user");
    let linked = database
        .welcome(newcomer(&unique(), &email))
        .await
        .expect("welcome");
    assert!(
        matches!(&linked, Welcome::Linked(linked) if linked.id == has.id),
        "{linked:?}"
    );
    let other = database
        .welcome(newcomer(&unique(), &email))
        .await
        .expect("welcome");
    assert_eq!(other, Welcome::Taken);
    assert!(database.has_identity(has.id).await.expect("read"));
    assert!(!database.has_identity(claims.id).await.expect("read"));

    // Nobody registers where nobody may.
    let mut closed = newcomer(&unique(), &format!("{}@example.com", unique()));
    closed.open = false;
    assert_eq!(
        database.welcome(closed).await.expect("welcome"),
        Welcome::Closed
    );

    // Gone: the person is nobody's any more, and what spoke for the account speaks no more.
    let present = database.find_present_user(user(&welcome)).await;
    assert!(present.expect("read").is_some());
    assert!(
        database
            .delete_user(user(&welcome), None)
            .await
            .expect("deleted")
    );
    let present = database.find_present_user(user(&welcome)).await;
    assert_eq!(present.expect("read"), None);
    let anew = database
        .welcome(newcomer(&subject, "anew@example.com"))
        .await;
    assert!(matches!(anew.expect("welcome"), Welcome::New(_)));
}
