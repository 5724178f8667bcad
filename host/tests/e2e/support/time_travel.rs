//! Lets a lost call lie in the past. Vendors are given time before an empty look-up counts
//! as proof; a test that waited it out would take minutes.

use std::{path::Path, time::Duration};

use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

/// Moves every attempt that is not settled back in time, in the rows of a server that runs or
/// was killed. A running server reads them at its next look.
pub(crate) async fn age_open_attempts(database: &Path, by: Duration) {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(30));
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .expect("the database opens");
    let by = i64::try_from(by.as_millis()).expect("a short time");
    sqlx::query(
        "UPDATE attempts SET submitted_at = submitted_at - $1, uncertain_at = uncertain_at - $1 \
         WHERE finished_at IS NULL AND status IN ('SUBMITTING', 'UNCONFIRMED')",
    )
    .bind(by)
    .execute(&mut connection)
    .await
    .expect("the rows change");
    connection.close().await.expect("the database closes");
}
