//! Row-level security, seen from the role that statements run as.

use std::collections::BTreeSet;

use genvid::{
    accounts::tokens::generate,
    app,
    billing::{
        Grant,
        budget::{Limit, Period},
    },
    config,
    jobs::store::MediaRole,
    providers::{Lane, Rules, Sign},
    time,
    vault::{self, Vault},
};
use genvid_testing as servers;
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

use crate::{
    batches,
    bench::{Bench, attempt, change, file, later, project, told, with_attempt},
    keys,
    ledger::{gift, priced},
    mails, payments,
    quotes::quote,
    sessions,
    uploads::upload,
    webhooks::attempted,
};

/// Tables without rows of tenants.
const SHARED: [&str; 2] = ["_sqlx_migrations", "installation"];
/// Tables that are the worker's alone.
const WORKERS: [&str; 10] = [
    "callbacks",
    "removals",
    "chores",
    "circuits",
    "mail_attempts",
    "mail_suppressions",
    "mail_events",
    "mailbox",
    "payment_events",
    "payment_rounds",
];
/// Tables that everybody reads and only the owner of the tables writes.
const INSTALLED: [&str; 3] = ["plugin_revision", "plugin_versions", "provider_settings"];

/// One row at least in every table, for both users.
async fn filled() -> Bench {
    let bench = Bench::postgres().await;
    for owner in [bench.ann, bench.bob] {
        let shelf = bench
            .database
            .insert_project(project(owner, "Shelf"))
            .await
            .expect("kept");
        let limit = Limit {
            credits: 100,
            period: Period::Month,
        };
        let set = bench
            .database
            .set_project_budget(owner, shelf.id, Some(limit));
        assert!(set.await.expect("set"));
        payments::fill(&bench, owner).await;
        let books = bench.database.for_worker();
        let grant = Grant {
            expires_at: Some(later()),
            ..gift(owner, 10)
        };
        books.grant(grant).await.expect("given");
        let held = bench.accept_as(priced(owner, 5)).await;
        assert_eq!(held.owner, owner);
        let (_, claimed) = bench.accept_and_claim(owner).await;
        let mut write = with_attempt(change(&claimed), attempt(&claimed.step, 1));
        write.events = vec![told("begun")];
        write.media = vec![(owner, MediaRole::Voice, file())];
        bench.done(write).await;
        let hash = owner.uuid().as_bytes().to_vec();
        bench
            .database
            .add_token(owner, hash, "test".to_owned(), time::now())
            .await
            .expect("kept");
        bench
            .database
            .keep_callback(
                "heygen".to_owned(),
                owner.to_string(),
                Vec::new(),
                time::now(),
            )
            .await
            .expect("kept");
        attempted(&bench, owner).await;
        mails::filled(&bench, owner).await;
        batches::filled(&bench, owner).await;
        keys::made(&bench, owner).await;
        sessions::made(&bench, owner).await;
        let (server, place) = bench.server();
        let sql = format!(
            "INSERT INTO identities VALUES ('https://id.example', '{0}', '{0}', now())",
            owner.uuid()
        );
        server.sql(&place.name, &sql).expect("kept");
        let quote = quote(owner);
        let scoped = bench.database.for_user(owner);
        scoped.insert_quote(&quote).await.expect("kept");
        assert!(
            bench
                .database
                .insert_upload(upload(owner), 20)
                .await
                .expect("kept")
        );
    }
    let vault = Vault::new(&[1; 32], &[]);
    let key = generate(&vault, time::now()).expect("a key");
    bench
        .database
        .insert_signing_key(key, "operator")
        .await
        .expect("kept");
    let secret = (bench.database).set_provider_secret(
        "heygen".to_owned(),
        "HEYGEN_API_KEY".to_owned(),
        Some(vec![1]),
        "operator".to_owned(),
    );
    assert!(secret.await.expect("kept"));
    let lane = Lane::account("heygen");
    let barred = Sign::Barred("The key is wrong.".to_owned());
    let told = bench.database.tell_circuit(&lane, barred, Rules::default());
    told.await.expect("told");
    bench
        .database
        .request_removals(vec!["jobs/a".to_owned()])
        .await
        .expect("kept");
    bench
}

/// A connection as one of the roles that statements run as.
async fn connect(place: &servers::Database, role: &str) -> PgConnection {
    let options: PgConnectOptions = place.url.parse().expect("a URL");
    PgConnection::connect_with(&options.options([("role", role)]))
        .await
        .expect("it connects")
}

