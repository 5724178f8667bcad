//! Migrations, and what a start finds: by any number of nodes at once, by the owner alone.

use genvid::{
    adapters::sql::{Database, OpenError, PostgresOptions, migrate_postgres},
    ids::{NodeId, UserId},
    jobs::store::{Accepted, OwnerDecision, Rota},
};
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use crate::{
    backend,
    bench::{Bench, LEASE, a_user, change, job, options, told},
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

/// Roles belong to the server: who comes second finds them made and given in the meantime.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_of_one_server_may_start_at_once() {
    let server = backend::server();
    let places: Vec<_> = (0..6)
        .map(|_| server.database().expect("a database"))
        .collect();
    // With their tables made, all of them come to the roles at the same moment.
    for place in &places {
        migrate_postgres(&options(place)).await.expect("migrated");
    }
    for round in 0..10 {
        let role = format!("{}_app_{round}", places[0].name);
        let worker_role = format!("{}_worker_{round}", places[0].name);
        let starts = places.iter().map(|place| {
            let options = PostgresOptions {
                role: role.clone(),
                worker_role: worker_role.clone(),
                ..options(place)
            };
            tokio::spawn(async move { Database::connect(&options).await.map(drop) })
        });
        for started in futures::future::join_all(starts).await {
            started.expect("it ran").expect("it starts");
        }
    }
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
async fn roles_that_see_everything_are_refused() {
    let bench = Bench::postgres().await;
    let (server, place) = bench.server();
    server
        .sql(
            "postgres",
            "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'sees_all') THEN \
             CREATE ROLE sees_all BYPASSRLS; END IF; END $$; GRANT sees_all TO genvid_web",
        )
        .expect("made");
    for (role, why) in [
        ("postgres", "is a superuser"),
        ("sees_all", "has BYPASSRLS"),
        ("genvid_owner", "owns the tables"),
    ] {
        for (users, worker) in [(role, "genvid_worker"), ("genvid_app", role)] {
            let wrong = PostgresOptions {
                // As somebody who may take any role.
                url: place.super_url.as_str().into(),
                owner_url: place.super_url.as_str().into(),
                role: users.to_owned(),
                worker_role: worker.to_owned(),
                ..options(place)
            };
            let refused = Database::connect(&wrong).await.err().expect("refused");
            assert!(matches!(refused, OpenError::Unfit { .. }), "{refused:?}");
            assert!(refused.to_string().contains(why), "{refused}");
        }
    }
    let same = PostgresOptions {
        worker_role: "genvid_app".to_owned(),
        ..options(place)
    };
    let refused = Database::connect(&same).await.err().expect("refused");
    assert!(refused.to_string().contains("has what"), "{refused}");
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
        role: "genvid_app".to_owned(),
        worker_role: "genvid_worker".to_owned(),
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

/// An embedded database of the first version keeps its events, and goes on counting.
#[tokio::test]
async fn a_feed_goes_on_after_the_upgrade_that_counts_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("genvid.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let mut old = SqliteConnection::connect_with(&options)
        .await
        .expect("it opens");
    sqlx::migrate!("../migrations/sqlite")
        .run_to(1, &mut old)
        .await
        .expect("the first version's tables");
    let (ann, bob) = (UserId::generate(), UserId::generate());
    for (user, name) in [(ann, "ann"), (bob, "bob")] {
        sqlx::query("INSERT INTO users VALUES ($1, $2, $2, 'user', 0)")
            .bind(user.uuid())
            .bind(name)
            .execute(&mut old)
            .await
            .expect("a user");
    }
    let new = job(ann, "old");
    sqlx::query(
        "INSERT INTO jobs (id, owner_id, kind, status, input, idempotency_key, request_hash, \
         last_seq, deadline, created_at) \
         VALUES ($1, $2, 'VOICE', 'QUEUED', $3, 'old', x'00', 3, 0, 0)",
    )
    .bind(new.job.id.uuid())
    .bind(ann.uuid())
    .bind(serde_json::to_string(&new.job.input).expect("JSON"))
    .execute(&mut old)
    .await
    .expect("a job");
    for (seq, position) in [(1_i64, 4_i64), (2, 5), (3, 9)] {
        sqlx::query(
            "INSERT INTO events (position, job_id, owner_id, seq, type, text_delta, at) \
             VALUES ($1, $2, $3, $4, 'TEXT_DELTA', 'x', 7)",
        )
        .bind(position)
        .bind(new.job.id.uuid())
        .bind(ann.uuid())
        .bind(seq)
        .execute(&mut old)
        .await
        .expect("an event");
    }
    old.close().await.expect("it closes");

    let database = Database::open(folder.path()).await.expect("it is upgraded");
    let feed = database.owner_events(ann, 4, 10).await.expect("read");
    let places: Vec<_> = feed
        .iter()
        .map(|event| (event.seq, event.position))
        .collect();
    assert_eq!(places, [(2, 5), (3, 9)]);
    assert_eq!(feed[0].body.text_delta.as_deref(), Some("x"));
    let (_, events) = database
        .for_user(ann)
        .decide(new.job.id, OwnerDecision::Cancel)
        .await
        .expect("decided");
    assert_eq!((events[0].seq, events[0].position), (4, 10));
    let (_, events) = database
        .accept_job(job(bob, "new"))
        .await
        .expect("accepted");
    assert_eq!(events[0].position, 1);
}

/// A connection that dies takes its transaction with it; the next one works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_are_replaced() {
    let bench = Bench::postgres().await;
    let (server, place) = bench.server();
    let (job, claimed) = bench.accept_and_claim(bench.ann).await;
    for round in 0..3 {
        server.cut(&place.name).expect("cut");
        let mut failures = 0;
        loop {
            let mut write = change(&claimed);
            write.events = vec![told(&round.to_string())];
            match bench.database.apply(write).await {
                Ok(_) => break,
                // As many as the pool had connections.
                Err(_) => failures += 1,
            }
            assert!(failures <= 8, "the pool keeps dead connections");
        }
    }
    let log = bench.log(job.id).await;
    let numbers: Vec<i64> = log.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

/// The one user of a managed database: he may create roles, and is no superuser.
#[tokio::test]
async fn an_owner_who_may_create_roles_needs_nobody() {
    let server = backend::server();
    let place = server.database().expect("a database");
    let (owner, name) = (format!("owner_of_{}", place.name), &place.name);
    server
        .sql("postgres", &format!("CREATE ROLE {owner} LOGIN CREATEROLE"))
        .expect("made");
    server
        .sql(
            "postgres",
            &format!("ALTER DATABASE {name} OWNER TO {owner}"),
        )
        .expect("given");
    let url = place.url.replace("genvid_web", &owner);
    let alone = PostgresOptions {
        url: url.as_str().into(),
        owner_url: url.as_str().into(),
        role: format!("{name}_app"),
        worker_role: format!("{name}_worker"),
        ..options(&place)
    };
    let database = Database::connect(&alone).await.expect("it starts");
    let (accepted, _) = database
        .accept_job(job(a_user(&database).await, "first"))
        .await
        .expect("accepted");
    let Accepted::Created(job) = accepted else {
        panic!("it is new");
    };
    let node = NodeId::generate();
    let claimed = database
        .claim_steps(node, LEASE, 10, &[], &Rota::default())
        .await
        .expect("claimed");
    assert_eq!(claimed[0].step.job, job.id);
    // Who may not create roles is told what an administrator has to do.
    let place = server.database().expect("a database");
    let refused = PostgresOptions {
        url: place.url.as_str().into(),
        owner_url: place.owner_url.replace("genvid_owner", &owner).into(),
        role: "nobody_made_this".to_owned(),
        ..options(&place)
    };
    server
        .sql("postgres", &format!("ALTER ROLE {owner} NOCREATEROLE"))
        .expect("taken");
    server
        .sql(
            "postgres",
            &format!("ALTER DATABASE {} OWNER TO {owner}", place.name),
        )
        .expect("given");
    let refused = Database::connect(&refused).await.err().expect("refused");
    let told = refused.to_string();
    assert!(
        told.contains("CREATE ROLE \"nobody_made_this\" NOLOGIN"),
        "{told}"
    );
}
