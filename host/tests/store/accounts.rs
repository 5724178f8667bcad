//! Users, tokens, and facts of the installation.

use genvid::{
    accounts::{Role, User},
    ids::UserId,
    time,
};

use crate::bench::Bench;

pub(crate) async fn an_address_is_one_user(bench: Bench) {
    let tries = (0..8).map(|_| {
        let database = bench.database.clone();
        tokio::spawn(async move {
            let new = User {
                id: UserId::generate(),
                email: "carol@example.com".to_owned(),
                verified_at: None,
                name: "Carol".to_owned(),
                role: Role::Partner,
                created_at: time::now(),
            };
            database.ensure_user(new).await.expect("a user")
        })
    });
    let users: Vec<User> = futures::future::join_all(tries)
        .await
        .into_iter()
        .map(|user| user.expect("it ran"))
        .collect();
    assert!(users.iter().all(|user| *user == users[0]));
    assert_eq!(users[0].role, Role::Partner);
    let found = bench.database.find_user(users[0].id).await.expect("read");
    assert_eq!(found.as_ref(), Some(&users[0]));
    let nobody = bench.database.find_user(UserId::generate()).await;
    assert_eq!(nobody.expect("read"), None);
}

pub(crate) async fn a_token_leads_to_its_owner(bench: Bench) {
    let hash = vec![7; 32];
    for _ in 0..2 {
        bench
            .database
            .add_token(bench.ann, hash.clone(), "test".to_owned(), time::now())
            .await
            .expect("kept");
    }
    let found = bench.database.token_owner(&hash, time::now()).await;
    assert_eq!(found.expect("read").map(|user| user.id), Some(bench.ann));
    let unknown = bench.database.token_owner(&[8; 32], time::now()).await;
    assert_eq!(unknown.expect("read"), None);
}

pub(crate) async fn a_fact_of_the_installation_is_settled_once(bench: Bench) {
    let other = bench.another_node().await;
    let (one, two) = tokio::join!(
        bench.database.installation_fact("key", vec![1]),
        other.installation_fact("key", vec![2]),
    );
    let (one, two) = (one.expect("answered"), two.expect("answered"));
    assert_eq!(one, two);
    let again = bench.database.installation_fact("key", vec![3]).await;
    assert_eq!(again.expect("answered"), one);
}