/// Every table of tenants, and the name of the column that says whose a row is, if it has one.
fn tables(server: &servers::Postgres, place: &servers::Database) -> Vec<(String, Option<String>)> {
    let listed = server
        .sql(
            &place.name,
            "SELECT relname, (SELECT attname FROM pg_attribute WHERE attrelid = pg_class.oid \
             AND attname IN ('owner_id', 'user_id')) FROM pg_class \
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1",
        )
        .expect("listed");
    listed
        .lines()
        .filter_map(|line| line.split_once('|'))
        .filter(|(table, _)| !SHARED.contains(table) && !INSTALLED.contains(table))
        .map(|(table, owner)| {
            let owner = match (table, owner) {
                ("users", _) => Some("id".to_owned()),
                (_, "") => None,
                (_, owner) => Some(owner.to_owned()),
            };
            (table.to_owned(), owner)
        })
        .collect()
}

async fn count(connection: &mut PgConnection, sql: String) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await
        .expect("counted")
}

#[tokio::test]
async fn every_table_of_tenants_is_locked_up() {
    let bench = Bench::postgres().await;
    let (server, place) = bench.server();
    let open = server
        .sql(
            &place.name,
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace \
             AND relkind IN ('r', 'p') AND NOT (relrowsecurity AND relforcerowsecurity) ORDER BY 1",
        )
        .expect("listed");
    assert_eq!(open.lines().collect::<Vec<_>>(), SHARED);
    let names: BTreeSet<String> = tables(server, place)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for wanted in [
        "users",
        "access_tokens",
        "projects",
        "jobs",
        "steps",
        "attempts",
        "events",
        "feeds",
        "media",
        "callbacks",
        "uploads",
        "removals",
        "chores",
        "circuits",
        "webhook_endpoints",
        "job_webhooks",
        "webhook_messages",
        "webhook_deliveries",
        "webhook_attempts",
        "mail_contacts",
        "job_mails",
        "mails",
        "mail_attempts",
        "mail_suppressions",
        "mail_events",
        "mailbox",
        "payment_customers",
        "payment_events",
        "payment_purchases",
        "payment_subscriptions",
        "payment_rounds",
        "quotes",
        "api_keys",
        "sessions",
        "refresh_tokens",
        "account_links",
        "signing_keys",
        "identities",
        "provider_secrets",
        "admin_acts",
        "batches",
        "batch_items",
        "batch_quotes",
        "batch_retries",
        "spending",
        "credit_accounts",
        "credit_transfers",
        "credit_entries",
        "credit_holds",
        "credit_lots",
        "credit_hold_lots",
    ] {
        assert!(names.contains(wanted), "{wanted} is not among {names:?}");
    }
}

#[tokio::test]
async fn nobody_sees_nothing_and_users_see_their_own() {
    let bench = filled().await;
    let (server, place) = bench.server();
    let mut connection = connect(place, "genvid_app").await;
    for (table, owner) in tables(server, place) {
        let all = format!("SELECT count(*) FROM {table}");
        let there = server.sql(&place.name, &all).expect("counted");
        assert_ne!(there.trim(), "0", "{table} has no rows to hide");
        if ["signing_keys", "admin_acts", "provider_secrets"].contains(&table.as_str()) {
            // Nobody's: whoever finds out who is calling reads them, and no user does.
            let mut transaction = connection.begin().await.expect("begun");
            sqlx::query("SELECT set_config('genvid.user_id', $1, TRUE)")
                .bind(bench.ann.uuid().to_string())
                .execute(&mut *transaction)
                .await
                .expect("set");
            assert_eq!(count(&mut transaction, all).await, 0, "{table}");
            transaction.rollback().await.expect("ended");
            continue;
        }
        if WORKERS.contains(&table.as_str()) {
            // Not a matter of rows: users have no business there at all.
            let refused = sqlx::query(AssertSqlSafe(all))
                .execute(&mut connection)
                .await;
            let refused = refused.expect_err("refused").to_string();
            assert!(refused.contains("permission denied"), "{refused}");
            continue;
        }
        assert_eq!(
            count(&mut connection, all.clone()).await,
            0,
            "nobody sees {table}"
        );
        for (user, other) in [(bench.ann, bench.bob), (bench.bob, bench.ann)] {
            let mut transaction = connection.begin().await.expect("begun");
            sqlx::query("SELECT set_config('genvid.user_id', $1, TRUE)")
                .bind(user.uuid().to_string())
                .execute(&mut *transaction)
                .await
                .expect("set");
            let seen = count(&mut transaction, all.clone()).await;
            match &owner {
                Some(column) => {
                    assert_ne!(seen, 0, "{user} does not see own rows of {table}");
                    let strange = format!("{all} WHERE {column} <> '{}'", user.uuid());
                    assert_eq!(count(&mut transaction, strange).await, 0, "of {table}");
                }
                None => {
                    assert_ne!(seen, 0, "{user} does not see own rows of {table}");
                    let strange = server
                        .sql(
                            &place.name,
                            &format!(
                                "SELECT string_agg(quote_literal(id), ',') FROM jobs \
                                 WHERE owner_id = '{}'",
                                other.uuid()
                            ),
                        )
                        .expect("listed");
                    let strange = format!("{all} WHERE job_id IN ({})", strange.trim());
                    assert_eq!(count(&mut transaction, strange).await, 0, "of {table}");
                }
            }
            transaction.rollback().await.expect("ended");
            // The setting ended with its transaction.
            assert_eq!(
                count(&mut connection, all.clone()).await,
                0,
                "{table} afterwards"
            );
        }
    }
}

