//! Migrations of the server: by any number of nodes at once, by the owner alone.

use genvid::adapters::sql::{Database, OpenError, PostgresOptions, migrate_postgres};

use crate::{
    backend,
    bench::{Bench, options},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_nodes_may_start_at_once() {
    let server = backend::server();
    let place = server.database().expect("a database");
    let starts = (0..4).map(|_| {
        let options = options(&place);
        tokio::spawn(async move { Database::connect(&options).await })
    });
    for started in futures::future::join_all(starts).await {
        let database = started.expect("it ran").expect("it starts");
        database.ping().await.expect("it answers");
    }
    let applied = server
        .sql(
            &place.name,
            "SELECT count(*), count(DISTINCT version) FROM _sqlx_migrations",
        )
        .expect("read");
    let files = std::fs::read_dir("../migrations/postgres").expect("the migrations");
    let count = files.count();
    assert_eq!(applied.trim(), format!("{count}|{count}"));
}

#[tokio::test]
async fn without_leave_to_migrate_a_start_says_what_to_do() {
    let server = backend::server();
    let place = server.database().expect("a database");
    let not_asked = PostgresOptions {
        migrate: false,
        ..options(&place)
    };
    let refused = Database::connect(&not_asked).await.err().expect("refused");
    assert!(refused.to_string().contains("genvid migrate"), "{refused}");
    migrate_postgres(&options(&place)).await.expect("migrated");
    // A second time there is nothing to do.
    migrate_postgres(&options(&place)).await.expect("migrated");
    Database::connect(&not_asked).await.expect("it starts");
    // Once migrated, a start needs no owner.
    let no_owner = PostgresOptions {
        owner_url: place.url.as_str().into(),
        ..options(&place)
    };
    Database::connect(&no_owner).await.expect("it starts");
}

#[tokio::test]
async fn one_url_with_every_right_is_enough() {
    let server = backend::server();
    let place = server.database().expect("a database");
    let one = PostgresOptions {
        url: place.super_url.as_str().into(),
        owner_url: place.super_url.as_str().into(),
        ..options(&place)
    };
    let database = Database::connect(&one).await.expect("it starts");
    let who = server.sql(
        &place.name,
        "SELECT tableowner, rowsecurity FROM pg_tables WHERE tablename = 'jobs'",
    );
    assert_eq!(who.expect("read").trim(), "postgres|t");
    database.ping().await.expect("it answers");
}

/// Statements never run as somebody for whom row-level security does not hold.
#[tokio::test]
async fn a_role_that_sees_everything_is_refused() {
    let bench = Bench::postgres().await;
    let (_, place) = bench.server();
    for (url, why) in [
        (&place.super_url, "is a superuser"),
        (&place.owner_url, "owns the tables"),
    ] {
        let itself = PostgresOptions {
            url: url.as_str().into(),
            role: String::new(),
            ..options(place)
        };
        let refused = Database::connect(&itself).await.err().expect("refused");
        assert!(matches!(refused, OpenError::Unfit { .. }), "{refused:?}");
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[tokio::test]
async fn a_table_without_row_level_security_is_noticed() {
    let bench = Bench::postgres().await;
    let (server, place) = bench.server();
    server
        .sql(&place.name, "ALTER TABLE jobs NO FORCE ROW LEVEL SECURITY")
        .expect("changed");
    let refused = Database::connect(&options(place))
        .await
        .err()
        .expect("refused");
    assert!(
        refused
            .to_string()
            .contains("row-level security is off on jobs"),
        "{refused}"
    );
}

/// During an upgrade the old version starts beside tables of the new one.
#[tokio::test]
async fn tables_of_a_newer_version_do_not_stop_an_older_one() {
    let bench = Bench::postgres().await;
    let (server, place) = bench.server();
    server
        .sql(
            &place.name,
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'of the future', TRUE, '\\x00', 0)",
        )
        .expect("written");
    Database::connect(&options(place)).await.expect("it starts");
    migrate_postgres(&options(place))
        .await
        .expect("nothing to do");
}

#[tokio::test]
async fn messages_never_show_a_password() {
    let nowhere = PostgresOptions {
        url: "postgres://ann:s3cret@127.0.0.1:1/genvid".into(),
        owner_url: "postgres://ann:s3cret@127.0.0.1:1/genvid".into(),
        role: String::new(),
        max_connections: 2,
        migrate: true,
    };
    let refused = Database::connect(&nowhere)
        .await
        .err()
        .expect("nobody is there");
    let told = format!("{refused} {refused:?} {nowhere:?}");
    assert!(told.contains("127.0.0.1:1"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
}
