//! The rows of a world, looked into from outside, whichever database they are in.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use genvid_testing as servers;
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use crate::backend::{self, Backend};

/// Where a world's rows are.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// In a file of its data folder.
    Embedded(PathBuf),
    /// On a server, which ends with the last one who holds it.
    Postgres(Arc<servers::Postgres>, servers::Database),
}

impl Database {
    /// A fresh one for a world with this data folder.
    pub(crate) fn new(backend: Backend, data: &Path) -> Self {
        match backend {
            Backend::Embedded => Self::Embedded(data.join("genvid.db")),
            Backend::Servers => {
                let server = backend::server();
                let database = server.database().expect("the server makes a database");
                Self::Postgres(server, database)
            }
        }
    }

    /// What a server is told of it, by environment.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        match self {
            Self::Embedded(_) => Vec::new(),
            Self::Postgres(_, database) => vec![
                ("DATABASE_URL".to_owned(), database.url.clone()),
                (
                    "GENVID__DATABASE__OWNER_URL".to_owned(),
                    database.owner_url.clone(),
                ),
            ],
        }
    }

    /// Leases that somebody holds.
    pub(crate) async fn leases(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM steps WHERE lease_owner IS NOT NULL")
            .await
    }

    /// Steps that are at a vendor.
    pub(crate) async fn running(&self) -> i64 {
        self.count("SELECT COUNT(*) FROM steps WHERE status = 'RUNNING'")
            .await
    }

    /// Moves every attempt that is not settled back in time, in the rows of a server that runs
    /// or was killed. A running server reads them at its next look. Vendors are given time
    /// before an empty look-up counts as proof; a test that waited it out would take minutes.
    pub(crate) async fn age_open_attempts(&self, by: Duration) {
        let by = by.as_millis();
        let by = match self {
            Self::Embedded(_) => by.to_string(),
            Self::Postgres(..) => format!("interval '{by} milliseconds'"),
        };
        self.run(format!(
            "UPDATE attempts SET submitted_at = submitted_at - {by}, \
             uncertain_at = uncertain_at - {by} \
             WHERE finished_at IS NULL AND status IN ('SUBMITTING', 'UNCONFIRMED')"
        ))
        .await;
    }

    /// Moves attempts whose outcome is being looked up so far back, each of them once, and none
    /// that is so young: a call may still be on its way.
    pub(crate) async fn age_lost_attempts(&self, by: Duration, young: Duration) {
        let (by, young) = (by.as_millis(), young.as_millis());
        let (by, young, now) = match self {
            Self::Embedded(_) => (
                by.to_string(),
                young.to_string(),
                "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
            ),
            Self::Postgres(..) => (
                format!("interval '{by} milliseconds'"),
                format!("interval '{young} milliseconds'"),
                "now()",
            ),
        };
        self.run(format!(
            "UPDATE attempts SET submitted_at = submitted_at - {by}, \
             uncertain_at = uncertain_at - {by} \
             WHERE finished_at IS NULL AND status = 'UNCONFIRMED' AND submitted_at > {now} - {by} \
             AND submitted_at < {now} - {young}"
        ))
        .await;
    }

    /// Cuts every connection, as a failing network does; panics without a server.
    pub(crate) async fn cut(&self) {
        let Self::Postgres(server, database) = self.clone() else {
            panic!("a file has no connections");
        };
        let cut = tokio::task::spawn_blocking(move || server.cut(&database.name));
        cut.await.expect("it ran").expect("the server answers");
    }

    /// Makes the work due that one node at a time does.
    pub(crate) async fn forget_chores(&self) {
        let long_ago = match self {
            Self::Embedded(_) => "0",
            Self::Postgres(..) => "'-infinity'",
        };
        self.run(format!("UPDATE chores SET due_at = {long_ago}"))
            .await;
    }

    async fn count(&self, sql: &'static str) -> i64 {
        match self {
            Self::Embedded(file) => sqlx::query_scalar(sql)
                .fetch_one(&mut open(file).await)
                .await
                .expect("a count"),
            Self::Postgres(..) => self.ask(sql.to_owned()).await.parse().expect("a count"),
        }
    }

    /// So many milliseconds as an instant of this database is moved by them.
    pub(crate) fn milliseconds(&self, count: u64) -> String {
        match self {
            Self::Embedded(_) => count.to_string(),
            Self::Postgres(..) => format!("interval '{count} milliseconds'"),
        }
    }

    /// Changes rows behind the server's back.
    pub(crate) async fn run(&self, sql: String) {
        match self {
            Self::Embedded(file) => {
                let mut connection = open(file).await;
                sqlx::query(sqlx::AssertSqlSafe(sql))
                    .execute(&mut connection)
                    .await
                    .expect("the rows change");
                connection.close().await.expect("the database closes");
            }
            Self::Postgres(..) => {
                self.ask(sql).await;
            }
        }
    }

    /// Everything that is in it, as a backup would have it.
    pub(crate) async fn dump(&self) -> Vec<u8> {
        match self {
            Self::Embedded(file) => {
                // Without the pages that are free, which no copy of the rows has.
                let copy = file.with_extension("dump");
                let _ = std::fs::remove_file(&copy);
                self.run(format!("VACUUM INTO '{}'", copy.display())).await;
                std::fs::read(&copy).expect("the copy is there")
            }
            Self::Postgres(..) => {
                let tables = self
                    .ask(
                        "SELECT string_agg(tablename, ' ') FROM pg_tables \
                         WHERE schemaname = 'public'"
                            .to_owned(),
                    )
                    .await;
                let mut rows = String::new();
                for table in tables.split_whitespace() {
                    let sql = format!("SELECT string_agg(t::text, ' ') FROM public.{table} AS t");
                    rows.push_str(&self.ask(sql).await);
                }
                rows.into_bytes()
            }
        }
    }

    async fn ask(&self, sql: String) -> String {
        let Self::Postgres(server, database) = self.clone() else {
            panic!("no server is to be asked");
        };
        let answered = tokio::task::spawn_blocking(move || server.sql(&database.name, &sql));
        let answer = answered.await.expect("it ran").expect("the server answers");
        answer.trim().to_owned()
    }
}

async fn open(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(30));
    SqliteConnection::connect_with(&options)
        .await
        .expect("the database opens")
}