#[tokio::test]
async fn the_owner_of_the_tables_is_held_to_it_too() {
    let bench = filled().await;
    let (server, place) = bench.server();
    let options: PgConnectOptions = place.owner_url.parse().expect("a URL");
    let mut owner = PgConnection::connect_with(&options)
        .await
        .expect("it connects");
    for (table, _) in tables(server, place) {
        assert_eq!(
            count(&mut owner, format!("SELECT count(*) FROM {table}")).await,
            0,
            "{table}"
        );
    }
}

#[tokio::test]
async fn rows_cannot_be_written_for_somebody_else() {
    let bench = filled().await;
    let (_, place) = bench.server();
    let mut connection = connect(place, "genvid_app").await;
    let insert = format!(
        "INSERT INTO projects (id, owner_id, name, product_name, product_description, \
         product_images, created_at, updated_at) \
         VALUES (gen_random_uuid(), '{}', 'x', '', '', '[]', now(), now())",
        bench.bob.uuid()
    );
    for tenant in [None, Some(bench.ann)] {
        let mut transaction = connection.begin().await.expect("begun");
        if let Some(user) = tenant {
            sqlx::query("SELECT set_config('genvid.user_id', $1, TRUE)")
                .bind(user.uuid().to_string())
                .execute(&mut *transaction)
                .await
                .expect("set");
        }
        let refused = sqlx::query(AssertSqlSafe(insert.clone()))
            .execute(&mut *transaction)
            .await
            .expect_err("refused");
        assert!(
            refused.to_string().contains("row-level security"),
            "{refused}"
        );
        transaction.rollback().await.expect("ended");
    }
    let mut transaction = connection.begin().await.expect("begun");
    sqlx::query("SELECT set_config('genvid.user_id', $1, TRUE)")
        .bind(bench.ann.uuid().to_string())
        .execute(&mut *transaction)
        .await
        .expect("set");
    let touched = sqlx::query("UPDATE jobs SET status = 'CANCELED'")
        .execute(&mut *transaction)
        .await
        .expect("own rows only");
    // The one that holds credits, the one of the bench, and the one whose webhook was attempted.
    assert_eq!(touched.rows_affected(), 3);
    let given = sqlx::query("UPDATE jobs SET owner_id = $1")
        .bind(bench.bob.uuid())
        .execute(&mut *transaction)
        .await
        .expect_err("refused");
    assert!(given.to_string().contains("row-level security"), "{given}");
}

#[tokio::test]
async fn the_worker_sees_all_jobs_and_no_accounts() {
    let bench = filled().await;
    let (server, place) = bench.server();
    let mut connection = connect(place, "genvid_worker").await;
    for (table, _) in tables(server, place) {
        let all = format!("SELECT count(*) FROM {table}");
        if [
            "users",
            "access_tokens",
            "api_keys",
            "projects",
            "sessions",
            "refresh_tokens",
            "account_links",
            "signing_keys",
            "identities",
            "provider_secrets",
        ]
        .contains(&table.as_str())
        {
            let refused = sqlx::query(AssertSqlSafe(all))
                .execute(&mut connection)
                .await;
            let refused = refused.expect_err("refused").to_string();
            assert!(refused.contains("permission denied"), "{table}: {refused}");
        } else {
            let there = server.sql(&place.name, &all).expect("counted");
            let seen = count(&mut connection, all).await;
            assert_eq!(seen.to_string(), there.trim(), "{table}");
        }
    }
}

#[tokio::test]
async fn what_is_only_added_cannot_be_changed_and_nothing_be_deleted() {
    let bench = filled().await;
    let (server, place) = bench.server();
    let rights = |role: &str, table: &str| {
        let sql = format!(
            "SELECT string_agg(privilege_type, ' ' ORDER BY privilege_type) \
             FROM information_schema.role_table_grants \
             WHERE grantee = '{role}' AND table_name = '{table}'"
        );
        let listed = server.sql(&place.name, &sql).expect("listed");
        listed.trim().to_owned()
    };
    let (users, worker) = ("genvid_app", "genvid_worker");
    for (table, for_users, for_worker) in [
        ("users", "INSERT SELECT UPDATE", ""),
        ("access_tokens", "INSERT SELECT UPDATE", ""),
        ("api_keys", "INSERT SELECT UPDATE", ""),
        ("projects", "INSERT SELECT UPDATE", ""),
        ("sessions", "INSERT SELECT UPDATE", ""),
        ("refresh_tokens", "INSERT SELECT UPDATE", ""),
        ("account_links", "INSERT SELECT UPDATE", ""),
        ("signing_keys", "INSERT SELECT UPDATE", ""),
        ("identities", "INSERT SELECT UPDATE", ""),
        ("provider_secrets", "INSERT SELECT UPDATE", ""),
        ("admin_acts", "INSERT SELECT", "INSERT SELECT"),
        ("jobs", "INSERT SELECT UPDATE", "INSERT SELECT UPDATE"),
        ("steps", "INSERT SELECT UPDATE", "INSERT SELECT UPDATE"),
        ("attempts", "INSERT SELECT UPDATE", "INSERT SELECT UPDATE"),
        ("feeds", "INSERT SELECT UPDATE", "INSERT SELECT UPDATE"),
        ("events", "INSERT SELECT", "INSERT SELECT"),
        ("media", "INSERT SELECT", "INSERT SELECT"),
        ("callbacks", "", "INSERT SELECT"),
        ("uploads", "INSERT SELECT UPDATE", "INSERT SELECT UPDATE"),
        ("removals", "", "INSERT SELECT UPDATE"),
        ("chores", "", "INSERT SELECT UPDATE"),
        ("circuits", "", "INSERT SELECT UPDATE"),
        (
            "webhook_endpoints",
            "INSERT SELECT UPDATE",
            "INSERT SELECT UPDATE",
        ),
        ("job_webhooks", "INSERT SELECT", "INSERT SELECT"),
        ("webhook_messages", "INSERT SELECT", "INSERT SELECT"),
        (
            "webhook_deliveries",
            "INSERT SELECT UPDATE",
            "INSERT SELECT UPDATE",
        ),
        ("webhook_attempts", "INSERT SELECT", "INSERT SELECT"),
        (
            "mail_contacts",
            "INSERT SELECT UPDATE",
            "INSERT SELECT UPDATE",
        ),
        ("job_mails", "INSERT SELECT", "INSERT SELECT"),
        ("mails", "INSERT SELECT UPDATE", "INSERT SELECT UPDATE"),
        ("mail_attempts", "", "INSERT SELECT"),
        ("mail_suppressions", "", "INSERT SELECT"),
        ("mail_events", "", "INSERT SELECT"),
        ("mailbox", "", "INSERT SELECT"),
        ("payment_customers", "INSERT SELECT", "INSERT SELECT"),
        ("payment_events", "", "INSERT SELECT UPDATE"),
        (
            "payment_purchases",
            "INSERT SELECT UPDATE",
            "INSERT SELECT UPDATE",
        ),
        (
            "payment_subscriptions",
            "INSERT SELECT UPDATE",
            "INSERT SELECT UPDATE",
        ),
        ("payment_rounds", "", "INSERT SELECT UPDATE"),
        (
            "credit_accounts",
            "INSERT SELECT UPDATE",
            "INSERT SELECT UPDATE",
        ),
        ("quotes", "INSERT SELECT", "INSERT SELECT"),
        ("batches", "INSERT SELECT", "INSERT SELECT"),
        (
            "batch_items",
            "INSERT SELECT UPDATE",
            "INSERT SELECT UPDATE",
        ),
        ("batch_quotes", "INSERT SELECT", "INSERT SELECT"),
        ("batch_retries", "INSERT SELECT", "INSERT SELECT"),
        ("spending", "INSERT SELECT UPDATE", "INSERT SELECT UPDATE"),
        ("credit_transfers", "INSERT SELECT", "INSERT SELECT"),
        ("credit_entries", "INSERT SELECT", "INSERT SELECT"),
        (
            "credit_holds",
            "INSERT SELECT UPDATE",
            "INSERT SELECT UPDATE",
        ),
        ("installation", "INSERT SELECT", ""),
        ("_sqlx_migrations", "", ""),
        ("plugin_versions", "SELECT", "SELECT"),
        ("provider_settings", "SELECT", "SELECT"),
        ("plugin_revision", "SELECT", "SELECT"),
    ] {
        assert_eq!(rights(users, table), for_users, "{table}");
        assert_eq!(rights(worker, table), for_worker, "{table}");
    }
    for (table, _) in tables(server, place) {
        for role in [users, worker] {
            let rights = rights(role, &table);
            assert!(!rights.contains("DELETE"), "{table}: {rights}");
            assert!(!rights.contains("TRUNCATE"), "{table}: {rights}");
        }
    }
}

/// The functions of the adapter, as one user, over another's rows.
#[tokio::test]
async fn a_handle_of_a_user_reads_that_users_rows_only() {
    let bench = filled().await;
    let job = bench.accept(bench.ann).await;
    let (ann, bob) = (
        bench.database.for_user(bench.ann),
        bench.database.for_user(bench.bob),
    );
    assert_eq!(ann.steps_of(&[job.id]).await.expect("read").len(), 2);
    assert!(bob.steps_of(&[job.id]).await.expect("read").is_empty());
    assert!(bob.attempts_of(&[job.id]).await.expect("read").is_empty());
    assert!(bob.media_of(&[job.id]).await.expect("read").is_empty());
    assert!(
        bob.job_events(job.id, 0, 10)
            .await
            .expect("read")
            .is_empty()
    );
    assert!(bob.get_job(job.id).await.is_err());
    assert!(ann.get_job(job.id).await.is_ok());
}

#[tokio::test]
async fn what_is_installed_is_read_by_both_roles_and_written_by_neither() {
    let bench = Bench::postgres().await;
    let (_, place) = bench.server();
    for role in ["genvid_app", "genvid_worker"] {
        let mut connection = connect(place, role).await;
        let seen = count(
            &mut connection,
            "SELECT count(*) FROM plugin_revision".to_owned(),
        );
        assert_eq!(seen.await, 1, "{role}");
        for sql in [
            "UPDATE plugin_revision SET revision = 7",
            "DELETE FROM plugin_versions",
            "INSERT INTO provider_settings (id, updated_at) VALUES ('heygen', now())",
        ] {
            let refused = sqlx::query(sql).execute(&mut connection).await;
            let refused = refused.expect_err("refused").to_string();
            assert!(
                refused.contains("permission denied"),
                "{role}: {sql}: {refused}"
            );
        }
    }
}

/// With a server that others reach too, the key that seals secrets is given from outside.
#[tokio::test]
async fn a_server_needs_the_key_that_seals_its_secrets() {
    let bench = Bench::postgres().await;
    let load = |flags: &[(&str, String)]| config::load(None, flags).expect("settings");
    let missing = app::vault(&load(&[]), &bench.database).await;
    let missing = missing.expect_err("no key").to_string();
    assert!(missing.contains("GENVID_ENCRYPTION_KEY"), "{missing}");
    let given = load(&[("encryption.key", vault::new_key())]);
    app::vault(&given, &bench.database).await.expect("a key");
    let development = load(&[("development.user", "dev@localhost".to_owned())]);
    let first = app::vault(&development, &bench.database)
        .await
        .expect("a key");
    let sealed = first.seal("test", b"secret").expect("sealed");
    let again = app::vault(&development, &bench.database)
        .await
        .expect("the same key");
    assert_eq!(again.open("test", &sealed).expect("opened"), b"secret");
    let bad = config::load(None, &[("encryption.key", "short".to_owned())]);
    let bad = bad.expect_err("no key").to_string();
    assert!(
        bad.contains("encryption.key") && !bad.contains("short"),
        "{bad}"
    );
}
